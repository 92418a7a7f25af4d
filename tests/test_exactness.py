"""The same numbers whatever carries them: order, workers, batches, surroundings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import torch
from helpers import Done, run
from PIL import Image
from rasterio.windows import Window

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason="there is no CUDA device"
        ),
    ),
]
IMAGES = ("--by", "image", "--format", "csv")
PLACE = rasterio.Affine(2, 0, 9, 0, -2, 9)
COUNTS = ("changed", "unchanged", "ignored", "tp", "fp", "fn", "tn", "saturated_wrong")


def output(*arguments: object) -> Done:
    done = run(*arguments, "--quiet")
    assert done.code == 0, done.err
    return done


def numbers_of(*arguments: object) -> Any:
    return output(*arguments, "--format", "json").data()


# Size.


@pytest.mark.full
def test_more_than_2_to_the_31_changed_pixels_are_counted(tmp_path: Path) -> None:
    """All tiles but one are left out of the file, and read as zeros."""
    size = 47_104
    path = tmp_path / "sparse.tif"
    with rasterio.open(
        *(path, "w"),
        driver="GTiff",
        transform=PLACE,
        dtype="uint8",
        count=1,
        sparse_ok=True,
        height=size,
        width=size,
        tiled=True,
        compress="deflate",
        blockxsize=1024,
        blockysize=1024,
    ) as file:
        ones = np.ones((1, 1000, 777), np.uint8)
        file.write(ones, window=Window(2048, 3072, 777, 1000))
    assert path.stat().st_size < 100_000
    done = output("ratio", path, "--changed=0", "--unchanged=1", *IMAGES)
    (row,) = done.rows()
    assert int(row["unchanged"]) == 777_000
    assert int(row["changed"]) == size**2 - 777_000 > 2**31
    assert float(row["change_ratio"]) == (size**2 - 777_000) / 777_000


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "dtype",
    [
        *("uint8", "float32"),
        *(pytest.param(t, marks=pytest.mark.full) for t in ("uint16", "float16")),
        pytest.param("float64", marks=pytest.mark.full),
    ],
)
def test_more_than_2_to_the_24_pixels_of_an_image_are_scored(
    dtype: str, device: str, tmp_path: Path
) -> None:
    size, wrong = 4_100, 3
    mask = np.full((size, size), 255, np.uint8)
    mask.flat[:5] = 0
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1
    scores = np.full((size, size), top, dtype)
    scores.flat[:wrong] = 0
    scores.flat[-1] = 0
    np.save(tmp_path / "m.npy", mask)
    np.save(tmp_path / "p.npy", scores)
    pair = ("--pred", tmp_path / "p.npy", "--target", tmp_path / "m.npy")
    done = output("loss", *pair, "--kind", "prob", "--device", device, *IMAGES)
    (row,) = done.rows()
    changed = size**2 - 5
    assert changed - 1 > 2**24
    found = [int(row[name]) for name in COUNTS]
    assert found == [changed, 5, 0, changed - 1, 5 - wrong, 1, wrong, 1 + 5 - wrong]
    assert float(row["prob_sum"]) == size**2 - wrong - 1
    assert float(row["ce_changed_sum"]) == 100
    assert float(row["ce_unchanged_sum"]) == 100 * (5 - wrong)


# Surroundings.


SURROUNDINGS: list[dict[str, Any]] = [
    {"LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}
    | {"PYTHONHASHSEED": "7", "umask": 0o077},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "cwd": "/"}
    | {"PYTHONIOENCODING": "utf-8", "TZ": "America/St_Johns", "PYTHONHASHSEED": "0"}
    | {"PYTHONOPTIMIZE": "2"},
]
"""A locale that is not installed is as C to libraries, but a name to programs."""
RUNS_LINES = """
import json, sys
from cdstats.cli import run
from cdstats.cli.main import start_in_utf8
start_in_utf8()
for line in json.loads(sys.argv[1]):
    sys.argv = ["cdstats", *line]
    print("$", *line, flush=True)
    try:
        run()
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(line, ended.code) from ended
"""


def in_surroundings(
    lines: list[list[str]], *, umask: int = -1, cwd: str | None = None, **names: str
) -> subprocess.CompletedProcess[bytes]:
    """Run command lines one after another in one process."""
    return subprocess.run(
        [sys.executable, "-c", RUNS_LINES, json.dumps(lines)],
        capture_output=True,
        check=True,
        cwd=cwd,
        env={**os.environ, **names},
        umask=umask,
        timeout=300,
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks in splits, in one folder and by lists, and predictions of two models."""
    folder = tmp_path_factory.mktemp("sources")
    random = np.random.default_rng(3)
    for number in range(6):
        mask = np.where(random.random((90, 70)) < 0.2, 255, 0).astype(np.uint8)
        for place in (f"masks/{('train', 'val')[number % 2]}", "few"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(folder / place / f"{number}.png")
        for model in "ab":
            probs = np.clip(random.random(mask.shape) + (mask > 0) / 4, 0, 1)
            (folder / model).mkdir(exist_ok=True)
            np.save(folder / model / f"{number}.npy", probs.astype(np.float32))
    for place in ("label", "A", "B", "other", "more"):
        shutil.copytree(folder / "few", folder / "listed" / place)
    for split, names in (("train", "0123"), ("test", "345")):
        (folder / "listed/list").mkdir(exist_ok=True)
        (folder / f"listed/list/{split}.txt").write_text("\n".join(names))
    return folder


def lines_of(sources: Path) -> dict[str, list[str]]:
    """A command line of every command that reads or writes numbers."""
    masks = [str(sources / "masks")]
    models = [f"--pred={model}={sources / model}" for model in "ab"]
    pair = [*models, "--target", str(sources / "few")]
    return {
        "ratio": ["ratio", *masks],
        "lists": ["ratio", str(sources / "listed"), "--format", "json"],
        "audit": ["audit", *masks],
        "weights": ["weights", *masks],
        "loss": ["loss", *pair],
        "compare": ["compare", *pair, "--resamples", "50"],
        "explain": ["explain", "balanced_ce"],
        "presets": ["presets"],
        "published": ["published"],
    }


@pytest.mark.full
def test_the_surroundings_change_no_byte(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = lines_of(sources)
    for name in ("ratio", "loss", "compare"):
        lines[name] += ["--csv", str(out / f"{name}.csv")]
    pair = [*lines_of(sources)["loss"][1:], "--masks", str(sources / "masks")]
    # The page holds the other figures; every format tells alike of locale and place.
    figures = ["--only", "splits", "--only", "loss-beta", "--format", "svg"]
    lines["plot"] = ["plot", *pair, *figures, "-o", str(out / "figures")]
    rows = (
        word for name in ("ratio", "loss") for word in ("--from", f"{out}/{name}.csv")
    )
    lines["report"] = ["report", *rows, "-o", str(out / "page.html")]
    seen = []
    for one in SURROUNDINGS:
        out.mkdir()
        done = in_surroundings([*lines.values()], **one)
        files = {path.name: path.read_bytes() for path in out.rglob("*.*")}
        assert len(files) == 3 + 4 + 1
        seen.append((done.stdout, done.stderr, files))
        shutil.rmtree(out)
    first, second = seen
    assert first[:2] == second[:2]
    assert first[2].keys() == second[2].keys()
    assert [n for n, data in first[2].items() if data != second[2][n]] == []


# Every command, however its work is cut.


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """Every value of JSON by its place."""
    if isinstance(value, dict):
        pairs = [(f"{path}.{name}", one) for name, one in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{path}[{number}]", one) for number, one in enumerate(value)]
    else:
        return {path: value}
    return {
        place: leaf for name, one in pairs for place, leaf in numbers(one, name).items()
    }


def assert_alike(found: Any, expected: Any) -> None:
    """Integers and texts are equal, sums to 1e-12."""
    found, expected = numbers(found), numbers(expected)
    assert found.keys() == expected.keys()
    for place, value in expected.items():
        if isinstance(value, float):
            assert found[place] == pytest.approx(value, rel=1e-12, abs=1e-15), place
        else:
            assert found[place] == value, place


@pytest.mark.parametrize("command", ["ratio", "audit", "weights"])
def test_workers_and_the_order_of_files_change_no_count(
    command: str, sources: Path
) -> None:
    files = sorted((sources / "few").iterdir())
    assert len(files) == 6
    whole = numbers_of(command, *files)
    assert numbers_of(command, *files[::-1]) == whole
    assert numbers_of(command, *files[3:], *files[:3], "--jobs", 2) == whole


@pytest.mark.parametrize("command", ["loss", "compare"])
def test_batches_and_the_order_of_models_change_no_score(
    command: str, sources: Path
) -> None:
    losses = ["all"] if command == "loss" else ["lovasz_softmax", "boundary", "focal"]
    further = [word for name in losses for word in ("--loss", name)]
    line = [*lines_of(sources)[command], *further]
    if command == "compare":
        line += ["--baseline", "a"]
    whole = numbers_of(*line)
    for batch in (1, 2):
        assert_alike(numbers_of(*line, "--batch-size", batch), whole)
    if command == "loss":
        return
    turned = numbers_of(line[0], line[2], line[1], *line[3:])
    for held in (turned, whole):
        held["models"].sort(key=lambda row: row["model"])
    assert_alike(turned["models"], whole["models"])
