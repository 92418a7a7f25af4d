"""The command line's frame: its commands, its error boundary, its exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import cdstats
from cdstats.core.errors import CdstatsError

if TYPE_CHECKING:
    from io import TextIOWrapper

INTERRUPTED = 130


class Boundary(TyperGroup):
    """Turns what a user can mend into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as the base class
        """Run a command.

        Raises:
            typer.Exit: With the error's code, or 130 after Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except CdstatsError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Boundary,
    name="cdstats",
    help="Pixel statistics of change-detection masks, and losses of saved predictions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"cdstats {cdstats.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Pixel statistics of change-detection masks, and losses of saved predictions."""


def run() -> None:
    """Run the command line; names that are not valid text are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        _escape_errors(stream)
    app()


def _escape_errors(stream: Any) -> None:  # noqa: ANN401 - a captured stream may differ
    if hasattr(stream, "reconfigure"):
        wrapper: TextIOWrapper = stream
        wrapper.reconfigure(errors="backslashreplace")


# The commands register themselves on the app when they are imported.
from cdstats.cli import explain, loss, presets, published, ratio  # noqa: E402, F401
