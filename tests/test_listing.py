"""Globs and patterns: which folders are read for them, and what they match."""

import glob
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cdstats.io.discovery import find_masks
from cdstats.io.listing import walk
from cdstats.io.patterns import Pattern
from cdstats.io.signatures import EXTENSIONS

Refuse = Callable[[str], None]


def names(text: str | Path) -> list[str]:
    (found,) = find_masks([str(text)])
    assert not found.problems, found.problems
    return [file.name for file in found.files]


def below(text: str) -> list[str]:
    """What a pattern has to be compared with."""
    pattern = Pattern(text)
    return walk(Path(pattern.folder), EXTENSIONS, pattern.descent).names


def write_mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(path)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are read, in order."""
    scandir, seen = os.scandir, list[str]()

    def scan(place: str | Path) -> object:
        seen.append(str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", scan)
    return seen


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Makes the folders of a name unreadable, whoever reads them."""

    def forbid(name: str) -> None:
        def scan(place: str | Path) -> object:
            if Path(place).name == name:
                raise PermissionError(13, "Permission denied", str(place))
            return scandir(place)

        def examine(path: Path) -> object:
            if path.parent.name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return lstat(path)

        monkeypatch.setattr(os, "scandir", scan)
        monkeypatch.setattr(Path, "lstat", examine)

    scandir, lstat = os.scandir, Path.lstat
    return forbid


# Against the glob module of Python.


NAMES = st.sampled_from(
    ["a", "b", "ab", "label", ".h", "[x", "1.png", "2.PNG", "c.tif"]
)
WILD = ("*", "**", "?", "a*", "*.png", "[ab]", "[!a]", "[a-c]*", ".*", "[[]x", "*b")
PARTS = st.sampled_from([*WILD, ".h", "a", "label"])


@given(
    paths=st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=8),
    text=st.lists(PARTS, min_size=1, max_size=4).map("/".join),
)
@settings(deadline=None)
def test_a_glob_matches_the_files_that_python_finds(
    paths: set[str], text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for place in (root / path for path in sorted(paths)):
        if not any(one.is_file() for one in place.parents):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.suffix and not place.exists():
                place.touch()
    found = glob.glob(f"{root}/{text}", recursive=True)  # noqa: PTH207 - the oracle
    pattern = Pattern(f"{root}/{text}")
    paths = {f"{pattern.start}{name}" for name in below(pattern.text)}
    matched = {path for path in paths if pattern.match(path) is not None}
    assert matched == {os.path.normpath(one) for one in found if Path(one).is_file()}
    # In the folders that match, every file is of interest.
    inside = {
        str(file)
        for folder in map(Path, found)
        for file in folder.rglob("*")
        if file.is_file() and "/." not in f"/{file.relative_to(folder)}"
    }
    assert paths >= inside


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("*/", ["sub/b.png"], id="a slash at the end means folders"),
        pytest.param("**.png", ["a.png"], id="two stars in a name are one"),
        pytest.param("*/../*.png", ["a.png"], id="up again"),
        pytest.param("gone/../sub/*.png", ["b.png"], id="up from the fixed part"),
        pytest.param(".h/*.png", ["h.png"], id="a hidden folder by name"),
        pytest.param(".*/*.png", [".h/h.png"], id="hidden folders"),
        pytest.param("**/h.png", [], id="two stars leave out hidden folders"),
        pytest.param("sub/.*.png", [".q.png"], id="hidden files"),
        pytest.param("[!s]*.png", ["a.png"], id="a set of other letters"),
    ],
)
def test_globs_are_read_as_by_a_shell(
    text: str, expected: list[str], tmp_path: Path
) -> None:
    touch(tmp_path / "X", "a.png", "sub/b.png", "sub/.q.png", ".h/h.png")
    if expected:
        assert names(f"{tmp_path}/X/{text}") == expected
    else:
        (found,) = find_masks([f"{tmp_path}/X/{text}"])
        assert "matches no mask file" in found.problems[0]


# Which folders are read.


