"""Archives are read as the folders that they hold, by every command."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import run, save

from cdstats.core.errors import UsageError
from cdstats.io.containers import archives_in
from cdstats.io.discovery import find_masks
from cdstats.scan.cache import states_in

NAMES = ("pred", "target", "split")


def pack(folder: Path, archive: Path) -> Path:
    """Pack what a folder holds, its files in an order that is not theirs."""
    files = sorted(
        (one for one in folder.rglob("*") if one.is_file()),
        key=lambda one: one.name[::-1],
    )
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as held:
            for file in files:
                held.write(file, file.relative_to(folder))
        return archive
    with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
        for file in files:
            tar.add(file, f"./{file.relative_to(folder)}")
    return archive


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 masks with their images and predictions, in a folder of each."""
    rng = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("archives")
    for split in ("train", "test"):
        for number in range(12):
            mask = rng.random((32, 32)) < 0.1
            name = f"{split}_{number}.png"
            save(place / "LEVIR" / split / "label" / name, mask)
            image = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
            for date in ("A", "B"):
                save(place / "LEVIR" / split / date / name, image)
            score = (mask * 100 + rng.integers(0, 120, mask.shape)).astype(np.uint8)
            save(place / "preds" / split / name, score)
    for kind in ("zip", "tar", "tar.gz", "tgz"):
        pack(place / "LEVIR", place / f"LEVIR.{kind}")
        pack(place / "preds", place / f"preds.{kind}")
    shards = place / "shards"
    for number in range(4):
        packed = place / f"part{number}"
        for file in sorted((place / "LEVIR" / "test").rglob("*.png")):
            key = int(file.stem.partition("_")[2])
            if key % 4 == number:
                packed.mkdir(exist_ok=True)
                shards.mkdir(exist_ok=True)
                word = {"A": "pre", "B": "post"}.get(file.parent.name, "label")
                shutil.copy(file, packed / f"{file.stem}.{word}.png")
                (packed / f"{file.stem}.json").write_text("{}")
        pack(packed, shards / f"shard-{number:04}.tar")
        for file in (place / "preds" / "test").iterdir():
            key = int(file.stem.partition("_")[2])
            if key % 4 == number:
                (place / f"own{number}").mkdir(exist_ok=True)
                shutil.copy(file, place / f"own{number}" / f"{file.stem}.pred.png")
        pack(place / f"own{number}", shards / f"pred-{number:04}.tar")
    return place


@pytest.fixture
def here(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data)
    return data


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("kind", "jobs"), [("zip", 1), ("tar", 1), ("tar.gz", 2), ("tgz", 1)]
)
def test_the_rows_of_an_archive_are_those_of_its_folder(kind: str, jobs: int) -> None:
    options = ["--by", "image", "--format", "csv", "--jobs", jobs]
    folder, archive = (
        run("ratio", "LEVIR", *options),
        run("ratio", f"LEVIR.{kind}", *options),
    )

    assert len(folder.rows()) == 24
    assert archive.out.replace(f"LEVIR.{kind}!", "") == folder.out
    assert archive.err == folder.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("LEVIR.zip!test", ["test/label/test_0.png", "test/label/test_11.png"]),
        ("LEVIR.tar!/test/label/", ["test/label/test_0.png", "test/label/test_11.png"]),
        ("LEVIR.zip!*/label/t*_1?.png", ["train/label/train_10.png"]),
        ("LEVIR.tgz!{split}/label/{}.png", ["train/label/train_0.png"]),
        ("LEVIR.zip!**/label", ["train/label/train_0.png", "test/label/test_11.png"]),
        ("LEVIR.zip!test/label/test_3.png", ["test/label/test_3.png"]),
    ],
)
def test_a_path_in_an_archive_names_what_it_names_in_a_folder(
    text: str, names: list[str]
) -> None:
    archive, _, inner = text.partition("!")
    folder = f"LEVIR/{inner.lstrip('/')}"
    found = [[*find_masks([one])[0].files] for one in (text, folder)]
    paths = [str(Path(file.path).resolve()) for file in found[1]]

    assert [file.split for file in found[0]] == [file.split for file in found[1]]
    inside = [str(Path(file.path).resolve()) for file in found[0]]
    assert [one.replace(f"{archive}!", "LEVIR/") for one in inside] == paths
    listed = [file.name.partition("!")[2] for file in found[0]]
    assert set(names) <= set(listed)
    assert all(file.name.startswith(f"{archive}!") for file in found[0])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("pred", "target"),
    [
        ("preds", "LEVIR.zip"),
        ("preds.tar.gz", "LEVIR.tar.gz"),
        ("preds.tar!{split}/{}.png", "LEVIR.zip!{split}/label/{}.png"),
    ],
)
def test_predictions_and_masks_in_archives_score_as_in_folders(
    pred: str, target: str
) -> None:
    assert scores(pred, target) == scores("preds", "LEVIR")


