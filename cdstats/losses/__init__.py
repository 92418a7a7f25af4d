"""Losses to train change detection with: functions and modules of PyTorch.

Each loss is a function of probabilities, a function of logits (``_with_logits``) and a
module (``from_logits`` chooses). All take predictions and targets of one shape,
``(N, H, W)`` or ``(N, 1, H, W)``, any floating type, any layout and device, run under
autocast and `torch.compile`, have finite gradients at 0 and 1, and leave out pixels of
``ignore_index`` whatever lies under them, NaN included. The definitions are those of
``cdstats loss``, which scores saved predictions.

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
- Undefined losses (a class is missing, no pixel is valid) are NaN with a gradient of 0,
  and left out of means over images.
"""

from cdstats.losses._pixels import ImageReduction, PixelReduction
from cdstats.losses.combo import ComboLoss, combo_loss, combo_loss_with_logits
from cdstats.losses.cross_entropy import (
    BalancedCrossEntropyLoss,
    Beta,
    ClassMeanBCELoss,
    balanced_cross_entropy,
    balanced_cross_entropy_with_logits,
    class_mean_bce,
    class_mean_bce_with_logits,
)
from cdstats.losses.dice import (
    DiceLoss,
    LogCoshDiceLoss,
    dice_loss,
    dice_loss_with_logits,
    log_cosh_dice_loss,
    log_cosh_dice_loss_with_logits,
)
from cdstats.losses.focal import FocalLoss, focal_loss, focal_loss_with_logits
from cdstats.losses.lovasz import (
    Classes,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    lovasz_softmax_loss_with_logits,
)
from cdstats.losses.tversky import (
    FocalTverskyLoss,
    TverskyLoss,
    focal_tversky_loss,
    focal_tversky_loss_with_logits,
    tversky_loss,
    tversky_loss_with_logits,
)

__all__ = [
    "BalancedCrossEntropyLoss",
    "Beta",
    "ClassMeanBCELoss",
    "Classes",
    "ComboLoss",
    "DiceLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "ImageReduction",
    "LogCoshDiceLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "PixelReduction",
    "TverskyLoss",
    "balanced_cross_entropy",
    "balanced_cross_entropy_with_logits",
    "class_mean_bce",
    "class_mean_bce_with_logits",
    "combo_loss",
    "combo_loss_with_logits",
    "dice_loss",
    "dice_loss_with_logits",
    "focal_loss",
    "focal_loss_with_logits",
    "focal_tversky_loss",
    "focal_tversky_loss_with_logits",
    "log_cosh_dice_loss",
    "log_cosh_dice_loss_with_logits",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "lovasz_softmax_loss_with_logits",
    "tversky_loss",
    "tversky_loss_with_logits",
]
