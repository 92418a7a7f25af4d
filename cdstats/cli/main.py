"""The command-line application: its commands, error handling and exit codes."""

from __future__ import annotations

import errno
import locale
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import cdstats
from cdstats.cli.commands import COMMANDS, OnDemand
from cdstats.core.errors import CdstatsError
from cdstats.core.secrets import forget, hidden

if TYPE_CHECKING:
    from io import TextIOWrapper
    from typing import TextIO

INTERRUPTED = 130
UNREAD = 141
"""Exit code when the reader of a pipe has closed it, as after SIGPIPE."""

ARGUMENTS = "cdstats.arguments"
"""Key of a context's ``meta`` for the arguments of the program as typed."""


class Boundary(TyperGroup):
    """The group of all commands, which reports user errors as one line."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as the base class
        super().__init__(**settings)
        for name in COMMANDS:
            self.add_command(OnDemand(name))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as the base class
        """Parse the arguments; they are kept, without secrets, for messages."""
        forget()
        args = [hidden(argument) for argument in args]
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as the base class
        """Run a command, and turn its errors into a message and an exit code."""
        from cdstats.io.limits import check_address_space

        try:
            check_address_space()
            return super().invoke(ctx)
        except CdstatsError as error:
            typer.echo(f"error: {_shown(error)}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _shown(error: CdstatsError) -> str:
    """The lines of a message with control characters escaped."""
    from cdstats.core.columns import printable

    return "\n".join(printable(line) for line in str(error).split("\n"))


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
    """Run the command line; this is the entry point of the program."""
    start_in_utf8()
    sys.stdout = _opened(sys.stdout, os.O_RDONLY)
    sys.stderr = _opened(sys.stderr, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        _encode(stream)
    # rasterio would import boto3, which takes longer than all other imports, for its
    # own access to S3. The code here that needs boto3 restores the module.
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type]
    # Batch systems send SIGTERM; exiting normally removes temporary files.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        _run_and_flush()
    except OSError as error:
        sys.exit(_report_unprinted(error))
    except SystemExit as ended:
        # Typer and Rich exit with 1, which would mean that data failed.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(UNREAD)
        raise


def start_in_utf8() -> None:
    """Restart in Python's UTF-8 mode if the locale has another encoding.

    File names and results are then identical in every locale.
    """
    if sys.executable and sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(sys.executable, arguments)  # noqa: S606 - the same program


def _opened(stream: TextIO | None, mode: int) -> TextIO:
    """The stream, or the null device if the shell closed it with ``>&-``.

    With mode ``O_RDONLY``, writing fails, so that results are not lost silently.
    """
    if stream is not None:
        return stream
    return os.fdopen(os.open(os.devnull, mode), "w", encoding="utf-8")


def _run_and_flush() -> None:
    """Run the command line and flush, so that a full disk is reported as an error."""
    try:
        app()
    finally:
        sys.stdout.flush()


def _report_unprinted(error: OSError) -> int:
    """Report why results could not be printed, unless the reader closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Windows reports a closed pipe as EINVAL.
    unread = (errno.EPIPE, *([errno.EINVAL] if sys.platform == "win32" else ()))
    if error.errno in unread:
        return UNREAD
    # An error without a file name is of the working folder if that was removed.
    nameless = "working folder" if error.errno == errno.ENOENT else "standard output"
    place = error.filename or nameless
    reason = (error.strerror or str(error)).lower()
    typer.echo(f"error: {place}: {reason}", err=True)
    return 1


def _encode(stream: Any) -> None:  # noqa: ANN401 - a captured stream may differ
    """Use UTF-8 for files and pipes, and the encoding of the locale for terminals."""
    if not hasattr(stream, "reconfigure"):
        return
    wrapper: TextIOWrapper = stream
    encoding: str | None = "utf-8"
    if wrapper.isatty():
        encoding = locale.getencoding() if sys.flags.utf8_mode else None
    wrapper.reconfigure(encoding=encoding, errors="backslashreplace")
