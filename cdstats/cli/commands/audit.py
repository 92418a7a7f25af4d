"""Check masks for problems before training."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import OutputFormat, Quiet
from cdstats.core.errors import Level
from cdstats.core.options import RUN, AuditOptions
from cdstats.render.writers import Format

if TYPE_CHECKING:
    from cdstats.scan.examination import AuditResult

LISTS = (
    *("findings", "splits", "values", "binarisations"),
    *("regions", "shifts", "duplicates", "heat_maps"),
)


class FailOn(StrEnum):
    """Lowest severity of a finding for which the command exits with 1."""

    ERROR = "error"
    WARNING = "warning"


@command
def audit(
    *,
    options: AuditOptions,
    output_format: OutputFormat = Format.TABLE,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="Exit with 1 if any finding is at least this severe. Failed masks "
            "always give exit code 1.",
            rich_help_panel=RUN,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Check masks for problems before training.

    Reads each mask once and reports unexpected values, different counts with the rules
    of other loaders, masks whose size differs from their images, masks with only one
    class, duplicate masks within and across splits, differences between splits, specks,
    and where change occurs in the frame.
    """
    from cdstats.cli.output import Output
    from cdstats.cli.screen import counting_screen, show_failures
    from cdstats.render.audit import audit_document
    from cdstats.scan.audit import audit_masks

    with counting_screen(quiet) as shown:
        result = audit_masks(options.replace(progress=shown.progress))
    show_failures(result.messages, (), quiet)
    lists = {name: getattr(result, name) for name in LISTS}
    Output(output_format).print(audit_document(lists, result.not_checked))
    raise typer.Exit(int(_is_bad(result, fail_on)))


def _is_bad(result: AuditResult, fail_on: FailOn | None) -> bool:
    failed = result.unread > 0 or result.failed > 0
    return failed or (fail_on is not None and result.has(Level(fail_on.value)))
