"""Path patterns: `{}`, named parts and wildcards, alone and on the command line."""

from pathlib import Path

import numpy as np
import pytest
from helpers import run, save
from hypothesis import given
from hypothesis import strategies as st

from cdstats.core.errors import UsageError
from cdstats.io.patterns import Pattern, is_pattern

FIXED = st.text("ab.-+()|^$#é _0", max_size=6)
KEYS = st.text("ab.-+()|^$#é _0{", min_size=1, max_size=6)


def write_mask(path: Path, changed: int) -> Path:
    """A mask of 4 x 4 pixels, so many of them white."""
    values = np.zeros((4, 4), np.uint8)
    values.flat[:changed] = 255
    return save(path, values)


def image_rows(*arguments: str) -> list[dict[str, str]]:
    done = run("ratio", *arguments, "--by", "image", "--format", "csv")
    assert done.code == 0, done.err
    return done.rows()


def paths(*arguments: str) -> list[str]:
    return [row["path"] for row in image_rows(*arguments)]


@pytest.mark.parametrize(
    ("text", "path", "parts"),
    [
        pytest.param("m/{}.png", "m/a_1.png", {"key": "a_1"}, id="key"),
        pytest.param("m/{}.png", "m/sub/a.png", None, id="a key is one name"),
        pytest.param("m/{}.png", "m/.png", None, id="a key is not empty"),
        pytest.param("m/{}.png", "m/a.tif", None, id="another extension"),
        pytest.param("m/{}.png", "x/m/a.png", None, id="from the start"),
        pytest.param("m/{}_gt.png", "m/a_gt.png", {"key": "a"}, id="suffix"),
        pytest.param("{}/{}.png", "a/a.png", {"key": "a"}, id="repeated key"),
        pytest.param("{}/{}.png", "a/b.png", None, id="repeats that differ"),
        pytest.param(
            "{split}/label/{}.png",
            "Train/label/a.png",
            {"split": "Train", "key": "a"},
            id="split",
        ),
        pytest.param(
            "{model}/{}_{y}_{x}.png",
            "bit/test_2_0_512.png",
            {"model": "bit", "key": "test_2", "y": "0", "x": "512"},
            id="crop",
        ),
        pytest.param("{}_{y}_{x}.png", "a_b_1.png", None, id="rows are numbers"),
        pytest.param("m/*/{}.png", "m/x/a.png", {"key": "a"}, id="wildcard"),
        pytest.param("m/*/{}.png", "m/x/y/a.png", None, id="a star is one folder"),
        pytest.param("m/**/{}.png", "m/x/y/a.png", {"key": "a"}, id="two stars"),
        pytest.param("m/**/{}.png", "m/a.png", {"key": "a"}, id="no folder between"),
        pytest.param("m/a?/{}.png", "m/a1/b.png", {"key": "b"}, id="question mark"),
        pytest.param("m.x/{}.png", "mox/a.png", None, id="a dot is a dot"),
    ],
)
def test_a_pattern_names_parts_of_a_path(
    text: str, path: str, parts: dict[str, str] | None
) -> None:
    assert Pattern(text).match(path) == parts


@given(FIXED, KEYS, FIXED)
def test_a_key_is_whatever_stands_between_the_fixed_parts(
    before: str, key: str, after: str
) -> None:
    assert Pattern(f"{before}{{}}{after}").match(before + key + after) == {"key": key}


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        pytest.param("a/b/{}.png", "a/b", id="last folder"),
        pytest.param("a/b_{}/c.png", "a", id="part of a folder's name"),
        pytest.param("{}.png", ".", id="here"),
        pytest.param("/{}.png", "/", id="root"),
        pytest.param("a/*/{}.png", "a", id="above a wildcard"),
    ],
)
def test_a_pattern_is_looked_for_below_its_fixed_folders(
    text: str, folder: str
) -> None:
    assert Pattern(text).folder == folder


@pytest.mark.parametrize("text", ["{}.png", "{split}/a.png", "{nonsense}.png"])
def test_braces_make_a_pattern(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["a*.png", "a{b.png", "a}b{c.png", "[ab].png"])
def test_other_signs_make_no_pattern(text: str) -> None:
    assert not is_pattern(text)