def scores(pred: str, target: str) -> list[dict[str, str]]:
    """The rows of two paths, without the names of files."""
    options = ["--format", "csv", "--by", "image"]
    done = run("loss", "--pred", pred, "--target", target, *options)
    assert done.code == 0, done.err
    return [{n: row[n] for n in row if n not in NAMES} for row in done.rows()]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("pred", "target"),
    [
        ("shards/pred-{0000..0003}.tar", "shards/shard-{0000..0003}.tar"),
        ("shards/pred-*.tar", "shards/shard-*.tar"),
        ("shards/pred-*.tar!{}.pred.png", "shards/shard-*.tar!{}.label.png"),
        ("shards/pred-*.tar", "LEVIR.zip!test/label"),
        ("preds.zip!test", "shards/shard-*.tar"),
    ],
)
def test_shards_are_one_dataset_whose_files_pair_by_key(pred: str, target: str) -> None:
    assert scores(pred, target) == scores("preds/test", "LEVIR/test")


@pytest.mark.usefixtures("here")
def test_a_shard_that_is_missing_is_an_error() -> None:
    failed = run("ratio", "shards/shard-{0002..0004}.tar", "--format", "csv")

    assert failed.code == 1
    assert "shards/shard-0004.tar: cannot be read: no such file" in failed.err
    assert failed.column("images") == ["6"]


@pytest.mark.usefixtures("here")
def test_shards_count_as_their_masks() -> None:
    options = ["--format", "csv", "--by", "dataset"]
    folder = run("ratio", "X=LEVIR/test/label", *options)
    shards = run("ratio", "X=shards/shard-{0000..0003}.tar", *options)

    assert shards.column("changed") == folder.column("changed")
    assert "skipped 24 files:" in shards.err


def test_shards_that_number_their_members_alike_are_told_apart(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "f" / "0.png", np.eye(4, dtype=bool))
        pack(tmp_path / "f", tmp_path / f"train-{number}.tar")
    found = find_masks([f"{tmp_path}/train-{{0..2}}.tar"])[0]

    assert [file.name for file in found.files] == [
        f"train-{number}.tar!0.png" for number in range(3)
    ]
    assert {file.split for file in found.files} == {"train"}
    assert run("ratio", f"{tmp_path}/train-{{0..2}}.tar!0.png").code == 0


