"""A new metric, loss, preset, format, reader or command is one entry, and runs.

All are added to a copy of the package, which then computes with them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import save

import cdstats

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = Path(cdstats.__file__).parent


_RUN = """
import json, sys
from typer.testing import CliRunner
from cdstats.cli import app
for line in sys.stdin:
    done = CliRunner().invoke(app, json.loads(line), prog_name="cdstats")
    print(json.dumps((done.exit_code, done.stdout, done.stderr)), flush=True)
"""
"""Runs commands of the copy, which are read from standard input."""


class Copy:
    """A folder with a copy of the package beside predictions and masks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "cdstats"
        # With the compiled modules, which stay true of what is not changed.
        shutil.copytree(_PACKAGE, self.package)
        rng = np.random.default_rng(1)
        for number in range(2):
            p = rng.random((8, 8))
            save(folder / f"a/{number}.npy", p)
            save(folder / f"b/{number}.npy", p / 2)
            save(folder / f"t/{number}.npy", (rng.random((8, 8)) < 0.3) * np.uint8(1))

    def insert(self, name: str, entry: str, before: str) -> None:
        """Put an entry into a file, before the last line that begins so."""
        path = self.package / name
        head, found, tail = path.read_text().rpartition(before)
        assert found, before
        path.write_text(head + entry + before + tail)

    @cached_property
    def program(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _RUN],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """What a command prints."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(arguments) + "\n")
        self.program.stdin.flush()
        code, out, err = json.loads(self.program.stdout.readline())
        assert code == 0, err
        return str(out)

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        """The rows that a command prints."""
        text = self.run(*arguments, "--format", "csv", "--quiet")
        return list(csv.DictReader(io.StringIO(text)))

    def pixels(self) -> tuple[Any, Any]:
        """The predictions and labels of both images."""
        p, y = (
            np.concatenate(
                [np.load(self.folder / f"{k}/{n}.npy").ravel() for n in "01"]
            )
            for k in "at"
        )
        return p, y == 1


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A copy of the package with an entry of each kind."""
    copy = Copy(tmp_path_factory.mktemp("copy"))
    for place in ENTRIES:
        copy.insert(*place)
    for name, text in MODULES.items():
        (copy.package / name).write_text(text)
    with (copy.package / "data/presets.toml").open("a") as presets:
        presets.write(PRESET)
    yield copy
    copy.program.communicate()


ENTRIES = (
    (
        "core/score_records.py",
        """\
    fpr_pooled: float | None = field(
        metadata=metrics.Metric(
            "FPR", "False positive rate", lambda c: metrics.ratio(c.fp, c.fp + c.tn)
        ).pooled
    )
""",
        "    losses: Mapping[str, float | None] = field(\n",
    ),
    (
        "core/catalogue/region.py",
        """\
    Entry(
        name="soft_error",
        title="soft error",
        reduction=Reduction.REGION,
        formula="(sum |p - y| + s) / n, s = smooth",
        source="Mean distance of prediction and label",
        pitfalls="",
        parameters=(SMOOTH,),
        values=lambda s, *, smooth: quotient(
            s.missed_sum + s.false_sum + smooth, s.valid
        ),
    ),
""",
        '    Entry(\n        name="dice",',
    ),
    (
        "render/writers.py",
        """\
    OURS = "ours", ".ours", lambda document: (
        "\\t".join(map(str, row)) + "\\n" for row in document.every().values
    )
""",
        '    JSON = "json"',
    ),
    (
        "io/signatures.py",
        'FileFormat("PGM", "PGM", (b"P5",), (".pgm",), "pgm", held=1 << 27),\n',
        'FileFormat("BMP"',
    ),
)
"""An entry of each kind: its file, its text, and the line that follows."""
PRESET = """
[our-set]
dataset = "Ours"
changed = "0"
unchanged = "1"
masks = "label"
size = "2 of 8 x 8"
source = "our own"
"""
MODULES = {
    "io/pgm.py": """import numpy as np

from cdstats.io.blocks import Block, OpenImage


def open_images(file):
    _, size, _, pixels = file.data.split(b"\\n", 3)
    width, height = map(int, size.split())
    grey = np.frombuffer(pixels, np.uint8).reshape(height, width)
    return [OpenImage("", width, height, "PGM", lambda: iter([Block(0, 0, grey)]))]
""",
    "cli/commands/tally.py": '''"""Add up the pixels of a summary."""

from __future__ import annotations

import typer

from cdstats.cli.commands import command


@command
def tally(numbers: list[int]) -> None:
    """Add up the pixels of a summary."""
    typer.echo(sum(numbers))
''',
}


def test_a_metric_is_one_field_of_the_dataset_row(copy: Copy) -> None:
    p, y = copy.pixels()
    right = float(((p >= 0.5) & ~y).sum() / (~y).sum())

    row = copy.rows("loss", "--pred", "a", "--target", "t", "--by", "dataset")[0]
    assert float(row["fpr_pooled"]) == right

    models = ("--pred", "a=a", "--pred", "b=b", "--target", "t", "--resamples", "20")
    first, second = copy.rows("compare", *models)
    assert float(first["fpr_pooled"]) == right
    assert float(second["fpr_pooled_difference"]) == -right
    assert float(second["fpr_pooled_low"]) <= -right


def test_a_loss_is_one_entry_of_the_catalogue(copy: Copy) -> None:
    p, y = copy.pixels()
    line = ("--loss", "soft_error:smooth=0", "--by", "dataset")
    row = copy.rows("loss", "--pred", "a", "--target", "t", *line)[0]
    found = float(row["soft_error[smooth=0]_pooled"])
    assert found == pytest.approx(float(np.abs(p - y).mean()), rel=1e-12)
    assert "Mean distance" in copy.run("explain", "soft_error")


def test_a_preset_is_one_table_of_the_presets(copy: Copy) -> None:
    _, y = copy.pixels()
    row = copy.rows("ratio", "t", "--preset", "our-set", "--by", "dataset")[0]
    assert int(row["changed"]) == (~y).sum()
    assert "our-set" in copy.run("presets")


def test_a_format_is_one_member_of_the_registry(copy: Copy) -> None:
    _, y = copy.pixels()
    line = ("ratio", "t", "--changed", "1", "--unchanged", "0", "--summary", "s.ours")
    copy.run(*line, "--format", "ours")
    written = (copy.folder / "s.ours").read_text().split("\t")
    assert str(y.sum()) in written
    line = ("loss", "--pred", "a", "--target", "t", "--format", "ours", "--quiet")
    assert str(y.sum()) in copy.run(*line).split("\t")


def test_a_reader_is_one_entry_and_its_module(copy: Copy) -> None:
    image = copy.folder / "pgm/2.pgm"
    image.parent.mkdir()
    image.write_bytes(b"P5\n8 8\n255\n" + bytes(24) + b"\1" * 40)
    rule = ("--changed", "1", "--unchanged", "0", "--by", "dataset")
    row = copy.rows("ratio", "pgm", *rule)[0]
    assert (row["changed"], row["unchanged"], row["images"]) == ("40", "24", "1")


def test_a_command_is_one_module(copy: Copy) -> None:
    assert copy.run("tally", "3", "4") == "7\n"
    assert "Add up the pixels of a summary." in copy.run("--help")
