"""``cdstats audit``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import cdstats
from cdstats.cli import options
from cdstats.cli.commands import command
from cdstats.cli.sources import check_source
from cdstats.core.messages import Level
from cdstats.report.formats import Format

if TYPE_CHECKING:
    from cdstats.scan.examination import AuditResult

_LISTS = (
    *("findings", "splits", "values", "binarisations"),
    *("regions", "shifts", "duplicates", "heat_maps"),
)


class FailOn(StrEnum):
    """The least severity of a finding that makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"


class Connectivity(StrEnum):
    """Neighbours of a pixel of a region."""

    FOUR = "4"
    EIGHT = "8"


@command
def audit(
    paths: options.Paths = None,
    changed: options.Changed = None,
    unchanged: options.Unchanged = None,
    ignore: options.Ignore = None,
    preset: options.PresetName = None,
    band: options.Band = None,
    split: options.Split = None,
    from_file: options.FromFile = None,
    speck: Annotated[
        int | None,
        typer.Option(
            help="Changed regions below this many pixels are specks.",
            show_default="9",
            metavar="N",
            min=1,
            rich_help_panel="Regions",
        ),
    ] = None,
    connectivity: Annotated[
        Connectivity | None,
        typer.Option(
            help="Neighbours of a pixel of a region.",
            show_default="8",
            rich_help_panel="Regions",
        ),
    ] = None,
    output_format: options.OutputFormat = Format.TABLE,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="Exit with 1 when a finding is this bad; failed masks always do.",
            rich_help_panel="Run",
        ),
    ] = None,
    jobs: options.Jobs = None,
    max_pixels: options.MaxPixels = None,
    quiet: options.Quiet = False,
) -> None:
    """Look for what is wrong with masks before a network is trained on them.

    Reads each mask once: values that leave the domain of their split, what other
    loaders would make of them, sizes that differ from the images beside them, masks
    of one class, equal masks inside and across splits, splits that differ, specks,
    and where change sits in the frame.
    """
    from cdstats.cli.screen import counting_screen, show_failures
    from cdstats.io.limits import MAX_PIXELS
    from cdstats.render.audit import print_audit
    from cdstats.scan.audit import SPECK, audit_from
    from cdstats.scan.audit import audit as look
    from cdstats.scan.regions import CONNECTIVITY

    for_masks = {
        "--changed": changed,
        "--unchanged": unchanged,
        "--ignore": ignore,
        "--preset": preset,
        "--band": band,
        "--split": split,
        "--speck": speck,
        "--connectivity": connectivity,
        "--jobs": jobs,
        "--max-pixels": max_pixels,
    }
    check_source(paths, from_file, for_masks)
    if from_file is not None:
        result = audit_from(from_file)
    else:
        with counting_screen(quiet) as screen:
            result = look(
                paths or [],
                changed=changed,
                unchanged=unchanged,
                ignore=ignore,
                preset=preset,
                band=band,
                split=split,
                speck=speck or SPECK,
                connectivity=int(connectivity.value) if connectivity else CONNECTIVITY,
                jobs=jobs,
                max_pixels=max_pixels or MAX_PIXELS,
                progress=screen.progress,
            )
    show_failures(result.messages, (), quiet)
    lists = {name: getattr(result, name) for name in _LISTS}
    print_audit(lists, result.not_checked, output_format, cdstats.__version__)
    raise typer.Exit(int(_is_bad(result, fail_on)))


def _is_bad(result: AuditResult, fail_on: FailOn | None) -> bool:
    failed = result.unread > 0 or result.failed > 0
    return failed or (fail_on is not None and result.has(Level(fail_on.value)))
