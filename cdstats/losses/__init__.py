"""Losses to train change detection with: modules and functions of PyTorch.

Each loss is a module and a function of its parameters. All take predictions and targets
of shape ``(N, H, W)`` or ``(N, 1, H, W)``, any floating type, any layout and device,
run under autocast and `torch.compile`, have finite gradients at 0 and 1, and leave out
pixels of ``ignore_index`` whatever lies under them, NaN included. The definitions are
those of ``cdstats loss``, which scores saved predictions.

What `cdstats loss` calls the same numbers: for a loss of regions, such as `DiceLoss`,
``reduction="mean"`` is its column ``dice_image_mean``, and ``dice_pooled`` is the loss
of all pixels as one image; for a loss of pixels, ``reduction="mean"`` is
``balanced_ce_mean`` and ``"sum"`` is ``balanced_ce_sum``, with β of each image.

Three traps, each closed as far as it can be:

- Masks stored as 0 and 255. A target outside [0, 1] raises on the CPU; on other
  devices, where looking would wait for the device, the loss is NaN; ``validate=True``
  raises there too. But with ``ignore_index=255`` changed pixels of 255 are *ignored*,
  which only a warning can tell. Pass ``target == 255``.
- Images without change add exactly 0 to balanced cross-entropy with beta from the
  image. Use ``beta="batch"`` or a number.
- Undefined losses (a class is missing, no pixel is valid) are left out of means over
  images. A batch without a defined value gives 0, or NaN with ``undefined="nan"``.
"""

from cdstats.losses import lovasz, pixel, region
from cdstats.losses.lovasz import *  # noqa: F403 - each module names what is public
from cdstats.losses.modules import ImageReduction, PixelReduction
from cdstats.losses.pixel import *  # noqa: F403
from cdstats.losses.region import *  # noqa: F403

__all__ = ["ImageReduction", "PixelReduction"]
__all__ += lovasz.__all__
__all__ += pixel.__all__
__all__ += region.__all__
