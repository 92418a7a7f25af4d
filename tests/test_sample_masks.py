"""The synthetic sample masks: their true counts, their ratios, their generator."""

import csv
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers import run

SAMPLES = Path(__file__).parents[1] / "sample_masks"
COUNTS = ("width", "height", "changed", "unchanged", "ignored")


def expected_rows() -> list[dict[str, str]]:
    with (SAMPLES / "expected.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counted(*arguments: str) -> list[dict[str, str]]:
    done = run("ratio", *arguments, "--by", "image", "--format", "csv", "--quiet")
    assert (done.code, done.err) == (0, "")
    return done.rows()


@pytest.mark.parametrize("row", expected_rows(), ids=lambda row: row["path"])
def test_each_file_has_its_true_counts(row: dict[str, str]) -> None:
    (found,) = counted(str(SAMPLES / row["path"]), *row["options"].split())
    assert {name: found[name] for name in COUNTS} == {n: row[n] for n in COUNTS}
    assert (found["status"], found["pixels"]) == (
        "ok",
        str(int(row["width"]) * int(row["height"])),
    )


def test_every_mask_is_in_the_table_of_true_counts() -> None:
    masks = {
        path.relative_to(SAMPLES).as_posix()
        for folder in SAMPLES.iterdir()
        if folder.is_dir() and not folder.name.startswith((".", "_"))
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert masks == {row["path"] for row in expected_rows()}


def test_the_printed_ratios_are_those_of_the_dasnet_table() -> None:
    done = run("ratio", str(SAMPLES / "CDD"), str(SAMPLES / "BCDD"), "--by", "dataset")
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    printed = {row[0]: row for row in rows if row and row[0] in ("CDD", "BCDD")}
    assert printed["CDD"][2:5] == ["134,069", "914,507", "0.147"]
    assert printed["BCDD"][2:5] == ["89,720", "2,007,432", "0.045"]


@pytest.mark.full
def test_the_generator_writes_every_file_again_byte_for_byte(tmp_path: Path) -> None:
    constraints = (SAMPLES.parent / "constraints.txt").read_text(encoding="utf-8")
    for package in ("numpy", "pillow", "rasterio"):
        if f"\n{package}=={version(package)}\n" not in f"\n{constraints}".lower():
            pytest.skip(f"the samples were made by another version of {package}")
    subprocess.run(
        [sys.executable, str(SAMPLES / "generate.py"), str(tmp_path)],
        check=True,
        capture_output=True,
    )
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert set(written) == {"expected.csv", *(row["path"] for row in expected_rows())}
    assert [
        n for n, data in written.items() if data != (SAMPLES / n).read_bytes()
    ] == []