def test_a_glob_reads_no_folder_in_which_nothing_can_match(
    scanned: list[str], tmp_path: Path
) -> None:
    root = touch(tmp_path / "X", "a/label/1.png", "b/label/2.png", "c/A/3.png", "4.png")
    touch(root, "a/label/deep/5.png", "b/other/label/6.png", ".h/label/7.png")
    assert sorted(below(f"{root}/*/label/*.png")) == [
        "4.png",
        "a/label/1.png",
        "b/label/2.png",
    ]
    # A folder that is named is opened without its neighbours being looked at.
    assert sorted(scanned) == [f"{root}", f"{root}/a/label", f"{root}/b/label"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("{}.png", ["."], id="files of one folder"),
        pytest.param("{split}/label/{}.png", [".", "a/label", "b/label"], id="named"),
        pytest.param("*.png", ["."], id="glob"),
        pytest.param("[b]/**/*.png", [".", "b", "b/label", "b/label/deep"], id="deep"),
        pytest.param("a*", [".", "a", "a/label"], id="a folder that matches"),
    ],
)
def test_a_pattern_reads_as_deep_as_it_matches(
    text: str, read: list[str], scanned: list[str], tmp_path: Path
) -> None:
    touch(tmp_path, "a/label/1.png", "b/label/2.png", "b/label/deep/3.png", "4.png")
    below(f"{tmp_path}/{text}")
    assert sorted(os.path.relpath(one, tmp_path) for one in scanned) == read


def test_what_a_pattern_might_have_matched_is_shown_from_any_depth(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "X", "train/label/1.png", "train/label/2.png")
    (found,) = find_masks([f"{tmp_path}/X/{{split}}/gt/{{}}.png"])
    assert found.problems == (
        f"{tmp_path}/X/{{split}}/gt/{{}}.png: matches no mask file; the folder holds "
        "train/label/1.png, ...",
    )


# Links.


def test_a_glob_follows_every_link_that_it_names(tmp_path: Path) -> None:
    root = touch(tmp_path / "X", "all/1.png", "fold1/x.txt", "fold2/x.txt")
    for fold in ("fold1", "fold2"):
        (root / fold / "label").symlink_to(root / "all")
    expected = ["fold1/label/1.png", "fold2/label/1.png"]
    assert names(f"{root}/fold*/label/*.png") == expected
    assert names(f"{root}/fold*/label") == expected
    assert names(f"{root}/{{split}}/label/{{}}.png") == expected


def test_two_stars_read_a_folder_once_for_each_way_to_match(tmp_path: Path) -> None:
    root = touch(tmp_path / "X", "a/1.png")
    (root / "a/up").symlink_to(root)
    (root / "b").symlink_to(root / "a")
    assert names(f"{root}/**/*.png") == ["a/1.png"]
    # The folder a is read as well, but only by its other name does it match.
    assert names(f"{root}/**/b/*.png") == ["b/1.png"]


def test_a_link_to_nothing_that_a_glob_matches_is_a_failed_row(tmp_path: Path) -> None:
    write_mask(tmp_path / "X/a.png")
    (tmp_path / "X/b.png").symlink_to("gone.png")
    done = run("ratio", f"{tmp_path}/X/*.png")
    assert done.code == 1
    assert "b.png: not found" in done.err


# What cannot be read.


@pytest.mark.parametrize("text", ["", "*/*.png", "{}/label/*.png", "**"])
def test_a_folder_that_a_glob_may_not_read_is_a_problem(
    text: str, refuse: Refuse, tmp_path: Path
) -> None:
    write_mask(tmp_path / "X/a/label/1.png")
    write_mask(tmp_path / "X/a/2.png")
    write_mask(tmp_path / "X/secret/label/3.png")
    refuse("secret")
    done = run("ratio", f"{tmp_path}/X/{text}")
    assert done.code == 1
    place = f"{tmp_path}/X/secret"
    assert f"{place}: the folder cannot be read: permission denied" in done.err
    assert "X" in done.out


def test_a_folder_that_cannot_be_looked_for_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path.parent.name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    write_mask(tmp_path / "a.png")
    done = run("ratio", f"{tmp_path}/secret/X", str(tmp_path))
    assert done.code == 1
    assert f"{tmp_path}/secret/X: cannot be read: permission denied" in done.err


@pytest.mark.parametrize("command", ["loss", "compare"])
def test_scores_of_a_part_of_a_folder_are_an_error(
    command: str, refuse: Refuse, tmp_path: Path
) -> None:
    for name in ("t/1.png", "p/1.png", "q/1.png", "p/secret/2.png"):
        write_mask(tmp_path / name)
    pred = ["--pred", f"{tmp_path}/p", "--pred", f"{tmp_path}/q"]
    arguments = [command, *pred, "--target", f"{tmp_path}/t", "--kind", "hard"]
    refuse("secret")
    done = run(*arguments)
    assert done.code == 1, done.err
    assert f"{tmp_path}/p/secret: the folder cannot be read" in done.err
    assert done.out
