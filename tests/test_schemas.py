"""What `--format json` prints fits the JSON Schema of its command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import helpers
import jsonschema
import numpy as np
import pytest
from typer.main import get_command

from cdstats.cli import app

SCHEMAS = Path(__file__).parents[1] / "docs/schemas"
NAMES = sorted(one.stem for one in SCHEMAS.glob("*.json"))
PLACES = "--target t --device cpu"
ALL_LOSSES = "--loss all"
SIGNED = "cdstats:0.1.0|thr:0.5|kind:prob.f32|rule:1/0"
RUNS = [
    ("ratio", "masks"),
    ("ratio", "masks --by image"),
    ("ratio", "nothing"),
    ("audit", "masks"),
    ("weights", "masks"),
    ("weights", "masks/empty"),
    ("loss", f"--pred a {PLACES}"),
    ("loss", f"--pred a=a --pred b=b {PLACES} {ALL_LOSSES} --by image"),
    ("loss", "--pred a --target soft --device cpu"),
    ("loss", f"--pred b/0.npy --target one.npy {ALL_LOSSES}"),
    ("compare", f"--pred a=a --pred b=b {PLACES} --common {ALL_LOSSES}"),
    ("compare", f"--pred a=a --pred b=b {PLACES} --common --by image"),
    ("errors", f"--pred a {PLACES} -o maps"),
    ("presets", ""),
    ("presets", "levir-cd"),
    ("published", ""),
    ("published", "DASNet"),
    ("verify", f"--pred a {PLACES} {SIGNED}"),
]


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    return found


def problems(data: Any, name: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema(name))
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(data)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks and predictions, some of them empty, damaged or with a partner missing."""
    place = tmp_path_factory.mktemp("schemas")
    rng = np.random.default_rng(5)
    for number in range(3):
        mask = rng.random((6, 7)) < 0.2 * number
        for name in ("t", "masks/train", "masks/test"):
            helpers.save(place / name / f"{number}.npy", mask.astype(np.uint8))
        helpers.save(place / "soft" / f"{number}.npy", rng.random((6, 7)))
        for model in "ab":
            p = np.clip(mask * 0.5 + rng.random((6, 7)) / 2, 0, 1)
            helpers.save(place / model / f"{number}.npy", p.astype(np.float32))
    helpers.save(place / "masks/empty/0.npy", np.zeros((6, 7), np.uint8))
    helpers.save(place / "one.npy", np.ones((6, 7), np.uint8))
    for name in ("masks/train", "a", "t"):
        (place / name / "9.npy").write_bytes(b"\x93NUMPY damaged")
    return place


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_every_command_with_json_has_a_schema_and_a_run() -> None:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    flags = {
        name: {option for one in command.params for option in one.opts}
        for name, command in commands.items()
    }
    printing = {n for n, known in flags.items() if "--format" in known} - {"plot"}
    summing = {f"{n}-summary" for n, known in flags.items() if "--summary" in known}
    # The file of `errors` holds what it prints.
    assert {*NAMES} == printing | summing - {"errors-summary"}
    assert printing == {command for command, _ in RUNS}


@pytest.mark.parametrize(("command", "arguments"), RUNS)
def test_what_a_command_prints_fits_its_schema(command: str, arguments: str) -> None:
    done = helpers.run(command, *arguments.split(), "--format", "json")
    data = done.data()
    assert next(iter(data)) == "schema_version"
    assert problems(data, command) == []


@pytest.mark.parametrize("command", ["ratio", "loss", "compare", "errors"])
def test_what_a_summary_file_holds_fits_its_schema(command: str) -> None:
    arguments = next(one for name, one in RUNS if name == command)
    helpers.run(command, *arguments.split(), "--summary", "s.json", "-q")
    data = json.loads(Path("s.json").read_text("utf-8"))
    name = command if command == "errors" else f"{command}-summary"
    assert problems(data, name) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": "1"}, "'1' is not of type 'integer'"),
        ({"further": []}, "'further' was unexpected"),
        ({"images": None}, "None is not of type 'array'"),
    ],
)
def test_a_document_of_another_form_is_refused(
    change: dict[str, Any], problem: str
) -> None:
    data = helpers.run("ratio", "masks/test", "--format", "json").data()
    assert any(problem in one for one in problems(data | change, "ratio"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("focal_sum", 1.0), ("dice[smooth=0]", "1"), ("tp", 0.5), ("reason", None)],
)
def test_a_row_with_an_unknown_or_wrong_value_is_refused(key: str, value: Any) -> None:
    run = f"loss --pred b {PLACES} --loss dice:smooth=0 --format json"
    data = helpers.run(*run.split()).data()
    assert problems(data, "loss") == []
    assert "dice[smooth=0]" in data["images"][0]
    data["images"][0][key] = value
    assert problems(data, "loss")
