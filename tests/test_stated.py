"""Every output of scores states threshold, kind, grid, version, device and rule."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import helpers
import numpy as np
import pytest

import cdstats

STATED = ("threshold", "kind", "grid", "version", "device")
RULE = ("rule", *STATED)
STATED_LAST = (*STATED, "rule", "threshold_from")
WORDS = ("0.3125", "probabilities (float32)", "grid: none", "device: cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for name in ("a", "b", "t"):
        Path(name).mkdir()
    for number in range(2):
        mask = rng.random((6, 7)) < 0.4
        np.save(f"t/{number}.npy", mask.astype(np.uint8))
        for model in "ab":
            p = np.clip(mask * 0.5 + rng.random((6, 7)) / 2, 0, 1)
            np.save(f"{model}/{number}.npy", p.astype(np.float32))
    return tmp_path


def run(*arguments: str) -> str:
    done = helpers.run(*arguments, "--quiet")
    assert done.code == 0, done.err
    return done.out


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def loss(*arguments: str) -> str:
    places = ("--pred", "a", "--target", "t", "--device", "cpu")
    return run("loss", *places, "--threshold", "0.3125", *arguments)


def compare(*arguments: str) -> str:
    models = ("--pred", "a=a", "--pred", "b=b", "--target", "t", "--device", "cpu")
    return run("compare", *models, "--threshold", "0.3125", *arguments)


def check(one: dict[str, Any]) -> None:
    assert float(one["threshold"]) == 0.3125
    assert one["kind"] == "probabilities (float32)"
    assert one["grid"] == "none"
    assert one["device"].startswith("cpu")
    assert one["version"] == cdstats.__version__
    assert "1" in one["rule"]


@pytest.mark.parametrize("command", [loss, compare])
def test_rows_of_images_and_of_models_state_it(command: Any) -> None:
    command("--csv", "rows.csv", "--summary", "sum.csv")
    for name in ("rows.csv", "sum.csv"):
        for row in rows(Path(name).read_text()):
            check(row)


def test_objects_of_json_state_it() -> None:
    data = json.loads(loss("--format", "json"))
    for one in (data["dataset"], *data["images"]):
        check(one)
    data = json.loads(compare("--format", "json"))
    for one in (*data["models"], *data["images"]):
        check(one)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_images_on_which_models_differ_state_it(form: str) -> None:
    text = compare("--by", "image", "--format", form)
    held: list[dict[str, Any]] = [*rows(text)]
    if form == "jsonl":
        held = [json.loads(line) for line in text.splitlines()]
    assert len(held) == 4
    for row in held:
        check(row)
    assert tuple(n for n in held[0] if "value[" not in n)[-7:] == STATED_LAST
    for one in json.loads(compare("--format", "json"))["differing"]:
        check(one)
        assert tuple(one)[-7:] == STATED_LAST
        assert set(one["values"]) == {"a", "b"}
    chosen = compare("--by", "image", "--columns", "target,grid", "--format", "csv")
    assert chosen.splitlines()[1].endswith(",none")


@pytest.mark.usefixtures("blank_figures")
def test_files_behind_figures_state_it(folder: Path) -> None:
    models = ("--pred", "net1=a", "--pred", "net2=b", "--target", "t")
    run("plot", *models, "--threshold", "0.3125", "--format", "svg", "--device", "cpu")
    files = sorted((folder / "figures").glob("*.csv"))
    assert {one.stem.partition("-net")[0] for one in files} == {
        *("loss-beta", "thresholds", "precision-recall", "calibration"),
        *("epochs", "errors"),
    }
    for one in files:
        for row in rows(one.read_text()):
            if "precision" in row:  # a row for each threshold
                assert list(row)[:2] == ["model", "threshold"]
                row["threshold"] = "0.3125"
            check(row)


@pytest.mark.usefixtures("blank_figures")
def test_every_table_of_scores_on_a_page_states_it(folder: Path) -> None:
    run("report", "--pred", "a", "--target", "t", "--threshold", "0.3125")
    page = (folder / "report.html").read_text()
    section = page[page.index('id="predictions"') : page.index('id="worst"')]
    tables = section.split("<table>")[1:]
    assert len(tables) > 3
    for table in tables:
        for word in WORDS:
            assert word in table


@pytest.mark.parametrize("command", [loss, compare])
@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_footnotes_state_it(command: Any, form: str) -> None:
    for more in ((), ("--by", "image")):
        text = " ".join(command("--format", form, *more).split())
        for word in (*WORDS, f"cdstats {cdstats.__version__}"):
            assert word.replace("_", r"\_") in text or word in text


def test_rows_of_an_earlier_run_keep_what_they_state(folder: Path) -> None:
    first = json.loads(loss("--csv", "rows.csv", "--format", "json"))
    again = json.loads(run("loss", "--from", "rows.csv", "--format", "json"))
    for name in RULE:
        assert again["dataset"][name] == first["dataset"][name]
        assert [one[name] for one in again["images"]] == [
            one[name] for one in first["images"]
        ]
    assert again["device"] == first["device"]
    run("loss", "--from", "rows.csv", "--csv", "again.csv")
    assert (folder / "again.csv").read_text() == (folder / "rows.csv").read_text()


def test_a_comparison_of_rows_keeps_what_they_state() -> None:
    compare("--csv", "rows.csv")
    data = json.loads(run("compare", "--from", "rows.csv", "--format", "json"))
    for one in data["models"]:
        check(one)
