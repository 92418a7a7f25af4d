"""Members of archives are read as files are: the same pixels, and damage is found."""

import gzip
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from helpers import save

from cdstats.core.errors import DataError
from cdstats.io import archives
from cdstats.io.containers import inside, open_archive, read_member
from cdstats.io.counting import Task, count_file
from cdstats.io.predictions import open_predictions
from cdstats.scan.states import stamp_of

Packed = Callable[[Mapping[str, bytes]], Path]
KINDS = ("zip", "tar", "tar.gz")


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write an archive of the kind that its name tells."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as held:
            for name, data in members.items():
                held.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def image(folder: Path, name: str, side: int = 8, changed: int = 5) -> bytes:
    mask = np.zeros((side, side), bool)
    mask.flat[:changed] = True
    if name.endswith(".npz"):
        np.savez_compressed(folder / name, mask)
        return (folder / name).read_bytes()
    return save(folder / name, mask).read_bytes()


def counts(path: object, member: str = "") -> object:
    (found,) = count_file(Task(str(path), member))
    return found.mask and found.mask.counts.values, found.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.npz", "a.bmp"])
def test_a_member_counts_as_its_file_does(tmp_path: Path, kind: str, name: str) -> None:
    data = image(tmp_path, name)
    archive = pack(tmp_path / f"x.{kind}", {"b.txt": b"", f"./top/{name}": data})

    assert counts(f"{archive}!top/{name}") == counts(tmp_path / name)
    assert counts(f"{archive}!/top/{name}") == counts(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["p.npy", "p.png", "p.pt", "p.tif"])
def test_a_prediction_in_an_archive_is_that_of_its_file(
    tmp_path: Path, kind: str, name: str
) -> None:
    if name == "p.pt":
        pytest.importorskip("torch")
    scores = np.random.default_rng(0).integers(0, 255, (2, 6, 7)).astype(np.uint8)
    file = save(tmp_path / name, scores[0] if name.endswith(("png", "tif")) else scores)
    archive = pack(tmp_path / f"x.{kind}", {name: file.read_bytes()})
    targets = [(7, 6)] * (1 if name.endswith(("png", "tif")) else 2)

    def pixels(path: str) -> list[object]:
        images = open_predictions(path, "", targets)
        return [[b.values.tolist() for b in one.blocks()] for one in images]

    assert pixels(f"{archive}!{name}") == pixels(str(file))


def test_a_large_tiff_is_copied_alone_and_its_copy_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdstats.io import copies

    monkeypatch.setattr("cdstats.io.copies.is_held", lambda _: False)
    data = image(tmp_path, "a.tif")
    archive = pack(tmp_path / "x.zip", {"a.tif": data, "b.tif": data})

    assert counts(f"{archive}!a.tif") == counts(tmp_path / "a.tif")
    assert not list(copies.folder().iterdir())


def test_an_existing_path_is_a_file_whatever_its_name(tmp_path: Path) -> None:
    one, other = image(tmp_path, "1.png", changed=1), image(tmp_path, "2.png")
    archive = pack(tmp_path / "x.zip", {"a.png": other})
    beside = tmp_path / "x.zip!a.png"
    assert counts(beside) == counts(tmp_path / "2.png")

    beside.write_bytes(one)

    assert counts(beside) == counts(tmp_path / "1.png")
    assert inside(str(beside)) is None
    assert inside(str(archive)) is None
    assert inside(str(tmp_path / "none.zip!a.png")) is None


def test_members_of_a_tar_gz_are_kept_when_they_are_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{folder}/{n}.png" for n in range(9) for folder in ("A", "label")]
    archive = pack(tmp_path / "x.tar.gz", {name: name.encode() for name in names})
    read = list[int]()
    seek = gzip.GzipFile.seek

    def counted(file: gzip.GzipFile, place: int, *rest: int) -> int:
        read.append(place)
        return seek(file, place, *rest)

    masks = sorted((n for n in names if "label" in n), reverse=True)
    assert read_member(f"{archive}!{masks[0]}") == masks[0].encode()
    monkeypatch.setattr(gzip.GzipFile, "seek", counted)

    for name in masks:
        assert read_member(f"{archive}!{name}") == name.encode()
    assert not read


