"""Which images are drawn together: those of a scene, a city or another group."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from cdstats.core.errors import UsageError, counted
from cdstats.io.patterns import DIGITS, Pattern, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.score_records import Place

FEW_GROUPS: Final = 10
"""Groups below which their intervals are too narrow to rely on."""
_STEP: Final = 16
"""Pixels of which the places of crops are multiples; counts of crops are not."""
_YEARS: Final = range(1900, 2101)
_CROP: Final = re.compile(
    r"(?:(?P<scene>.+?)(?P<mark>[_-][a-zA-Z]*))?(?P<y>\d+)(?P<between>[_-][a-zA-Z]*)"
    r"(?P<x>\d+)"
)


def words_of(place: Place) -> dict[str, str]:
    """The words that tell groups apart: of patterns, the split and the mask."""
    words = dict(parse_qsl(place.words))
    if place.split:
        words.setdefault("split", place.split)
    words.setdefault("target", place.target)
    return words


def check_group(places: Sequence[Place], by: str) -> None:
    """Refuse a word that no image has, or a pattern that no name of a mask fits."""
    if not places or any(_group(place, by) is not None for place in places):
        return
    if _is_name_pattern(by):
        text = f"fits no name of a mask, such as {places[0].target}"
    else:
        known = dict.fromkeys(word for place in places for word in words_of(place))
        text = f"is no word of these images; there are {', '.join(known)}"
    raise UsageError(
        f"--group {by}: {text}. Name a word of the patterns, such as {{scene}}, or "
        "give a pattern of the names of masks, such as '{}_{y}_{x}.png'"
    )


def groups_of(images: Iterable[Sequence[Place]], by: str | None) -> list[str]:
    """The group of each image, which every model has a place of.

    Raises:
        UsageError: If an image has none.
    """
    found = []
    for number, places in enumerate(images):
        names = (_group(place, by) for place in places) if by else (str(number),)
        group = next((name for name in names if name is not None), None)
        if group is None:
            check_group(places, by or "")
        found.append(group or "")
    return found


def _is_name_pattern(by: str) -> bool:
    """Whether groups follow from names of masks; ``{scene}`` alone is a word."""
    return is_pattern(by) and not re.fullmatch(r"\{\w+\}", by)


def _group(place: Place, by: str) -> str | None:
    """The group of one image, or None."""
    if not _is_name_pattern(by):
        return words_of(place).get(by.strip("{}"))
    name = PurePosixPath(place.target)
    parts = Pattern(by).match(place.target if "/" in by else name.name)
    if parts is None:
        return None
    own = (text for word, text in sorted(parts.items()) if word not in DIGITS)
    return "/".join(("" if "/" in by else str(name.parent), *own))


def crops_text(targets: Sequence[str]) -> str:
    """How to draw scenes, where the names of images look like crops; or empty."""
    masks = len(set(targets))
    if masks < len(targets):
        what = f"{counted(len(targets), 'image')} are crops of {counted(masks, 'mask')}"
        return _advice(what, "target")
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
        # The first number is of a scene, and the second one counts its crops.
        names = (one[0].rpartition(between)[0] for one in found)
        scenes = set(zip(folders, names, strict=True))
        shape = f"{{}}{between}{{n}}"
    if len(targets) < 2 * len(scenes):
        return ""
    what = f"names such as {paths[0].name} look like crops of "
    what += counted(len(scenes), "scene")
    return _advice(what, f"{shape}{ends.pop() if len(ends) == 1 else '.*'}")


def _advice(what: str, group: str) -> str:
    return (
        f"{what}, and crops of a scene are not independent: intervals are too narrow. "
        f"Draw scenes: --group {shlex.quote(group)}"
    )
