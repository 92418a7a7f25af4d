"""The command line's frame: its commands, its error boundary, its exit codes."""

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
"""Nobody reads what is printed any more: as if ended by SIGPIPE, and no failure."""

ARGUMENTS = "cdstats.arguments"
"""Where a context's ``meta`` holds the arguments of the program as typed."""


class Boundary(TyperGroup):
    """All commands; turns what a user can mend into one line and an exit code."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as the base class
        super().__init__(**settings)
        for name in COMMANDS:
            self.add_command(OnDemand(name))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as the base class
        """Take secrets out of the arguments; keep these to say how to go on."""
        forget()
        args = [hidden(argument) for argument in args]
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as the base class
        """Run a command."""
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
    """The lines of a message, whose names cannot steer a terminal."""
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
    """Run the command line; names that are not valid text are printed escaped."""
    start_in_utf8()
    sys.stdout = _opened(sys.stdout, os.O_RDONLY)
    sys.stderr = _opened(sys.stderr, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        _encode(stream)
    # rasterio would load boto3, which takes longer than all the rest, for access of its
    # own to S3; what reads stores here takes the module back.
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type]
    # Asked to end, as batch systems do: what is kept for a while is tidied up.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        _run_and_flush()
    except OSError as error:
        sys.exit(_unprinted(error))
    except SystemExit as ended:
        # Typer and Rich end the program with 1, which would say that data failed.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(UNREAD)
        raise


def start_in_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding.

    Names of files are then the same text, and results the same bytes, in any locale.
    """
    if sys.executable and sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(sys.executable, arguments)  # noqa: S606 - the same program


def _opened(stream: TextIO | None, mode: int) -> TextIO:
    """A stream, or the null device in place of one that the shell closed: ``>&-``.

    Results are not to be lost unnoticed: what is opened for reading takes none.
    """
    if stream is not None:
        return stream
    return os.fdopen(os.open(os.devnull, mode), "w", encoding="utf-8")


def _run_and_flush() -> None:
    """Run the command line; a full disk shows now, not when Python ends."""
    try:
        app()
    finally:
        sys.stdout.flush()


def _unprinted(error: OSError) -> int:
    """Tell why results were not printed, unless their reader has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Windows has no number of its own for a pipe that nobody reads.
    unread = (errno.EPIPE, *([errno.EINVAL] if sys.platform == "win32" else ()))
    if error.errno in unread:
        return UNREAD
    # Only the working folder has no name where it is gone.
    nameless = "working folder" if error.errno == errno.ENOENT else "standard output"
    place = error.filename or nameless
    reason = (error.strerror or str(error)).lower()
    typer.echo(f"error: {place}: {reason}", err=True)
    return 1


def _encode(stream: Any) -> None:  # noqa: ANN401 - a captured stream may differ
    """Write UTF-8 to files and pipes, and what a terminal reads to that."""
    if not hasattr(stream, "reconfigure"):
        return
    wrapper: TextIOWrapper = stream
    encoding: str | None = "utf-8"
    if wrapper.isatty():
        encoding = locale.getencoding() if sys.flags.utf8_mode else None
    wrapper.reconfigure(encoding=encoding, errors="backslashreplace")
