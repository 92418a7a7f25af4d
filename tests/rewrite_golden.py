"""Rewrites the golden outputs of `cdstats ratio`: `python tests/rewrite_golden.py`.

One file for each format, of the sample masks; read the difference before committing.
"""

import sys
from pathlib import Path

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


def main() -> None:
    for ending in FORMATS:
        golden_file(ending).write_bytes(output(ending).encode())


if __name__ == "__main__":
    main()
