"""From what a user types to the masks of each dataset."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import Done, run, save

import cdstats
from cdstats.core.errors import DataError
from cdstats.core.presets import preset
from cdstats.io.discovery import find_masks
from cdstats.io.found import FoundSet


def count(*arguments: str | Path, stdin: str | None = None) -> Done:
    """Run `cdstats ratio` for image rows."""
    return run("ratio", *arguments, "--by", "image", "--format", "csv", stdin=stdin)


def summary(*arguments: str | Path) -> list[dict[str, str]]:
    done = run("ratio", *arguments, "--format", "csv")
    assert done.code == 0, done.err
    return done.rows()


def write_mask(path: Path, changed: int = 1) -> Path:
    """A mask of 4 x 4 pixels, so many of them white, in the format of its name."""
    values = np.zeros((4, 4), np.uint8)
    values.flat[:changed] = 255
    return save(path, values)


def write_masks(folder: Path, *names: str) -> Path:
    """Masks below a folder, with 1, 2, 3, ... changed pixels."""
    for changed, name in enumerate(names, start=1):
        write_mask(folder / name, changed)
    return folder


def find(path: str | Path) -> FoundSet:
    (found,) = find_masks([str(path)])
    return found


def names(found: FoundSet) -> list[str]:
    return [file.name for file in found.files]


def splits(found: FoundSet) -> dict[str, str]:
    return {file.name: file.split for file in found.files}


# Datasets and their names.


def test_a_folder_is_searched_to_the_bottom_in_natural_order(tmp_path: Path) -> None:
    ordered = ["9.png", "10.png", "x/2.png", "x/10.png", "x/y/1.png", "y/1.png"]
    write_masks(tmp_path, *reversed(ordered))
    assert names(find(tmp_path)) == ordered


@pytest.mark.parametrize(
    "ending", ["png", "PNG", "jpg", "JPEG", "bmp", "BMP", "tif", "TIF", "Tiff"]
)
def test_extensions_count_in_any_case(ending: str, tmp_path: Path) -> None:
    write_mask(tmp_path / f"set/a.{ending}")
    assert names(find(tmp_path / "set")) == [f"a.{ending}"]


def test_spaces_and_other_alphabets_are_names_like_others(tmp_path: Path) -> None:
    write_masks(tmp_path / "变化 检测", "маска 1.png", "#a=b.png")
    done = count(tmp_path / "变化 检测")
    assert (done.code, done.err) == (0, "")
    assert done.column("dataset") == ["变化 检测"] * 2
    assert done.column("path") == ["#a=b.png", "маска 1.png"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    write_masks(tmp_path, "a.png", ".b.png", ".cache/c.png", "sub/.d.png")
    assert names(find(tmp_path)) == ["a.png"]


def test_a_hidden_file_named_by_itself_is_read(tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "set/.a.png", 3)
    assert count(mask).column("changed") == ["3"]


def test_the_folder_where_one_stands_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "CLCD/label/a.png")
    monkeypatch.chdir(tmp_path / "CLCD/label")
    assert {find(".").name, find("..").name, find("../label").name} == {"CLCD"}


def test_files_without_a_name_are_one_dataset(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "CLCD/label", "9.png", "10.png")
    done = count(folder / "10.png", folder / "9.png")
    assert done.code == 0
    assert done.column("dataset") == ["CLCD", "CLCD"]
    assert done.column("path") == ["9.png", "10.png"]


def test_files_of_several_folders_are_named_from_where_they_part(
    tmp_path: Path,
) -> None:
    root = write_masks(tmp_path / "oscd", "paris/cm.png", "pisa/cm.png")
    done = count(root / "pisa/cm.png", root / "paris/cm.png")
    assert done.column("dataset") == ["oscd", "oscd"]
    assert done.column("path") == ["paris/cm.png", "pisa/cm.png"]


def test_each_folder_is_a_dataset_of_its_own_in_the_order_given(
    tmp_path: Path,
) -> None:
    write_masks(tmp_path, "b/1.png", "a/1.png", "loose/1.png")
    done = count(tmp_path / "b", tmp_path / "loose/1.png", tmp_path / "a")
    assert done.column("dataset") == ["b", "loose", "a"]


def test_two_folders_of_one_name_are_counted_apart(tmp_path: Path) -> None:
    write_masks(tmp_path, "one/data/a.png", "two/data/a.png")
    rows = summary(tmp_path / "one/data", tmp_path / "two/data")
    assert [(row["split"], row["images"], row["changed"]) for row in rows] == [
        ("all", "1", "1"),
        ("all", "1", "2"),
    ]


def test_two_splits_of_a_dataset_given_apart_are_counted_once(tmp_path: Path) -> None:
    write_masks(tmp_path / "LEVIR", "train/label/a.png", "test/label/a.png")
    rows = summary(tmp_path / "LEVIR/train", tmp_path / "LEVIR/test")
    whole = [row for row in rows if row["split"] == "all"]
    parts = {row["split"]: row["changed"] for row in rows if row["split"] != "all"}
    assert sum(int(row["changed"]) for row in whole) == 3
    assert parts == {"train": "1", "test": "2"}
    assert len(rows) == len(whole) + 2


def test_a_file_named_twice_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    done = count("a.png", "./a.png", tmp_path / "a.png")
    assert (done.code, len(done.rows())) == (0, 1)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("data/test/x/a.png", id="file"),
        pytest.param("data/test/x", id="folder"),
        pytest.param("data/test/x/*.png", id="glob"),
        pytest.param("data/test/x/{}.png", id="pattern"),
    ],
)
def test_a_relative_path_gives_the_rows_of_the_whole_path(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "data/test/x/a.png")
    monkeypatch.chdir(tmp_path)
    assert count(place).out == count(f"{tmp_path}/{place}").out


# NAME=PATH.


@pytest.mark.parametrize(
    "place", ["set", "set/a.png", "set/*.png", "set/{}.png", "@list.txt"]
)
def test_a_name_before_a_path_is_the_name_of_the_dataset(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "set/a.png")
    (tmp_path / "list.txt").write_text("set/a.png\n")
    monkeypatch.chdir(tmp_path)
    assert count(f"My set={place}").column("dataset") == ["My set"]


def test_a_file_with_an_equals_sign_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_masks(tmp_path, "a=b.png", "b.png")
    monkeypatch.chdir(tmp_path)
    done = count("a=b.png")
    assert (done.column("path"), done.column("changed")) == (["a=b.png"], ["1"])


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "run=3", "a.png")
    assert count(folder).column("dataset") == ["run=3"]
    assert count(f"X={folder}").column("dataset") == ["X"]


def test_a_name_given_twice_is_one_dataset(tmp_path: Path) -> None:
    write_masks(tmp_path, "one/a.png", "two/a.png", "three/b.png")
    done = count(f"X={tmp_path}/one", tmp_path / "three", f"X={tmp_path}/two/a.png")
    assert list(zip(done.column("dataset"), done.column("path"), strict=True)) == [
        ("X", "one/a.png"),
        ("X", "two/a.png"),
        ("three", "b.png"),
    ]


def test_a_missing_path_does_not_rename_the_rest_of_its_dataset(
    tmp_path: Path,
) -> None:
    write_mask(tmp_path / "one/a.png")
    done = count(f"X={tmp_path}/none", f"X={tmp_path}/one")
    assert (done.code, done.column("dataset")) == (1, ["X"])
    assert f"error: {tmp_path}/none: no such file or folder\n" in done.err


@pytest.mark.parametrize("text", ["", "X="])
def test_an_empty_path_is_an_error_and_not_the_folder_where_one_stands(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    done = count(text)
    assert (done.code in (1, 2), done.rows()) == (True, [])
    assert done.err.startswith("error: ")


# Splits.


def test_splits_come_as_train_val_test_and_then_by_name(tmp_path: Path) -> None:
    for split in ("tier3", "test", "hold", "val", "train"):
        write_mask(tmp_path / f"{split}/targets/a.png")
    done = count(f"X={tmp_path}/{{split}}/targets/a.png")
    assert done.column("split") == ["train", "val", "test", "hold", "tier3"]


def test_only_the_split_asked_for_is_read(tmp_path: Path) -> None:
    write_masks(tmp_path / "X", "train/label/a.png", "val/label/a.png")
    (tmp_path / "X/train/label/bad.png").write_bytes(b"")
    done = count(tmp_path / "X", "--split", "valid")
    assert (done.code, done.err) == (0, "")
    assert done.column("path") == ["val/label/a.png"]


def test_a_split_that_is_not_there_is_an_error_that_names_those_that_are(
    tmp_path: Path,
) -> None:
    write_masks(tmp_path / "X", "train/label/a.png", "val/label/a.png")
    write_masks(tmp_path / "Y", "test/label/a.png")
    done = count(tmp_path / "X", tmp_path / "Y", "--split", "test")
    assert (done.code, done.column("dataset")) == (1, ["Y"])
    assert done.err == "error: X: has no split 'test'; it holds train, val\n"
    none = count(tmp_path / "Y/test/label", "--split", "val")
    assert none.err == "error: Y: has no split 'val'; it holds test\n"
    write_masks(tmp_path / "Z", "a.png")
    none = count(tmp_path / "Z", "--split", "val")
    assert none.err == "error: Z: has no split 'val'; none was found: omit --split\n"


# Split lists.

LINES = {
    1: "{name}.png",
    3: "A/{name}.png B/{name}.png label/{name}.png",
    5: "A/{name}.png\tB/{name}.png\tlabel/{name}.png\t0\t1",
}


def listed(root: Path, **lists: list[str]) -> Path:
    """A dataset of masks a to d in `label`, with list files beside it."""
    write_masks(root, *(f"label/{name}.png" for name in "abcd"))
    (root / "list").mkdir()
    for split, lines in lists.items():
        (root / f"list/{split}.txt").write_text("".join(f"{li}\n" for li in lines))
    return root


@pytest.mark.parametrize("columns", LINES)
def test_list_files_beside_the_masks_tell_the_splits(
    columns: int, tmp_path: Path
) -> None:
    def lines(stems: str) -> list[str]:
        return [LINES[columns].format(name=stem) for stem in stems]

    root = listed(tmp_path / "X", train=lines("ab"), val=lines("c"), test=lines("d"))
    done = count(root)
    assert (done.code, done.column("split")) == (0, ["train", "train", "val", "test"])
    assert (
        done.err == "note: X: splits from list/train.txt, list/val.txt, list/test.txt\n"
    )


def test_the_mask_folder_itself_may_be_named(tmp_path: Path) -> None:
    root = listed(tmp_path / "X", train=["a.png", "b.png", "c.png"], test=["d.png"])
    assert splits(find(root / "label"))["d.png"] == "test"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param("a\nb\n", id="without extension"),
        pytest.param("a.png\r\nb.png\r\n", id="Windows line ends"),
        pytest.param("\n a.png \n\n\tb.png", id="blanks and no last line end"),
        pytest.param("\ufeffa.png\nb.png\n", id="byte order mark"),
        pytest.param("a.png,b.png\n", id="commas"),
    ],
)
def test_lists_are_read_however_they_were_saved(lines: str, tmp_path: Path) -> None:
    root = listed(tmp_path / "X", test=["c.png", "d.png"])
    (root / "list/train.txt").write_bytes(lines.encode())
    done = count(root)
    assert done.column("split") == ["train", "train", "test", "test"]
    assert "have no mask" not in done.err


def test_masks_in_no_list_are_unlisted(tmp_path: Path) -> None:
    root = listed(tmp_path / "X", train=["a.png"], test=["b.png"])
    found = find(root)
    assert list(splits(found).values()) == ["train", "test", "unlisted", "unlisted"]
    assert count(root, "--split", "unlisted").column("path") == [
        *("label/c.png", "label/d.png"),
    ]


def test_names_without_a_mask_are_counted_in_a_note(tmp_path: Path) -> None:
    root = listed(tmp_path / "X", train=["a.png", "lost.png", "gone.png"])
    assert "2 names of list/train.txt have no mask" in find(root).notes


def test_a_mask_in_two_lists_counts_in_both_and_once_in_all(tmp_path: Path) -> None:
    root = listed(tmp_path / "X", train=["a.png", "b.png"], test=["b.png", "c.png"])
    done = count(root)
    assert done.column("split") == ["train", "train", "test", "test", "unlisted"]
    rows = {row.split: row.images for row in cdstats.ratio(root).datasets}
    assert rows == {"all": 4, "train": 2, "test": 2, "unlisted": 1}
    assert count(root, "--split", "test").column("path") == [
        *("label/b.png", "label/c.png"),
    ]
    assert "label/b.png in train and test" in done.err


def test_another_set_of_lists_is_not_used_but_told(tmp_path: Path) -> None:
    root = listed(tmp_path / "X", test=["a.png"])
    (root / "list_test.txt").write_text("b.png\n")
    found = find(root)
    assert splits(found)["label/a.png"] == "test"
    assert "list_test.txt" in " ".join(found.notes)


def test_a_list_tells_masks_of_one_name_in_two_folders_apart(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X", "label/bern/1.png", "label/ulm/1.png")
    (root / "list").mkdir()
    (root / "list/train.txt").write_text("bern/1.png\n")
    (root / "list/test.txt").write_text("ulm/1.png\n")
    assert splits(find(root)) == {
        "label/bern/1.png": "train",
        "label/ulm/1.png": "test",
    }


def test_a_listed_name_may_have_a_dot_and_no_extension(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X", "label/area.12.png", "label/area.13.png")
    (root / "list").mkdir()
    (root / "list/train.txt").write_text("area.12\n")
    (root / "list/test.txt").write_text("area.13\n")
    assert list(splits(find(root)).values()) == ["train", "test"]


def test_split_folders_come_before_split_lists(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X", "train/label/a.png", "test/label/b.png")
    (root / "train/list").mkdir()
    (root / "train/list/val.txt").write_text("a.png\n")
    assert set(splits(find(root)).values()) == {"train", "test"}


# Masks beside images.


def ways(text: str) -> list[str]:
    """The paths that a refusal suggests."""
    return re.findall(r"'([^']*[*{][^']*)'", text)


def test_only_mask_folders_are_read_where_images_lie_beside(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X", "A/1.png", "B/1.png", "label/1.png")
    done = count(root)
    assert (done.code, done.column("path")) == (0, ["label/1.png"])
    assert done.err == "note: X: read the masks in label; skipped A, B\n"


def test_files_beside_no_mask_folder_are_counted_in_the_note(tmp_path: Path) -> None:
    root = write_masks(
        tmp_path / "X",
        "one/A/1.png",
        "one/label/1.png",
        *(f"{n}/1.png" for n in "pqrs"),
    )
    done = count(root)
    assert (done.code, done.column("path")) == (0, ["one/label/1.png"])
    assert done.err == (
        "note: X: read the masks in label; skipped A; skipped 4 other files, in p, "
        "q, r and 1 more: to read them, name their folder\n"
    )


def test_image_folders_are_left_out_where_no_folder_says_masks(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X", "time1/1.png", "time2/1.png", "changes/1.png")
    found = find(root)
    assert names(found) == ["changes/1.png"]
    assert "skipped time1, time2" in found.notes[0]


def test_files_outside_the_mask_folders_are_told(tmp_path: Path) -> None:
    found = find(write_masks(tmp_path / "X", "overview.png", "gt/1.png"))
    assert names(found) == ["gt/1.png"]
    assert "files outside them" in found.notes[0]


def test_every_folder_of_a_mask_folder_is_read(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X/targets", "1.png", "bern/2.png", "label/3.png")
    assert names(find(root)) == ["1.png", "bern/2.png", "label/3.png"]


def test_a_folder_of_images_named_by_itself_is_read(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "X", "A/1.png", "label/1.png")
    assert names(find(root / "A")) == ["1.png"]


def test_two_labels_of_the_same_images_are_refused(tmp_path: Path) -> None:
    root = write_masks(
        tmp_path / "X",
        "train/label1/1.png",
        "train/label2/1.png",
        "train/im1/1.png",
    )
    done = count(root)
    assert (done.code, done.rows()) == (1, [])
    assert "label1 and label2" in done.err
    assert ways(done.err) == [f"{tmp_path}/X/**/label{n}" for n in (1, 2)]
    assert count(ways(done.err)[0]).column("path") == ["train/label1/1.png"]


def test_one_of_the_two_labels_is_read_by_a_pattern(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "S", "train/label1/1.png", "train/label2/1.png")
    done = count(f"{root}/{{split}}/label1/{{}}.png")
    assert (done.code, done.column("split")) == (0, ["train"])
    assert done.column("path") == ["train/label1/1.png"]


def test_parts_of_a_change_are_left_out_beside_the_whole(tmp_path: Path) -> None:
    root = write_masks(
        tmp_path / "S2Looking", "label/1.png", "label1/1.png", "label2/1.png"
    )
    found = find(root)
    assert names(found) == ["label/1.png"]
    assert "label1, label2" in found.notes[0]


def oscd(root: Path) -> Path:
    """Cities that hold their mask twice, as OSCD is published."""
    for city in ("paris", "pisa"):
        write_mask(root / f"Train Labels/{city}/cm/cm.png")
        write_mask(root / f"Train Labels/{city}/cm/{city}-cm.tif", 2)
    return root


def test_masks_in_two_codings_are_refused_without_a_preset(tmp_path: Path) -> None:
    done = count(oscd(tmp_path / "oscd"), "--preset", "none")
    assert (done.code, done.rows()) == (1, [])
    assert "read one: " in done.err


@pytest.mark.parametrize(
    ("name", "ending"), [("oscd-png", "cm.png"), ("oscd-tif", "-cm.tif")]
)
def test_a_preset_reads_one_of_two_codings(
    name: str, ending: str, tmp_path: Path
) -> None:
    (found,) = find_masks([str(oscd(tmp_path / "oscd"))], preset=preset(name))
    assert len(found.files) == 2
    assert all(file.name.endswith(ending) for file in found.files)
    assert "skipped 2 files" in found.notes[0]


# Globs and lists of files.


def test_a_quoted_glob_is_a_dataset_named_after_its_folder(tmp_path: Path) -> None:
    write_masks(tmp_path / "X/label", "a_1.png", "a_10.png", "a_9.png", "b_1.png")
    done = count(f"{tmp_path}/X/label/a_*.png", f"{tmp_path}/X/label/b_?.png")
    assert done.column("path") == ["a_1.png", "a_9.png", "a_10.png", "b_1.png"]
    # Two datasets of one name are told apart, so that no row holds both.
    assert set(done.column("dataset")) == {"X", "X (2)"}


@pytest.mark.parametrize(
    "glob",
    [
        pytest.param("X/**/*.png", id="every folder below"),
        pytest.param("./X/**/*.png", id="from here"),
        pytest.param("X/*/[cs]*.png", id="a set of letters"),
        pytest.param("X/*", id="folders"),
        pytest.param("X/**", id="everything"),
    ],
)
def test_a_glob_names_files_from_its_folder(
    glob: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_masks(tmp_path / "X", "paris/cm.png", "pisa/cm.png")
    monkeypatch.chdir(tmp_path)
    done = count(glob)
    assert done.column("path") == ["paris/cm.png", "pisa/cm.png"]
    assert set(done.column("dataset")) == {"X"}


def test_a_glob_of_folders_reads_masks_and_splits_below_them(tmp_path: Path) -> None:
    write_masks(tmp_path / "X", "one/train/label/a.png", "one/train/A/a.png")
    done = count(f"{tmp_path}/X/o*")
    assert done.column("path") == ["one/train/label/a.png"]
    assert done.column("split") == ["train"]


def test_a_glob_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    done = count(f"{tmp_path}/*.png")
    assert (done.code, done.rows()) == (1, [])
    assert f"{tmp_path}/*.png: matches no mask file" in done.err


def test_a_file_whose_name_is_a_glob_is_a_file(tmp_path: Path) -> None:
    write_masks(tmp_path, "[a].png", "a.png")
    assert count(tmp_path / "[a].png").column("path") == ["[a].png"]


def test_a_list_names_files_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_masks(tmp_path / "data", "val/b.png", "train/a.png", "10.png", "9.png")
    other = write_mask(tmp_path / "other/z.png", 5)
    text = f"10.png\n\ntrain/a.png\r\n9.png\n val/b.png\n{other}\n"
    (tmp_path / "data/good ones.txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = count("@data/good ones.txt")
    assert (done.code, set(done.column("dataset"))) == (0, {"good ones"})
    assert dict(zip(done.column("path"), done.column("split"), strict=True)) == {
        "9.png": "unassigned",
        "10.png": "unassigned",
        str(other): "unassigned",
        "train/a.png": "train",
        "val/b.png": "val",
    }


@pytest.mark.parametrize("stem", ["train", "label"])
def test_a_list_named_like_a_split_has_the_name_of_its_folder(
    stem: str, tmp_path: Path
) -> None:
    write_mask(tmp_path / "X/a.png")
    (tmp_path / f"X/{stem}.txt").write_text("a.png\n")
    assert find(f"@{tmp_path}/X/{stem}.txt").name == "X"


def test_a_listed_file_that_is_missing_is_a_failed_row(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\nlost.png\n")
    done = count(f"@{tmp_path}/list.txt")
    assert (done.code, done.column("status")) == (1, ["ok", "failed"])
    assert done.err == "error: lost.png: not found\n"


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(text)
    done = count(f"@{tmp_path}/list.txt")
    assert (done.code, done.rows()) == (1, [])
    assert "the list is empty" in done.err


@pytest.mark.parametrize("given", ["@list.txt", "-"])
def test_a_list_without_lines_is_refused_before_it_fills_the_memory(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "a.png\n" + "x" * 70_000
    (tmp_path / "list.txt").write_text(text)
    done = count(given, stdin=text)
    assert (done.code, done.rows()) == (1, [])
    assert "is not a list of files: a line is longer" in done.err


def test_a_missing_list_is_an_error_that_names_it(tmp_path: Path) -> None:
    done = count(f"@{tmp_path}/list.txt")
    assert (done.code, done.rows()) == (1, [])
    assert f"@{tmp_path}/list.txt" in done.err


def test_a_file_whose_name_begins_with_an_at_sign_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "@a.png")
    monkeypatch.chdir(tmp_path)
    # With an apostrophe, so that no spreadsheet takes it for a formula.
    assert count("@a.png").column("path") == ["'@a.png"]


def test_a_dash_reads_names_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_masks(tmp_path, "sub/10.png", "sub/9.png")
    monkeypatch.chdir(tmp_path)
    done = count("X=-", stdin="sub/10.png\nsub/9.png\n")
    assert (done.code, done.column("path")) == (0, ["sub/9.png", "sub/10.png"])
    assert done.column("dataset") == ["X", "X"]


def test_nothing_on_standard_input_is_an_error() -> None:
    done = count("-", stdin="")
    assert (done.code, done.rows()) == (1, [])
    assert "is empty" in done.err


@pytest.mark.parametrize("url", ["ftp://host/masks", "file://host/a.png", "s3://"])
def test_an_address_that_is_not_read_is_wrong_usage(url: str) -> None:
    done = count(url)
    assert (done.code, done.out) == (2, "")
    assert url in done.err


# Parts of files.


def test_parts_of_a_file_in_a_list_are_picked_too(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.stack([np.eye(4), np.tri(4)]).astype(np.uint8))
    (tmp_path / "list.txt").write_text("s.npy#1\ns.npy#0\n")
    done = count(f"@{tmp_path}/list.txt")
    assert done.column("path") == ["s.npy#0", "s.npy#1"]
    assert done.column("changed") == ["4", "10"]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("a.npy#7", id="a number beyond the stack"),
        pytest.param("a.npy#x", id="a key of a file that has none"),
        pytest.param("a.npz#x", id="a key that not found"),
        pytest.param("a.npy#²", id="a digit that is no number"),
        pytest.param("a.png#1", id="a second image of one"),
        pytest.param("a.png#x", id="a key of a picture"),
    ],
)
def test_a_part_that_is_not_there_is_a_failed_row(part: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([np.eye(4), np.tri(4)]).astype(np.uint8))
    np.savez(tmp_path / "a.npz", change=np.eye(4, dtype=np.uint8))
    write_mask(tmp_path / "a.png")
    done = count(f"{tmp_path}/{part}")
    assert (done.code, done.column("status")) == (1, ["failed"])
    assert part.partition("#")[2] in done.err


def test_a_file_whose_name_has_a_hash_is_a_file(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png#1.png", 3)
    write_mask(tmp_path / "a.png", 1)
    assert count(f"{tmp_path}/a.png#1.png").column("changed") == ["3"]


# Links and folders that cannot be read.


def test_links_that_run_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    write_masks(tmp_path / "X", "a.png", "sub/b.png")
    (tmp_path / "X/sub/up").symlink_to(tmp_path / "X")
    (tmp_path / "X/again").symlink_to(tmp_path / "X/sub")
    assert names(find(tmp_path / "X")) == ["a.png", "sub/b.png"]


def test_a_link_to_a_folder_of_masks_is_followed(tmp_path: Path) -> None:
    write_mask(tmp_path / "disk/masks/a.png")
    (tmp_path / "X").mkdir()
    (tmp_path / "X/label").symlink_to(tmp_path / "disk/masks")
    (tmp_path / "Y").symlink_to(tmp_path / "X")
    found = find(tmp_path / "Y")
    assert (found.name, names(found)) == ("Y", ["label/a.png"])


def test_a_link_to_nothing_is_a_failed_row(tmp_path: Path) -> None:
    write_mask(tmp_path / "X/a.png")
    (tmp_path / "X/b.png").symlink_to("gone.png")
    done = count(tmp_path / "X")
    assert (done.code, done.column("status")) == (1, ["ok", "failed"])
    assert done.err == "error: b.png: not found\n"


# What is no mask.


def test_missing_paths_show_ten_lines_and_a_count(tmp_path: Path) -> None:
    done = count(*(tmp_path / f"none{number}.png" for number in range(15)))
    lines = done.err.splitlines()
    assert (done.code, len(lines)) == (1, 11)
    assert "5 more" in lines[-1]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    done = count(tmp_path)
    assert (done.code, done.rows()) == (1, [])
    assert done.err.startswith(f"error: {tmp_path}: holds no mask files; expected PNG")


@pytest.mark.parametrize("place", ["", "/*.pt", "/{}.pt"])
def test_a_folder_without_predictions_is_told_by_what_was_looked_for(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "preds").mkdir()
    write_masks(tmp_path / "masks", "a.png")
    with pytest.raises(DataError, match=r"no prediction file"):
        cdstats.loss(f"{tmp_path}/preds{place}", tmp_path / "masks")
    with pytest.raises(DataError, match=r"holds no mask files; .* or Zarr$"):
        cdstats.loss(tmp_path / "masks", tmp_path / "preds")
    with pytest.raises(DataError, match=r"prediction files; .*, Zarr or \.pt$"):
        cdstats.loss(tmp_path / "preds", tmp_path / "masks")


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("buildings.geojson", "rasterise them first"),
        ("sites.SHP", "rasterise them first"),
    ],
)
def test_a_folder_of_other_labels_says_what_to_do(
    name: str, way_out: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"{}")
    done = count(tmp_path)
    assert (done.code, done.rows()) == (1, [])
    assert way_out in done.err
    assert Path(name).suffix.lower() in done.err
