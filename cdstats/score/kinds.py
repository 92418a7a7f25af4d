"""What stored predictions are: decided on all of them together, and said."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.score.levels import SCALE

if TYPE_CHECKING:
    from cdstats.score.levels import StoredCounts

PER_CENT: Final = 100
"""A set of bytes that stays at or below this may hold per cent."""
_FEW: Final = 2


class Kind(Enum):
    """What a stored number means."""

    PROB = "prob"
    LOGIT = "logit"
    HARD = "hard"


@dataclass
class StoredKinds:
    """What the integer predictions of a run hold, gathered as they are read.

    Attributes:
        codes: The values of each type, while they are few enough to be labels.
        largest: The largest value of each type.
        smallest: The smallest value of each type.
    """

    codes: dict[str, set[int]] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    smallest: dict[str, float] = field(default_factory=dict)

    def add(self, stored: StoredCounts) -> None:
        """Take note of the values of one prediction."""
        if stored.dtype == "float16" or not stored.values.size:
            return
        held = self.codes.setdefault(stored.dtype, set())
        held |= {int(v) for v in stored.values[: _FEW + 1]}
        low, high = float(stored.values[0]), float(stored.values[-1])
        self.smallest[stored.dtype] = min(low, self.smallest.get(stored.dtype, low))
        self.largest[stored.dtype] = max(high, self.largest.get(stored.dtype, high))

    def scale(self, dtype: str, kind: Kind | None) -> float:
        """What the values of a type are divided by.

        Args:
            dtype: The stored type.
            kind: What the user says; None to find out.

        Raises:
            DataError: If the values are no labels and not scaled either.
        """
        if dtype == "float16":
            return 1.0
        held, largest = self.codes[dtype], self.largest[dtype]
        if kind is not Kind.PROB:
            if held <= {0, 1} and largest <= 1:
                return 1.0
            if held <= {0, 255} and largest <= 255:
                return 255.0
        if kind is Kind.HARD:
            raise DataError(
                f"predictions hold values up to {largest:,.0f}; hard ones hold 0 and "
                "1, or 0 and 255"
            )
        if dtype not in SCALE or self.smallest[dtype] < 0:
            raise DataError(
                f"{dtype} predictions hold values from {self.smallest[dtype]:,.0f} to "
                f"{largest:,.0f}; expected labels 0 and 1, or 0 and 255, or "
                "probabilities as floating numbers, uint8 or uint16"
            )
        if kind is None and dtype == "uint8" and largest <= PER_CENT:
            raise DataError(
                f"uint8 predictions stay at or below {largest:.0f}: per cent? Scaled "
                "probabilities reach 255. Divide by 100 and store floats, or say "
                "--kind prob if they are scaled by 255"
            )
        return float(SCALE[dtype])

    def text(self, kind: Kind | None, floating: set[str]) -> str:
        """What the predictions are, in words."""
        parts = []
        if floating:
            name = "logits" if kind is Kind.LOGIT else "probabilities"
            name = "labels" if kind is Kind.HARD else name
            parts.append(f"{name} ({', '.join(sorted(floating))})")
        for dtype in sorted(self.codes):
            scale = self.scale(dtype, kind)
            if (
                scale == SCALE.get(dtype)
                and self.largest[dtype]
                and not self._is_hard(dtype, kind)
            ):
                parts.append(f"probabilities ({dtype} / {scale:.0f})")
            else:
                parts.append(f"hard labels (0 and {scale:.0f})")
        return "; ".join(parts)

    def _is_hard(self, dtype: str, kind: Kind | None) -> bool:
        held = self.codes[dtype]
        few = held <= {0, 1} or held <= {0, 255}
        return kind is not Kind.PROB and few and self.largest[dtype] in (0, 1, 255)

    @property
    def any_hard(self) -> bool:
        """Whether some integer predictions are labels."""
        return any(self._is_hard(dtype, None) for dtype in self.codes)


def wrong_values_text(not_finite: int, outside: int) -> str:
    """Why floating scores cannot be probabilities."""
    if not_finite:
        return f"{not_finite:,} scores on valid pixels are NaN or infinite"
    return f"{outside:,} scores on valid pixels are outside [0, 1]; --kind logit?"


def is_stored(dtype: np.dtype[np.generic], kind: Kind | None) -> bool:
    """Whether predictions of a type are counted by level instead of summed."""
    return dtype.kind in "bui" or (dtype == np.float16 and kind is not Kind.LOGIT)
