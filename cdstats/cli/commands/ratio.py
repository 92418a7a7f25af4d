"""Count the changed and unchanged pixels of change masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli.commands import command
from cdstats.cli.main import ARGUMENTS
from cdstats.cli.options import (
    OUTPUT,
    By,
    OutputOptions,
    PaperOptions,
    ScreenOptions,
    Sort,
)
from cdstats.core.arguments import texts
from cdstats.core.options import RatioOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdstats.core.records import ImageRecord
    from cdstats.scan.ratio import RatioResult


@command
def ratio(
    *,
    context: typer.Context,
    options: RatioOptions,
    by: Annotated[
        By | None,
        typer.Option(help="Rows to print. Default: splits.", rich_help_panel=OUTPUT),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="Order of image rows.", rich_help_panel=OUTPUT)
    ] = Sort.PATH,
    output: OutputOptions,
    paper: PaperOptions,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with published counts or the --csv file of an earlier run.",
            metavar="NAME|FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    screen: ScreenOptions,
) -> None:
    """Count the changed and unchanged pixels of change masks.

    Prints a row for each dataset and split: changed pixels, unchanged pixels and their
    ratio, as in the dataset table of the DASNet paper. The stored values that mean
    changed are detected from the masks, or set with --changed and --unchanged or with
    --preset.
    """
    from cdstats.cli.comparison import compare, known_reference
    from cdstats.cli.finishing import remove_used, with_commands
    from cdstats.cli.output import MOST_IMAGES, Output, RowPrinter
    from cdstats.cli.screen import counting_screen, show_messages
    from cdstats.core.records import ALL, ImageRecord, SummaryRecord
    from cdstats.render.masks import counts_document, rule_notes
    from cdstats.render.table import choose_columns
    from cdstats.scan.ratio import count_masks

    by_image = by is By.IMAGE
    columns = choose_columns(output.columns, ImageRecord if by_image else SummaryRecord)
    place = Output.of(output, paper)
    in_order = by_image and sort is Sort.PATH
    printer = RowPrinter(place, columns, by_image=in_order)
    reference = known_reference(against)
    paths = texts(options.paths)
    with counting_screen(screen.quiet) as shown:
        wanted = printer.is_wanted and not (options.strict or options.from_file)
        result = count_masks(
            options.replace(
                progress=shown.progress,
                announce=shown.announce,
                each=printer if wanted else None,
            )
        )
    cache = Path(options.cache) if options.cache else None
    if cache:
        remove_used(result, cache)
    messages = with_commands(result, cache, context.meta[ARGUMENTS], paths)
    show_messages(result, messages, screen.quiet)
    notes = rule_notes(result.datasets)
    rows = result.datasets
    totals = counts_document(rows, notes=notes)._replace(
        data=lambda: {"datasets": rows}
    )
    written = place.write(ImageRecord, _images(result, sort), totals)
    if not printer.has_printed:
        document = counts_document(
            [row for row in rows if by is not By.DATASET or row.split == ALL],
            _images(result, sort),
            by_image=by_image,
            adds_images=by is None and len(result.images) <= MOST_IMAGES,
            columns=columns,
            notes=notes,
        )
        place.print(document)
    compared = reference and compare(result, reference, output.output_format)
    done = written and not compared and not _has_failed(result, screen.max_failed)
    raise typer.Exit(int(not done))


def _images(result: RatioResult, sort: Sort) -> Iterable[ImageRecord]:
    """Image rows in the requested order; failed rows come last unless by path."""
    if sort is Sort.PATH:
        return result.images
    return result.sorted_images(sort.value.replace("-", "_"))


def _has_failed(result: RatioResult, max_failed: int) -> bool:
    return result.unread > 0 or result.failed > max_failed
