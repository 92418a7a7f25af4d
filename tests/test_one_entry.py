"""A new metric, loss, preset, format, reader or command is one entry, and runs.

Each is added to a copy of the package, which then computes with it.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import cdstats

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = Path(cdstats.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package beside predictions and masks."""
    # With the compiled modules, which stay true of what is not changed.
    shutil.copytree(_PACKAGE, tmp_path / "cdstats")
    rng = np.random.default_rng(1)
    for folder in ("a", "b", "t"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        p = rng.random((8, 8))
        np.save(tmp_path / f"a/{number}.npy", p)
        np.save(tmp_path / f"b/{number}.npy", p / 2)
        np.save(tmp_path / f"t/{number}.npy", (rng.random((8, 8)) < 0.3) * np.uint8(1))
    return tmp_path


def insert(copy: Path, name: str, entry: str, before: str) -> None:
    """Put an entry into a file of the copy, before the last line that begins so."""
    path = copy / "cdstats" / name
    head, found, tail = path.read_text().rpartition(before)
    assert found, before
    path.write_text(head + entry + before + tail)


def run(copy: Path, *arguments: str) -> str:
    """What a command of the copy prints."""
    done = subprocess.run(
        [sys.executable, "-m", "cdstats", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(copy: Path, *arguments: str) -> Sequence[dict[str, str]]:
    """The rows of a command of the copy."""
    text = run(copy, *arguments, "--format", "csv", "--quiet")
    return list(csv.DictReader(io.StringIO(text)))


def pixels(copy: Path) -> tuple[np.ndarray, np.ndarray]:
    """The predictions and labels of both images."""
    p, y = (
        np.concatenate([np.load(copy / f"{name}/{n}.npy").ravel() for n in (0, 1)])
        for name in ("a", "t")
    )
    return p, y == 1


def test_a_metric_is_one_field_of_the_dataset_row(copy: Path) -> None:
    entry = """\
    fpr_pooled: float | None = field(
        metadata=metrics.Metric(
            "FPR", "False positive rate", lambda c: metrics.ratio(c.fp, c.fp + c.tn)
        ).pooled
    )
"""
    before = "    losses: Mapping[str, float | None] = field(\n"
    insert(copy, "core/score_records.py", entry, before)
    p, y = pixels(copy)
    right = float(((p >= 0.5) & ~y).sum() / (~y).sum())

    row = rows(copy, "loss", "--pred", "a", "--target", "t", "--by", "dataset")[0]
    assert float(row["fpr_pooled"]) == right

    models = ("--pred", "a=a", "--pred", "b=b", "--target", "t")
    first, second = rows(copy, "compare", *models)
    assert float(first["fpr_pooled"]) == right
    assert float(second["fpr_pooled_difference"]) == -right
    assert float(second["fpr_pooled_low"]) <= -right


def test_a_loss_is_one_entry_of_the_catalogue(copy: Path) -> None:
    entry = """\
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
"""
    insert(copy, "core/catalogue/region.py", entry, '    Entry(\n        name="dice",')
    p, y = pixels(copy)
    line = ("--loss", "soft_error:smooth=0", "--by", "dataset")
    row = rows(copy, "loss", "--pred", "a", "--target", "t", *line)[0]
    found = float(row["soft_error[smooth=0]_pooled"])
    assert found == pytest.approx(float(np.abs(p - y).mean()), rel=1e-12)
    assert "Mean distance" in run(copy, "explain", "soft_error")


def test_a_preset_is_one_table_of_the_presets(copy: Path) -> None:
    path = copy / "cdstats/data/presets.toml"
    entry = """
[our-set]
dataset = "Ours"
changed = "0"
unchanged = "1"
masks = "label"
size = "2 of 8 x 8"
source = "our own"
"""
    path.write_text(path.read_text() + entry)
    _, y = pixels(copy)
    row = rows(copy, "ratio", "t", "--preset", "our-set", "--by", "dataset")[0]
    assert int(row["changed"]) == (~y).sum()
    assert "our-set" in run(copy, "presets")


def test_a_format_is_one_member_of_the_registry(copy: Path) -> None:
    entry = (
        '    OURS = "ours", ".ours", lambda document: (\n'
        '        "\\t".join(map(str, row)) + "\\n" for row in document.every().values\n'
        "    )\n"
    )
    insert(copy, "render/writers.py", entry, '    JSON = "json"')
    _, y = pixels(copy)
    line = ("ratio", "t", "--changed", "1", "--unchanged", "0", "--summary", "s.ours")
    run(copy, *line, "--format", "ours")
    written = (copy / "s.ours").read_text().split("\t")
    assert str(y.sum()) in written
    line = ("loss", "--pred", "a", "--target", "t", "--format", "ours", "--quiet")
    assert str(y.sum()) in run(copy, *line).split("\t")


def test_a_reader_is_one_entry_and_its_module(copy: Path) -> None:
    entry = 'FileFormat("PGM", "PGM", (b"P5",), (".pgm",), "pgm", held=1 << 27),\n'
    insert(copy, "io/signatures.py", " " * 8 + entry, '        FileFormat("BMP"')
    (copy / "cdstats/io/pgm.py").write_text(
        """import numpy as np

from cdstats.io.blocks import Block, OpenImage


def open_images(file):
    _, size, _, pixels = file.data.split(b"\\n", 3)
    width, height = map(int, size.split())
    grey = np.frombuffer(pixels, np.uint8).reshape(height, width)
    return [OpenImage("", width, height, "PGM", lambda: iter([Block(0, 0, grey)]))]
"""
    )
    _, y = pixels(copy)
    (copy / "t/2.pgm").write_bytes(b"P5\n8 8\n255\n" + bytes(32) + b"\1" * 32)
    rule = ("--changed", "1", "--unchanged", "0", "--by", "dataset")
    row = rows(copy, "ratio", "t", *rule)[0]
    assert int(row["changed"]) == y.sum() + 32
    assert row["images"] == "3"


def test_a_command_is_one_module(copy: Path) -> None:
    (copy / "cdstats/cli/commands/tally.py").write_text(
        '''"""Add up the pixels of a summary."""

from __future__ import annotations

import typer

from cdstats.cli.commands import command


@command
def tally(numbers: list[int]) -> None:
    """Add up the pixels of a summary."""
    typer.echo(sum(numbers))
'''
    )
    assert run(copy, "tally", "3", "4") == "7\n"
    assert "Add up the pixels of a summary." in run(copy, "--help")