def test_an_unknown_part_is_wrong_usage_on_the_command_line(tmp_path: Path) -> None:
    done = run("ratio", f"{tmp_path}/{{splitt}}/{{}}.png")
    assert (done.code, done.out) == (2, "")
    assert "did you mean {split}?" in done.err


@pytest.mark.parametrize("word", ["Model", "modle", "X", "rows", "a b", "é", "2nd"])
def test_what_looks_like_a_known_part_or_is_no_word_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="not a pattern field"):
        Pattern(f"runs/{{{word}}}/{{}}.png")


def test_other_words_are_parts_of_a_pattern() -> None:
    pattern = Pattern("runs/{scene}/{}_{seed}.png")
    assert pattern.words == {"scene", "key", "seed"}
    assert pattern.match("runs/rome/7_2.png") == {
        "scene": "rome",
        "key": "7",
        "seed": "2",
    }


def test_a_pattern_is_a_dataset_named_after_its_folder(tmp_path: Path) -> None:
    write_mask(tmp_path / "oscd/paris/cm/cm.png", 1)
    write_mask(tmp_path / "oscd/pisa/cm/cm.png", 2)
    write_mask(tmp_path / "oscd/pisa/cm/other.png", 3)
    rows = image_rows(f"{tmp_path}/oscd/{{}}/cm/cm.png")
    assert [(row["dataset"], row["path"], row["changed"]) for row in rows] == [
        ("oscd", "paris/cm/cm.png", "1"),
        ("oscd", "pisa/cm/cm.png", "2"),
    ]


def test_a_pattern_names_the_split(tmp_path: Path) -> None:
    for number, split in enumerate(["tier3", "Validation", "train"], start=1):
        write_mask(tmp_path / split / "targets/a.png", number)
    rows = image_rows(f"X={tmp_path}/{{split}}/targets/{{}}.png")
    assert [(row["split"], row["changed"]) for row in rows] == [
        ("train", "3"),
        ("val", "2"),
        ("tier3", "1"),
    ]


def test_a_pattern_may_choose_folders_that_a_scan_leaves_out(tmp_path: Path) -> None:
    write_mask(tmp_path / "set/label/a.png", 1)
    write_mask(tmp_path / "set/A/a.png", 2)
    assert paths(f"{tmp_path}/set/A/{{}}.png") == ["a.png"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("set/{}.png", id="folder"),
        pytest.param("./set/{}.png", id="from here"),
        pytest.param("set//{}.png", id="two slashes"),
        pytest.param("set/./{}.png", id="a dot in the middle"),
        pytest.param("set/../set/{}.png", id="up and down"),
        pytest.param("NAME=./set/{}.png", id="named"),
    ],
)
def test_every_spelling_of_a_folder_finds_the_same_files(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "set/a.png", 1)
    write_mask(tmp_path / "set/b.png", 2)
    monkeypatch.chdir(tmp_path)
    assert paths(text) == ["a.png", "b.png"]


@pytest.mark.parametrize("text", ["{}.png", "./{}.png", "../set/{}.png"])
def test_a_pattern_may_begin_where_one_stands(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "set/a.png", 1)
    monkeypatch.chdir(tmp_path / "set")
    rows = image_rows(text)
    assert [(row["dataset"], row["path"]) for row in rows] == [("set", "a.png")]


def test_a_pattern_that_fits_nothing_shows_what_is_there(tmp_path: Path) -> None:
    write_mask(tmp_path / "set/a_mask.png", 1)
    done = run("ratio", f"{tmp_path}/set/{{}}_gt.png")
    assert (done.code, done.out) == (1, "")
    assert "matches no mask file" in done.err
    assert "a_mask.png" in done.err


def test_a_pattern_below_a_missing_folder_names_the_folder(tmp_path: Path) -> None:
    done = run("ratio", f"{tmp_path}/none/{{}}.png")
    assert (done.code, done.out) == (1, "")
    assert f"folder {tmp_path}/none not found" in done.err


def test_a_file_whose_name_has_braces_is_a_file(tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "set/{}.png", 3)
    write_mask(tmp_path / "set/b.png", 1)
    assert [row["changed"] for row in image_rows(str(mask))] == ["3"]
