"""Why a split is refused: its values, their shares, and the options that settle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.labels import names_text, shares_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdstats.core.counts import Value
    from cdstats.core.encodings import Reading

NAME_THEM: Final = "--changed VALUES --unchanged rest"
"""Options with a place for the values that only the user knows."""


@dataclass(frozen=True)
class Refusal:
    """Why a split is refused, and what settles it.

    Attributes:
        text: The reason, for the user; empty when the split is not refused.
        ways: Options of the command line, any of which settles it from the counts
            alone: a preset of a band would read it again.
    """

    text: str = ""
    ways: tuple[str, ...] = ()


def one_value_refusal(values: Mapping[Value, int]) -> Refusal:
    """Why masks that hold no pair of values are refused."""
    if len(values) > 1:
        text = (
            f"each mask holds one value, and together {names_text(values)}: nothing "
            "tells changed from unchanged. Name them with --changed and --unchanged"
        )
        return Refusal(text, (NAME_THEM,))
    (value,) = values
    changed = f"--changed {value} --unchanged rest"
    unchanged = f"--unchanged {value} --changed rest"
    text = (
        f"every pixel is {value}; nothing tells changed from unchanged. Name it with "
        f"{changed}, or {unchanged}"
    )
    return Refusal(text, (changed, unchanged))


def nodata_text(reading: Reading) -> str:
    """Why a declared nodata value that is one of two classes is refused."""
    lost = "changed" if reading.declared in (1, 255) else "unchanged"
    return (
        f"declares nodata {reading.declared}, which leaves no {lost} pixel; say what "
        f"{reading.declared} is with --changed, --unchanged or --ignore"
    )


def codes_refusal(values: Mapping[Value, int], *, jpeg: bool) -> Refusal:
    """Why a set of codes is refused: its values, their shares, what settles it."""
    advice = _advice(set(values), jpeg)
    shares = shares_text(values, total=sum(values.values()))
    return Refusal(f"holds {shares}. {advice.text}", advice.ways)


_KNOWN: Final[tuple[tuple[frozenset[Value], Refusal], ...]] = (
    (
        frozenset((1, 2)),
        Refusal(
            "In OSCD and Hi-UCD 2 is changed: --preset oscd-tif or hi-ucd, or "
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


def _advice(values: set[Value], jpeg: bool) -> Refusal:
    if jpeg and max(values, key=float) == 2:
        way = "--changed '>0' --unchanged 0"
        return Refusal(f"JPEG noise? {way}", (way,))
    if values == {0, 1, 2}:
        return Refusal(
            "--preset hi-ucd (0 unlabelled, 1 unchanged, 2 changed), --preset sitscd "
            "(2 unusable), or name them with --changed and --unchanged",
            ("--changed 2 --unchanged 1 --ignore 0", "--preset sitscd", NAME_THEM),
        )
    for codes, advice in _KNOWN:
        if values == codes or (50 in codes and {0, 255} < values <= codes):
            return advice
    return Refusal(
        f"Class codes {names_text(sorted(values, key=float))}? Name the changed ones: "
        f"{NAME_THEM}, or a preset (`cdstats presets`)",
        (NAME_THEM,),
    )


def tie_refusal(count: int) -> Refusal:
    """Why as many 0/1 masks as 0/255 masks are refused."""
    way = "--changed 1,255 --unchanged 0"
    text = (
        f"{count:,} mask{'s' if count > 1 else ''} hold 0, 1 and as many hold 0, 255: "
        f"count them apart, or name the values with {way}"
    )
    return Refusal(text, (way,))


def no_masks_refusal(reasons: Mapping[str, int]) -> Refusal:
    """Why a split of files that are no masks is refused: the most common reason."""
    most = max(reasons, key=lambda reason: (reasons[reason], reason))
    count = sum(reasons.values())
    others = f" (and {count - 1:,} more that are no masks)" if count > 1 else ""
    return Refusal(most + others, (NAME_THEM,) if "--changed" in most else ())
