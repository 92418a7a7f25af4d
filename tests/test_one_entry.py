"""A new metric is one field in one file: added to a copy of the package, it runs."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cdstats

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = Path(cdstats.__file__).parent
_BEFORE = "    losses: Mapping[str, float | None] = field(\n"
_ENTRY = """\
    fpr_pooled: float | None = field(
        metadata=metrics.Metric(
            "FPR", "False positive rate", lambda c: metrics.ratio(c.fp, c.fp + c.tn)
        ).pooled
    )
"""


_RUN = """
import json, sys
from cdstats.cli import app
for line in json.loads(sys.argv[1]):
    app([*line, "--format", "csv", "--quiet"], standalone_mode=False)
    print()
"""


def _rows(folder: Path, *lines: Sequence[str]) -> list[list[dict[str, str]]]:
    """The rows that the copy of the package prints for each command line."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(lines)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    tables = done.stdout.split("\n\n")[: len(lines)]
    return [list(csv.DictReader(io.StringIO(table))) for table in tables]


def test_a_new_metric_is_one_field_of_the_dataset_row(tmp_path: Path) -> None:
    shutil.copytree(_PACKAGE, tmp_path / "cdstats")
    changed = tmp_path / "cdstats" / "core" / "score_records.py"
    head, found, tail = changed.read_text().rpartition(_BEFORE)
    assert found
    changed.write_text(head + _ENTRY + _BEFORE + tail)
    rng = np.random.default_rng(1)
    for folder in ("a", "b", "t"):
        (tmp_path / folder).mkdir()
    held = [(rng.random((8, 8)), rng.random((8, 8)) < 0.3) for _ in range(2)]
    for number, (p, mask) in enumerate(held):
        np.save(tmp_path / f"a/{number}.npy", p)
        np.save(tmp_path / f"b/{number}.npy", p / 2)
        np.save(tmp_path / f"t/{number}.npy", mask.astype(np.uint8))
    wrong = sum(((p >= 0.5) & ~mask).sum() for p, mask in held)
    right = float(wrong / sum((~mask).sum() for _, mask in held))

    models = ("--pred", "a=a", "--pred", "b=b", "--target", "t")
    (row, _), (first, second) = _rows(
        tmp_path, ("loss", *models, "--by", "dataset"), ("compare", *models)
    )
    assert float(row["fpr_pooled"]) == right
    assert float(first["fpr_pooled"]) == right
    assert float(second["fpr_pooled_difference"]) == -right
    assert float(second["fpr_pooled_low"]) <= -right