def test_archives_named_by_their_splits_are_one_dataset(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save(tmp_path / "D" / split / "1.png", np.eye(4, dtype=bool))
        pack(tmp_path / "D" / split, tmp_path / "D" / f"{split}.zip")
    for paths in (["train.zip", "val.zip"], ["*.zip"]):
        (found,) = find_masks([f"{tmp_path}/D/{path}" for path in paths])
        assert found.name == "D"
        assert [file.split for file in found.files] == ["train", "val"]


def test_lists_in_an_archive_tell_splits(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "D" / "label" / f"{number}.png", np.eye(4, dtype=bool))
    (tmp_path / "D" / "list").mkdir()
    (tmp_path / "D" / "list" / "train.txt").write_text("0.png\n1.png\n2.png\n")
    (tmp_path / "D" / "list" / "test.txt").write_text("3\n")
    folder = run("ratio", tmp_path / "D", "--by", "split", "--format", "csv")
    for kind in ("zip", "tar", "tar.gz"):
        archive = pack(tmp_path / "D", tmp_path / f"D.{kind}")
        found = run("ratio", archive, "--by", "split", "--format", "csv")
        assert (found.out, found.err) == (folder.out, folder.err)
    assert folder.column("split")[-2:] == ["train", "test"]


def test_a_list_names_members(here: Path, tmp_path: Path) -> None:
    lines = [f"{here}/LEVIR.zip!test/label/test_{n}.png" for n in range(3)]
    (tmp_path / "some.txt").write_text("\n".join(lines))
    found = run("ratio", f"@{tmp_path}/some.txt", "--by", "image", "--format", "csv")

    assert found.code == 0
    assert found.column("path") == lines


def test_keys_and_numbers_pick_from_arrays_in_an_archive(tmp_path: Path) -> None:
    stack = np.stack([np.eye(4), np.zeros((4, 4)), np.ones((4, 4))]).astype(np.uint8)
    save(tmp_path / "f" / "s.npy", stack)
    np.savez(tmp_path / "f" / "k.npz", mask=stack[2], other=stack[1])
    archive = pack(tmp_path / "f", tmp_path / "x.zip")
    options = ["--changed", 1, "--unchanged", 0, "--by", "image", "--format", "csv"]

    for text, changed in (("s.npy#2", "16"), ("k.npz#mask", "16"), ("*.npy#0", "4")):
        found = run("ratio", f"{archive}!{text}", *options)
        assert found.column("changed") == [changed], text
        assert found.column("path")[0].startswith("x.zip!")


def test_a_cache_knows_members_by_the_archive(here: Path, tmp_path: Path) -> None:
    archive = shutil.copy(here / "LEVIR.zip", tmp_path / "L.zip")
    cache = tmp_path / "counts.sqlite"
    first = run("ratio", archive, "--cache", cache)
    again = run("ratio", archive, "--cache", cache)
    assert first.out == again.out
    known = states_in(cache)

    shutil.copy(here / "LEVIR.zip", archive)
    assert run("ratio", archive, "--cache", cache).out == first.out
    assert states_in(cache) >= known


def test_an_archive_that_is_read_is_not_overwritten(here: Path, tmp_path: Path) -> None:
    for kind in ("zip", "tar", "tar.gz"):
        archive = Path(shutil.copy(here / f"LEVIR.{kind}", tmp_path))
        link = tmp_path / f"{kind}.csv"
        link.symlink_to(archive)
        before = archive.read_bytes()
        for output in (archive, link):
            refused = run("ratio", archive, "--csv", output)
            assert refused.code == 2
            assert "would overwrite an input" in refused.err
        assert run("ratio", here / "LEVIR", "--csv", archive).code == 2
        assert archive.read_bytes() == before


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_hostile_names_are_told_and_the_rest_is_counted(
    tmp_path: Path, kind: str
) -> None:
    file = save(tmp_path / "a.png", np.eye(4, dtype=bool))
    archive = tmp_path / f"x.{kind}"
    names = ["../up.png", "ok.png", "b\x1b[31m\n.png"]
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as held:
            for name in names:
                held.write(file, name)
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as tar:
            for name in names:
                tar.add(file, name)
    found = run("ratio", archive, "--by", "image")

    assert found.code == 1
    text = "1 member skipped ('../up.png'): names must not point outside the archive"
    assert text in found.err
    assert f"x.{kind}!ok.png" in found.out
    assert "\x1b" not in found.out + found.err
    assert "b\\x1b[31m\\n.png" in found.out


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "LEVIR.zip!nothing",
            "LEVIR.zip!nothing: no such file or folder in the archive",
        ),
        ("LEVIR.zip!nothing/*.png", "matches no mask file"),
        ("none.zip", "none.zip: no such file or folder"),
        ("none.zip!a.png", "none.zip: cannot be read: no such file"),
        ("page.zip", "page.zip: zip archive is damaged or cut short"),
        ("page.tar", "page.tar: tar archive is damaged or cut short"),
        ("nested.zip", "nested archives cannot be read; unpack the outer one"),
        ("nested.zip!LEVIR.zip", "nested archives cannot be read; unpack"),
        ("nested.zip!LEVIR.zip!train", "nested archives cannot be read; unpack"),
        ("shards", "8 .tar files skipped: give the archives as paths"),
        ("shards/no*.tar", "matches no archive"),
        ("s3://bucket/LEVIR.zip", "download it and give"),
        ("https://host/LEVIR.tar.gz!train", "download it and give"),
        ("masked.zip", "the hidden pixels are not read from an archive; unpack"),
    ],
)
def test_what_is_not_read_says_why(here: Path, path: str, text: str) -> None:
    (here / "page.zip").write_text("<html>404 Not Found</html>")
    (here / "page.tar").write_text("<html>404 Not Found</html>")
    with zipfile.ZipFile(here / "nested.zip", "w") as held:
        held.write(here / "LEVIR.zip", "LEVIR.zip")
    with zipfile.ZipFile(here / "masked.zip", "w") as held:
        held.write(here / "LEVIR/test/label/test_1.png", "1.png")
        held.writestr("1.png.msk", b"")
    found = run("ratio", path)

    assert found.code == 1
    assert text in " ".join(found.err.split())


