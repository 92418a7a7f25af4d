"""What the numbers of predictions are, decided on all those of a model together.

`Numbers` is what the predictions of a model hold, added up as they are read, and what
they mean.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from cdstats.core.encodings import MANY_LEVELS, has_two_peaks
from cdstats.core.errors import DataError
from cdstats.core.messages import Level, Message, counted
from cdstats.core.metrics import KAPPA, Confusion
from cdstats.core.refusals import mostly_changed_text
from cdstats.io.predictions import PALETTE
from cdstats.score.choices import Kind, ModelChoice
from cdstats.score.levels import SCALE, StoredCounts, label_scale, plain_counts

if TYPE_CHECKING:
    from cdstats.score.states import PredictionState

T = TypeVar("T")
_BYTE: Final = 255
_FEW_LEVELS: Final = 3
MANY_PIXELS: Final = 1000
"""Pixels of which a network's output holds more than a few levels."""
_SCALES: Final = (100, 127, 128, 255, 1000, 4095, 10_000, 32_767, 65_535)
"""What stands for a probability of 1 in numbers that reach more than half of it."""
_CLEAR: Final = 0.4
"""A kappa above this does not come about by chance."""
_NAMED: Final = 3
"""Predictions that a message names."""
_FEW: Final = 10.0
"""Floating numbers that stay below are no per cent, and no bytes."""
_ROUNDING: Final = 1e-2
_NODATA: Final = -1000.0
"""Floating numbers below are no logits, but nodata."""
SIGMOID: Final = (0.5, 0.7311)
"""Where a sigmoid puts probabilities."""


def _are_codes(values: set[int]) -> bool:
    """Whether integers are few, or classes beside the code of ignored pixels."""
    ordered = sorted(values)
    if len(ordered) <= _FEW_LEVELS:
        return True
    return len(ordered) <= MANY_LEVELS and ordered[-2] <= len(ordered)