@pytest.mark.parametrize("budget", [0, 10, 40, 1 << 20])
def test_a_tar_gz_is_read_in_any_order_within_any_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(archives, "memory_share", lambda: budget * 4)
    names = [f"{folder}/{n}.png" for n in range(20) for folder in ("A", "label")]
    archive = pack(tmp_path / "x.tar.gz", {n: n.encode() * 3 for n in names})
    order = np.random.default_rng(1).permutation(2 * names)

    for name in order.tolist():
        assert read_member(f"{archive}!{name}") == name.encode() * 3
    held = open_archive(str(archive))
    assert isinstance(held, archives.TarArchive)
    assert sum(map(len, held._kept.values())) <= budget


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr("a.png", bytes(1 << 16))
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        place = data.index(mark) + at
        data[place : place + 4] = (9).to_bytes(4, "little")
    path.write_bytes(data)


def huge(path: Path) -> None:
    pack(path, {"a.png": b"x"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        place = data.index(mark) + at
        data[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)


def wrong_sum(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as held:
        held.writestr("a.png", b"content of it")
    path.write_bytes(path.read_bytes().replace(b"content", b"kontent"))


def encrypted(path: Path) -> None:
    pack(path, {"a.png": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\3\4") + 6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def packed_otherwise(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as held:
        held.writestr("a.png", bytes(1000))


def zip_link(path: Path) -> None:
    info = zipfile.ZipInfo("a.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as held:
        held.writestr(info, "/etc/passwd")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def zip_doubled(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as held:
        held.writestr("./a.png", b"1")
        held.writestr("a.png", b"2")


def zip_renamed(path: Path) -> None:
    """One of its two names has another ending, so that it would be no mask."""
    pack(path, {"a.png": bytes(9), "b.png": b""})
    data = path.read_bytes()
    at = data.rindex(b"b.png")
    path.write_bytes(data[:at] + b"b.txt" + data[at + 5 :])


def zip_cut(path: Path) -> None:
    pack(path, {"a.png": bytes(1000)})
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (bomb, "Bad CRC-32"),
        (huge, "more than half of the memory"),
        (wrong_sum, "Bad CRC-32"),
        (encrypted, "is encrypted"),
        (packed_otherwise, "compression other than deflate"),
        (zip_link, "is a link"),
        (zip_doubled, "two members of the name 'a.png'"),
        (zip_renamed, "name of part 'b.txt' differs from that in its header"),
        (zip_cut, "zip archive is damaged or cut short"),
    ],
)
def test_a_zip_that_is_no_plain_one_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[Path], None],
    reason: str,
) -> None:
    monkeypatch.setattr("cdstats.io.limits._memory", lambda: 1 << 31)
    archive = tmp_path / "x.zip"
    made(archive)

    assert reason in str(counts(f"{archive}!a.png"))


def tar(path: Path, *infos: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as held:
        for info in infos:
            held.addfile(info, io.BytesIO(bytes(info.size)) if info.size else None)


def member(name: str = "a.png", kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "b.png" if kind != tarfile.REGTYPE else ""
    return info


def sparse(path: Path) -> None:
    file = path.with_name("a.png")
    with file.open("wb") as holed:
        holed.truncate(1 << 20)
        holed.seek(1 << 19)
        holed.write(b"x")
    packed = ["-z"] if path.suffix == ".gz" else []
    call = ["tar", *packed, "-S", "-cf", str(path), "-C", str(path.parent), "a.png"]
    subprocess.run(call, check=True)


def cut(path: Path) -> None:
    pack(path, {"a.png": os.urandom(2000)})
    path.write_bytes(path.read_bytes()[: -10 if path.suffix == ".gz" else 1500])


def without_end(path: Path) -> None:
    tar(path, member())
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:512]))
    else:
        path.write_bytes(path.read_bytes()[:512])


def two_in_one(path: Path) -> None:
    pack(path, {"a.png": b"1"})
    path.write_bytes(2 * path.read_bytes())


def negative(path: Path) -> None:
    """The size of the member leads back to its own header."""
    info = member()
    info.size = 0
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = b"\xff" + (-512).to_bytes(11, "big", signed=True)
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data)
    whole = bytes(data) + bytes(1024)
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)


