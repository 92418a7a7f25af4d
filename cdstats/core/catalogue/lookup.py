"""The table of losses, and the parser from user input to a `Loss`."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.catalogue import order, pixel, region
from cdstats.core.catalogue.entry import Entry, Reads, Value
from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdstats.core.pixel_terms import Term

_WINDOWS: Final = "it is computed on local windows"
_NETWORK: Final = (
    "it acts on other parts of the network than its output, during training"
)

NOT_SCORES: Final[Mapping[str, str]] = {
    "region_mutual_information": f"{_WINDOWS}, the neighbourhood of every pixel",
    "robust_t_loss": "its parameter nu is learned during training",
    "hausdorff_erosion": f"{_WINDOWS}, by repeated erosion; hausdorff_dt is its "
    "distance-transform form",
    "hausdorff_convolution": f"{_WINDOWS}, by convolutions; hausdorff_dt is its "
    "distance-transform form",
    "shape_aware": "the distance between the contours of a probability map and of a "
    "mask has no agreed definition",
    "boundary_aware": _NETWORK,
    "active_boundary": "it moves boundaries pixel by pixel during training",
    "inverseform": "it needs a trained network that compares boundaries",
    "conditional_boundary": "it needs the features of each pixel's neighbours",
    "region_wise": "its pixel weights are defined for training only",
    "boundary_difference_over_union": "the boundary length in its weight alpha has no "
    "agreed definition; with alpha=0 it is jaccard",
    "cldice": "it needs soft skeletons, computed on local windows",
    "cmssl": f"{_WINDOWS}, weighted by the largest structural error of the image",
    "ssim": _WINDOWS,
    "ldam": "its margins shift the logits during training",
}
"""Losses that cannot be computed from saved predictions, with the reason."""
CATALOGUE: Final[Mapping[str, Entry]] = {
    entry.name: entry for family in (pixel, region, order) for entry in family.ENTRIES
}
"""All losses by name."""

_NEXT_PARAMETER: Final = re.compile(r",(?=\s*\w+=)")
_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss with a value for each of its parameters; `choose` creates it.

    Example:
        >>> parse_loss("focal:alpha=none").column
        'focal[alpha=none,gamma=2]_sum'
    """

    name: str
    values: tuple[Value, ...] = ()

    @property
    def entry(self) -> Entry:
        """The entry of the loss in the catalogue."""
        return CATALOGUE[self.name]

    @property
    def params(self) -> dict[str, Value]:
        """The value of each parameter, including defaults."""
        names = [parameter.name for parameter in self.entry.parameters]
        return dict(zip(names, self.values, strict=True))

    @property
    def label(self) -> str:
        """The name, followed by the parameters in brackets if there are any."""
        typed = (f"{name}={_typed(value)}" for name, value in self.params.items())
        return f"{self.name}[{','.join(typed)}]" if self.values else self.name

    @property
    def column(self) -> str:
        """The name of the column with its value for each image."""
        return (
            f"{self.label}_sum" if "sum" in self.entry.reduction.value else self.label
        )

    @property
    def dataset_columns(self) -> tuple[str, str]:
        """The names of the columns with its values for all images together."""
        total = "sum" in self.entry.reduction.value
        names = ("sum", "mean") if total else ("pooled", "image_mean")
        return f"{self.label}_{names[0]}", f"{self.label}_{names[1]}"

    @property
    def reads(self) -> Reads:
        """The data of the pixels that must be kept to compute it."""
        if self.entry.from_levels:
            return Reads.LOGITS if self.entry.needs_logits else Reads.LEVELS
        terms = self.terms(prior=0.5)
        if any(term.needs_positions for term in terms):
            return Reads.POSITIONS
        return Reads.TERMS if terms else Reads.SUMS

    @property
    def needs_prior(self) -> bool:
        """Whether the prior must be known before predictions are read."""
        return self.params.get("prior") == "dataset"

    def terms(self, prior: float | None = None) -> tuple[Term, ...]:
        """The further sums that it needs; pass the prior if `needs_prior`."""
        return self.entry.terms(**self.arguments(prior)) if self.entry.terms else ()

    def arguments(self, prior: float | None = None) -> dict[str, Any]:
        """The parameters as arguments for the functions of its entry."""
        arguments: dict[str, Any] = self.params
        if self.needs_prior:
            if prior is None:
                raise ValueError(f"{self.label} needs the prior before the pass")
            arguments["prior"] = prior
        if "lambda" in arguments:
            arguments["lambda_"] = arguments.pop("lambda")
        return arguments

    def check_targets(self, *, soft: bool) -> None:
        """Raise a `UsageError` for soft targets of a loss that is for labels only."""
        if soft and not self.entry.soft_targets:
            raise UsageError(
                f"{self.name} is defined for masks of changed and unchanged pixels, "
                "not for targets between 0 and 1. Leave it out, or name the changed "
                "values with --changed."
            )


def choose(name: str, params: Mapping[str, Value] | None = None) -> Loss:
    """The loss with this name and these parameters; others keep their defaults."""
    if name in NOT_SCORES:
        raise UsageError(
            f"{name} is not a score of saved predictions: {NOT_SCORES[name]}."
        )
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, [*CATALOGUE, *NOT_SCORES], cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"there is no loss {name!r}. {hint}`cdstats explain` lists them all."
        )
    entry, given = CATALOGUE[name], dict(params or {})
    values = [given.pop(known.name, known.default) for known in entry.parameters]
    for other in given:
        known = ", ".join(parameter.name for parameter in entry.parameters) or "none"
        raise UsageError(f"{name} has no parameter {other!r}; it has {known}")
    for parameter, value in zip(entry.parameters, values, strict=True):
        try:
            parameter.check(value)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    return Loss(name, tuple(values))


def parse_loss(text: str) -> Loss:
    """Read ``NAME[:param=value,...]``, as ``--loss`` takes it.

    A comma followed by ``name=`` starts a parameter. A value is ``none``, a JSON number
    or a word.

    Example:
        >>> parse_loss("tversky:fp_weight=0.7,fn_weight=0.3,smooth=0").params
        {'fp_weight': 0.7, 'fn_weight': 0.3, 'smooth': 0}
    """
    name, _, rest = text.strip().partition(":")
    params: dict[str, Value] = {}
    for part in _NEXT_PARAMETER.split(rest) if rest else []:
        parameter, sign, value = (piece.strip() for piece in part.partition("="))
        if not (parameter and sign and value):
            raise UsageError(f"{text!r}: expected NAME:param=value,param=value")
        if parameter in params:
            raise UsageError(f"{text!r} gives {parameter} twice")
        number = _JSON_NUMBER.fullmatch(value)
        word = None if value == "none" else value
        params[parameter] = json.loads(value) if number else word
    return choose(name, params)


def all_losses() -> tuple[Loss, ...]:
    """All losses of the catalogue with their default parameters."""
    return tuple(map(choose, CATALOGUE))


def _typed(value: Value) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
