"""Reasons for refused splits: values, their shares, and options that decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import counted
from cdstats.core.labels import names_text, shares_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.counts import Value

NAME_THEM: Final = "--changed VALUES --unchanged rest"
"""Options with a placeholder for values that only the user knows."""
BLACK: Final = "#000000"


_HALF: Final = "--changed '>=128' --unchanged '<128'"
_COLOURS: Final = ("second-rgb", "s2looking-parts")
"""Presets that colours alone suggest."""
_BLURRED: Final = 8
"""Fewer grey levels than this are codes."""
_NEAR: Final = 32
_AT_ENDS: Final = 0.8
"""Least share of pixels of a blurred mask within 32 levels of 0 or 255."""


class Refusal(NamedTuple):
    """Why a split is refused, and options that decide."""

    text: str = ""
    ways: tuple[str, ...] = ()


NO_REFUSAL: Final = Refusal()


def one_value_refusal(values: Mapping[Value, int]) -> Refusal:
    """The refusal of masks without a pair of values."""
    if len(values) > 1:
        text = (
            f"each mask has one value, and together {names_text(values)}: changed and "
            "unchanged cannot be told apart. Name them with --changed and --unchanged"
        )
        return Refusal(text, (NAME_THEM,))
    (value,) = values
    changed = f"--changed {_typed(value)} --unchanged rest"
    unchanged = f"--unchanged {_typed(value)} --changed rest"
    text = (
        f"every pixel is {value}, so changed and unchanged cannot be told apart. Use "
        f"{changed}, or {unchanged}"
    )
    return Refusal(text, (changed, unchanged))


def nodata_text(declared: Value | None) -> str:
    """The message on a declared nodata value that is one of two classes."""
    lost = "unchanged" if declared == 0 else "changed"
    return (
        f"declares nodata {declared}, which removes all {lost} pixels; state what "
        f"{declared} is with --changed, --unchanged or --ignore"
    )


def white_is_zero_refusal(values: Mapping[Value, int]) -> Refusal:
    """The refusal of a TIFF file that declares 0 as white."""
    text = (
        "is a MINISWHITE TIFF file (0 is white), and readers differ on whether to "
        f"swap black and white. Its stored values: {shares_text(values, total=None)}. "
        "Name them"
    )
    if not {0} < values.keys() or len(values) != 2:
        return Refusal(f"{text} with --changed and --unchanged", (NAME_THEM,))
    (black,) = values.keys() - {0}
    white = f"--changed 0 --unchanged {black}"
    other = f"--changed {black} --unchanged 0"
    return Refusal(
        f"{text}: {white} if white is changed, {other} if black is", (white, other)
    )


def mostly_changed_text(share: float, colour: str, options: tuple[str, str]) -> str:
    """The warning on a palette with which most pixels are changed."""
    changed, unchanged = options
    return (
        f"{100 * share:.3g} % of the pixels have the palette colour {colour} and count "
        "as changed, because the other colour is black. If black is changed: "
        f"{changed} '{BLACK}' {unchanged} '{colour}'"
    )


def _typed(value: Value) -> str:
    """A value quoted for a shell, where ``#`` starts a comment."""
    return f"'{value}'" if str(value).startswith("#") else str(value)


def codes_refusal(values: Mapping[Value, int], *, jpeg: bool) -> Refusal:
    """The refusal of codes: values, shares, and options that decide."""
    if any(isinstance(value, str) for value in values):
        advice = _colours_advice(list(values))
    else:
        advice = _advice(set(values), jpeg)
    shares = shares_text(values, total=sum(values.values()))
    return Refusal(f"holds {shares}. {advice.text}", advice.ways)


_KNOWN: Final[tuple[tuple[frozenset[Value], Refusal], ...]] = (
    (
        frozenset((1, 2)),
        Refusal(
            "In OSCD and Hi-UCD 2 is changed: --preset oscd-tif, or "
            "--changed 2 --unchanged 1",
            ("--changed 2 --unchanged 1",),
        ),
    ),
    (
        frozenset((0, 2)),
        Refusal(
            "0 is unchanged or unlabelled? --changed 2 with --unchanged 0 or "
            "--ignore 0",
            ("--changed 2 --unchanged 0", "--changed 2 --ignore 0"),
        ),
    ),
    (
        frozenset((0, 1, 255)),
        Refusal(
            "255 ignored: --preset bandon-train or --ignore 255; 255 changed: "
            "--changed 255 --unchanged 0,1",
            (
                *("--preset bandon-train", "--ignore 255"),
                "--changed 255 --unchanged 0,1",
            ),
        ),
    ),
    (
        frozenset((0, 170, 255)),
        Refusal("Grey codes of SBI2015: --preset sbi2015", ("--preset sbi2015",)),
    ),
    (
        frozenset((0, 50, 85, 170, 255)),
        Refusal(
            "Grey codes of CDnet 2014: --preset cdnet2014", ("--preset cdnet2014",)
        ),
    ),
)