@pytest.mark.parametrize(
    "text",
    [
        *("x-{3..1}.tar", "x-{0..9999999}.tar", "x-{}.tar!a"),
        "{0..9999}-{0..9999}.tar",
    ],
)
def test_a_range_that_is_none_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="range"):
        archives_in(text.partition("!")[0])


def test_the_paths_that_a_refusal_prints_work(tmp_path: Path) -> None:
    for name in ("label1", "label2", "A"):
        save(tmp_path / "D" / name / "1.png", np.eye(4, dtype=bool))
    archive = pack(tmp_path / "D", tmp_path / "D.zip")
    refused = run("ratio", archive)
    assert refused.code == 1
    (path,) = (one for one in refused.err.split("'") if one.endswith("label2"))

    assert run("ratio", path, "--by", "image", "--format", "csv").column("path") == [
        "D.zip!label2/1.png"
    ]


def test_the_patterns_that_nothing_pairs_prints_work(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "m" / f"mask{number}_x.png", np.eye(4, dtype=bool))
        save(tmp_path / "p" / f"{number}_y.png", np.eye(4, dtype=bool))
    masks = pack(tmp_path / "m", tmp_path / "m.zip")
    preds = pack(tmp_path / "p", tmp_path / "p.tar")
    refused = run("loss", "--pred", preds, "--target", masks)
    assert "Try --pred" in refused.err
    words = " ".join(refused.err.split()).replace("'", "").split()
    pred, target = (words[words.index(one) + 1] for one in ("--pred", "--target"))

    assert run("loss", "--pred", pred, "--target", target).code == 0


def test_masks_of_an_archive_are_not_scored_against_themselves(here: Path) -> None:
    labels = "LEVIR.zip!test/label"
    same = run("loss", "--pred", labels, "--target", f"{here}/{labels}")

    assert same.code == 1
    assert "masks themselves" in same.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["audit", "weights"])
def test_other_commands_read_archives(command: str) -> None:
    folder, archive = run(command, "LEVIR"), run(command, "LEVIR.zip")

    assert archive.code == folder.code
    assert archive.out.splitlines()[0] == folder.out.splitlines()[0]
