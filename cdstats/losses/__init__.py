"""PyTorch losses for training change detection, as modules and as functions.

All losses take predictions and targets of shape ``(N, H, W)`` or ``(N, 1, H, W)``, any
floating type, layout and device. They run under autocast and `torch.compile`, have
finite gradients at 0 and 1, and skip pixels of ``ignore_index``, even where the
prediction is NaN. The definitions are those of ``cdstats loss``, which scores saved
predictions.

Columns of `cdstats loss` that hold the same values: for region losses, such as
`DiceLoss`, ``dice_image_mean`` is ``reduction="mean"``, and ``dice_pooled`` is the loss
of all pixels as one image. For pixel losses, ``balanced_ce_mean`` is
``reduction="mean"`` and ``balanced_ce_sum`` is ``"sum"``, with β of each image.

Three common mistakes:

- Masks stored as 0 and 255. A target outside [0, 1] raises on the CPU. On other
  devices, where a check would wait for the device, the loss is NaN;
  ``validate=True`` raises there too. With ``ignore_index=255``, changed pixels
  stored as 255 are *ignored*, and only a warning says so. Pass ``target == 255``.
- Images without change add exactly 0 to balanced cross-entropy with beta from the
  image. Use ``beta="batch"`` or a number.
- Undefined losses (a class is missing, no pixel is valid) are excluded from means
  over images. A batch without a defined value gives 0, or NaN with
  ``undefined="nan"``.
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
