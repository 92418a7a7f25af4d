"""Rewrites what tests compare whole: `python -m tests.rewrite_golden`.

One file for each format of `cdstats ratio`, and the screens of other commands at 80
columns, all of the sample masks or of models made here; then the pages and schemas of
`docs` that the program writes. Read the difference before committing.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
from rich.text import Text
from typer.testing import CliRunner

from cdstats.cli import app

SAMPLES = Path(__file__).parents[1] / "sample_masks"
GOLDEN = Path(__file__).parent / "golden"
DOCS = SAMPLES.parent / "docs"
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


class _Screen(io.StringIO):
    """A terminal of as many columns as the environment says."""

    def isatty(self) -> bool:
        return True


def on_terminal(*arguments: str) -> str:
    """What a command sends to a terminal, colours included."""
    shown = _Screen()
    with redirect_stdout(shown):
        app(arguments, standalone_mode=False)
    return shown.getvalue()


def screen(command: str, *masks: str) -> str:
    """What a command prints to a terminal, without its colours."""
    shown = on_terminal(command, *(str(SAMPLES / mask) for mask in masks), "--quiet")
    # Not every version of Rich keeps the last line break.
    return Text.from_ansi(shown).plain.rstrip("\n") + "\n"


def weights_screen() -> str:
    return screen("weights", "CDD")


def audit_screen() -> str:
    return screen("audit", "CDD")


def write_models(root: Path, images: int = 24) -> None:
    """Masks and three models: one, one that shifts its probabilities, a better one."""
    random = np.random.default_rng(0)
    (root / "masks").mkdir()
    for number in range(images):
        mask = np.zeros((32, 32), dtype=np.uint8)
        if number % 4:
            row, column = random.integers(0, 20, 2)
            mask[row : row + 12, column : column + 10] = 1
        np.save(root / f"masks/{number}.npy", mask)
        logit = 5.0 * mask - 3.5 + random.normal(0, 1.4, mask.shape)
        better = logit + 0.5 * mask + random.normal(0, 0.3, mask.shape)
        models = {"plain": logit, "balanced": logit + 2, "longer": better}
        for name, scores in models.items():
            (root / "runs" / name).mkdir(parents=True, exist_ok=True)
            probs = (1 / (1 + np.exp(-scores))).astype(np.float32)
            np.save(root / f"runs/{name}/{number}.npy", probs)


def models_output(command: str) -> str:
    """The screen of `cdstats compare` or `cdstats loss` of models made here."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_models(root)
        options = ["--pred", f"{root}/runs/{{model}}/{{}}.npy", "--loss", "dice"]
        options += {"compare": ["--baseline", "plain"], "loss": ["--device", "cpu"]}[
            command
        ]
        done = CliRunner().invoke(app, [command, *options, "--target", f"{root}/masks"])
    if done.exit_code != 0:
        sys.exit(done.stderr)
    return done.stdout


OUTPUTS: dict[str, Callable[[], str]] = {
    **{f"ratio.{ending}": partial(output, ending) for ending in FORMATS},
    "weights.txt": weights_screen,
    "audit.txt": audit_screen,
    "compare.txt": partial(models_output, "compare"),
    "loss.txt": partial(models_output, "loss"),
}
"""Golden files, and what writes each."""


def main() -> None:
    os.environ["COLUMNS"] = "80"
    for name, write in OUTPUTS.items():
        (GOLDEN / name).write_bytes(write().encode())
    for page in ("cli", "losses", "schemas"):
        subprocess.run([sys.executable, DOCS / f"generate_{page}.py"], check=True)


if __name__ == "__main__":
    main()