@dataclass
class Numbers:
    """What the predictions of a model hold, and what that means.

    Attributes:
        choice: What the user says of them.
        largest: The largest integer of each type.
        smallest: The smallest integer of each type.
        codes: The integers of each type, the first few of many.
        scaled: The types of which a file holds more than labels.
        floating: The types of floating numbers.
        low: The lowest floating probability.
        high: The highest floating probability.
        outside: Names of predictions of floating numbers outside [0, 1].
        zero: Predictions of floating numbers that are all 0.
        floats: Predictions of floating numbers.
        colours: Pixels of each colour of palettes, as a number.
        jpeg: Predictions in JPEG files that hold labels.
        low_codes: Those of them that hold 0 and 1 alone.
        low_labels: Pixels of predictions that hold 0 and 1 alone, of each type.
        files: Predictions in all.
        pixels: Pixels of integers.
    """

    choice: ModelChoice = field(default_factory=ModelChoice)
    largest: dict[str, int] = field(default_factory=dict)
    smallest: dict[str, int] = field(default_factory=dict)
    codes: dict[str, set[int]] = field(default_factory=dict)
    scaled: set[str] = field(default_factory=set)
    floating: set[str] = field(default_factory=set)
    low: float = np.inf
    high: float = -np.inf
    outside: list[str] = field(default_factory=list)
    zero: int = 0
    floats: int = 0
    colours: Counter[int] = field(default_factory=Counter)
    jpeg: int = 0
    low_codes: int = 0
    low_labels: dict[str, Confusion] = field(
        default_factory=partial(defaultdict, Confusion)
    )
    files: int = 0
    pixels: int = 0

    def add(self, state: PredictionState) -> None:
        """Take note of a prediction."""
        self.files += 1
        if state.tiles is not None or state.dtype == "float16":
            self.floating.add(state.dtype)
        if state.exceeds is not None:
            self.floats += 1
            self.outside += [state.place.pred] * state.exceeds
            self.zero += not state.exceeds and state.is_zero
            self.low = min(self.low, state.low)
            self.high = max(self.high, state.high)
        if state.stored is not None and not state.reason:
            self._add_stored(state.stored, jpeg=state.is_jpeg)

    def _add_stored(self, counts: StoredCounts, *, jpeg: bool) -> None:
        if counts.dtype == PALETTE:
            pixels = zip(counts.values.tolist(), counts.pixels.tolist(), strict=True)
            self.colours.update(dict(pixels))
        stored = plain_counts(counts)
        dtype, values = stored.dtype, stored.values
        if not values.size:
            return
        if dtype == "float16":
            shown = values[np.isfinite(values)].astype(np.float64)
            self.low = min(self.low, float(shown.min(initial=np.inf)))
            self.high = max(self.high, float(shown.max(initial=-np.inf)))
            return
        low, high = int(values[0]), int(values[-1])
        self.smallest[dtype] = min(low, self.smallest.get(dtype, low))
        self.largest[dtype] = max(high, self.largest.get(dtype, high))
        self.pixels += int(stored.pixels.sum())
        held = self.codes.setdefault(dtype, set())
        if len(held) <= MANY_LEVELS:
            held.update(values[: MANY_LEVELS + 1].tolist())
        if self.choice.rule is None and label_scale(stored) is None:
            self.scaled.add(dtype)
        if values.tolist() == [0, 1]:
            (fn, tp), (tn, fp) = stored.changed.tolist(), stored.unchanged.tolist()
            self.low_labels[dtype] += Confusion(tp, fp, fn, tn)
        if jpeg and dtype == "uint8" and self.choice.rule is None:
            levels = dict(zip(values.tolist(), stored.pixels.tolist(), strict=True))
            self.jpeg += set(levels) <= {0, 255} or has_two_peaks(levels)
            self.low_codes += set(levels) == {0, 1}

    @property
    def types(self) -> set[str]:
        """The types of all stored numbers."""
        return {*self.floating, *self.largest}

    # What the numbers mean.

    def reads_labels(self, dtype: str) -> bool:
        """Whether the integers of a type are labels, so far as they are read."""
        if self.choice.kind is Kind.PROB or self.choice.scale is not None:
            return False
        dtype = "uint8" if dtype == PALETTE else dtype
        return dtype not in self.scaled and dtype in self.largest

    def scale(self, stored: StoredCounts) -> float:
        """What the values of a prediction are divided by."""
        if self.choice.scale is not None and self.choice.kind is not Kind.LOGIT:
            return self.choice.scale
        if stored.dtype in ("float16", "bool") or stored.dtype not in self.largest:
            return 1.0
        if self.reads_labels(stored.dtype):
            return label_scale(stored) or 1.0
        return self._common_scale(stored.dtype)

    def check(self) -> None:
        """Refuse predictions of which nothing says what they are."""
        self._check_colours()
        if self.low_codes and self.choice.kind is None:
            raise DataError(
                f"{counted(self.low_codes, 'prediction', 'hold')} 0 and 1 in JPEG, "
                "whose compression changes many such pixels. Save labels as PNG, or "
                "count what is left with --pred-changed '>0' --pred-unchanged 0"
            )
        for dtype in self.largest if self.choice.scale else self.scaled:
            self._common_scale(dtype)
        if self.outside and (self.choice.kind is None):
            number = len(self.outside)
            raise DataError(
                f"{number:,} of {counted(self.floats, 'prediction')} "
                f"{'exceeds' if number == 1 else 'exceed'} [0, 1]: {self._advice()}. "
                "Nothing was scored"
            )

    def _check_colours(self) -> None:
        """Refuse palettes that are neither grey nor black and one colour."""
        named = [colour for colour in self.colours if not _is_grey(colour)]
        if not named:
            return
        others = self.largest.keys() - {"uint8"} or self.floating
        one_and_black = len(named) == 1 and {*self.colours} <= {0, *named}
        if one_and_black and not others and self.codes["uint8"] <= {0, _BYTE}:
            return
        listed = [_colour_name(colour) for colour in sorted(self.colours)]
        few = len(listed) == 2
        one, two = (f"'{listed[-1]}'", f"'{listed[0]}'") if few else ("RULE", "rest")
        raise DataError(
            f"palettes of predictions hold {', '.join(listed[:8])}"
            f"{', ...' if len(listed) > 8 else ''}; expected grey levels, or black and "
            "one other colour. Name the changed ones: "
            f"--pred-changed {one} --pred-unchanged {two}"
            + (f", or --pred-changed {two} --pred-unchanged {one}" if few else "")
        )

    def _common_scale(self, dtype: str) -> float:
        """What the values of a type are divided by when they are no labels."""
        low, high = self.smallest[dtype], self.largest[dtype]
        kind, scale = self.choice.kind, self.choice.scale
        if scale is not None:
            if low < 0 or high > scale:
                raise DataError(
                    f"{dtype} predictions hold values from {low:,} to {high:,}; "
                    f"--scale {scale:g} expects 0 to {scale:g}"
                )
            return scale
        if kind is Kind.HARD:
            raise DataError(
                f"predictions hold values up to {high:,}; expected only 0 and 1, or 0 "
                f"and 255, for --kind hard. {self._codes_advice(dtype)}"
            )
        if low < 0 or dtype not in SCALE:
            raise DataError(
                f"{dtype} predictions hold values from {low:,} to {high:,}; expected "
                "labels 0 and 1, or 0 and 255, or probabilities as floating numbers, "
                f"uint8 or uint16. {self._integer_advice(dtype)}"
            )
        if kind is None and high <= SCALE[dtype] // 2 + 1:
            raise DataError(
                f"{dtype} predictions stay at or below {high:,}; scaled probabilities "
                f"reach {SCALE[dtype]:,}. {self._integer_advice(dtype)}"
            )
        if (
            kind is None
            and self.pixels >= MANY_PIXELS
            and _are_codes(self.codes[dtype])
        ):
            listed = ", ".join(map(str, sorted(self.codes[dtype])))
            divides = f", or --kind prob divides by {SCALE[dtype]:,}"
            raise DataError(
                f"{dtype} predictions hold {listed} alone, which look like codes, not "
                f"like probabilities. {self._codes_advice(dtype)}"
                + divides
                * (2 * low < SCALE[dtype])
            )
        if kind is None and (KAPPA.of(self.low_labels[dtype]) or 0) > _CLEAR:
            raise DataError(
                f"some {dtype} predictions hold 0 and 1 alone, others values up to "
                f"{high:,}: labels beside scaled probabilities? Save all in one way. "
                f"If they are not labels, --kind prob divides all by {SCALE[dtype]:,}"
            )
        return float(SCALE[dtype])

    def _integer_advice(self, dtype: str) -> str:
        """What settles integers: codes where they are few, else a scale."""
        high = self.largest[dtype]
        few = len(self.codes[dtype]) <= MANY_LEVELS
        scale = _scale_of(high)
        if self.smallest[dtype] < 0 or (few and high not in _SCALES):
            return self._codes_advice(dtype)
        if scale is None:
            return "--scale N divides by the number N that stands for 1"
        name = {100: "Per cent", 255: "Bytes"}.get(scale, "A fixed-point scale")
        advice = f"{name}? --scale {scale} divides"
        return f"{advice}. {self._codes_advice(dtype)}" if few else advice

    def _codes_advice(self, dtype: str) -> str:
        codes = sorted(self.codes[dtype])
        if len(codes) == 2:
            low, high = codes
            way = f"--pred-changed {high} --pred-unchanged {low}"
            return f"Two codes? {way} if {high} is changed"
        return "Codes of classes? --pred-changed RULE --pred-unchanged RULE"

    def _advice(self) -> str:
        """What settles floating numbers outside [0, 1], by their range."""
        low, high = self.low, self.high
        held = f"they hold {low:.5g} to {high:.5g}"
        if self.choice.scale is not None:
            held = f"divided by --scale {self.choice.scale:g}, {held}"
        inside = self.floats - len(self.outside)
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return f"{held}; rounding? Clip them before they are saved"
        if low < _NODATA:
            return f"{held}; {low:.5g} may be nodata that the files do not declare"
        if inside > (0 if low < 0 else self.zero) or self.largest:
            return self._mixed_advice()
        if self.choice.scale is not None:
            return held
        if high <= 0:
            return f"{held}; logarithms of probabilities? Save their exponentials"
        if low <= -1 and -low * _FEW > high:
            return f"{held}; if they are logits: --kind logit"
        scale = _scale_of(high)
        if low < 0 or scale is None or high < _FEW:
            logits = "with --kind logit, " * (low < 0)
            return (
                f"{held}; say what they are with --scale N, {logits}or with "
                "--pred-changed RULE --pred-unchanged RULE"
            )
        return f"{held}; {'per cent? ' * (scale == 100)}--scale {scale} divides"

    def _mixed_advice(self) -> str:
        """What settles a set of which a part lies outside [0, 1]."""
        names = ", ".join(self.outside[:_NAMED])
        more = len(self.outside) - _NAMED
        return (
            f"{names}{f' and {more:,} more' if more > 0 else ''}; the others do not, "
            f"and all together hold {self.low:.5g} to {self.high:.5g}. Save the former "
            "as probabilities, or leave them out. If all files hold numbers of one "
            "kind, name it with --kind or --scale"
        )

    # What is said.

    @property
    def text(self) -> str:
        """What the predictions are, in words."""
        parts = [self._floating_text()] if self.floating else []
        parts += [self._text(dtype) for dtype in sorted(self.largest)]
        return ("; ".join(parts) + self.choice.text).removeprefix(", ")

    def _floating_text(self) -> str:
        if self.choice.rule is not None:
            return f"hard labels ({self.choice.rule})"
        kinds = {Kind.LOGIT: "logits", Kind.HARD: "hard labels"}
        name = kinds.get(self.choice.kind or Kind.PROB, "probabilities")
        over = "" if self.choice.scale is None else f" / {self.choice.scale:g}"
        return f"{name} ({', '.join(f'{one}{over}' for one in sorted(self.floating))})"

    def _text(self, dtype: str) -> str:
        if self.choice.rule is not None:
            return f"hard labels ({self.choice.rule})"
        if self.choice.scale is not None:
            return f"probabilities ({dtype} / {self.choice.scale:g})"
        if not self.reads_labels(dtype):
            return f"probabilities ({dtype} / {SCALE.get(dtype, 1)})"
        colour = next((c for c in self.colours if not _is_grey(c)), None)
        if colour is not None:
            name = _colour_name(colour)
            return f"hard labels (changed {name}, unchanged {_colour_name(0)})"
        return f"hard labels (0 and {1 if self.largest[dtype] <= 1 else _BYTE})"

    def messages(self, name: str) -> list[Message]:
        """What to tell about the predictions of a model, beside what they are."""
        found = []
        colour = next((c for c in self.colours if not _is_grey(c)), None)
        share = self.colours[colour] / self.colours.total() if colour else 0
        if colour and share > 0.5:
            options = ("--pred-changed", "--pred-unchanged")
            text = mostly_changed_text(share, _colour_name(colour), options)
            found.append(Message(Level.WARNING, f"{name}: {text}"))
        if self.jpeg:
            text = (
                f"labels in JPEG files ({self.jpeg:,} of {self.files:,}): compression "
                "changed pixels near edges. Save labels as PNG"
            )
            found.append(Message(Level.WARNING, f"{name}: {text}"))
        low, high = self._probabilities()
        if (
            SIGMOID[0] <= low < high <= SIGMOID[1]
            and self.choice.kind is not Kind.LOGIT
        ):
            text = (
                f"every probability lies between {low:.4f} and {high:.4f}: was the "
                "sigmoid applied twice?"
            )
            found.append(Message(Level.WARNING, f"{name}: {text}"))
        return found

    def _probabilities(self) -> tuple[float, float]:
        """The lowest and highest probability; not a number where there is none."""
        ends = [(self.low, self.high)] if self.low <= self.high else []
        for dtype, high in self.largest.items():
            if not self.reads_labels(dtype):
                full = self.choice.scale or SCALE.get(dtype, 1)
                # Half a step up and down: levels are rounded.
                low = (self.smallest[dtype] + 0.5) / full
                ends.append((low, (high - 0.5) / full))
            else:
                ends.append((0.0, 1.0))
        if not ends:
            return np.nan, np.nan
        return min(low for low, _ in ends), max(high for _, high in ends)


