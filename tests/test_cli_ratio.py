"""The command line as a contract: streams, exit codes, formats, files, order."""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rewrite_golden
from helpers import Done, run, save
from PIL import Image
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.cli.screen import show_failures
from cdstats.core.presets import presets
from cdstats.core.reference import published

SAMPLES = Path(__file__).parents[1] / "sample_masks"
IMAGE_COLUMNS = [
    *("dataset", "split", "path", "width", "height", "pixels"),
    *("changed", "unchanged", "ignored", "change_ratio", "change_fraction"),
    *("rule", "status", "reason"),
]
HEADINGS = {
    "dataset": "Dataset",
    "split": "Split",
    "images": "Images",
    "changed": "Changed pixels",
    "unchanged": "Unchanged pixels",
    "change_ratio": "Changed/unchanged",
    "change_fraction": "Change fraction",
}
UNVERIFIED = "transcription not verified against the paper's PDF"
ONE_TABLE = ["csv", "jsonl", "markdown", "latex"]
FORMATS = ["table", "json", *ONE_TABLE]
SUMMARY_FILES = {".csv": "csv", ".md": "markdown", ".tex": "latex"}

Argument = str | Path


def ratio(*arguments: Argument) -> Done:
    return run("ratio", *arguments)


def image_rows(*arguments: Argument) -> Done:
    return ratio(*arguments, "--by", "image", "--format", "csv")


def write_values(path: Path, values: dict[int, int], width: int = 10) -> Path:
    """A mask that holds so many pixels of each value."""
    pixels = np.repeat(list(values), list(values.values()))
    return save(path, pixels.reshape(-1, width))


def write_mask(path: Path, changed: int) -> Path:
    """A mask of 10 x 10 pixels, so many of them white."""
    counts = {0: 100 - changed, 255: changed}
    return write_values(path, {value: n for value, n in counts.items() if n})


def write_masks(folder: Path, *changed: int) -> Path:
    """Masks 1.png, 2.png, ... with so many changed pixels."""
    for number, pixels in enumerate(changed, start=1):
        write_mask(folder / f"{number}.png", pixels)
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A dataset of three masks without splits: 40, 5 and 20 changed pixels of 100."""
    return write_masks(tmp_path / "masks", 40, 5, 20)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A dataset in three splits whose validation masks are ambiguous."""
    root = tmp_path / "mixed"
    write_masks(root / "train", 10, 30)
    write_values(root / "val/1.png", {1: 75, 2: 25})
    write_masks(root / "test", 50)
    return root


