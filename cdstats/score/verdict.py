"""The meaning of stored predictions, decided from all predictions of a model."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue import LevelValues, level_value
from cdstats.core.detection import MANY_LEVELS, has_two_peaks
from cdstats.core.errors import DataError, Level, Message, counted
from cdstats.core.histogram import LevelCounts
from cdstats.core.metrics import KAPPA, Confusion
from cdstats.core.refusals import mostly_changed_text
from cdstats.core.rule_sensitivity import by_rules
from cdstats.core.sums import ImageSums
from cdstats.io.predictions import PALETTE
from cdstats.score.choices import Kind
from cdstats.score.curves import Ranked
from cdstats.score.levels import (
    SCALE,
    label_scale,
    ranks_of,
    ranks_of_codes,
)
from cdstats.score.scorer import SIGMOID, wrong_values_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.catalogue import Loss
    from cdstats.score.choices import ModelChoice, Needs, PredictionChoice
    from cdstats.score.scorer import Outcome, PredictionState

_BYTE: Final = 255
_FEW_LEVELS: Final = 3
_MANY_PIXELS: Final = 1000
"""Number of pixels from which the output of a network has more than a few levels."""
_SCALES: Final = (100, 127, 128, 255, 1000, 4095, 10_000, 32_767, 65_535)
"""Usual values for a probability of 1; the highest number exceeds half of it."""
_CLEAR_KAPPA: Final = 0.4
"""Kappa above which agreement is not due to chance."""
_NAMED: Final = 3
"""Number of predictions that a message names."""
_FEW: Final = 10.0
"""Floating numbers below this are neither per cent nor bytes."""
_ROUNDING: Final = 1e-2
_NODATA: Final = -1000.0
"""Floating numbers below this are nodata, not logits."""
_BY_MODEL: Final = re.compile(
    r"--(?:kind|scale|pred-changed|pred-unchanged) "
    r"(?=(?:logit|prob|hard|N|RULE|rest|-?[\d.]+)\b|')"
)
"""An option about predictions in a message, before its value."""


class Numbers:
    """The stored numbers of the predictions of a model, and their meaning.

    ``held`` counts the integers of each type, and ``scaled`` are the types of which a
    file has more than labels. ``low`` and ``high`` are the range of floating numbers,
    and ``outside`` names predictions with floating numbers outside [0, 1].
    """

    def __init__(self, choice: ModelChoice, states: Sequence[PredictionState]) -> None:
        self.choice, self._states = choice, states
        self._floats = [one for one in states if one.exceeds is not None]
        self.floating = {one.dtype for one in self._floats}
        self.outside = [one.place.pred for one in self._floats if one.exceeds]
        lows, highs = zip(
            (np.inf, -np.inf), *(s.ends for s in self._floats), strict=True
        )
        self.low, self.high = min(lows), max(highs)
        self._parts: dict[str, list[LevelCounts]] = {}
        self._jpegs: list[dict[int, int]] = []
        self.colours: Counter[int] = Counter()
        for one in states:
            if one.stored is None or one.reason or one.dtype == "float16":
                continue
            counts = one.numbers
            self._parts.setdefault(one.number_type, []).append(counts)
            if one.dtype == PALETTE:
                self.colours.update(_by_value(one.stored))
            if one.is_jpeg and one.number_type == "uint8" and choice.rule is None:
                self._jpegs.append(_by_value(counts))
        joined = {name: LevelCounts.joined(each) for name, each in self._parts.items()}
        self.held = {name: counts for name, counts in joined.items() if counts.valid}
        self.scaled = {
            name
            for name in self.held
            if choice.rule is None and None in map(label_scale, self._parts[name])
        }

    @property
    def types(self) -> set[str]:
        """The types of all stored numbers."""
        return {*self.floating, *self.held}

    def reads_labels(self, dtype: str) -> bool:
        """Whether the integers of a type are labels."""
        if self.choice.kind is Kind.PROB or self.choice.scale is not None:
            return False
        dtype = "uint8" if dtype == PALETTE else dtype
        return dtype not in self.scaled and dtype in self.held

    def levels(self, state: PredictionState) -> LevelCounts:
        """The counts of a prediction with stored values converted to probabilities.

        Raises:
            DataError: If a value is not a probability.
        """
        stored = state.numbers
        values = stored.values.astype(np.float64) / self._scale(state)
        found = replace(stored, values=values)
        wrong, outside = ~np.isfinite(values), (values < 0) | (values > 1)
        if wrong.any() or outside.any():
            bad = int(found.pixels[wrong].sum()), int(found.pixels[outside].sum())
            raise DataError(wrong_values_text(*bad))
        if self.choice.kind is Kind.HARD and not np.isin(values, (0, 1)).all():
            raise DataError("expected only 0 and 1 for --kind hard")
        return found

    def _scale(self, state: PredictionState) -> float:
        """The divisor of the stored values of a prediction."""
        dtype = state.number_type
        if self.choice.scale is not None and self.choice.kind is not Kind.LOGIT:
            return self.choice.scale
        if dtype in ("float16", "bool") or dtype not in self.held:
            return 1.0
        if self.reads_labels(dtype):
            return label_scale(state.numbers) or 1.0
        if dtype not in SCALE:
            self._check_integers(dtype)
        return float(SCALE[dtype])

    def check(self) -> None:
        """Check that the meaning of the predictions is clear.

        Raises:
            DataError: If it is not.
        """
        low_codes = sum(set(levels) == {0, 1} for levels in self._jpegs)
        if low_codes and self.choice.kind is None:
            raise DataError(
                f"{counted(low_codes, 'prediction', 'hold')} 0 and 1 in JPEG, "
                "whose compression changes many such pixels. Save labels as PNG, or "
                "count nonzero pixels: --pred-changed '>0' --pred-unchanged 0"
            )
        self._check_colours()
        for dtype in self.held if self.choice.scale else self.scaled:
            self._check_integers(dtype)
        if self.outside and self.choice.kind is None:
            number = len(self.outside)
            raise DataError(
                f"{number:,} of {counted(len(self._floats), 'prediction')} "
                f"{'exceeds' if number == 1 else 'exceed'} [0, 1]: {self._advice()}. "
                "Nothing was scored"
            )

    def _check_colours(self) -> None:
        """Raise if palettes are neither grey nor black and one other colour."""
        named = [colour for colour in self.colours if not _is_grey(colour)]
        others = self.held.keys() - {"uint8"} or self.floating
        plain = not others and {*self.colours} <= {0, *named}
        if not named or (
            plain and len(named) == 1 and {*self._codes("uint8")} <= {0, _BYTE}
        ):
            return
        listed = [f"#{colour:06x}" for colour in sorted(self.colours)]
        few = len(listed) == 2
        one, two = (f"'{listed[-1]}'", f"'{listed[0]}'") if few else ("RULE", "rest")
        raise DataError(
            f"palettes of predictions hold {', '.join(listed[:8])}"
            f"{', ...' if len(listed) > 8 else ''}; expected grey levels, or black and "
            "one other colour. Name the changed colours: "
            f"--pred-changed {one} --pred-unchanged {two}"
            + (f", or --pred-changed {two} --pred-unchanged {one}" if few else "")
        )

    def _codes(self, dtype: str) -> list[int]:
        """The distinct integers of a type, truncated if there are many."""
        return [int(one) for one in self.held[dtype].values[: MANY_LEVELS + 1]]

    def _ends(self, dtype: str) -> tuple[int, int]:
        values = self.held[dtype].values
        return int(values[0]), int(values[-1])

    def _check_integers(self, dtype: str) -> None:
        """Raise if integers are neither labels nor use the range of their type."""
        (low, high), codes = self._ends(dtype), self._codes(dtype)
        kind, scale, full = self.choice.kind, self.choice.scale, SCALE.get(dtype, 0)
        expected = "labels 0 and 1, or 0 and 255"
        divides = f"--kind prob divides by {full:,}"
        # Few values, or class codes with a code for ignored pixels.
        few = len(codes) <= _FEW_LEVELS or (
            len(codes) <= MANY_LEVELS and codes[-2] <= len(codes)
        )
        if scale is not None:
            if low >= 0 and high <= scale:
                return
            expected = f"0 to {scale:g} for --scale {scale:g}"
            advice = ""
        elif kind is Kind.HARD:
            expected += " for --kind hard"
            advice = self._codes_advice(dtype)
        elif low < 0 or not full or (kind is None and high <= full // 2 + 1):
            most = f" or scaled to {full:,}" if full else ", uint8 or uint16"
            expected += f", or probabilities as floating numbers{most}"
            advice = self._integer_advice(dtype)
        elif kind is not None:
            return
        elif few and self.held[dtype].valid >= _MANY_PIXELS:
            expected += ", or more levels of probability"
            advice = self._codes_advice(dtype) + f", or {divides}" * (2 * low < full)
        elif self._has_labels(dtype):
            expected = "labels or scaled probabilities"
            advice = f"Some hold only 0 and 1: save all in the same way, or {divides}"
        else:
            return
        held = f"values from {low:,} to {high:,}"
        if len(codes) <= _FEW_LEVELS:
            held = f"only {', '.join(map(str, codes))}"
        text = f"{dtype} predictions hold {held}; expected {expected}. {advice}"
        raise DataError(text.removesuffix(". "))

    def _has_labels(self, dtype: str) -> bool:
        """Whether predictions that contain only 0 and 1 agree with the masks."""
        pairs = [one for one in self._parts[dtype] if one.values.tolist() == [0, 1]]
        if not pairs:
            return False
        found = LevelCounts.joined(pairs)
        (fn, tp), (tn, fp) = found.changed.tolist(), found.unchanged.tolist()
        return (KAPPA.of(Confusion(tp, fp, fn, tn)) or 0) > _CLEAR_KAPPA

    def _integer_advice(self, dtype: str) -> str:
        """Advice for unclear integers: rules for few codes, otherwise a scale."""
        low, high = self._ends(dtype)
        few = len(self._codes(dtype)) <= MANY_LEVELS
        if low < 0 or (few and high not in _SCALES):
            return self._codes_advice(dtype)
        advice = f"--scale {_scale_of(high) or 'N'} divides by the value that means 1"
        return f"{advice}. {self._codes_advice(dtype)}" if few else advice

    def _codes_advice(self, dtype: str) -> str:
        codes = self._codes(dtype)
        if len(codes) != 2:
            return "Class codes? --pred-changed RULE --pred-unchanged RULE"
        low, high = codes
        way = f"--pred-changed {high} --pred-unchanged {low}"
        return f"Two class codes? {way} if {high} is changed"

    def _advice(self) -> str:
        """Advice for floating numbers outside [0, 1], based on their range."""
        low, high, by = self.low, self.high, self.choice.scale
        held = f"they hold {low:.5g} to {high:.5g}"
        if by is not None:
            held = f"divided by --scale {by:g}, {held}"
        inside = [one for one in self._floats if not one.exceeds]
        if low >= 0:
            # A prediction of zeros fits every scale.
            inside = [one for one in inside if not one.is_zero]
        scale = _scale_of(high)
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return f"{held}; rounding? Clip them before they are saved"
        if low < _NODATA:
            return f"{held}; {low:.5g} may be nodata that the files do not declare"
        if inside or self.held:
            more = len(self.outside) - _NAMED
            names = ", ".join(self.outside[:_NAMED])
            return (
                f"{names}{f' and {more:,} more' if more > 0 else ''}; the others do "
                f"not. In total {held}. Save all in the same way, or use --kind or "
                "--scale"
            )
        if by is not None:
            return held
        if high <= 0:
            return f"{held}; logarithms of probabilities? Save their exponentials"
        if low <= -1 and -low * _FEW > high:
            return f"{held}; if they are logits: --kind logit"
        if low < 0 or scale is None or high < _FEW:
            logits = "with --kind logit, " * (low < 0)
            return (
                f"{held}; say what they are with --scale N, {logits}or with "
                "--pred-changed RULE --pred-unchanged RULE"
            )
        return f"{held}; --scale {scale} divides"

    @property
    def text(self) -> str:
        """A description of the predictions, such as ``probabilities (float32)``."""
        parts = [self._text(dtype) for dtype in sorted(self.held)]
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
        return f"hard labels (0 and {1 if self._ends(dtype)[1] <= 1 else _BYTE})"

    @property
    def _colour(self) -> int | None:
        """The colour of palettes that means changed, or None."""
        return next((one for one in self.colours if not _is_grey(one)), None)

    def messages(self, name: str) -> list[Message]:
        """Warnings about the predictions of a model."""
        texts = []
        colour = self._colour
        share = self.colours[colour] / self.colours.total() if colour else 0
        if colour and share > 0.5:
            options = ("--pred-changed", "--pred-unchanged")
            texts.append(mostly_changed_text(share, f"#{colour:06x}", options))
        are_labels = (v.keys() <= {0, _BYTE} or has_two_peaks(v) for v in self._jpegs)
        if jpeg := sum(are_labels):
            texts.append(
                f"labels in JPEG files ({jpeg:,} of {len(self._states):,}): "
                "compression changed pixels near edges. Save labels as PNG"
            )
        low, high = self._probabilities()
        usual = SIGMOID[0] <= low < high <= SIGMOID[1]
        if usual and self.choice.kind is not Kind.LOGIT:
            texts.append(
                f"every probability lies between {low:.4f} and {high:.4f}: was the "
                "sigmoid applied twice?"
            )
        return [Message(Level.WARNING, f"{name}: {text}") for text in texts]

    def _probabilities(self) -> tuple[float, float]:
        """The lowest and highest probability; NaN if there is none."""
        ends = [(self.low, self.high)] if self.low <= self.high else []
        for dtype in self.held:
            low, high = self._ends(dtype)
            full = self.choice.scale or SCALE.get(dtype, 1)
            # Levels are rounded, so the range may be half a step narrower.
            shown = (low + 0.5) / full, (high - 0.5) / full
            ends.append((0.0, 1.0) if self.reads_labels(dtype) else shown)
        if not ends:
            return np.nan, np.nan
        lows, highs = zip(*ends, strict=True)
        return min(lows), max(highs)


def _by_value(counts: LevelCounts) -> dict[int, int]:
    return dict(zip(counts.values.tolist(), counts.pixels.tolist(), strict=True))


def _scale_of(high: float) -> int | None:
    """The likely divisor of predictions with this highest number."""
    return next((one for one in _SCALES if one / 2 < high <= one), None)


def _is_grey(colour: int) -> bool:
    return colour >> 16 == colour >> 8 & _BYTE == colour & _BYTE


class Verdict:
    """Decides the meaning of the predictions of a run, and evaluates each of them.

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
        states: dict[str, list[PredictionState]] = {}
        for state in outcome.states:
            states.setdefault(state.place.model, []).append(state)
        self._numbers = {
            model: Numbers(choice.of(model), own) for model, own in states.items()
        }

    @property
    def types(self) -> set[str]:
        """The types of all stored numbers."""
        return {dtype for one in self._numbers.values() for dtype in one.types}

    def kind_text(self, model: str) -> str:
        """A description of the predictions of a model."""
        return self._numbers[model].text

    @property
    def messages(self) -> list[Message]:
        """Warnings about the predictions of all models."""
        found = []
        for model, numbers in self._numbers.items():
            found += numbers.messages(f"predictions of {model}".removesuffix(" of "))
        return found

    def results(self) -> list[PredictionState]:
        """Every prediction with its sums, in row order.

        Raises:
            DataError: If the meaning of the predictions is unclear.
            UsageError: If a loss needs logits and predictions are not logits.
        """
        self._needs.refuse_without_logits(all_logits=self._choice.all_logits)
        for model, numbers in self._numbers.items():
            try:
                numbers.check()
            except DataError as error:
                if len(self._numbers) == 1:
                    raise
                # The options in the message apply only to this model.
                named = _BY_MODEL.sub(rf"\g<0>{model}=", str(error))
                raise DataError(f"{model}: {named}") from None
        for state in self._outcome.states:
            try:
                if not state.reason:
                    self._evaluate(state)
            except DataError as error:
                state.reason, state.sums = str(error), None
        return self._outcome.states

    def level_values(
        self, loss: Loss, scored: Sequence[PredictionState]
    ) -> LevelValues | None:
        """The values of a loss from levels for `evaluate`; None for other losses."""
        if loss.entry.from_levels is None:
            return None
        pooled = self.pooled_value(loss, scored[0].place.model) if scored else None
        return LevelValues([one.values.get(loss) for one in scored], pooled)

    def pooled_value(self, loss: Loss, model: str = "") -> float | None:
        """The value of a loss from levels over all predictions of a model."""
        parts = [
            pool.total
            for (name, dtype, as_labels), pool in self._outcome.pools.items()
            if name == model and as_labels is self._numbers[name].reads_labels(dtype)
        ]
        return level_value(loss, LevelCounts.joined(parts)) if parts else None

    def _evaluate(self, state: PredictionState) -> None:
        """Complete a prediction with sums, and with ranks and rules if requested."""
        sums, ranks = self._summed(state)
        as_labels = self._numbers[state.place.model].reads_labels(state.dtype)
        state.values, terms = state.whole.get(as_labels, ({}, {}))
        state.sums = sums.with_terms(terms)
        if ranks is not None:
            # With ``fill``, pixels without a score count as p = 0.
            some = int(self._fill and state.uncovered.any())
            none, one = np.repeat(state.uncovered[:, None], some, axis=1)
            apart = LevelCounts(np.zeros(some, dtype=np.uint64), one, none)
            exact = state.stored is not None
            joined = LevelCounts.joined([ranks, apart])
            state.ranked = Ranked(state.rank, joined, exact, apart)
        if state.greys:
            # The counts under each common rule follow from those of the grey classes.
            outer, inner = (
                self._summed(state.greys[n])[0] if n in state.greys else ImageSums()
                for n in range(2)
            )
            state.by_rules = by_rules(
                (outer.fp, inner.fp, inner.tp, outer.tp),
                (outer.tn, inner.tn, inner.fn, outer.fn),
            )

    def _summed(self, state: PredictionState) -> tuple[ImageSums, LevelCounts | None]:
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
        sums = replace(sums, uncovered=unchanged + changed, labels=state.labels)
        if self._fill and not state.soft:
            sums = replace(sums, fn=sums.fn + changed, tn=sums.tn + unchanged)
        return sums, ranks
