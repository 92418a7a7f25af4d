"""``cdstats weights``."""

from __future__ import annotations

from typing import Annotated

import typer

import cdstats
from cdstats.cli import options
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.cli.sources import check_source
from cdstats.render.weights import WeightsFormat


@command
def weights(
    paths: options.Paths = None,
    changed: options.Changed = None,
    unchanged: options.Unchanged = None,
    ignore: options.Ignore = None,
    preset: options.PresetName = None,
    band: options.Band = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Count this split; by default train, or all where there is none.",
            metavar="NAME",
            rich_help_panel="Selection",
        ),
    ] = None,
    from_file: options.FromFile = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Scheme for torch and opencd; by default the recommended weights.",
            metavar="NAME",
            rich_help_panel="Output",
        ),
    ] = None,
    output_format: Annotated[
        WeightsFormat,
        typer.Option(
            "--format",
            help="Format of standard output; torch and opencd are lines to paste.",
            rich_help_panel="Output",
        ),
    ] = WeightsFormat.TABLE,
    jobs: options.Jobs = None,
    cache: options.CacheFile = None,
    max_failed: options.MaxFailed = 0,
    max_pixels: options.MaxPixels = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Tell which class weights to put into a loss.

    The first line is a recommendation with its reason; below it are the named schemes
    with what each gives, its formula and its source. Pixels are counted in the split
    train where there is one.
    """
    from cdstats.cli.screen import counting_screen, show_messages
    from cdstats.core.weights import check_scheme
    from cdstats.io.limits import MAX_PIXELS
    from cdstats.render.weights import WeightsDocument
    from cdstats.scan.weights import weights as weigh

    if scheme is not None:
        check_scheme(scheme, pasted=output_format.is_pasted)
    for_masks = {
        "--changed": changed,
        "--unchanged": unchanged,
        "--ignore": ignore,
        "--preset": preset,
        "--band": band,
        "--jobs": jobs,
        "--max-pixels": max_pixels,
        "--cache": cache,
    }
    check_source(paths, from_file, for_masks)
    refuse_inputs([cache], [*(paths or []), from_file])
    if from_file is not None:
        result = weigh(from_file=from_file, split=split)
    else:
        with counting_screen(quiet) as screen:
            result = weigh(
                paths,
                split=split,
                changed=changed,
                unchanged=unchanged,
                ignore=ignore,
                preset=preset,
                band=band,
                jobs=jobs,
                max_pixels=max_pixels or MAX_PIXELS,
                strict=strict,
                cache=cache,
                progress=screen.progress,
            )
    show_messages(result, result.messages, quiet)
    print_weights(result.datasets, output_format, scheme, cdstats.__version__)
    failed = result.unread > 0 or result.failed > max_failed
    raise typer.Exit(int(failed))
