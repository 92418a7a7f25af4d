"""The images that are compared, and the groups in which they are resampled."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl

from cdstats.core.errors import DataError, UsageError, counted
from cdstats.io.patterns import DIGITS, Pattern, is_pattern
from cdstats.score.reading import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.score_records import Place, ScoreRecord
    from cdstats.io.pairing import FilePair

ImageKey: TypeAlias = tuple[str, str]
"""A mask, and a text that identifies its crop; empty for a whole mask."""
_SHOWN: Final = 3
_PIXELS: Final = ("width", "height", "changed", "unchanged", "ignored")


FEW_GROUPS: Final = 10
"""Number of groups below which intervals are too narrow to rely on."""
_STEP: Final = 16
"""Common divisor from which numbers are pixel positions rather than crop numbers."""
_YEARS: Final = range(1900, 2101)
_CROP: Final = re.compile(
    r"(?:(?P<scene>.+?)(?P<mark>[_-][a-zA-Z]*))?(?P<y>\d+)(?P<between>[_-][a-zA-Z]*)"
    r"(?P<x>\d+)"
)


def words_of(place: Place) -> dict[str, str]:
    """The words of an image for grouping: those of patterns, the split and the mask."""
    words = dict(parse_qsl(place.words))
    if place.split:
        words.setdefault("split", place.split)
    words.setdefault("target", place.target)
    return words


def check_group(places: Sequence[Place], by: str) -> None:
    """Raise if no image has the word, or no mask name matches the pattern."""
    if not places or any(_group(place, by) is not None for place in places):
        return
    text = f"matches no mask name, such as {places[0].target}"
    if not _is_name_pattern(by):
        text = _no_word_text(places)
    raise UsageError(
        f"--group {by}: {text}. Name a word of the patterns, such as {{scene}}, a "
        "column of @pairs.csv, or a pattern of the names of masks, such as "
        "'{}_{y}_{x}.png'"
    )


def _no_word_text(places: Sequence[Place]) -> str:
    known = dict.fromkeys(word for place in places for word in words_of(place))
    return f"is not a word of these images; available: {', '.join(known)}"


def bases_of(places: Sequence[Place], word: str | None) -> dict[str, str]:
    """The model of each run: its name without the word that numbers the runs.

    Raises:
        UsageError: If the word does not number the runs of any model.
    """
    if word is None:
        return {place.model: place.model for place in places}
    name = word.strip("{}")
    bases = {place.model: _base(place, name) for place in places}
    if not places or any(model != base for model, base in bases.items()):
        return bases
    text = _no_word_text(places)
    if any(name in words_of(place) for place in places):
        text = "is the same for all predictions of a mask"
    raise UsageError(
        f"--repeats {word}: {text}. Name the word of the predictions that numbers the "
        "runs of a model, such as seed in --pred 'runs/{model}_{seed}/{}.npy', or a "
        "column of @pairs.csv"
    )


def _base(place: Place, word: str) -> str:
    run = f"{word}={words_of(place).get(word)}"
    return f" {place.model} ".replace(f" {run} ", " ").strip()


def groups_of(images: Iterable[Sequence[Place]], by: str | None) -> list[str]:
    """The group of each image, given by its place in every model.

    Raises:
        UsageError: If an image has no group.
        DataError: If the models assign an image to different groups.
    """
    found = []
    for number, places in enumerate(images):
        names = {_group(place, by) for place in places} if by else {str(number)}
        groups = sorted(name for name in names if name is not None)
        if not groups:
            check_group(places, by or "")
        if groups[1:]:
            raise DataError(
                f"{places[0].target}: models assign it to the groups "
                f"{' and '.join(groups)} of --group {by}; expected one"
            )
        found.append(groups[0])
    return found


def _is_name_pattern(by: str) -> bool:
    """Whether groups come from a pattern of mask names; ``{scene}`` alone is a word."""
    return is_pattern(by) and not re.fullmatch(r"\{\w+\}", by)


def _group(place: Place, by: str) -> str | None:
    if not _is_name_pattern(by):
        return words_of(place).get(by.strip("{}"))
    name = PurePosixPath(place.target)
    parts = Pattern(by).match(place.target if "/" in by else name.name)
    if parts is None:
        return None
    own = (text for word, text in sorted(parts.items()) if word not in DIGITS)
    return "/".join(("" if "/" in by else str(name.parent), *own))


def crops_text(targets: Sequence[str]) -> str:
    """Advice to resample scenes if the names of images look like crops, or empty."""
    masks = len(set(targets))
    if masks < len(targets):
        what = f"{counted(len(targets), 'image')} are crops of {counted(masks, 'mask')}"
        return _advice(what, masks, "target")
    paths = [PurePosixPath(target) for target in targets]
    found = [match for path in paths if (match := _CROP.fullmatch(path.stem))]
    kinds = {(one["mark"], one["between"]) for one in found}
    if len(found) < len(targets) or len(kinds) != 1:
        return ""
    rows, columns = ([int(one[name]) for one in found] for name in ("y", "x"))
    if all(row in _YEARS for row in rows):
        return ""
    folders = [path.parent for path in paths]
    scenes = set(zip(folders, (one["scene"] for one in found), strict=True))
    mark, between = kinds.pop()
    shape = f"{'{}' if mark else ''}{mark or ''}{{y}}{between}{{x}}"
    ends = {path.suffix for path in paths}
    is_place = math.gcd(*rows, *columns) >= _STEP or (
        min(rows) == min(columns) == 0 or max(rows) == max(columns)
    )
    if not is_place:
        # The first number is the scene, and the second number counts its crops.
        names = (one[0].rpartition(between)[0] for one in found)
        scenes = set(zip(folders, names, strict=True))
        shape = f"{{}}{between}{{n}}"
    if len(targets) < 2 * len(scenes):
        return ""
    what = f"names such as {paths[0].name} look like crops of "
    what += counted(len(scenes), "scene")
    end = ends.pop() if len(ends) == 1 else ".*"
    return _advice(what, len(scenes), f"{shape}{end}")


def _advice(what: str, scenes: int, group: str) -> str:
    way = f"Resample scenes: --group {shlex.quote(group)}"
    if scenes == 1:
        way = "One scene gives no interval for other scenes"
    return (
        f"{what}, and crops of a scene are not independent: intervals are too narrow. "
        f"{way}"
    )


@dataclass(frozen=True)
class SharedImages:
    """The compared images, and their rows of each model."""

    keys: tuple[ImageKey, ...]
    rows: Mapping[str, tuple[int, ...]]
    left_out: int


def check_pairs(
    pairs: Sequence[FilePair],
    *,
    baseline: str | None,
    common: bool,
    merged: bool = False,
    group: str | None = None,
    repeats: str | None = None,
) -> None:
    """Raise if file names show that the models cannot be compared."""
    models: dict[str, dict[ImageKey, str]] = {pair.model: {} for pair in pairs}
    bases = bases_of([place_of(one) for one in pairs], repeats)
    order_models(list(dict.fromkeys(bases.values())), baseline)
    if group is not None:
        check_group([place_of(one) for one in pairs if one.target], group)
    for pair in pairs:
        if pair.prediction is not None and pair.target is not None:
            target, member = pair.target.name, pair.target.member
            place = target if member in target else f"{target}#{member}"
            at = str(pair.crop) if pair.crop and not merged else ""
            models[pair.model][place, at] = ""
    if not common:
        _refuse_lacking(models, {})


def order_models(models: Sequence[str], baseline: str | None) -> list[str]:
    """The models, starting with the baseline."""
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
            f"--baseline {baseline}: no such model; models: {', '.join(models)}"
        )
    return [baseline, *(model for model in models if model != baseline)]


def shared_images(rows: Sequence[ScoreRecord], *, common: bool) -> SharedImages:
    """The images that were scored by every model."""
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
    """Texts that identify each of several predictions of a mask: their names.

    With a pattern that contains ``{model}``, the name of the model is part of every
    prediction name, so it is replaced if names would differ between models.
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
    """Raise if a model lacks an image; the message names the first images."""
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
        rest = f"; {more:,} more models lack images" if more > 0 else ""
        raise DataError(
            "models do not score the same images: "
            f"{'; '.join(texts[:_SHOWN])}{rest}. Give every model the same images, or "
            "compare only shared images with --common"
        )


def _refuse_other_pixels(key: ImageKey, rows: Sequence[ScoreRecord]) -> None:
    """Raise if models scored different pixels of an image."""
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
