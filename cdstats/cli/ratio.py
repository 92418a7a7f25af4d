"""``cdstats ratio``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli import options
from cdstats.cli.choices import By, Sort
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.cli.main import ARGUMENTS
from cdstats.core.errors import UsageError
from cdstats.engine.choice import EngineName
from cdstats.report.formats import Format

if TYPE_CHECKING:
    from cdstats.scan.ratio import RatioResult


@command
def ratio(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Masks: files, folders, globs, patterns, @list.txt, addresses or -; "
            "NAME=PATH names the dataset.",
            metavar="[NAME=]PATH",
            show_default=False,
        ),
    ] = None,
    changed: options.Changed = None,
    unchanged: options.Unchanged = None,
    ignore: options.Ignore = None,
    preset: options.PresetName = None,
    band: options.Band = None,
    split: options.Split = None,
    from_file: options.FromFile = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="Rows to print; by default splits.", rich_help_panel="Output"
        ),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="Order of image rows.", rich_help_panel="Output")
    ] = Sort.PATH,
    columns: options.Columns = None,
    output_format: options.OutputFormat = Format.TABLE,
    csv: options.CsvFile = None,
    summary: options.SummaryFile = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Set published counts, or the file of an earlier run, beside.",
            metavar="NAME|FILE",
            rich_help_panel="Output",
        ),
    ] = None,
    jobs: options.Jobs = None,
    engine: options.Engine = EngineName.LOCAL,
    scheduler: options.Scheduler = None,
    cache: options.CacheFile = None,
    max_failed: options.MaxFailed = 0,
    max_pixels: options.MaxPixels = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
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
    from cdstats.io.limits import MAX_PIXELS
    from cdstats.scan.ratio import ratio as count

    outputs = Outputs(output_format, by, sort, columns, csv, summary)
    printer = RowPrinter(outputs)
    reference = known_reference(against)
    refuse_inputs([csv, summary, cache], [*(paths or []), from_file, against])
    if from_file is not None:
        elsewhere = None if engine is EngineName.LOCAL else engine
        rules = (changed, unchanged, ignore, preset, band, split, cache, max_pixels)
        _refuse_with_from(paths, (*rules, jobs, elsewhere, scheduler))
        from cdstats.scan.saved import ratio_from

        result = ratio_from(from_file)
    elif paths:
        with counting_screen(quiet) as screen:
            result = count(
                paths,
                changed=changed,
                unchanged=unchanged,
                ignore=ignore,
                preset=preset,
                band=band,
                split=split,
                jobs=jobs,
                engine=engine.value,
                scheduler=scheduler,
                max_pixels=max_pixels or MAX_PIXELS,
                strict=strict,
                cache=cache,
                progress=screen.progress,
                announce=screen.announce,
                each=printer if printer.is_wanted and not strict else None,
            )
    else:
        raise UsageError("no masks named: give a PATH, or --from FILE.csv")
    messages = with_commands(result, cache, context.meta[ARGUMENTS], paths or [])
    show_messages(result, messages, quiet)
    written = outputs.write(result)
    if not printer.has_printed:
        outputs.print(result)
    differs = compare(result, reference, output_format) if reference else False
    done = written and not differs and not _has_failed(result, max_failed)
    raise typer.Exit(int(not done))


def _refuse_with_from(paths: list[str] | None, rules: tuple[object, ...]) -> None:
    if paths or any(rule is not None for rule in rules):
        raise UsageError(
            "--from reads rows that are counted already; leave out PATH, rules, "
            "--band, --split, --jobs, --cache, --engine, --scheduler and --max-pixels"
        )


def _has_failed(result: RatioResult, max_failed: int) -> bool:
    return result.unread > 0 or result.failed > max_failed
