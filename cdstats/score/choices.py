"""Options about predictions: their kind, scale, codes, band and nodata."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.arguments import texts
from cdstats.core.errors import UsageError
from cdstats.core.labels import REST, LabelRule
from cdstats.io.predictions import Decoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cdstats.core.catalogue import Loss
    from cdstats.core.options import ScoreOptions
    from cdstats.core.pixel_terms import Term


_MODEL: Final = re.compile(r"(.*[^=<>])=((?:[^=]|[<>]=)*)", re.DOTALL)
"""The name of a model and a value; the ``=`` of ``>=`` in a rule does not count."""


class Kind(Enum):
    """The meaning of the stored numbers of predictions."""

    PROB = "prob"
    LOGIT = "logit"
    HARD = "hard"


class Nodata(Enum):
    """Treatment of pixels that a prediction declares as nodata or masks out."""

    REFUSE = "refuse"
    KEEP = "keep"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The options of the predictions of one model.

    For ``threshold_from``, see `Stated`.
    """

    kind: Kind | None = None
    scale: float | None = None
    rule: LabelRule | None = None
    band: int | None = None
    nodata: Nodata = Nodata.REFUSE
    threshold: float = 0.5
    threshold_from: str = ""

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale < float("inf"):
            raise UsageError(f"--scale {self.scale:g}: expected a number above 0")
        if self.scale is not None and self.kind is Kind.HARD:
            raise UsageError("--scale is for probabilities; omit --kind hard")
        if self.rule and (
            self.scale is not None or self.kind in (Kind.PROB, Kind.LOGIT)
        ):
            raise UsageError(
                "--pred-changed makes labels; omit --scale and --kind, or the rule"
            )

    @property
    def decoding(self) -> Decoding:
        """The options for reading files."""
        keeps, logits = self.nodata is Nodata.KEEP, self.kind is Kind.LOGIT
        return Decoding(logits, self.scale, self.rule, self.band, keeps)

    @property
    def text(self) -> str:
        """Band and nodata options as text, to append to the kind."""
        band = "" if self.band is None else f", band {self.band}"
        kept = {Nodata.KEEP: ", nodata kept", Nodata.IGNORE: ", nodata ignored"}
        return band + kept.get(self.nodata, "")


@dataclass(frozen=True, slots=True)
class PredictionChoice:
    """The options of predictions, for all models and for models by name."""

    every: ModelChoice = ModelChoice()
    named: Mapping[str, ModelChoice] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: str) -> ModelChoice:
        """The options of a model, or of the model of which it is a run."""
        if model in self.named:
            return self.named[model]
        runs = (one for name, one in self.named.items() if _is_run(model, name))
        return next(runs, self.every)

    def at(self, thresholds: Mapping[str, tuple[float, str]]) -> PredictionChoice:
        """The same options with thresholds of models and the origins of these."""
        named = {
            model: replace(self.of(model), threshold=one, threshold_from=at)
            for model, (one, at) in thresholds.items()
        }
        return replace(self, named={**self.named, **named})

    def check(self, models: Iterable[str]) -> None:
        """Raise if an option names a model that does not exist."""
        known = dict.fromkeys(models)
        for name in self.named:
            if not any(one == name or _is_run(one, name) for one in known):
                listed = ", ".join(known) or "none has a name"
                raise UsageError(
                    f"{self.options[name]} {name}=: no such model; models: {listed}"
                )

    @property
    def kinds(self) -> set[Kind | None]:
        """The kinds of all models; a rule makes labels."""
        choices = (self.every, *self.named.values())
        return {Kind.HARD if one.rule else one.kind for one in choices}

    @property
    def all_logits(self) -> bool:
        """Whether the predictions of every model are logits."""
        return self.kinds == {Kind.LOGIT}


def _is_run(model: str, name: str) -> bool:
    """Whether a model is a run of the named model, such as ``a seed=1`` of ``a``."""
    return re.fullmatch(r" \w+=.*", model.removeprefix(name), re.DOTALL) is not None


