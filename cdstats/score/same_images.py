"""Whether models score the same images, and the same pixels of each."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from cdstats.core.errors import DataError, UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.score_records import ScoreRecord
    from cdstats.io.pairing import FilePair

ImageKey: TypeAlias = tuple[str, str]
"""A mask, and what tells its crops apart; the second is empty for a whole mask."""
_SHOWN: Final = 3
_PIXELS: Final = ("width", "height", "changed", "unchanged", "ignored")


@dataclass(frozen=True)
class SharedImages:
    """The images that are compared."""

    keys: tuple[ImageKey, ...]
    rows: Mapping[str, tuple[int, ...]]
    left_out: int


def check_pairs(
    pairs: Sequence[FilePair],
    *,
    baseline: str | None,
    common: bool,
    merged: bool = False,
) -> None:
    """Refuse what cannot be compared, as far as the names of files tell."""
    models: dict[str, dict[ImageKey, str]] = {pair.model: {} for pair in pairs}
    order_models(list(models), baseline)
    for pair in pairs:
        if pair.prediction is not None and pair.target is not None:
            target, member = pair.target.name, pair.target.member
            place = target if member in target else f"{target}#{member}"
            at = str(pair.crop) if pair.crop and not merged else ""
            models[pair.model][place, at] = ""
    if not common:
        _refuse_lacking(models, {})


def order_models(models: Sequence[str], baseline: str | None) -> list[str]:
    """The models, the one that the others are compared with first."""
    if len(models) < 2:
        names = f": {_name(models[0])}" if models else ""
        raise UsageError(
            f"one model to compare{names}; expected two or more, each as --pred "
            "NAME=PATH, or one pattern with {model}"
        )
    if baseline is None:
        return list(models)
    if baseline not in models:
        raise UsageError(
            f"--baseline {baseline}: is no model; there are {', '.join(models)}"
        )
    return [baseline, *(model for model in models if model != baseline)]


def shared_images(rows: Sequence[ScoreRecord], *, common: bool) -> SharedImages:
    """Find the images that every model scored."""
    models = list(dict.fromkeys(row.model for row in rows))
    order_models(models, None)
    parts = _parts(rows, models)
    scored: dict[str, dict[ImageKey, int]] = {model: {} for model in models}
    reasons: dict[tuple[str, ImageKey], str] = {}
    for number, (row, part) in enumerate(zip(rows, parts, strict=True)):
        key = (row.target or row.pred, part)
        if row.status != "ok":
            reasons[row.model, key] = row.reason
        elif key in scored[row.model]:
            raise DataError(
                f"{_name(row.model)} has two predictions of {_image(key)}, "
                f"{rows[scored[row.model][key]].pred} and {row.pred}; expected one"
            )
        else:
            scored[row.model][key] = number
    if not common:
        _refuse_lacking(scored, reasons)
    every = list(dict.fromkeys(key for own in scored.values() for key in own))
    keys = tuple(key for key in every if all(key in own for own in scored.values()))
    if every and not keys:
        raise DataError(f"{', '.join(map(_name, models))}: share no image to compare")
    for key in keys:
        _refuse_other_pixels(key, [rows[own[key]] for own in scored.values()])
    return SharedImages(
        keys,
        {model: tuple(own[key] for key in keys) for model, own in scored.items()},
        len(every) - len(keys),
    )


def _parts(rows: Sequence[ScoreRecord], models: Sequence[str]) -> list[str]:
    """What tells the predictions of one mask apart: their names, where models agree.

    A pattern with ``{model}`` has the model in the name of every prediction, so names
    are compared without it where they differ otherwise.
    """
    count = Counter((row.model, row.target) for row in rows if row.target)
    several = {target for (_, target), number in count.items() if number > 1}
    plain = [row.pred if row.target in several else "" for row in rows]
    pairs = [(row.model, part) for row, part in zip(rows, plain, strict=True)]
    of_models = [{part for name, part in pairs if name == model} for model in models]
    if all(found == of_models[0] for found in of_models):
        return plain
    return [part.replace(name, "{model}") if name else part for name, part in pairs]


def _refuse_lacking(
    models: Mapping[str, Mapping[ImageKey, object]],
    reasons: Mapping[tuple[str, ImageKey], str],
) -> None:
    """Refuse models that lack an image, naming the first of them."""
    every = list(dict.fromkeys(key for own in models.values() for key in own))
    texts = []

    def named(model: str, key: ImageKey) -> str:
        reason = reasons.get((model, key))
        return f"{_image(key)}: {reason}" if reason else _image(key)

    for model, own in models.items():
        lacking = [key for key in every if key not in own]
        if lacking:
            names = ", ".join(named(model, key) for key in lacking[:_SHOWN])
            more = len(lacking) - _SHOWN
            rest = f" and {more:,} more" if more > 0 else ""
            of = counted(len(every), "image")
            failed = (key for name, key in reasons if name == model)
            other = next((key for key in failed if key not in lacking), None)
            texts.append(
                f"{_name(model)} lacks {len(lacking):,} of {of} ({names}{rest})"
                + (f", as {named(model, other)}" if other else "")
            )
    if texts:
        more = len(texts) - _SHOWN
        rest = f"; and {more:,} more models lack some" if more > 0 else ""
        raise DataError(
            "models do not score the same images: "
            f"{'; '.join(texts[:_SHOWN])}{rest}. Give every model the same images, or "
            "compare what they share: --common"
        )


def _refuse_other_pixels(key: ImageKey, rows: Sequence[ScoreRecord]) -> None:
    """Refuse an image of which models score other pixels."""
    first = rows[0]
    for row in rows[1:]:
        for name in _PIXELS:
            one, other = getattr(first, name) or 0, getattr(row, name) or 0
            if not math.isclose(one, other, rel_tol=1e-9):
                raise DataError(
                    f"{_image(key)}: models do not score the same pixels: {name} is "
                    f"{one:,} for {_name(first.model)} and {other:,} for "
                    f"{_name(row.model)}"
                )


def _image(key: ImageKey) -> str:
    return f"{key[0]} at {key[1]}" if key[1] else key[0]


def _name(model: str) -> str:
    return model or "the model without a name"