def bad_files(folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(1, number + 1):
        (folder / f"bad{index}.png").write_bytes(b"no image")
    return folder


# Columns.


@pytest.mark.parametrize("kind", ["csv", "jsonl", "markdown", "latex", "table"])
def test_columns_are_those_asked_for_in_their_order(kind: str, masks: Path) -> None:
    done = ratio(masks, "--columns", "changed, dataset,beta", "--format", kind)
    assert done.code == 0
    expected = {
        "csv": ["changed,dataset,beta", "65,masks,0.7833333333333333"],
        "jsonl": ['{"changed": 65, "dataset": "masks", "beta": 0.7833333333333333}'],
        "markdown": ["| Changed pixels | Dataset | Beta |", "| 65 | masks | 0.783 |"],
        "latex": [r"Changed pixels & Dataset & Beta \\", r"65 & masks & 0.783 \\"],
        "table": ["     65  masks    0.783"],
    }[kind]
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert [line for line in expected if line.rstrip() not in lines] == []


def test_an_image_column_needs_image_rows(masks: Path) -> None:
    done = ratio(masks, "--columns", "path")
    assert (done.code, done.out) == (2, "")
    assert "'path'" in done.err
    assert "change_ratio" in done.err
    assert ratio(masks, "--columns", "path", "--by", "image").code == 0


def test_dataset_rows_hold_what_the_contract_says(tmp_path: Path) -> None:
    write_values(tmp_path / "X/1.png", {0: 60, 255: 30, 7: 10})
    write_values(tmp_path / "X/2.png", {0: 100})
    write_values(tmp_path / "X/3.png", {0: 150, 255: 50}, width=20)
    bad_files(tmp_path / "X", 1)
    done = ratio(tmp_path / "X", "--ignore", "7", "--format", "csv")
    (row,) = done.rows()
    assert done.code == 1
    fractions = [30 / 90, 0, 50 / 200]
    assert row == {
        "dataset": "X",
        "split": "all",
        "images": "3",
        "failed": "1",
        "without_change": "1",
        "pixels": "400",
        "changed": "80",
        "unchanged": "310",
        "ignored": "10",
        "change_ratio": str(80 / 310),
        "change_fraction": str(80 / 390),
        "imbalance_ratio": str(310 / 80),
        "beta": str(310 / 390),
        "pos_weight": str(310 / 80),
        "mean_image_change_fraction": row["mean_image_change_fraction"],
        "median_image_change_fraction": "0.25",
        "rule": row["rule"],
        "width": "",
        "height": "10",
    }
    assert float(row["mean_image_change_fraction"]) == pytest.approx(
        sum(fractions) / 3, rel=1e-12
    )


UNDEFINED = [
    pytest.param("csv", "100,0,,1.0", id="csv"),
    pytest.param("jsonl", '"change_ratio": null, "change_fraction": 1.0', id="jsonl"),
    pytest.param("json", '"change_ratio": null,', id="json"),
    pytest.param("markdown", "| 100 | 0 | – | 100.000 % |", id="markdown"),
    pytest.param("latex", r"100 & 0 & -- & 100.000 \% \\", id="latex"),
    pytest.param("table", "–", id="table"),
]


@pytest.mark.parametrize(("kind", "cells"), UNDEFINED)
def test_an_undefined_ratio_is_never_a_number(
    kind: str, cells: str, tmp_path: Path
) -> None:
    write_mask(tmp_path / "X/1.png", 100)
    rule = ["--changed", "255", "--unchanged", "0"]
    columns = "changed,unchanged,change_ratio,change_fraction"
    done = ratio(tmp_path / "X", *rule, "--columns", columns, "--format", kind)
    assert done.code == 0
    assert cells in done.out
    assert not re.search(r"\b(nan|inf|None|NaN|Infinity)\b", done.out)


# One table, or both.


@pytest.mark.parametrize(("number", "shown"), [(20, True), (21, False)])
def test_the_terminal_table_adds_image_rows_up_to_twenty(
    number: int, shown: bool, tmp_path: Path
) -> None:
    write_masks(tmp_path / "X", *range(number))
    out = ratio(tmp_path / "X").out
    assert ("7.png" in out) is shown
    if shown:
        assert out.index("\nX ") < out.index("\n7.png")


@pytest.mark.parametrize("by", ["split", "dataset"])
def test_rows_asked_for_come_alone(by: str, masks: Path) -> None:
    assert "1.png" not in ratio(masks, "--by", by).out


@pytest.mark.parametrize(
    ("by", "splits"),
    [
        pytest.param([], ["all", "train", "val", "test"], id="by default"),
        pytest.param(["--by", "split"], ["all", "train", "val", "test"], id="split"),
        pytest.param(["--by", "dataset"], ["all"], id="dataset"),
    ],
)
def test_dataset_rows_come_before_their_splits(
    by: list[str], splits: list[str]
) -> None:
    done = ratio(SAMPLES / "CDD", "--format", "csv", *by)
    assert done.column("split") == splits


# Order.


@pytest.mark.parametrize(
    ("sort", "paths"),
    [
        pytest.param([], ["1.png", "2.png", "3.png", "10.png"], id="by default"),
        pytest.param(["path"], ["1.png", "2.png", "3.png", "10.png"], id="path"),
        pytest.param(["changed"], ["1.png", "10.png", "3.png", "2.png"], id="changed"),
        pytest.param(
            ["change-ratio"], ["10.png", "1.png", "3.png", "2.png"], id="ratio"
        ),
    ],
)
def test_image_rows_are_sorted_as_asked(
    sort: list[str], paths: list[str], masks: Path
) -> None:
    write_values(masks / "10.png", {0: 20, 255: 30})
    options = [option for word in sort for option in ("--sort", word)]
    assert image_rows(masks, *options).column("path") == paths


# Streams.


@pytest.mark.parametrize("kind", ["table", "json"])
def test_nothing_but_results_is_on_standard_output(kind: str, mixed: Path) -> None:
    bad_files(mixed / "train", 1)
    loud = ratio(mixed, mixed / "none", "--format", kind)
    quiet = ratio(mixed, mixed / "none", "--format", kind, "--quiet")
    assert loud.out == quiet.out
    assert "error: " not in loud.out
    assert "note: " not in loud.out
    assert loud.err.count("error: ") == quiet.err.count("error: ") == 3


def test_quiet_leaves_errors_and_results(tmp_path: Path) -> None:
    write_masks(tmp_path / "X/label", 7)
    write_masks(tmp_path / "X/A", 7)
    loud, quiet = ratio(tmp_path / "X"), ratio(tmp_path / "X", "--quiet")
    short = ratio(tmp_path / "X", "-q")
    assert loud.err.startswith("note: ")
    assert (quiet.err, quiet.out, short) == ("", loud.out, quiet)


def test_no_progress_without_a_terminal(masks: Path) -> None:
    assert ratio(masks).err == ""


def test_an_equal_reason_is_told_once_and_all_failures_are_in_the_rows(
    masks: Path,
) -> None:
    bad_files(masks, 4)
    lines = image_rows(masks).err.splitlines()
    assert len(lines) == 4
    assert all(re.match(r"error: bad\d+\.png: is not an image", line) for line in lines)
    bad_files(masks, 13)
    done = image_rows(masks)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("error: 13 files: is not an image")
    assert line.endswith("(bad1.png, bad2.png, bad3.png and 10 more)")
    assert done.column("status").count("failed") == 13


@pytest.mark.parametrize(
    ("number", "rest"), [(11, "1 more failed file"), (13, "3 more failed files")]
)
def test_at_most_ten_failures_are_shown(
    number: int, rest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_failures((), ((f"{n}.png", f"reason {n}") for n in range(number)), quiet=False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == f"error: {rest}; --csv lists all of them"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ratio", SAMPLES / "CDD"],
        ["ratio", SAMPLES / "CDD", "--by", "image"],
        ["ratio", SAMPLES / "CDD", "--against", "DASNet"],
        ["audit", SAMPLES / "CDD"],
        ["weights", SAMPLES / "CDD"],
        ["published"],
        ["presets"],
        ["explain"],
    ],
    ids=lambda arguments: "-".join(map(str, [arguments[0], *arguments[2:]])),
)
def test_no_line_of_a_piped_table_ends_in_blanks(arguments: list[Argument]) -> None:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.stdout
    assert [line for line in done.stdout.split("\n") if line != line.rstrip()] == []


def test_failures_name_their_dataset_where_there_are_several(tmp_path: Path) -> None:
    for name in ("one", "two"):
        bad_files(write_masks(tmp_path / name, 3), 1)
    done = ratio(tmp_path / "one", tmp_path / "two")
    assert [line.split(": ")[1:3] for line in done.err.splitlines()] == [
        ["one", "bad1.png"],
        ["two", "bad1.png"],
    ]


def test_a_failed_row_has_its_reason_and_no_counts(masks: Path) -> None:
    bad_files(masks, 1)
    row = image_rows(masks).rows()[-1]
    assert (row["path"], row["status"]) == ("bad1.png", "failed")
    assert row["reason"].startswith("is not an image; expected PNG")
    assert [row[name] for name in ("changed", "unchanged", "ignored", "rule")] == [
        ""
    ] * 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_below_standard_output_is_one_line(masks: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cdstats", "ratio", masks],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.lower().count(b"no space left on device") == 1


# Exit codes.


@pytest.mark.parametrize(
    ("allowed", "code"), [([], 1), (["1"], 1), (["2"], 0), (["3"], 0)], ids=str
)
def test_failed_files_up_to_a_number_keep_exit_0(
    allowed: list[str], code: int, masks: Path
) -> None:
    bad_files(masks, 2)
    options = [option for number in allowed for option in ("--max-failed", number)]
    done = image_rows(masks, *options)
    assert (done.code, len(done.rows())) == (code, 5)
    assert done.err.count("error: ") == 2


def test_strict_stops_at_the_first_failed_file(masks: Path) -> None:
    bad_files(masks, 2)
    done = ratio(masks, "--strict")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(
        r"error: \S*bad1\.png: is not an image; expected .*\n", done.err
    )


def test_strict_stops_at_a_file_that_contradicts_its_split(masks: Path) -> None:
    write_values(masks / "4.png", {0: 50, 1: 50})
    done = ratio(masks, "--strict")
    assert (done.code, done.out) == (1, "")
    assert "4.png" in done.err


def test_strict_tells_of_a_refused_encoding_with_what_finishes_it(masks: Path) -> None:
    for place in range(4):
        write_values(masks / f"{place}.png", {1: 50, 2: 50})
    done, strict = ratio(masks), ratio(masks, "--strict")
    assert (strict.code, strict.out) == (1, done.out)
    assert "without reading the masks again" in strict.err
    assert "--strict" in strict.err


WRONG_USE = [
    pytest.param(["--nonsense"], "--nonsense", id="an unknown option"),
    pytest.param(["--format", "xml"], "xml", id="an unknown format"),
    pytest.param(["--by", "pixel"], "pixel", id="unknown rows"),
    pytest.param(["--sort", "size"], "size", id="an unknown order"),
    pytest.param(["--columns", "a,changed"], "'a'", id="an unknown column"),
    pytest.param(["--columns", ","], "names none", id="no column"),
    pytest.param(["--summary", "table.xlsx"], ".tex", id="an unknown file format"),
    pytest.param(["--csv", "no/such/folder.csv"], "folder", id="no folder to write to"),
    pytest.param(["--cache", "no/such/c.sqlite"], "folder", id="no folder to keep in"),
    pytest.param(
        ["--cache", "c.tif"], "extension of a mask", id="a cache called like a mask"
    ),
    pytest.param(["--preset", "cdnet"], "cdnet2014", id="an unknown preset"),
    pytest.param(["--changed", "255"], "--unchanged rest", id="changed alone"),
    pytest.param(["--unchanged", "0"], "--changed rest", id="unchanged alone"),
    pytest.param(
        ["--changed", "", "--unchanged", "0"], "--changed is empty", id="no value"
    ),
    pytest.param(["--changed", "1", "--unchanged", "0-3"], "twice", id="named twice"),
    pytest.param(["--preset", "cdd", "--ignore", "7"], "--preset cdd", id="both"),
    pytest.param(["--band", "0"], "--band", id="band 0"),
    pytest.param(["--jobs", "0"], "--jobs", id="no worker"),
    pytest.param(["--jobs", "many"], "--jobs", id="no number"),
    pytest.param(["--max-failed", "-1"], "--max-failed", id="less than none"),
    pytest.param(["--against", "DASNette"], "DASNette", id="nothing published"),
    pytest.param(["--against", "earlier.csv"], "file not found", id="no earlier file"),
    pytest.param(["--from", "a.csv"], "--from", id="masks and saved rows"),
]


@pytest.mark.parametrize(("options", "named"), WRONG_USE)
def test_wrong_use_is_exit_2_before_a_file_is_read(
    options: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ratio(tmp_path / "none", *options)
    assert (done.code, done.out) == (2, "")
    assert named in re.sub(r"\s*[│\n]\s*", " ", done.err)
    assert "no such file or folder" not in done.err


def test_no_path_is_wrong_use() -> None:
    done = ratio()
    assert (done.code, done.out) == (2, "")
    assert "name them with PATH" in done.err


@pytest.mark.parametrize(
    "option",
    [
        *(["--changed", "1"], ["--ignore", "1"], ["--preset", "cdd"], ["--band", "1"]),
        *(["--split", "test"], ["--jobs", "1"]),
    ],
    ids=str,
)
def test_saved_rows_take_no_option_of_reading(
    option: list[str], masks: Path, tmp_path: Path
) -> None:
    table = tmp_path / "i.csv"
    ratio(masks, "--csv", table)
    done = ratio("--from", table, *option)
    assert (done.code, done.out) == (2, "")
    assert "--from" in done.err


def interrupt(*_: object, **__: object) -> object:
    raise KeyboardInterrupt


# Files.


def test_the_csv_file_holds_the_image_rows(masks: Path, tmp_path: Path) -> None:
    table = tmp_path / "i.csv"
    done = ratio(masks, "--csv", table, "--sort", "changed")
    assert done.code == 0
    expected = image_rows(masks, "--sort", "changed").out
    assert table.read_bytes() == expected.encode()


@pytest.mark.parametrize("ending", SUMMARY_FILES)
def test_the_summary_file_holds_what_its_format_prints(
    ending: str, tmp_path: Path
) -> None:
    whole = tmp_path / f"s{ending}"
    assert ratio(SAMPLES / "CDD", "--by", "image", "--summary", whole).code == 0
    printed = ratio(SAMPLES / "CDD", "--format", SUMMARY_FILES[ending]).out
    assert whole.read_bytes() == printed.encode()


def test_the_summary_file_may_be_json(tmp_path: Path) -> None:
    whole = tmp_path / "s.json"
    assert ratio(SAMPLES / "CDD", "--summary", whole).code == 0
    printed = ratio(SAMPLES / "CDD", "--format", "json").data()
    assert json.loads(whole.read_text())["datasets"] == printed["datasets"]


def fail(*_: object, **__: object) -> object:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stopped", [fail, interrupt])
@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("option", ["--csv", "--summary"])
def test_a_file_that_cannot_be_written_stays_as_it_was(
    option: str,
    moment: str,
    stopped: Callable[..., object],
    masks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("old")
    monkeypatch.setattr(os, moment, stopped)
    done = ratio(masks, option, table)
    monkeypatch.undo()
    assert table.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"masks", "t.csv"}
    if stopped is interrupt:
        assert done.code == 130
        return
    assert (done.code, "65" in done.out) == (1, True)
    assert f"{table}: cannot be written: no space left on device" in done.err


INPUTS = [
    pytest.param(["masks", "--csv", "link.csv"], "masks/1.png", id="a link to a mask"),
    pytest.param(["@list.csv", "--summary", "list.csv"], "list.csv", id="summary"),
    pytest.param(
        ["split", "--csv", "split/list/train.txt"],
        "split/list/train.txt",
        id="a list of a split",
    ),
    pytest.param(
        ["split", "--csv", "listed.csv"],
        "split/list/train.txt",
        id="a link to a list of a split",
    ),
]


@pytest.mark.usefixtures("masks")
@pytest.mark.parametrize(("arguments", "target"), INPUTS)
def test_an_output_that_would_overwrite_an_input_is_refused(
    arguments: list[str],
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("masks/1.png\n")
    (tmp_path / "link.csv").symlink_to("masks/1.png")
    write_masks(tmp_path / "split/label", 1, 2)
    (tmp_path / "split/list").mkdir()
    (tmp_path / "split/list/train.txt").write_text("1.png\n")
    (tmp_path / "listed.csv").symlink_to("split/list/train.txt")
    before = Path(target).read_bytes()
    done = ratio(*arguments)
    assert Path(target).read_bytes() == before
    assert (done.code, done.out) == (2, "")
    assert "overwrite an input" in done.err


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_the_file_it_points_to_is_written(
    masks: Path, tmp_path: Path, is_there: bool
) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere/t.csv"
    if is_there:
        target.write_text("old\n")
    link = tmp_path / "link.csv"
    link.symlink_to("elsewhere/t.csv")
    assert ratio(masks, "--csv", link).code == 0
    assert link.is_symlink()
    assert ratio(masks, "--csv", tmp_path / "plain.csv").code == 0
    assert target.read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["t.csv"]


def test_a_link_is_the_file_it_points_to(masks: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").symlink_to("two.csv")
    files: list[Argument] = [
        "--csv",
        tmp_path / "one.csv",
        "--summary",
        tmp_path / "two.csv",
    ]
    done = ratio(masks, *files)
    assert (done.code, done.out) == (2, "")
    assert "is given for two outputs" in done.err
    (tmp_path / "lost.csv").symlink_to("gone/t.csv")
    done = ratio(masks, "--csv", tmp_path / "lost.csv")
    assert (done.code, done.out) == (2, "")
    assert "the folder does not exist" in done.err


def test_a_folder_is_no_output(masks: Path, tmp_path: Path) -> None:
    done = ratio(masks, "--csv", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert str(tmp_path) in done.err


# Rows read back.


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("by", [[], ["--by", "image"], ["--by", "dataset"]], ids=str)
def test_saved_rows_give_the_output_of_the_masks(
    by: list[str], kind: str, tmp_path: Path
) -> None:
    bad = bad_files(write_masks(tmp_path / "X Y", 0, 100, 33), 1)
    paths = [SAMPLES / "CDD", bad, SAMPLES / "awkward/rgba.png"]
    table = tmp_path / "i.csv"
    direct = ratio(*paths, "--csv", table, "--format", kind, *by)
    again = ratio("--from", table, "--format", kind, *by)
    assert again.out == direct.out
    assert again.code == direct.code == 1


def test_saved_rows_are_sorted_like_others(masks: Path, tmp_path: Path) -> None:
    table = tmp_path / "i.csv"
    ratio(masks, "--csv", table, "--sort", "changed")
    done = image_rows("--from", table)
    assert done.column("path") == ["1.png", "2.png", "3.png"]


def test_new_columns_at_the_end_do_not_matter(masks: Path, tmp_path: Path) -> None:
    table = tmp_path / "i.csv"
    ratio(masks, "--csv", table)
    lines = table.read_text().splitlines()
    longer = [f"{lines[0]},later", *(f"{line},1" for line in lines[1:])]
    table.write_text("\n".join(longer) + "\n")
    assert image_rows("--from", table).out == image_rows(masks).out


COUNTS = "100,40,60,0,"
"""Pixels, changed, unchanged and ignored of the first mask, as saved."""
DAMAGED = [
    pytest.param(lambda _: "", id="empty"),
    pytest.param(lambda _: "\0\1\2", id="no text"),
    pytest.param(lambda text: text.splitlines()[0], id="no row"),
    pytest.param(lambda text: text.replace(",rule,", ",role,"), id="another column"),
    pytest.param(lambda text: text.replace(COUNTS, "100,x,60,0,"), id="no number"),
    pytest.param(lambda text: text.replace(COUNTS, "100,,60,0,"), id="no count"),
    pytest.param(lambda text: text + "x," * 9, id="a line cut short"),
    pytest.param(lambda text: text + '"' + "x" * 200_000, id="a cell without end"),
]
IMPOSSIBLE = [
    pytest.param(lambda text: text.replace(COUNTS, "100,41,60,0,"), id="no sum"),
    pytest.param(lambda text: text.replace(COUNTS, "100,-1,101,0,"), id="below 0"),
    pytest.param(lambda text: text.replace(COUNTS, "99,40,60,0,"), id="no such size"),
    pytest.param(lambda text: text.replace(",ok,", ",fine,"), id="another status"),
]


def damaged_file(masks: Path, path: Path, damage: Callable[[str], str]) -> Path:
    """The image rows of masks, saved and then spoilt."""
    ratio(masks, "--csv", path)
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    return path


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("option", ["--from", "--against"])
def test_a_damaged_file_of_rows_is_one_line(
    option: str, damage: Callable[[str], str], masks: Path, tmp_path: Path
) -> None:
    table = damaged_file(masks, tmp_path / "i.csv", damage)
    done = ratio(*([masks] if option == "--against" else []), option, table)
    assert done.code == 1
    assert done.err.startswith(f"error: {table}: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--from", "--against"])
def test_a_count_that_is_text_in_json_is_one_line(
    option: str, masks: Path, tmp_path: Path
) -> None:
    data = ratio(masks, "--format", "json").data()
    for row in (data["datasets"][0], data["images"][0]):
        row["changed"] = str(row["changed"])
    table = tmp_path / "i.json"
    table.write_text(json.dumps(data))
    done = ratio(*([masks] if option == "--against" else []), option, table)
    assert done.code == 1
    assert f"error: {table}: " in done.err


@pytest.mark.parametrize("damage", IMPOSSIBLE)
def test_saved_rows_that_cannot_be_true_are_refused(
    damage: Callable[[str], str], masks: Path, tmp_path: Path
) -> None:
    table = damaged_file(masks, tmp_path / "i.csv", damage)
    done = ratio("--from", table)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {table}: ")


def test_a_summary_holds_no_image_rows_to_read_back(
    masks: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "s.csv"
    ratio(masks, "--summary", whole)
    done = ratio("--from", whole)
    assert (done.code, done.out) == (1, "")
    assert (
        "holds no image rows; the option csv of `cdstats ratio` writes them" in done.err
    )


# Comparisons.


def test_published_counts_stand_beside_with_their_warning() -> None:
    paths = (SAMPLES / "CDD", SAMPLES / "BCDD")
    done = ratio(*paths, "--against", "DASNet")
    plain = ratio(*paths)
    assert done.code == 0
    assert done.err.removeprefix(plain.err).startswith("note: CDD: ")
    assert done.out.startswith(plain.out)
    beside = done.out.removeprefix(plain.out)
    for number in ("134,068,750", "914,507,250", "21,352,815", "477,759,663"):
        assert number in beside
    assert "0.147" in beside
    assert f"{134_069 - 134_068_750:,}" in beside
    assert UNVERIFIED in beside


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_comparison_does_not_mix_with_other_formats(kind: str) -> None:
    done = ratio(SAMPLES / "CDD", "--against", "dasnet", "--format", kind)
    assert done.out == ratio(SAMPLES / "CDD", "--format", kind).out
    assert "134,068,750" in done.err
    assert UNVERIFIED in done.err


def earlier(folder: Path, path: Path) -> Path:
    """The file of an earlier run, by the option that its name asks for."""
    if path.name.startswith("print"):
        path.write_text(ratio(folder, "--format", "json").out)
        return path
    option = "--csv" if path.name.startswith("images") else "--summary"
    assert ratio(folder, option, path).code == 0
    return path


EARLIER = ["images.csv", "summary.csv", "summary.json", "print.json"]


@pytest.mark.parametrize("name", EARLIER)
def test_a_changed_count_fails_the_gate_with_was_and_now(
    name: str, masks: Path, tmp_path: Path
) -> None:
    table = earlier(masks, tmp_path / name)
    done = ratio(masks, "--against", table)
    assert (done.code, "no count differs" in done.out) == (0, True)
    write_mask(masks / "2.png", 6)
    done = ratio(masks, "--against", table)
    assert done.code == 1
    assert re.search(r"masks\S*: changed was 65, now 66", done.out)
    if name in ("images.csv", "print.json"):
        assert re.search(r"2\.png: changed was 5, now 6", done.out)
        assert re.search(r"2\.png: unchanged was 95, now 94", done.out)
        assert not re.search(r"(1|3)\.png: ", done.out)
    else:
        assert "--csv" in done.out


def test_the_gate_keeps_other_formats_clean(masks: Path, tmp_path: Path) -> None:
    table = earlier(masks, tmp_path / "images.csv")
    write_mask(masks / "2.png", 6)
    done = ratio(masks, "--against", table, "--format", "json")
    assert done.code == 1
    assert done.data()["datasets"][0]["changed"] == 66
    assert "2.png: changed was 5, now 6" in done.err


# Rules and refusals.


def test_an_ambiguous_split_is_refused_and_the_others_are_reported(
    mixed: Path,
) -> None:
    done = ratio(mixed, "--format", "csv")
    assert done.code == 1
    rows = {row["split"]: row for row in done.rows()}
    assert list(rows) == ["all", "train", "val", "test"]
    assert [rows[split]["changed"] for split in rows] == ["90", "40", "0", "50"]
    assert (rows["val"]["images"], rows["val"]["failed"]) == ("0", "1")
    assert (
        "error: mixed/val: holds 1 (75 pixels, 75 %), 2 (25 pixels, 25 %)" in done.err
    )
    assert "--preset oscd-tif" in done.err
    assert "--changed 2 --unchanged 1" in done.err
    first, *commands = done.err.splitlines()
    assert first.startswith("error: ")
    assert all(line.startswith("  ") for line in commands)


def test_splits_refused_alike_name_the_command_that_finishes_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val"):
        write_values(tmp_path / f"X/{split}/1.png", {1: 50, 2: 50})
    monkeypatch.chdir(tmp_path)
    done = ratio("X")
    assert done.err.count("finishes without reading the masks again") == 1
    assert done.err.count("the command for the split above also finishes this") == 1


def test_what_finishes_a_list_on_standard_input_asks_for_it_again(
    tmp_path: Path,
) -> None:
    write_values(tmp_path / "1.png", {1: 50, 2: 50})
    done = CliRunner().invoke(app, ["ratio", "-"], input=f"{tmp_path}/1.png\n")
    assert "(give the list on standard input again)" in done.stderr


def test_the_images_of_a_refused_split_are_failed_rows(mixed: Path) -> None:
    rows = {row["path"]: row for row in image_rows(mixed).rows()}
    assert rows["val/1.png"]["status"] == "failed"
    assert "1 (75 pixels, 75 %)" in rows["val/1.png"]["reason"]
    assert [row["status"] for row in rows.values()].count("ok") == 3


@pytest.mark.parametrize("kind", FORMATS)
def test_the_rule_is_always_printed(kind: str, masks: Path) -> None:
    assert "(detected)" in ratio(masks, "--format", kind).out
    given = ratio(masks, "--changed", ">=128", "--unchanged", "<128", "--format", kind)
    assert "=128" in given.out
    assert "(detected)" not in given.out
    preset = ratio(masks, "--preset", "jl1-cd", "--format", kind)
    assert "preset jl1-cd" in preset.out


def test_an_unnamed_value_fails_its_file_and_is_named(masks: Path) -> None:
    write_values(masks / "4.png", {0: 50, 7: 49, 255: 1})
    done = image_rows(masks, "--changed", "255", "--unchanged", "0")
    assert (done.code, done.column("status")) == (1, ["ok", "ok", "ok", "failed"])
    assert "4.png: holds 7 (49 pixels)" in done.err
    assert image_rows(masks, "--changed", "255", "--unchanged", "rest").code == 0


def test_a_file_that_contradicts_its_split_is_a_failed_row(masks: Path) -> None:
    write_values(masks / "4.png", {0: 50, 1: 50})
    done = image_rows(masks)
    assert (done.code, done.column("status")) == (1, ["ok", "ok", "ok", "failed"])
    assert "4.png: holds 0 (50 pixels, 50 %), 1 (50 pixels, 50 %)" in done.err


def write_nodata(path: Path, nodata: int) -> None:
    """300 pixels changed, 1 stray beside, 50 nodata among 19,649 unchanged."""
    mask = np.zeros((100, 200), np.int16)
    mask[:10, :30] = 255
    mask[10, 0] = 3
    mask[20:25, :10] = nodata
    with rasterio.open(
        path, "w", driver="GTiff", width=200, height=100, count=1, dtype="int16",
        nodata=nodata, transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        file.write(mask, 1)


@pytest.mark.parametrize("nodata", [-9999, 7, 100, 300])
def test_nodata_is_ignored_by_a_rule_that_was_found(
    tmp_path: Path, nodata: int
) -> None:
    write_nodata(tmp_path / "a.tif", nodata)
    done = image_rows(tmp_path)
    (row,) = done.rows()
    assert row["rule"] == ">=128 (detected)"
    counts = [row[name] for name in ("changed", "unchanged", "ignored")]
    assert counts == ["300", "19650", "50"]
    assert "declared nodata" not in done.err


@pytest.mark.parametrize(
    ("nodata", "counts", "words"),
    [
        (-9999, ["300", "19700", "0"], "count as unchanged, because <128 includes"),
        (300, ["350", "19650", "0"], "count as changed, because >=128 includes"),
    ],
)
def test_nodata_that_a_bound_names_is_counted_and_told(
    tmp_path: Path, nodata: int, counts: list[str], words: str
) -> None:
    write_nodata(tmp_path / "a.tif", nodata)
    done = image_rows(tmp_path, "--changed", ">=128", "--unchanged", "<128")
    (row,) = done.rows()
    assert [row[name] for name in ("changed", "unchanged", "ignored")] == counts
    note = " ".join(done.err.split())
    assert f"50 pixels of 1 mask are declared nodata ({nodata}) but {words}" in note
    rest = image_rows(tmp_path, "--changed", "255", "--unchanged", "rest")
    (row,) = rest.rows()
    assert (row["changed"], row["ignored"]) == ("300", "50")
    assert "declared nodata" not in rest.err


@pytest.mark.parametrize(
    "options", [[], ["--changed", "1", "--unchanged", "0"]], ids=str
)
def test_low_codes_show_what_other_loaders_would_find(
    options: list[str], tmp_path: Path
) -> None:
    write_values(tmp_path / "X/1.png", {0: 75, 1: 25})
    done = ratio(tmp_path / "X", *options)
    assert done.code == 0
    for shown in (">0", "25 %", ">=128", "0 %", "==255", "PaddleRS", "BIT_CD"):
        assert shown in done.err
    assert "look black" in done.err
    assert "BIT_CD" not in done.out


def test_smeared_masks_show_three_fractions() -> None:
    done = ratio(SAMPLES / "CDD")
    lines = [line.split() for line in done.err.splitlines() if "%  " in line]
    assert [line[0] for line in lines] == [">0", ">=128", "==255"]
    assert float(lines[1][1]) == pytest.approx(12.79)
    assert float(lines[0][1]) > float(lines[1][1]) > float(lines[2][1])


def test_an_empty_folder_prints_an_empty_table_and_an_error(tmp_path: Path) -> None:
    done = ratio(tmp_path, "--format", "json")
    assert (done.code, done.data()) == (
        1,
        {"schema_version": 1, "datasets": [], "images": []},
    )
    assert "holds no mask files" in done.err


# LaTeX and Markdown.

AWKWARD_NAME = r"a_b & 50% #1 $x^2 ~\{} <|> –"


def test_latex_escapes_what_has_a_meaning(masks: Path) -> None:
    out = ratio(f"{AWKWARD_NAME}={masks}", "--format", "latex").out
    (line,) = [line for line in out.splitlines() if line.startswith("a\\_b")]
    cells = re.split(r"(?<!\\) ?& ?", line.removesuffix(r" \\"))
    assert len(cells) == len(HEADINGS) - 1
    assert not re.search(r"(?<!\\)[%#$_]", line)
    for escaped in (r"50\%", r"\#1", r"\$x", r"\textasciicircum{}2", r"\{\}"):
        assert escaped in line
    assert r"\textasciitilde{}\textbackslash{}" in line


@pytest.mark.parametrize("name", ["[a-z]", "*", " [2pt]", "*[x"])
def test_no_row_of_latex_begins_with_what_its_line_break_takes(
    masks: Path, name: str
) -> None:
    lines = ratio(f"{name}={masks}", "--format", "latex").out.splitlines()
    (row,) = [line for line in lines if name in line]
    assert row.startswith(f"{{}}{name} & ")
    columns = ["--columns", "changed,dataset"]
    lines = ratio(f"{name}={masks}", "--format", "latex", *columns).out.splitlines()
    (row,) = [line for line in lines if name in line]
    assert row.endswith(rf" & {name} \\")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles(masks: Path, tmp_path: Path) -> None:
    (masks / "bad_1.png").write_bytes(b"")
    paths: list[Argument] = [f"{AWKWARD_NAME}={masks}", SAMPLES / "CDD"]
    tables = [
        ratio(*paths, "--format", "latex", *by).out for by in ([], ["--by", "image"])
    ]
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
    text = rf"{head}\begin{{document}}{tables[0]}{tables[1]}\end{{document}}"
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


def test_markdown_escapes_what_has_a_meaning(masks: Path) -> None:
    out = ratio(f"a|b*c_d={masks}", "--format", "markdown").out
    lines = out.splitlines()
    assert r"a\|b\*c\_d" in lines[2]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[:3]]
    assert cells == [len(HEADINGS)] * 3


# Golden outputs.


@pytest.mark.parametrize("name", rewrite_golden.OUTPUTS)
def test_output_is_as_kept_in_the_golden_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    golden = rewrite_golden.GOLDEN / name
    assert rewrite_golden.OUTPUTS[name]().encode() == golden.read_bytes()
    if name in ("audit.txt", "loss.txt", "weights.txt"):
        assert max(map(len, golden.read_text("utf-8").splitlines())) <= 80


# A terminal of 80 columns.

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.skipif(os.name != "posix", reason="pipes of another kind")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["ratio", SAMPLES / "CDD/val", "--format", "csv"], id="rows"),
        pytest.param(
            ["ratio", SAMPLES / "CDD/val", "--preset", "cdd", "--by", "image",
             "--format", "jsonl"],
            id="rows-as-they-come",
        ),
        pytest.param(["ratio", "--help"], id="help"),
    ],
)  # fmt: skip
def test_a_reader_that_has_gone_is_no_failure_of_data(
    arguments: list[Argument],
) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    done = subprocess.run(
        [sys.executable, "-m", "cdstats", *map(str, arguments)],
        stdout=ours,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(ours)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "rror" not in done.stderr


def on_terminal(*arguments: Argument) -> list[str]:
    """Lines that a terminal of 80 columns shows, without their colours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        return ESCAPES.sub(
            "", rewrite_golden.on_terminal(*map(str, arguments))
        ).splitlines()


def test_a_terminal_of_80_columns_shows_every_number_whole(tmp_path: Path) -> None:
    counts = {"changed": 163_422_598, "unchanged": 1_540_513_402, "ignored": 96_064_000}
    size = {"width": 40_000, "height": 45_000, "pixels": 1_800_000_000}
    place = {"dataset": "Season-varying", "split": "train", "path": "whole area.tif"}
    good = {**place, **size, **counts, "rule": ">=128", "status": "ok"}
    bad = {**place, "path": "bad.tif", "status": "failed", "reason": "is empty"}
    table = tmp_path / "i.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, IMAGE_COLUMNS)
        writer.writeheader()
        writer.writerows(
            [{**good, "change_ratio": 0.106, "change_fraction": 0.0959}, bad]
        )
    lines = on_terminal("ratio", "--from", table, "--max-failed", "1")
    assert max(map(len, lines)) <= 80
    for number in (*map("{:,}".format, counts.values()), "0.106", "9.59"):
        assert sum(number in line for line in lines) == 3
    for word in ("Season", "train", "whole", "failed"):
        assert any(word in line for line in lines)


def test_a_comparison_fits_a_terminal_of_80_columns() -> None:
    lines = on_terminal("ratio", SAMPLES / "CDD", "--against", "DASNet")
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for shown in ("134,068,750", "914,507,250", "-133,934,681", "-913,592,743"):
        assert shown in text
    beside = text[: text.index("134,068,750")].splitlines()[-1]
    assert beside.startswith("CDD")


# Other commands.


def test_help_is_shown_for_either_option() -> None:
    done = run("published", "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage: " in done.out
    assert run("published", "-h") == done


def test_the_version_is_printed_on_one_line() -> None:
    done = run("--version")
    assert (done.code, done.out, done.err) == (
        0,
        f"cdstats {cdstats.__version__}\n",
        "",
    )


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["presets", "published"])
def test_a_list_comes_in_every_format(name: str, kind: str) -> None:
    done = run(name, "--format", kind)
    assert (done.code, done.err) == (0, "")
    plain = done.out.replace("\\", "")
    known = {"presets": presets(), "published": published()}[name]
    first = {"presets": "name", "published": "dataset"}[name]
    names = {getattr(row, first) for row in known}
    assert {one for one in names if one not in plain} == set()
    assert "('" not in done.out
    assert "None" not in done.out
    if kind in ("csv", "json", "jsonl"):
        rows = run(name, "--format", "json").data()["rows"]
        if kind == "jsonl":
            assert [json.loads(line) for line in done.out.splitlines()] == rows
        elif kind == "csv":
            assert [list(row) for row in done.rows()] == [list(row) for row in rows]
        assert len(rows) == len(known)


def test_one_preset_is_shown_in_full() -> None:
    done = run("presets", "cdnet2014")
    flat = " ".join(done.out.split())
    assert done.code == 0
    for shown in ("CDnet 2014", "0,50", "85,170", "50 is shadow", "FgSegNet@7aa31e2"):
        assert shown in flat


@pytest.mark.parametrize(
    ("name", "wrong", "near"),
    [("presets", "oscd-tiff", "oscd-tif"), ("published", "LEVIR-CDD", "LEVIR-CD")],
)
def test_a_name_that_a_list_does_not_hold_is_exit_2(
    name: str, wrong: str, near: str
) -> None:
    done = run(name, wrong)
    assert (done.code, done.out) == (2, "")
    assert repr(wrong) in done.err
    assert near in done.err.replace(wrong, "")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", [[], ["DASNet"], ["CDD"]], ids=str)
def test_dasnet_counts_are_never_shown_without_their_warning(
    name: list[str], kind: str
) -> None:
    done = run("published", *name, "--format", kind)
    assert done.code == 0
    assert re.search("134,?068,?750", done.out)
    assert UNVERIFIED in done.out


# Formats that are written row by row.


def test_what_finishes_a_refused_dataset_names_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values in (("codes", [0, 1, 2]), ("plain", [0, 255]), ("more", [3, 7])):
        (tmp_path / name).mkdir()
        pixels = np.resize(np.array(values, dtype=np.uint8), (6, 6))
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    done = ratio("codes", "OK=plain", "M=more", "--format", "csv")
    lines = [line.split() for line in done.err.splitlines() if "--cache" in line]
    commands = [line for line in lines if line[0] == "cdstats"]
    assert commands
    for words in commands:
        assert "OK=plain" not in words
        assert ("codes" in words) != ("M=more" in words)
    settled = next(words for words in commands if "codes" in words)
    again = ratio(*settled[2:])
    assert (again.code, again.err.count("error")) == (0, 0)


@pytest.mark.parametrize("name", ["presets", "published"])
def test_a_list_fits_a_terminal_of_80_columns(name: str) -> None:
    lines = on_terminal(name)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert [preset.name for preset in presets() if preset.name not in text] == [] or (
        name == "published"
    )
    for row in published() if name == "published" else ():
        assert row.changed is None or f"{row.changed:,}" in text
        assert row.unchanged is None or f"{row.unchanged:,}" in text


def widen(masks: Path) -> None:
    """The same counts in another size."""
    for number, changed in ((1, 40), (2, 5), (3, 20)):
        values = {0: 100 - changed, 255: changed}
        write_values(masks / f"{number}.png", values, width=20)


def rename(masks: Path) -> None:
    (masks / "2.png").rename(masks / "4.png")


def spoil(masks: Path) -> None:
    (masks / "2.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename, ["2.png: is gone", "4.png: is new"]),
        (widen, ["width was 10, now 20"]),
        (spoil, ["2.png: changed was 5, now undefined"]),
    ],
)
def test_whatever_changed_fails_the_gate(
    change: Callable[[Path], None], told: list[str], masks: Path, tmp_path: Path
) -> None:
    table = earlier(masks, tmp_path / "images.csv")
    change(masks)
    done = ratio(masks, "--against", table, "--max-failed", "1")
    assert done.code == 1
    assert [text for text in told if text not in done.out] == []