def _scale_of(high: float) -> int | None:
    """What the highest number of predictions is likely to be divided by."""
    return next((one for one in _SCALES if one / 2 < high <= one), None)


def _is_grey(colour: int) -> bool:
    return colour >> 16 == colour >> 8 & _BYTE == colour & _BYTE


def _colour_name(colour: int) -> str:
    return f"#{colour:06x}"


def scales_of(stored: StoredCounts | None, choice: ModelChoice) -> dict[bool, float]:
    """What the numbers of a prediction may be divided by, until all are known.

    Example:
        >>> from cdstats.score.levels import count_stored
        >>> labels = np.array([0, 1], dtype=np.uint8)
        >>> scales_of(count_stored(labels, labels), ModelChoice())
        {True: 1.0, False: 255.0}
    """
    if stored is None:
        return {False: 1.0}
    if choice.scale is not None and choice.kind is not Kind.LOGIT:
        return {False: choice.scale}
    if stored.dtype == "float16":
        return {False: 1.0}
    if stored.dtype == "bool":
        return {True: 1.0, False: 1.0}
    plain = plain_counts(stored)
    scales = {True: label_scale(plain), False: SCALE.get(plain.dtype)}
    if choice.rule is not None:
        return {True: 1.0}
    if choice.kind is not None:
        scales.pop(choice.kind is not Kind.HARD)
    return {labels: float(scale) for labels, scale in scales.items() if scale}


def wrong_values_text(not_finite: int, outside: int) -> str:
    """Why floating scores cannot be probabilities."""
    if not_finite:
        return f"is NaN or infinite on {counted(not_finite, 'valid pixel')}"
    return f"is outside [0, 1] on {counted(outside, 'valid pixel')}"


def is_stored(dtype: np.dtype[np.generic], kind: Kind | None) -> bool:
    """Whether predictions of a type are counted by level instead of summed."""
    return dtype.kind in "bui" or (dtype == np.float16 and kind is not Kind.LOGIT)