def long_name(path: Path) -> None:
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 24
    tar(path, info, member())


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda path: tar(path, member(kind=tarfile.SYMTYPE)), "is a link"),
        (lambda path: tar(path, member(kind=tarfile.LNKTYPE)), "is a link"),
        (
            lambda path: tar(path, member(kind=tarfile.FIFOTYPE)),
            "is a link, sparse file or",
        ),
        (
            lambda path: tar(path, member(kind=tarfile.CHRTYPE)),
            "is a link, sparse file or",
        ),
        (
            lambda path: tar(path, member(), member("./a.png")),
            "two members of the name",
        ),
        (sparse, "is a link, sparse file or"),
        (cut, "damaged or cut short"),
        (without_end, "damaged or cut short"),
        (two_in_one, "more data behind its end"),
        (negative, "tar archive is damaged"),
        (long_name, "the header of a member is too long"),
    ],
)
def test_a_tar_that_is_no_plain_one_is_refused(
    tmp_path: Path, kind: str, made: Callable[[Path], None], reason: str
) -> None:
    archive = tmp_path / f"x.{kind}"
    made(archive)

    assert reason in str(counts(f"{archive}!a.png"))


def test_a_tar_is_unpacked_by_its_first_bytes(tmp_path: Path) -> None:
    for kind, other in (("tar", "tar.gz"), ("tar.gz", "tar")):
        packed = pack(tmp_path / f"x.{kind}", {"a.png": b"x"})
        archive = packed.rename(tmp_path / f"{len(kind)}.{other}")
        assert read_member(f"{archive}!a.png") == b"x"


def test_zeros_over_the_end_of_a_tar_are_noticed(tmp_path: Path) -> None:
    """As a download leaves them that reserved its length and stopped."""
    archive = pack(tmp_path / "x.tar", {f"{n}.png": bytes(5000) for n in range(5)})
    whole = archive.read_bytes()
    assert len(open_archive(str(archive)).members) == 5
    archive.write_bytes(whole[:5632] + bytes(len(whole) - 5632))

    assert "zero bytes, like an interrupted download" in str(counts(f"{archive}!0.png"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        *("../a.png", "/a.png", "b/../../a.png", "/"),
        pytest.param("y/" * 2000 + "a.png", id="deep"),
        pytest.param("y" * 5000 + ".png", id="long"),
    ],
)
def test_hostile_names_are_no_members(tmp_path: Path, kind: str, name: str) -> None:
    data = image(tmp_path, "a.png")
    archive = pack(tmp_path / f"x.{kind}", {name: data, "b.png": data})

    assert list(open_archive(str(archive)).members) == ["b.png"]
    hostile = [
        n for names in open_archive(str(archive)).hostile.values() for n in names
    ]
    assert hostile in ([name], [])
    assert "is not in the archive" in str(counts(f"{archive}!{name}"))


def test_an_archive_that_is_replaced_is_opened_again(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.png": b"one"})
    assert read_member(f"{archive}!a.png") == b"one"
    pack(tmp_path / "y.zip", {"a.png": b"other"}).replace(archive)

    assert read_member(f"{archive}!a.png") == b"other"
    with pytest.raises(DataError, match=r"is not in the archive x\.zip"):
        read_member(f"{archive}!b.png")


def test_a_member_has_the_stamp_of_its_archive(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a.png": b"one"})

    assert stamp_of(Task(f"{archive}!a.png")) == stamp_of(Task(str(archive)))
    assert stamp_of(Task(f"{archive}!a.png")).is_known