def _colours_advice(values: list[Value]) -> Refusal:
    """Options for palette colours other than black and one colour."""
    if len(values) != 2:
        text = "Name the changed colours of the palette"
        return Refusal(f"{text}: {NAME_THEM}", (NAME_THEM,))
    one, two = map(_typed, values)
    ways = (f"--changed {one} --unchanged {two}", f"--changed {two} --unchanged {one}")
    return Refusal(
        f"Which colour of the palette is changed? {ways[0]}, or {ways[1]}", ways
    )


def _advice(values: set[Value], jpeg: bool) -> Refusal:
    if jpeg and max(map(float, values), default=0) <= 2:
        way = "--changed '>0' --unchanged 0"
        text = (
            "JPEG noise? JPEG changes many pixels of masks of 0 and 1: save them as "
            f"PNG, or count the remaining changes with {way}"
        )
        return Refusal(text, (way,))
    if values == {0, 1, 2}:
        return Refusal(
            "As in Hi-UCD (0 unlabelled): --changed 2 --unchanged 1 --ignore 0; as in "
            "SitsSCD (2 unusable): --preset sitscd; or name them with --changed and "
            "--unchanged",
            ("--changed 2 --unchanged 1 --ignore 0", "--preset sitscd", NAME_THEM),
        )
    for codes, advice in _KNOWN:
        if values == codes or (50 in codes and {0, 255} < values <= codes):
            return advice
    if len(values) == 2 and 0 in values and max(values, key=float) != 0:
        way = f"--changed {max(values, key=float)} --unchanged 0"
        return Refusal(f"If 0 is unchanged: {way}", (way,))
    return Refusal(
        f"Class codes {names_text(sorted(values, key=float))}? Name the changed ones: "
        f"{NAME_THEM}, or a preset (`cdstats presets`)",
        (NAME_THEM,),
    )


def has_heavy_ends(values: Mapping[Value, int]) -> bool:
    """Whether grey levels are those of a blurred mask, most of them near 0 and 255.

    Example:
        >>> blurred = {0: 60, 255: 30, **dict.fromkeys(range(40, 50), 1)}
        >>> has_heavy_ends(blurred), has_heavy_ends({0: 60, 255: 30, 128: 10})
        (True, False)
    """
    levels = {v: n for v, n in values.items() if isinstance(v, int)}
    if len(levels) < max(len(values), _BLURRED) or min(levels) or max(levels) != 255:
        return False
    ends = {v: n for v, n in levels.items() if not _NEAR < v < 255 - _NEAR}
    heaviest = sorted(levels, key=lambda level: -levels[level])[:2]
    heavy = {0, 255} == {*heaviest}
    return heavy and sum(ends.values()) >= _AT_ENDS * sum(levels.values())


def with_suggestions(
    refusal: Refusal, values: Mapping[Value, int], looks: Iterable[str]
) -> Refusal:
    """Add suggestions that fit the names and values of the masks.

    A preset is suggested only if it includes every value and both classes occur.
    """
    from cdstats.core.presets import fitting

    texts, ways = [refusal.text], list(refusal.ways)
    likely = fitting(values, looks)
    if likely:
        names = " or ".join(f"--preset {one.name}" for one in likely)
        shorts = " or ".join(dict.fromkeys(one.short for one in likely))
        texts.append(f"looks like {shorts}: {names}")
    elif any(str(value).startswith("#") for value in values):
        likely = fitting(values, _COLOURS)
        texts += [f"or use --preset {one.name}" for one in likely]
    if has_heavy_ends(values):
        texts.append(f"blurred edges of 0 and 255? {_HALF}")
        ways.append(_HALF)
    # Counts of a run do not show which band they are from.
    presets = [f"--preset {one.name}" for one in likely if one.band is None]
    return Refusal("; ".join(texts), tuple(dict.fromkeys([*presets, *ways])))


def tie_refusal(changed: Sequence[Value], count: int) -> Refusal:
    """The refusal if equally many masks have different changed values."""
    one, *others = changed
    listed = ",".join(map(str, changed))
    quoted = f"'{listed}'" if "#" in listed else listed
    way = f"--changed {quoted} --unchanged 0"
    text = (
        f"{counted(count, 'mask')} of 0, {one} and as many of "
        f"{', and of '.join(f'0, {other}' for other in others)}: "
        f"count them separately, or name the values with {way}"
    )
    return Refusal(text, (way,))


def no_masks_refusal(refusals: Mapping[Refusal, int]) -> Refusal:
    """The refusal of a split without masks: the most common reason."""
    most = max(refusals, key=lambda one: (refusals[one], one.text))
    count = sum(refusals.values())
    others = f" ({counted(count - 1, 'more file')} refused)" if count > 1 else ""
    return Refusal(most.text + others, most.ways)
