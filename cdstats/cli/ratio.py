"""``cdstats ratio``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli.choices import By, Sort
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.cli.main import ARGUMENTS
from cdstats.cli.options import OUTPUT, OutputOptions, ScreenOptions
from cdstats.core.arguments import texts
from cdstats.core.options import RatioOptions

if TYPE_CHECKING:
    from cdstats.scan.ratio import RatioResult


@command
def ratio(
    *,
    context: typer.Context,
    options: RatioOptions,
    by: Annotated[
        By | None,
        typer.Option(help="Rows to print; by default splits.", rich_help_panel=OUTPUT),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="Order of image rows.", rich_help_panel=OUTPUT)
    ] = Sort.PATH,
    output: OutputOptions,
    against: Annotated[
        str | None,
        typer.Option(
            help="Set published counts, or the file of an earlier run, beside.",
            metavar="NAME|FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    screen: ScreenOptions,
) -> None:
    """Count the changed and unchanged pixels of change masks.

    Prints a row for each dataset and split: changed pixels, unchanged pixels and
    their ratio, as in the dataset table of the DASNet paper. Which stored values mean
    changed is found from the masks, or named with --changed and --unchanged or a
    --preset.
    """
    from cdstats.cli.comparison import compare, known_reference
    from cdstats.cli.finishing import with_commands
    from cdstats.cli.outputs import Outputs, RowPrinter
    from cdstats.cli.screen import counting_screen, show_messages
    from cdstats.scan.ratio import count_masks

    outputs = Outputs(
        output.output_format, by, sort, output.columns, output.csv, output.summary
    )
    printer = RowPrinter(outputs)
    reference = known_reference(against)
    paths = texts(options.paths)
    refuse_inputs(
        [output.csv, output.summary, options.cache],
        [*paths, options.from_file, against],
    )
    with counting_screen(screen.quiet) as shown:
        wanted = printer.is_wanted and not (options.strict or options.from_file)
        result = count_masks(
            replace(
                options,
                progress=shown.progress,
                announce=shown.announce,
                each=printer if wanted else None,
            )
        )
    cache = Path(options.cache) if options.cache else None
    messages = with_commands(result, cache, context.meta[ARGUMENTS], paths)
    show_messages(result, messages, screen.quiet)
    written = outputs.write(result)
    if not printer.has_printed:
        outputs.print(result)
    compared = reference and compare(result, reference, output.output_format)
    done = written and not compared and not _has_failed(result, screen.max_failed)
    raise typer.Exit(int(not done))


def _has_failed(result: RatioResult, max_failed: int) -> bool:
    return result.unread > 0 or result.failed > max_failed
