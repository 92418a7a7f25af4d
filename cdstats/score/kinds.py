"""What stored predictions are: decided on all of them together, and said."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.score.levels import SCALE

if TYPE_CHECKING:
    from cdstats.score.levels import StoredCounts

_BYTE: Final = 255
PER_CENT: Final = 100
"""A set of bytes that stays at or below this may hold per cent."""


class Kind(Enum):
    """What a stored number means."""

    PROB = "prob"
    LOGIT = "logit"
    HARD = "hard"


@dataclass
class StoredKinds:
    """What the integer predictions of a run hold, gathered as they are read.

    Attributes:
        largest: The largest value of each type.
        smallest: The smallest value of each type.
        scaled: The types of which a file holds more than labels.
    """

    largest: dict[str, int] = field(default_factory=dict)
    smallest: dict[str, int] = field(default_factory=dict)
    scaled: set[str] = field(default_factory=set)

    def add(self, stored: StoredCounts) -> None:
        """Take note of the values of one prediction."""
        if stored.dtype == "float16" or not stored.values.size:
            return
        low, high = int(stored.values[0]), int(stored.values[-1])
        self.smallest[stored.dtype] = min(low, self.smallest.get(stored.dtype, low))
        self.largest[stored.dtype] = max(high, self.largest.get(stored.dtype, high))
        if label_scale(stored) is None:
            self.scaled.add(stored.dtype)

    def scale(self, stored: StoredCounts, kind: Kind | None) -> float:
        """What the values of a prediction are divided by.

        Args:
            stored: The prediction.
            kind: What the user says; None to find out.

        Raises:
            DataError: If the values are no labels and not scaled either.
        """
        if stored.dtype in ("float16", "bool") or stored.dtype not in self.largest:
            return 1.0
        if self.reads_labels(stored.dtype, kind):
            return label_scale(stored) or 1.0
        return self._common_scale(stored.dtype, kind)

    def _common_scale(self, dtype: str, kind: Kind | None) -> float:
        """What the values of a type are divided by when they are no labels."""
        low, high = self.smallest[dtype], self.largest[dtype]
        if kind is Kind.HARD:
            raise DataError(
                f"predictions hold values up to {high:,}; hard ones hold 0 and 1, or 0 "
                "and 255"
            )
        if dtype not in SCALE or low < 0:
            raise DataError(
                f"{dtype} predictions hold values from {low:,} to {high:,}; expected "
                "labels 0 and 1, or 0 and 255, or probabilities as floating numbers, "
                "uint8 or uint16"
            )
        if kind is None and dtype == "uint8" and high <= PER_CENT:
            raise DataError(
                f"uint8 predictions stay at or below {high}: per cent? Scaled "
                "probabilities reach 255. Divide by 100 and store floats, or say "
                "--kind prob if they are scaled by 255"
            )
        return float(SCALE[dtype])

    def check(self, kind: Kind | None) -> None:
        """Refuse predictions of which nothing says what they are.

        Raises:
            DataError: If there are any.
        """
        for dtype in self.scaled:
            self._common_scale(dtype, kind)

    def text(self, kind: Kind | None, floating: set[str]) -> str:
        """What the predictions are, in words."""
        parts = []
        if floating:
            name = {Kind.LOGIT: "logits", Kind.HARD: "hard labels"}.get(
                kind or Kind.PROB, "probabilities"
            )
            parts.append(f"{name} ({', '.join(sorted(floating))})")
        for dtype in sorted(self.largest):
            if self.reads_labels(dtype, kind):
                full = 1 if self.largest[dtype] <= 1 else 255
                parts.append(f"hard labels (0 and {full})")
            else:
                parts.append(f"probabilities ({dtype} / {SCALE.get(dtype, 1)})")
                if dtype == "uint16" and self.largest[dtype] <= _BYTE:
                    parts[-1] += f", none above {self.largest[dtype]}: bytes?"
        return "; ".join(parts)

    def reads_labels(self, dtype: str, kind: Kind | None) -> bool:
        """Whether the integers of a type are labels, so far as they are read."""
        labels = kind is not Kind.PROB and dtype not in self.scaled
        return labels and dtype in self.largest


def label_scale(stored: StoredCounts) -> float | None:
    """What a prediction that holds labels alone is divided by: 1 or 255; else None.

    A prediction of zeros alone holds no change in either coding.
    """
    held = {int(value) for value in stored.values[:3]}
    if held <= {0, 1}:
        return 1.0
    return 255.0 if held <= {0, 255} else None


def scales_of(stored: StoredCounts | None, kind: Kind | None) -> dict[bool, float]:
    """What the numbers of a prediction may be divided by, until all are known.

    Args:
        stored: Its stored values; None for floating numbers that are summed.
        kind: What the user says; None to find out.

    Returns:
        The divisor if they are labels (True), and if they are not (False); without
        those that cannot be.

    Example:
        >>> from cdstats.score.levels import count_stored
        >>> labels = np.array([0, 1], dtype=np.uint8)
        >>> scales_of(count_stored(labels, labels), None)
        {True: 1.0, False: 255.0}
    """
    if stored is None or stored.dtype == "float16":
        return {False: 1.0}
    if stored.dtype == "bool":
        return {True: 1.0, False: 1.0}
    scales = {True: label_scale(stored), False: SCALE.get(stored.dtype)}
    if kind is not None:
        scales.pop(kind is not Kind.HARD)
    return {labels: float(scale) for labels, scale in scales.items() if scale}


def wrong_values_text(not_finite: int, outside: int) -> str:
    """Why floating scores cannot be probabilities."""
    if not_finite:
        return f"is NaN or infinite on {counted(not_finite, 'valid pixel')}"
    return f"is outside [0, 1] on {counted(outside, 'valid pixel')}; --kind logit?"


def is_stored(dtype: np.dtype[np.generic], kind: Kind | None) -> bool:
    """Whether predictions of a type are counted by level instead of summed."""
    return dtype.kind in "bui" or (dtype == np.float16 and kind is not Kind.LOGIT)
