"""What the numbers of predictions are, decided on all those of a model together."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue import LevelValues, level_value
from cdstats.core.detection import MANY_LEVELS, has_two_peaks
from cdstats.core.errors import DataError, Level, Message, counted
from cdstats.core.histogram import LevelCounts
from cdstats.core.metrics import KAPPA, Confusion
from cdstats.core.refusals import mostly_changed_text, two_levels_text
from cdstats.core.rule_sensitivity import by_rules
from cdstats.core.sums import ImageSums
from cdstats.io.predictions import PALETTE
from cdstats.score.choices import Kind
from cdstats.score.curves import Ranked
from cdstats.score.levels import (
    SCALE,
    LevelPool,
    few_levels,
    label_scale,
    ranks_of,
    ranks_of_codes,
    scaled,
)
from cdstats.score.scorer import SIGMOID, wrong_values_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdstats.core.catalogue import Loss
    from cdstats.core.pixel_terms import Term
    from cdstats.core.score_records import Place
    from cdstats.score.choices import ModelChoice, Needs, PredictionChoice
    from cdstats.score.scorer import Outcome, PredictionState

_BYTE: Final = 255
_FEW_LEVELS: Final = 3
_MANY_PIXELS: Final = 1000
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
_BY_MODEL: Final = re.compile(
    r"--(?:kind|scale|pred-changed|pred-unchanged) "
    r"(?=(?:logit|prob|hard|N|RULE|rest|-?[\d.]+)\b|')"
)
"""Where a message says what predictions are, up to the value."""


class Numbers:
    """What the predictions of a model hold, and what that means.

    Of each integer type, ``largest``, ``smallest`` and ``codes`` hold the ends and the
    first few of many values; ``scaled`` are the types of which a file holds more than
    labels. ``low`` and ``high`` are the ends of floating numbers, and ``outside`` names
    predictions of them that leave [0, 1].
    """

    def __init__(self, choice: ModelChoice) -> None:
        self.choice = choice
        self._states: list[PredictionState] = []
        self.largest: dict[str, int] = {}
        self.smallest: dict[str, int] = {}
        self.codes: dict[str, set[int]] = {}
        self.scaled: set[str] = set()
        self.floating: set[str] = set()
        self.low, self.high = np.inf, -np.inf
        self.outside: list[str] = []
        self.zero = self.jpeg = self.low_codes = self.pixels = 0
        self.colours: Counter[int] = Counter()
        self.low_labels: dict[str, Confusion] = defaultdict(Confusion)

    def add(self, state: PredictionState) -> None:
        """Take note of a prediction."""
        self._states.append(state)
        if state.tiles is not None or state.dtype == "float16":
            self.floating.add(state.dtype)
        if state.exceeds is not None:
            self.outside += [state.place.pred] * state.exceeds
            self.zero += not state.exceeds and state.is_zero
            self._widen(state.low, state.high)
        if state.stored is None or state.reason:
            return
        if state.dtype == PALETTE:
            each = state.stored.values.tolist(), state.stored.pixels.tolist()
            self.colours.update(dict(zip(*each, strict=True)))
        dtype, stored = state.number_type, state.numbers
        values = stored.values
        if not values.size:
            return
        if dtype == "float16":
            shown = values[np.isfinite(values)]
            low, high = shown.min(initial=np.inf), shown.max(initial=-np.inf)
            self._widen(float(low), float(high))
            return
        self.smallest[dtype] = min(int(values[0]), self.smallest.get(dtype, 1 << 64))
        self.largest[dtype] = max(int(values[-1]), self.largest.get(dtype, -1 << 64))
        self.pixels += stored.valid
        held = self.codes.setdefault(dtype, set())
        if len(held) <= MANY_LEVELS:
            held.update(values[: MANY_LEVELS + 1].tolist())
        if self.choice.rule is None and label_scale(stored) is None:
            self.scaled.add(dtype)
        if values.tolist() == [0, 1]:
            (fn, tp), (tn, fp) = stored.changed.tolist(), stored.unchanged.tolist()
            self.low_labels[dtype] += Confusion(tp, fp, fn, tn)
        if state.is_jpeg and dtype == "uint8" and self.choice.rule is None:
            levels = dict(zip(values.tolist(), stored.pixels.tolist(), strict=True))
            self.jpeg += set(levels) <= {0, _BYTE} or has_two_peaks(levels)
            self.low_codes += set(levels) == {0, 1}

    def _widen(self, low: float, high: float) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)

    @property
    def _floats(self) -> list[PredictionState]:
        """The predictions of floating numbers."""
        return [one for one in self._states if one.exceeds is not None]

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

    def levels(self, state: PredictionState) -> LevelCounts:
        """The probabilities of stored values.

        Raises:
            DataError: If a value cannot be one.
        """
        found = scaled(state.numbers, self._scale(state))
        values = found.values
        wrong, outside = ~np.isfinite(values), (values < 0) | (values > 1)
        if wrong.any() or outside.any():
            bad = int(found.pixels[wrong].sum()), int(found.pixels[outside].sum())
            raise DataError(wrong_values_text(*bad))
        if self.choice.kind is Kind.HARD and not np.isin(values, (0, 1)).all():
            raise DataError("expected only 0 and 1 for --kind hard")
        return found

    def _scale(self, state: PredictionState) -> float:
        """What the stored values of a prediction are divided by."""
        dtype = state.number_type
        if self.choice.scale is not None and self.choice.kind is not Kind.LOGIT:
            return self.choice.scale
        if dtype in ("float16", "bool") or dtype not in self.largest:
            return 1.0
        if self.reads_labels(dtype):
            return label_scale(state.numbers) or 1.0
        return self._common_scale(dtype)

    def check(self) -> None:
        """Refuse predictions of which nothing says what they are.

        Raises:
            DataError: If there are any.
        """
        self._check_colours()
        if self.low_codes and self.choice.kind is None:
            raise DataError(
                f"{counted(self.low_codes, 'prediction', 'hold')} 0 and 1 in JPEG, "
                "whose compression changes many such pixels. Save labels as PNG, or "
                "count what is left with --pred-changed '>0' --pred-unchanged 0"
            )
        for dtype in self.largest if self.choice.scale else self.scaled:
            self._common_scale(dtype)
        if self.outside and self.choice.kind is None:
            number = len(self.outside)
            raise DataError(
                f"{number:,} of {counted(len(self._floats), 'prediction')} "
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
        listed = [f"#{colour:06x}" for colour in sorted(self.colours)]
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
        full = SCALE[dtype]
        if kind is not None:
            return float(full)
        if high <= full // 2 + 1:
            raise DataError(
                f"{dtype} predictions stay at or below {high:,}; scaled probabilities "
                f"reach {full:,}. {self._integer_advice(dtype)}"
            )
        codes = sorted(self.codes[dtype])
        # Few values, or classes beside the code of ignored pixels.
        are_classes = len(codes) <= MANY_LEVELS and codes[-2:][0] <= len(codes)
        if self.pixels >= _MANY_PIXELS and (len(codes) <= _FEW_LEVELS or are_classes):
            divides = f", or --kind prob divides by {full:,}" * (2 * low < full)
            raise DataError(
                f"{dtype} predictions hold {', '.join(map(str, codes))} alone, which "
                "look like codes, not like probabilities. "
                f"{self._codes_advice(dtype)}{divides}"
            )
        if (KAPPA.of(self.low_labels[dtype]) or 0) > _CLEAR:
            raise DataError(
                f"some {dtype} predictions hold 0 and 1 alone, others values up to "
                f"{high:,}: labels beside scaled probabilities? Save all in one way. "
                f"If they are not labels, --kind prob divides all by {full:,}"
            )
        return float(full)

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
        inside = len(self._floats) - len(self.outside)
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return f"{held}; rounding? Clip them before they are saved"
        if low < _NODATA:
            return f"{held}; {low:.5g} may be nodata that the files do not declare"
        if inside > (0 if low < 0 else self.zero) or self.largest:
            names = ", ".join(self.outside[:_NAMED])
            more = len(self.outside) - _NAMED
            return (
                f"{names}{f' and {more:,} more' if more > 0 else ''}; the others do "
                f"not, and all together hold {low:.5g} to {high:.5g}. Save the former "
                "as probabilities, or leave them out. If all files hold numbers of one "
                "kind, name it with --kind or --scale"
            )
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

    # What is said.

    @property
    def text(self) -> str:
        """What the predictions are, in words."""
        parts = [self._text(dtype) for dtype in sorted(self.largest)]
        if self.floating:
            kinds = {Kind.LOGIT: "logits", Kind.HARD: "hard labels"}
            name = kinds.get(self.choice.kind or Kind.PROB, "probabilities")
            over = "" if self.choice.scale is None else f" / {self.choice.scale:g}"
            types = ", ".join(f"{one}{over}" for one in sorted(self.floating))
            by_rule = self.choice.rule and f"hard labels ({self.choice.rule})"
            parts.insert(0, by_rule or f"{name} ({types})")
        return ("; ".join(parts) + self.choice.text).removeprefix(", ")

    def _text(self, dtype: str) -> str:
        if self.choice.rule is not None:
            return f"hard labels ({self.choice.rule})"
        if not self.reads_labels(dtype):
            full = SCALE.get(dtype, 1) if self.choice.scale is None else 0
            return f"probabilities ({dtype} / {self.choice.scale or full:g})"
        if self._colour is not None:
            return f"hard labels (changed #{self._colour:06x}, unchanged #000000)"
        return f"hard labels (0 and {1 if self.largest[dtype] <= 1 else _BYTE})"

    @property
    def _colour(self) -> int | None:
        """The colour of palettes that is changed."""
        return next((one for one in self.colours if not _is_grey(one)), None)

    def messages(self, name: str) -> list[Message]:
        """What to tell about the predictions of a model, beside what they are."""
        texts = []
        colour = self._colour
        share = self.colours[colour] / self.colours.total() if colour else 0
        if colour and share > 0.5:
            options = ("--pred-changed", "--pred-unchanged")
            texts.append(mostly_changed_text(share, f"#{colour:06x}", options))
        if self.jpeg:
            texts.append(
                f"labels in JPEG files ({self.jpeg:,} of {len(self._states):,}): "
                "compression changed pixels near edges. Save labels as PNG"
            )
        low, high = self._probabilities()
        usual = SIGMOID[0] <= low < high <= SIGMOID[1]
        if usual and self.choice.kind is not Kind.LOGIT:
            texts.append(
                f"every probability lies between {low:.4f} and {high:.4f}: was the "
                "sigmoid applied twice?"
            )
        if text := self._two_levels_text():
            texts.append(text)
        return [Message(Level.WARNING, f"{name}: {text}") for text in texts]

    def _probabilities(self) -> tuple[float, float]:
        """The lowest and highest probability; not a number where there is none."""
        ends = [(self.low, self.high)] if self.low <= self.high else []
        for dtype, high in self.largest.items():
            full = self.choice.scale or SCALE.get(dtype, 1)
            # Half a step up and down: levels are rounded.
            shown = (self.smallest[dtype] + 0.5) / full, (high - 0.5) / full
            ends.append((0.0, 1.0) if self.reads_labels(dtype) else shown)
        if not ends:
            return np.nan, np.nan
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _two_levels_text(self) -> str:
        """What to tell of floating scores that look like labels; empty for others."""
        levels: frozenset[str] | None = frozenset()
        for one in self._floats:
            levels = few_levels(levels, one.score_levels)
        pixels = sum(math.prod(one.size) for one in self._floats if one.size)
        told = self.choice.kind is not None or self.choice.scale or self.choice.rule
        if told or levels is None or len(levels) < 2 or pixels < _MANY_PIXELS:
            return ""
        low, high = sorted(levels, key=float)
        return "" if (low, high) == ("0", "1") else two_levels_text(low, high)


def _scale_of(high: float) -> int | None:
    """What the highest number of predictions is likely to be divided by."""
    return next((one for one in _SCALES if one / 2 < high <= one), None)


def _is_grey(colour: int) -> bool:
    return colour >> 16 == colour >> 8 & _BYTE == colour & _BYTE


@dataclass(frozen=True)
class Scored:
    """One prediction: its sums, or why it has none."""

    place: Place
    size: tuple[int, int] | None
    grid: str
    sums: ImageSums | None
    values: Mapping[Loss, float | None]
    reason: str
    ranked: Ranked | None
    by_rules: tuple[Confusion, ...] = ()
    """The counts if the mask were binarised by each usual rule, where asked for."""


class Verdict:
    """Decides what the predictions of a run are, and evaluates each.

    With ``fill``, pixels without a score count as predicted unchanged.
    """

    def __init__(
        self,
        outcome: Outcome,
        needs: Needs,
        choice: PredictionChoice,
        *,
        fill: bool = False,
    ) -> None:
        self._outcome, self._needs, self._fill = outcome, needs, fill
        self._choice = choice
        self._numbers: dict[str, Numbers] = {}
        for state in outcome.states:
            model = state.place.model
            numbers = self._numbers.setdefault(model, Numbers(choice.of(model)))
            numbers.add(state)

    @property
    def types(self) -> set[str]:
        """The types of all stored numbers."""
        return {dtype for one in self._numbers.values() for dtype in one.types}

    def kind_text(self, model: str) -> str:
        """What the predictions of a model are, in words."""
        return self._numbers[model].text

    @property
    def messages(self) -> list[Message]:
        """What to tell about the predictions, beside what they are."""
        found = []
        for model, numbers in self._numbers.items():
            found += numbers.messages(f"predictions of {model}".removesuffix(" of "))
        return found

    def results(self) -> list[Scored]:
        """The sums of every prediction, in the order of the rows.

        Raises:
            DataError: If what the predictions are is refused.
            UsageError: If a loss needs logits and they are none.
        """
        self._needs.refuse_without_logits(all_logits=self._choice.all_logits)
        for model, numbers in self._numbers.items():
            try:
                numbers.check()
            except DataError as error:
                if len(self._numbers) == 1:
                    raise
                # Said of one model, so that the others are read as before.
                named = _BY_MODEL.sub(rf"\g<0>{model}=", str(error))
                raise DataError(f"{model}: {named}") from None
        return [self._result(state) for state in self._outcome.states]

    def level_values(self, loss: Loss, scored: Iterable[Scored]) -> LevelValues | None:
        """The values of a loss of levels for `evaluate`; None for other losses."""
        if loss.entry.from_levels is None:
            return None
        rows = list(scored)
        pooled = self.pooled_value(loss, rows[0].place.model) if rows else None
        return LevelValues([one.values.get(loss) for one in rows], pooled)

    def pooled_value(self, loss: Loss, model: str = "") -> float | None:
        """The value of a loss of levels over all predictions of a model together."""
        total = LevelPool()
        for (name, dtype, as_labels), pool in self._outcome.pools.items():
            if name == model and as_labels is self._numbers[name].reads_labels(dtype):
                total.add(pool.total)
        return None if total.is_empty else level_value(loss, total.total)

    def _result(self, state: PredictionState) -> Scored:
        as_labels = self._numbers[state.place.model].reads_labels(state.dtype)
        values, terms = state.whole.get(as_labels, ({}, {}))
        sums, ranked, reason = None, None, state.reason
        found: tuple[Confusion, ...] = ()
        if not reason:
            try:
                sums, ranked = self._evaluate(state, terms)
                found = self._by_rules(state)
            except DataError as error:
                reason = str(error)
        row = state.place, state.size, state.grid
        return Scored(*row, sums, values, reason, ranked, found)

    def _by_rules(self, state: PredictionState) -> tuple[Confusion, ...]:
        """The counts by each usual rule, from those of the classes of grey values."""
        if not state.greys:
            return ()
        none = ImageSums()
        parts = [
            self._evaluate(state.greys[n], {})[0] if n in state.greys else none
            for n in range(2)
        ]
        outer, inner = parts
        return by_rules(
            (outer.fp, inner.fp, inner.tp, outer.tp),
            (outer.tn, inner.tn, inner.fn, outer.fn),
        )

    def _evaluate(
        self, state: PredictionState, extra: Mapping[Term, tuple[float, float]]
    ) -> tuple[ImageSums, Ranked | None]:
        """The sums of a prediction, and its pixels by rank if that was asked for."""
        terms, ignored, ranks = self._needs.terms, state.ignored, None
        if state.stored is not None:
            levels = self._numbers[state.place.model].levels(state)
            cut = self._choice.of(state.place.model).threshold
            sums = levels.sums(threshold=cut, terms=terms, ignored=ignored)
            if self._needs.bins:
                ranks = replace(levels, values=ranks_of(levels.values, logits=False))
        elif state.tiles is None:
            raise DataError("holds no pixels")
        else:
            if bad := state.bad_numbers(kind_is_prob=True):
                raise DataError(bad)
            sums = state.tiles.image_sums(terms, ignored=ignored, soft=state.soft)
            if state.bins is not None:
                ranks = replace(state.bins, values=ranks_of_codes(state.bins.values))
        unchanged, changed = state.uncovered.tolist()
        sums = replace(
            sums.with_terms(extra), uncovered=unchanged + changed, labels=state.labels
        )
        if self._fill and not state.soft:
            sums = replace(sums, fn=sums.fn + changed, tn=sums.tn + unchanged)
        if ranks is None:
            return sums, None
        # Pixels without a score count as p = 0, if they count.
        some = int(self._fill and state.uncovered.any())
        none, one = np.repeat(state.uncovered[:, None], some, axis=1)
        apart = LevelCounts(np.zeros(some, dtype=np.uint64), one, none)
        exact = state.stored is not None
        joined = LevelCounts.joined([ranks, apart])
        return sums, Ranked(state.rank, joined, exact, apart)
