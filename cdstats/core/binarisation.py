"""Changed pixels under the rules that common data loaders use.

Public loaders use three rules, and none reports a file that does not fit. All three
counts follow from the value counts, independent of the rule in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.labels import Label, LabelRule

if TYPE_CHECKING:
    from cdstats.core.counts import MaskCounts, Value

LOADERS: Final = {
    ">0": "torchgeo, pytorch-change-models, CDLab (LEVIR, WHU)",
    ">=128": "PaddleRS, open-cd (to_binary), CDLab (SVCD), FOTBCD",
    "==255": "BIT_CD, ChangeFormer, Pylon (integer / 255)",
}
"""The three rules, with public loaders that use them."""


@dataclass(frozen=True, slots=True)
class Binarisation:
    """Valid pixels that count as changed under each common rule; adds over masks.

    Example:
        >>> one = Binarisation(above_zero=5, from_128=0, equal_255=0, valid=10)
        >>> (one + one).differs, (one + one).counts
        (True, {'>0': 10, '>=128': 0, '==255': 0})
    """

    above_zero: int = 0
    from_128: int = 0
    equal_255: int = 0
    valid: int = 0

    def __add__(self, other: Binarisation) -> Binarisation:
        return Binarisation(
            self.above_zero + other.above_zero,
            self.from_128 + other.from_128,
            self.equal_255 + other.equal_255,
            self.valid + other.valid,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Changed pixels by rule of `LOADERS`."""
        numbers = (self.above_zero, self.from_128, self.equal_255)
        return dict(zip(LOADERS, numbers, strict=True))

    @property
    def differs(self) -> bool:
        """Whether the rules give different counts."""
        return len(set(self.counts.values())) > 1


def binarisation(mask: MaskCounts, rule: LabelRule) -> Binarisation:
    """Count the changed pixels of a mask under each common rule.

    Colours are converted to grey first, as in Pillow's ``convert("L")``.
    """
    above = from_128 = equal = valid = 0
    for value, pixels in mask.counts.values.items():
        if rule.label_in(mask, value) is Label.IGNORED:
            continue
        grey = grey_level(value)
        valid += pixels
        above += pixels * (grey > 0)
        from_128 += pixels * (grey >= 128)
        equal += pixels * (grey == 255)
    return Binarisation(above, from_128, equal, valid)


def grey_level(value: Value) -> float:
    """The grey level that a loader reads: the number, or the luma of a colour.

    Example:
        >>> grey_level("#ff0000"), grey_level("#0000ff"), grey_level(255)
        (76, 29, 255)

    References:
        ITU-R BT.601 in the fixed-point form of Pillow's ``Convert.c``.
    """
    if not isinstance(value, str):
        return value
    if not value.startswith("#"):
        return 0.0
    red, green, blue = bytes.fromhex(value[1:])
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def grey_class(value: Value) -> int:
    """Number of common rules under which a value is changed; the rules are nested.

    Example:
        >>> [grey_class(value) for value in (0, 1, 128, 255, 300)]
        [0, 1, 2, 3, 2]
    """
    grey = grey_level(value)
    return (grey > 0) + (grey >= 128) + (grey == 255)
