"""Rewrites the golden outputs: `python tests/rewrite_golden.py`.

One file for each format of `cdstats ratio`, and the screens of other commands at 80
columns, all of the sample masks; read the difference before committing.
"""

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.text import Text
from typer.testing import CliRunner

from cdstats.cli import app

SAMPLES = Path(__file__).parents[1] / "sample_masks"
GOLDEN = Path(__file__).parent / "golden"
FORMATS = {
    "csv": "csv",
    "json": "json",
    "jsonl": "jsonl",
    "md": "markdown",
    "tex": "latex",
    "txt": "table",
}
"""Endings of the golden files, and the format that each holds."""
MASKS = ("CDD", "BCDD", "awkward/rgba.png")


def output(ending: str) -> str:
    """What `cdstats ratio` prints of the sample masks in one format."""
    masks = [str(SAMPLES / mask) for mask in MASKS]
    done = CliRunner().invoke(app, ["ratio", *masks, "--format", FORMATS[ending]])
    if done.exit_code != 0:
        sys.exit(done.stderr)
    return done.stdout


def golden_file(ending: str) -> Path:
    return GOLDEN / f"ratio.{ending}"


class _Screen(io.StringIO):
    """A terminal of as many columns as the environment says."""

    def isatty(self) -> bool:
        return True


def screen(command: str, *masks: str) -> str:
    """What a command prints to a terminal, without its colours."""
    shown = _Screen()
    with redirect_stdout(shown):
        app(
            [command, *(str(SAMPLES / mask) for mask in masks), "--quiet"],
            standalone_mode=False,
        )
    return Text.from_ansi(shown.getvalue()).plain


def weights_screen() -> str:
    return screen("weights", "CDD")


def audit_screen() -> str:
    return screen("audit", "CDD")


def main() -> None:
    os.environ["COLUMNS"] = "80"
    for ending in FORMATS:
        golden_file(ending).write_bytes(output(ending).encode())
    (GOLDEN / "weights.txt").write_bytes(weights_screen().encode())
    (GOLDEN / "audit.txt").write_bytes(audit_screen().encode())


if __name__ == "__main__":
    main()
