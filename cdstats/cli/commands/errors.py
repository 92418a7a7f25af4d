"""Write a map of correct and wrong pixels for each prediction."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import OUTPUT, OutputOptions, ScoreBy, ScreenOptions
from cdstats.core.options import ErrorOptions


@command
def errors(
    *,
    options: ErrorOptions,
    by: Annotated[
        ScoreBy | None,
        typer.Option(
            help="Rows to print: models (dataset) or maps (image).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: OutputOptions,
    screen: ScreenOptions,
) -> None:
    """Write a map of correct and wrong pixels for each prediction.

    A map contains 0 TN, 1 TP, 2 FP, 3 FN and 255 ignored. It is a PNG file with a
    palette, or a GeoTIFF if the mask has a georeference. Each model has its own folder,
    and each map the name of its mask. JPEG thumbnails of the images in folders such as
    A and B beside the masks are written next to the map. The pixels of a map add up to
    the counts of `cdstats loss`.
    """
    from cdstats.cli.output import Output
    from cdstats.cli.screen import scoring_bar, show_failures
    from cdstats.core.charts import ErrorCounts, ErrorMap
    from cdstats.render.scores import errors_document
    from cdstats.render.table import choose_columns
    from cdstats.score.maps import write_maps

    by_image = by is ScoreBy.IMAGE
    columns = choose_columns(output.columns, ErrorMap if by_image else ErrorCounts)
    place = Output(output.output_format, output.csv, output.summary)
    with scoring_bar(screen.quiet) as progress:
        found = write_maps(options.replace(progress=progress))
    rows = [row for row in found.images if row.status == "failed"]
    failures = ((row.target, row.reason) for row in rows)
    show_failures(found.messages, failures, screen.quiet)
    parts = found.models, found.images, str(options.folder)
    written = place.write(ErrorMap, found.images, errors_document(*parts))
    place.print(errors_document(*parts, by_image=by_image, columns=columns))
    failed = found.unread > 0 or len(rows) > screen.max_failed
    raise typer.Exit(int(not written or failed))