def choose_predictions(options: ScoreOptions) -> PredictionChoice:
    """The options of predictions, parsed.

    Example:
        >>> from cdstats.core.options import LossOptions
        >>> chosen = choose_predictions(LossOptions(kind=["prob", "b=logit"]))
        >>> chosen.of("a").kind, chosen.of("b").kind
        (<Kind.PROB: 'prob'>, <Kind.LOGIT: 'logit'>)
    """
    kinds: dict[str, Kind] = {}
    for name, word in _by_model(options.kind):
        if word not in {one.value for one in Kind}:
            text = f"{name}={word}" if name else word
            raise UsageError(f"--kind {text}: expected prob, logit or hard")
        kinds[name] = Kind(word)
    scales: dict[str, float] = {}
    for name, word in _by_model(options.scale):
        try:
            scales[name] = float(word)
        except ValueError:
            raise UsageError(f"--scale {word}: expected a number") from None
    rules = _rules(options)
    origins = {
        **dict.fromkeys(rules, "--pred-changed"),
        **dict.fromkeys(scales, "--scale"),
        **dict.fromkeys(kinds, "--kind"),
    }
    every = ModelChoice(
        kinds.pop("", None),
        scales.pop("", None),
        rules.pop("", None),
        options.pred_band,
        Nodata(options.pred_nodata),
        options.threshold,
    )
    named = {}
    for name in {**kinds, **scales, **rules}:
        # An option of a model replaces conflicting options of all models.
        own, kind, scale = rules.get(name), kinds.get(name), scales.get(name)
        if own is None:
            scored = scale is not None or kind in (Kind.PROB, Kind.LOGIT)
            own = None if scored else every.rule
            kind = every.kind if kind is None else kind
            scale = every.scale if scale is None else scale
        named[name] = replace(every, kind=kind, scale=scale, rule=own)
    for model in [] if every.scale is None else sorted(kinds.keys() - scales.keys()):
        if kinds[model] is Kind.LOGIT and every.kind is not Kind.LOGIT:
            raise UsageError(
                f"--scale {every.scale:g} would also divide the logits of {model}; "
                f"name the model that it is for: --scale NAME={every.scale:g}"
            )
    return PredictionChoice(every, named, origins)


def _rules(options: ScoreOptions) -> dict[str, LabelRule]:
    """The rules of codes by model; the name is empty for all models."""
    changed = dict(_by_model(options.pred_changed))
    unchanged = dict(_by_model(options.pred_unchanged))
    for name in unchanged:
        if not changed or (name and changed.keys().isdisjoint((name, ""))):
            if not name:
                raise UsageError("--pred-unchanged needs --pred-changed")
            text = f"--pred-unchanged {name}= needs --pred-changed {name}="
            raise UsageError(text)
    rules = {}
    for name in {**changed, **unchanged}:
        terms = changed.get(name, changed.get(""))
        if terms is None:
            continue
        rest = unchanged.get(name, unchanged.get("", REST))
        rules[name] = LabelRule.parse(changed=terms, unchanged=rest)
        if not rules[name].changed or not rules[name].unchanged:
            raise UsageError("--pred-changed and --pred-unchanged must name values")
    return rules


def _by_model(values: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - of an option
    """The models and values of an option; the model is empty for all models.

    Example:
        >>> list(_by_model(("2", ">=128", "a=>=128")))
        [('', '2'), ('', '>=128'), ('a', '>=128')]
    """
    for text in texts(values):
        found = _MODEL.fullmatch(text)
        yield (found[1], found[2]) if found else ("", text)


@dataclass(frozen=True)
class Needs:
    """The data that losses need in addition to the plain sums."""

    terms: tuple[Term, ...]
    positions: tuple[Term, ...]
    levels: tuple[Loss, ...]
    bins: bool = False

    @classmethod
    def of(
        cls, losses: Iterable[Loss], prior: float | None, *, bins: bool = False
    ) -> Needs:
        """The needs of these losses."""
        chosen = list(losses)
        terms = dict.fromkeys(t for loss in chosen for t in loss.terms(prior))
        return cls(
            tuple(term for term in terms if not term.needs_positions),
            tuple(term for term in terms if term.needs_positions),
            tuple(loss for loss in chosen if loss.entry.from_levels),
            bins,
        )

    def refuse_without_logits(self, *, all_logits: bool) -> None:
        """Raise if a loss needs logits and predictions are not logits."""
        names = ", ".join(one.name for one in self.levels if one.entry.needs_logits)
        if names and not all_logits:
            raise UsageError(f"{names} is defined only for logits; use --kind logit")

    @property
    def whole(self) -> bool:
        """Whether all scores of an image must be kept until it is complete."""
        return bool(self.positions or self.levels)
