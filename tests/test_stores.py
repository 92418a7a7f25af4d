"""Masks and predictions in stores: the same numbers as from a disk, or a reason.

A store with the interface of S3 and a server that misbehaves run on the loopback
interface; nothing else is asked.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helpers
import numpy as np
import pytest
import torch
from helpers import Done
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from store_server import StoreServer

from cdstats.core.secrets import Sealed, sealed
from cdstats.io.addresses import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(__file__).parents[1] / "sample_masks"
SECRET = "s3cr3t"  # noqa: S105 - of a store of this test
USUAL = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
pytest.importorskip("obstore", reason="the extra cdstats[remote] is not installed")


def run(command: str, *arguments: str | Path) -> Done:
    """Run a command for its image rows; no secret shows, whatever happens."""
    done = helpers.run(command, *arguments, "--by", "image", "--format", "csv")
    assert SECRET not in done.out + done.err
    return done


def ratio(*arguments: str | Path) -> Done:
    return run("ratio", *arguments)


def loss(predictions: str | Path, target: str | Path, *options: str) -> Done:
    return run("loss", "--pred", predictions, "--target", target, *options)


def png(changed: int) -> bytes:
    """A mask of 64 x 64 pixels, so many of them white."""
    values = np.zeros((64, 64), np.uint8)
    values.flat[:changed] = 255
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", compress_level=0)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again as often as ever, but at once."""
    from cdstats.io.stores import _RETRY

    at_once = timedelta(milliseconds=1)
    waits = {"init_backoff": at_once, "max_backoff": at_once, "base": 2}
    monkeypatch.setitem(_RETRY, "backoff", waits)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Variables of a store, and none of the machine's own."""
    from cdstats.io.stores import _store

    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_"))]:
            patch.delenv(name)
        for name, value in {"NO_PROXY": "127.0.0.1", **variables}.items():
            patch.setenv(name, value)
        _store.cache_clear()
        yield
    _store.cache_clear()


class Bucket:
    """A bucket of a store with the interface of S3."""

    def __init__(self, client: Any, url: str) -> None:
        self.client = client
        self.url = url

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket="masks", Key=key, Body=body)

    def upload(self, folder: Path, key: str) -> str:
        """Everything below a folder; returns its address."""
        for path in folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self.put(f"{key}/{name}", path.read_bytes())
        return f"s3://masks/{key}"


@pytest.fixture(scope="session")
def s3() -> Iterator[Bucket]:
    pytest.importorskip("moto", reason="moto is not installed: no store to test with")
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with environment(**USUAL, AWS_ENDPOINT_URL=url):
        client = boto3.client("s3", endpoint_url=url)
        client.create_bucket(Bucket="masks")
        yield Bucket(client, url)
        client.close()
    server.stop()


@pytest.fixture
def web() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


@contextmanager
def as_s3(server: StoreServer) -> Iterator[None]:
    with environment(**USUAL, AWS_ENDPOINT_URL=server.url):
        yield


# The same numbers as from a disk.


@pytest.mark.parametrize(
    ("name", "jobs"), [("CDD", "2"), ("BCDD", "1"), ("awkward", "1")]
)
def test_a_folder_of_a_store_has_the_rows_of_the_folder(
    name: str, jobs: str, s3: Bucket
) -> None:
    place = s3.upload(SAMPLES / name, f"samples/{name}")
    options = ["--jobs", jobs, "--changed", ">=128", "--unchanged", "<128"]
    here, there = ratio(SAMPLES / name, *options), ratio(place, *options)
    assert len(here.rows()) > 0
    assert (there.code, there.out) == (here.code, here.out)
    assert there.err == here.err.replace(str(SAMPLES), "s3://masks/samples")


def test_every_page_of_a_list_is_read(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "4")
    monkeypatch.setattr("cdstats.io.stores._PAGE", 3)
    for number in range(10):
        s3.put(f"many/m_{number}.png", png(number))
        s3.put(f"many/x/y/m_{number}.png", png(number))
    assert s3.client.list_objects_v2(Bucket="masks", Prefix="many/")["IsTruncated"]
    done = ratio("s3://masks/many")
    assert done.column("changed") == [str(number) for number in range(10)] * 2


@pytest.fixture(scope="session")
def levir(s3: Bucket) -> str:
    """A dataset with splits, images beside masks, and what is no mask at all."""
    for changed, split in enumerate(("train", "val", "test"), start=1):
        for name in ("a_1.png", "a_10.png", "a_9.png"):
            s3.put(f"levir/{split}/label/{name}", png(changed))
            s3.put(f"levir/{split}/A/{name}", b"a photograph")
    s3.put("levir/readme.txt", b"text")
    s3.put("levir/train/label/", b"")
    s3.put("levir/.hidden/x.png", b"")
    return "s3://masks/levir"


@pytest.mark.parametrize(
    ("place", "rows"),
    [
        pytest.param("", 9, id="folder"),
        pytest.param("/", 9, id="folder with a slash"),
        pytest.param("/{split}/label/{}.png", 9, id="pattern"),
        pytest.param("/*/label/*.png", 9, id="glob"),
        pytest.param("/**/label/a_?.png", 6, id="deep glob"),
        pytest.param("/*/label", 9, id="glob of folders"),
        pytest.param("/te*", 3, id="glob of a folder of masks and images"),
    ],
)
def test_splits_of_a_store_come_from_folders_and_patterns(
    place: str, rows: int, levir: str
) -> None:
    done = ratio(f"X={levir}{place}")
    assert (done.code, len(done.rows())) == (0, rows)
    assert set(done.column("dataset")) == {"X"}
    changed = {"train": "1", "val": "2", "test": "3"}
    assert [changed[split] for split in done.column("split")] == done.column("changed")


def test_a_folder_of_a_split_has_the_name_of_its_dataset(levir: str) -> None:
    done = ratio(f"{levir}/train/label", f"{levir}/test/label")
    assert done.column("dataset") == ["levir"] * 6
    assert done.column("split") == ["train"] * 3 + ["test"] * 3
    assert done.column("path")[:3] == [f"train/label/a_{n}.png" for n in (1, 9, 10)]
    kept = ratio(levir, "--split", "val")
    assert kept.column("changed") == ["2", "2", "2"]


def test_a_list_holds_addresses_and_paths(
    levir: str, tmp_path: Path, s3: Bucket
) -> None:
    (tmp_path / "here.png").write_bytes(png(5))
    lines = ["here.png", f"{levir}/val/label/a_1.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    done = ratio(f"@{tmp_path}/list.txt")
    assert dict(zip(done.column("path"), done.column("changed"), strict=True)) == {
        "here.png": "5",
        f"{levir}/val/label/a_1.png": "2",
    }
    s3.put("levir/list.txt", b"val/label/a_1.png\ntest/label/a_9.png\n")
    there = ratio(f"@{levir}/list.txt")
    assert sorted(there.column("changed")) == ["2", "3"]
    assert ratio("@s3://masks/none.txt").err.endswith(
        "@s3://masks/none.txt: list not found\n"
    )


def test_splits_come_from_lists_beside_the_folder_of_a_store(s3: Bucket) -> None:
    for changed, name in enumerate(("a", "b", "c"), start=1):
        s3.put(f"lists/label/{name}.png", png(changed))
    s3.put("lists/list/train.txt", b"a.png\n")
    s3.put("lists/list/test.txt", b"c\nd\n")
    for place in ("s3://masks/lists", "s3://masks/lists/label"):
        done = ratio(place)
        assert done.column("split") == ["train", "test", "unlisted"]
        assert done.column("changed") == ["1", "3", "2"]
        assert "lists: splits from list/train.txt, list/test.txt" in done.err
        assert "1 name of list/test.txt has no mask" in done.err


def test_mask_files_beside_listed_objects_are_refused(s3: Bucket) -> None:
    for name in ("a", "b"):
        s3.put(f"hidden/{name}.png", png(1))
    s3.put("hidden/b.png.msk", b"II*")
    s3.put("hidden/gone.png.msk", b"II*")
    for place in ("s3://masks/hidden", "s3://masks/hidden/*.png"):
        done = ratio(place)
        assert done.code == 1
        assert "1 mask file (.msk) beside images" in done.err
        assert "b.png.msk: the hidden pixels are not read" in done.err


def test_auxiliary_files_of_a_store_are_told_of(s3: Bucket) -> None:
    for name in ("a", "b"):
        s3.put(f"declared/{name}.png", png(1))
    s3.put("declared/b.png.aux.xml", b"<PAMDataset/>")
    s3.put("declared/gone.png.aux.xml", b"<PAMDataset/>")
    there = "s3://masks/declared"
    for place in (there, f"{there}/*.png", f"{there}/{{}}.png"):
        done = ratio(place)
        assert done.code == 0
        assert "1 image with an .aux.xml file, first b.png: " in done.err
    assert ".aux.xml" not in ratio(f"{there}/a.png").err


def test_a_part_of_a_file_of_a_store_is_picked(s3: Bucket) -> None:
    file = io.BytesIO()
    one, two = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8)
    np.savez(file, before=one, change=two)
    s3.put("parts/a.npz", file.getvalue())
    s3.put("parts/stack.npy", npy(np.stack([one, two])))
    assert ratio("s3://masks/parts/a.npz#change").column("changed") == ["4"]
    assert ratio("s3://masks/parts/stack.npy#1").column("path") == ["stack.npy#1"]
    assert ratio("s3://masks/parts/stack.npy").column("changed") == ["0", "4"]
    assert "no array 'x'" in ratio("s3://masks/parts/a.npz#x").rows()[0]["reason"]


@pytest.mark.parametrize("ending", ["png", "npy", "npz", "pt"])
def test_predictions_of_a_store_score_as_from_a_disk(
    ending: str, tmp_path: Path, s3: Bucket
) -> None:
    chance = np.random.default_rng(1)
    (tmp_path / "preds").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(3):
        scores = chance.random((64, 64), np.float32)
        path = tmp_path / "preds" / f"{number}_pred.{ending}"
        if ending == "npy":
            np.save(path, scores)
        elif ending == "npz":
            np.savez(path, scores)
        elif ending == "pt":
            torch.save(torch.from_numpy(scores), path)
        else:
            Image.fromarray((scores * 255).astype(np.uint8)).save(path)
        (tmp_path / "masks" / f"{number}.png").write_bytes(png(100 * (number + 1)))
    there = s3.upload(tmp_path, f"scores/{ending}")
    pattern = "/preds/{}_pred." + ending, "/masks/{}.png"
    remote = loss(there + pattern[0], there + pattern[1])
    local = loss(str(tmp_path) + pattern[0], str(tmp_path) + pattern[1])
    assert local.column("status") == ["ok"] * 3
    assert (remote.code, remote.out, remote.err) == (0, local.out, local.err)
    first = f"/preds/0_pred.{ending}", "/masks/0.png"
    one = loss(there + first[0], str(tmp_path) + first[1])
    assert one.column("bce_sum") == local.column("bce_sum")[:1]
    nothing = loss(there + "/preds", there + "/masks")
    assert nothing.code == 1
    assert "no prediction pairs" in nothing.err


def test_rows_of_a_parquet_file_of_a_store_are_those_of_the_disk(
    tmp_path: Path, s3: Bucket
) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    for shard, changed in enumerate(((10, 20), (30,))):
        rows = {"label": [png(one) for one in changed]}
        (tmp_path / "data").mkdir(exist_ok=True)
        place = tmp_path / "data" / f"train-{shard}.parquet"
        table.write_table(arrow.table(rows), place)
    there = s3.upload(tmp_path, "tables")
    local = ratio(tmp_path / "data")
    assert local.column("changed") == ["10", "20", "30"]
    for one in (f"{there}/data", f"{there}/data/#label", f"{there}/data/*.parquet"):
        remote = ratio(one)
        assert (remote.code, remote.column("path")) == (0, local.column("path"))
        assert remote.column("changed") == local.column("changed")
    cache = ("--cache", tmp_path / "cache.sqlite")
    first = ratio(f"{there}/data/train-0.parquet#label", *cache)
    assert first.column("changed") == ["10", "20"]
    assert ratio(f"{there}/data/train-0.parquet#label", *cache).out == first.out
    assert ratio(f"{there}/data/train-0.parquet#label#1").column("changed") == ["20"]
    gone = ratio(f"{there}/data/train-9.parquet#label")
    assert (gone.code, gone.column("status")) == (1, ["failed"])


# What is not there, or not allowed.


def test_a_missing_key_is_a_failed_row(levir: str, tmp_path: Path) -> None:
    place = tmp_path / "list.txt"
    place.write_text(f"{levir}/val/label/a_1.png\n{levir}/val/label/none.png\n")
    done = ratio(f"@{place}")
    assert (done.code, done.column("status")) == (1, ["ok", "failed"])
    assert done.rows()[1]["reason"] == "not found"
    strict = ratio(f"@{place}", "--strict")
    assert strict.err.endswith(f"error: {levir}/val/label/none.png: not found\n")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://masks/nothing", "s3://masks/nothing: not found, or it holds no mask"),
        ("s3://masks/nothing/{}.png", "matches no mask file"),
        ("s3://masks/levir/A*.gif", "matches no mask file; the folder holds "),
        ("s3://no-such-bucket/a", "no such bucket"),
        ("s3://no-such-bucket/a.png", "no such bucket"),
        ("s3://no-such-bucket/*", "no such bucket"),
    ],
)
def test_what_is_not_in_a_store_is_told(place: str, said: str, levir: str) -> None:
    done = ratio(place, levir)
    assert (done.code, len(done.rows())) == (1, 9)
    assert said in done.err


@pytest.mark.parametrize("place", ["s3://{}/a.png", "s3://*/a.png", "s3://b/[ab].png"])
def test_a_pattern_that_cannot_be_read_is_wrong_usage(place: str) -> None:
    done = ratio(place)
    assert (done.code, done.out) == (2, "")
    assert "use {}, * or ?" in done.err


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        ("denied", "cannot be read: access denied: Because"),
        ("unknown", "cannot be read: the store requires credentials: Because"),
    ],
)
def test_denied_access_is_told(
    bucket: str, said: str, web: StoreServer, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"s3://{bucket}/a.png")
    with as_s3(web):
        row = ratio(f"@{tmp_path}/list.txt")
        folder = ratio(f"s3://{bucket}/masks")
    assert (row.code, row.column("reason")) == (1, [said])
    assert (folder.code, folder.rows()) == (1, [])
    assert f"s3://{bucket}/masks: {said.removesuffix(': Because')}" in folder.err


def test_wrong_credentials_are_told(s3: Bucket, levir: str) -> None:
    wrong = {**USUAL, "AWS_SECRET_ACCESS_KEY": SECRET + "x"}
    require_credentials(s3, "0")
    try:
        with environment(**wrong, AWS_ENDPOINT_URL=s3.url):
            done = ratio(levir)
    finally:
        require_credentials(s3, "inf")
    assert (done.code, done.rows()) == (1, [])
    assert "access denied: InvalidAccessKeyId" in done.err


def require_credentials(s3: Bucket, after: str) -> None:
    import requests

    answer = requests.post(f"{s3.url}/moto-api/reset-auth", data=after, timeout=10)
    assert answer.status_code == 200


def test_without_credentials_requests_are_not_signed(web: StoreServer) -> None:
    web.files["open/a.png"] = png(3)
    quiet = {name: USUAL[name] for name in USUAL if "KEY" not in name}
    with environment(**quiet, AWS_ENDPOINT_URL=web.url):
        assert ratio("s3://open/a.png").column("changed") == ["3"]
    assert web.asked
    assert not [r for r in web.asked if "authorization" in r.headers]
    with as_s3(web):
        ratio("s3://open/a.png")
    assert "Credential=tester" in web.asked[-1].headers["authorization"]


def test_credentials_come_from_the_files_of_the_aws_tools(
    web: StoreServer, tmp_path: Path
) -> None:
    web.files["open/a.png"] = png(3)
    place = tmp_path / "credentials"
    place.write_text(
        f"[lab]\naws_access_key_id = of-file\naws_secret_access_key = {SECRET}\n"
    )
    found = {
        "AWS_SHARED_CREDENTIALS_FILE": str(place),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_PROFILE": "lab",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with environment(**found, AWS_ENDPOINT_URL=web.url):
        assert ratio("s3://open/a.png").column("changed") == ["3"]
    assert "Credential=of-file" in web.asked[-1].headers["authorization"]
    with environment(**{**found, "AWS_PROFILE": "none"}, AWS_ENDPOINT_URL=web.url):
        done = ratio("s3://open/a.png")
    assert (done.code, done.rows()) == (1, [])
    assert "cannot be set up (ProfileNotFound)" in done.err


# What does not come whole.


@pytest.mark.parametrize("scheme", ["s3", "http"])
@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        ("cut", "cannot be read: the connection was cut before the end"),
        ("short", "cannot be read: the connection was cut before the end"),
        ("changing", "cannot be read: the connection was cut before the end"),
        ("endless", "cannot be read: the server does not report its size"),
        (
            "busy",
            "cannot be read: the server answered 503 Service Unavailable: Because",
        ),
        ("gone", "not found"),
    ],
)
def test_what_does_not_come_whole_is_a_failed_row(
    bucket: str, said: str, scheme: str, web: StoreServer, tmp_path: Path
) -> None:
    web.files = {f"{bucket}/a.png": png(9), "good/a.png": png(9)}
    start = "s3:/" if scheme == "s3" else web.url
    lines = [f"{start}/{bucket}/a.png", f"{start}/good/a.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with as_s3(web):
        done = ratio(f"@{tmp_path}/list.txt")
    found = dict(zip(done.column("path"), done.rows(), strict=True))
    assert (done.code, set(found)) == (1, set(lines))
    assert [found[line]["reason"] for line in lines] == [said, ""]
    assert [found[line]["changed"] for line in lines] == ["", "9"]


def test_a_connection_that_was_cut_once_is_taken_up_again(web: StoreServer) -> None:
    web.files = {"once/a.png": png(9)}
    with as_s3(web):
        assert ratio("s3://once/a.png").column("changed") == ["9"]
    assert [r for r in web.of("GET") if "range" in r.headers]


def test_a_list_that_ends_half_way_is_an_error_of_the_dataset(web: StoreServer) -> None:
    web.files = {f"half/{number}.png": png(1) for number in range(5)}
    with as_s3(web):
        done = ratio("s3://half")
    assert (done.code, done.rows()) == (1, [])
    assert "error: s3://half/: cannot be read: " in done.err


def test_a_key_that_cannot_be_named_is_an_error_of_the_dataset(s3: Bucket) -> None:
    s3.put("odd/b.png", png(1))
    s3.put("odd//a.png", png(1))
    done = ratio("s3://masks/odd")
    assert (done.code, done.rows()) == (1, [])
    assert "empty folder name" in done.err


def test_a_mask_that_changes_between_two_looks_is_a_failed_row(
    web: StoreServer, tmp_path: Path
) -> None:
    """A mask of 255 alone is looked at again when its split has a rule."""
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.full((64, 64), 0.5))
    held = {"a.png": png(64 * 64), "b.png": png(9)}
    with as_s3(web):
        for folder, expected in (("masks", "ok"), ("anew", "failed")):
            web.files = {f"{folder}/{name}": data for name, data in held.items()}
            done = loss(tmp_path, f"s3://{folder}/*.png")
            assert done.column("status") == [expected, "ok"]
    assert done.code == 1
    reason = "mask a.png: has changed since it was first read"
    assert done.column("reason") == [reason, ""]


# Many at once, in order, and nothing left behind.


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_copies_overlap_and_rows_keep_their_order(
    jobs: str, web: StoreServer, tmp_path: Path
) -> None:
    web.files = {f"m/{number}.png": png(number) for number in range(40)}
    (tmp_path / "list.txt").write_text("\n".join(f"{web.url}/{n}" for n in web.files))
    web.wait = 0.02
    done = ratio(f"@{tmp_path}/list.txt", "--jobs", jobs)
    assert done.column("changed") == [str(number) for number in range(40)]
    assert len(web.of("GET")) == 40
    assert 2 < web.most <= 17 * int(jobs)


def test_predictions_and_masks_are_copied_ahead(web: StoreServer) -> None:
    for number in range(12):
        web.files[f"dav/m/{number}.png"] = png(number)
        web.files[f"dav/p/{number}.npy"] = npy(np.full((64, 64), 0.5, np.float32))
    web.wait = 0.02
    done = loss(f"{web.url}/dav/p/", f"{web.url}/dav/m/")
    assert done.column("changed") == [str(number) for number in range(12)]
    assert len(web.of("GET")) == 24  # each object once
    assert 2 < web.most <= 17


def test_large_objects_wait_for_their_turn(
    web: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdstats.io.copies.AHEAD_BYTES", 100)
    web.files = {f"m/{number}.png": png(number) for number in range(5)}
    done = ratio(*(f"{web.url}/{name}" for name in web.files), "--jobs", "1")
    assert done.column("changed") == [str(number) for number in range(5)]


@pytest.mark.parametrize(("jobs", "stopped"), [("1", True), ("2", False)])
def test_the_folder_of_copies_goes_with_the_program(
    jobs: str, stopped: bool, web: StoreServer, tmp_path: Path
) -> None:
    web.files = {f"m/{number}.png": png(number) for number in range(40)}
    (tmp_path / "list.txt").write_text("\n".join(f"{web.url}/{n}" for n in web.files))
    web.wait = 0.1 if stopped else 0
    (tmp_path / "copies").mkdir()
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "cdstats", "ratio", f"@{tmp_path}/list.txt"),
            *("--jobs", jobs, "--format", "csv", "--quiet"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "copies")},
    )
    try:
        limit = time.monotonic() + 60
        while stopped and len(web.asked) < 20 and time.monotonic() < limit:
            time.sleep(0.02)
        if stopped:
            os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == (130 if stopped else 0), err
    assert (out == b"") == stopped
    assert b"Traceback" not in err
    assert list((tmp_path / "copies").iterdir()) == []


# Counts that are kept.


def copied(web: StoreServer) -> list[str]:
    """What was read as a whole, beyond the first byte that tells a version."""
    return [r.path for r in web.of("GET") if r.headers.get("range") != "bytes=0-0"]


@pytest.mark.parametrize(("listed", "jobs"), [(True, "2"), (False, "1")])
def test_an_object_that_is_the_same_is_not_fetched_again(
    listed: bool, jobs: str, web: StoreServer, tmp_path: Path
) -> None:
    web.lists_tags = listed
    web.files = {f"dav/m/{number}.png": png(number) for number in range(40)}
    options = f"{web.url}/dav/m/", "--cache", tmp_path / "c.sqlite", "--jobs", jobs
    web.wait = 0.01
    first = ratio(*options)
    assert first.column("changed") == [str(number) for number in range(40)]
    asked = 0 if listed else 40
    assert (len(copied(web)), len(web.of("HEAD"))) == (40, asked)
    web.asked.clear()
    again = ratio(*options)
    assert (again.code, again.out, again.err) == (0, first.out, first.err)
    assert (copied(web), len(web.of("HEAD"))) == ([], asked)
    assert web.most > 2
    web.files["dav/m/3.png"] = png(4000)
    assert ratio(*options).column("changed")[3] == "4000"
    assert copied(web) == ["dav/m/3.png"]


def test_an_object_of_a_bucket_is_known_by_its_tag(s3: Bucket, tmp_path: Path) -> None:
    options = "s3://masks/kept", "--cache", tmp_path / "c.sqlite"
    for changed in (5, 6):
        s3.put("kept/a.png", png(changed))
        assert ratio(*options).column("changed") == [str(changed)]
    from cdstats.io.copies import Copy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copy, "__init__", None)
        assert ratio(*options).column("changed") == ["6"]


def test_truth_in_two_objects_is_known_by_both(s3: Bucket, tmp_path: Path) -> None:
    options = ("--preset", "partial-pair", "--cache", tmp_path / "c.sqlite")
    for columns in (1, 2, 2):
        for name, start in (("change", 0), ("unchanged", 2)):
            values = np.zeros((4, 4), np.uint8)
            values[:, start : start + (columns if start else 1)] = 255
            file = io.BytesIO()
            Image.fromarray(values).save(file, "BMP")
            s3.put(f"two/{name}.bmp", file.getvalue())
        row = ratio("s3://masks/two", *options).rows()[0]
        assert (row["changed"], row["unchanged"]) == ("4", str(4 * columns))


def test_a_cache_holds_no_secret_and_knows_what_is_signed_anew(
    web: StoreServer, tmp_path: Path
) -> None:
    web.files = {"get": png(4), "get2": png(5)}
    start = f"http://me:{SECRET}@{web.host}"
    cache = tmp_path / "c.sqlite"
    for number in range(2):
        signature = f"token={SECRET}&X-Amz-Signature={SECRET}{number}"
        places = [f"{start}/{name}?{signature}" for name in web.files]
        done = ratio(*places, "--cache", cache)
        assert done.column("changed") == ["4", "5"]
    assert len(copied(web)) == 2
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert web.host.encode() in kept
    assert SECRET.encode() not in kept


def test_a_query_that_signs_nothing_tells_objects_apart(
    web: StoreServer, tmp_path: Path
) -> None:
    web.files = {"get": png(4)}
    for number in (1, 2):
        ratio(f"{web.url}/get?id={number}", "--cache", tmp_path / "c.sqlite")
    assert len(copied(web)) == 2


@pytest.mark.parametrize(
    ("bucket", "age", "tags", "times"),
    [
        pytest.param("m", 3600, False, 1, id="an old object without a tag"),
        pytest.param("m", 0, False, 2, id="a new object without a tag"),
        pytest.param("headless", 0, True, 2, id="a version that is not told"),
        pytest.param("short", 0, True, 2, id="a failed object"),
    ],
)
def test_what_is_not_known_for_sure_is_fetched_again(
    bucket: str, age: int, tags: bool, times: int, web: StoreServer, tmp_path: Path
) -> None:
    web.files = {f"{bucket}/a.png": png(4)}
    web.tags, web.time = tags, time.time() - age
    options = f"{web.url}/{bucket}/a.png", "--cache", tmp_path / "c.sqlite"
    first = ratio(*options)
    fetched = len(copied(web))
    again = ratio(*options)
    assert (again.code, again.out) == (first.code, first.out)
    assert len(copied(web)) == times * fetched


def test_the_command_that_finishes_shows_no_secret(
    web: StoreServer, tmp_path: Path
) -> None:
    file = io.BytesIO()
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    Image.fromarray(values).save(file, "PNG")
    web.files = {"a.png": file.getvalue()}
    place = f"A=http://me:{SECRET}@{web.host}/a.png?X-Amz-Signature={SECRET}"
    options = place, "--cache", tmp_path / "c.sqlite"
    refused = ratio(*options)
    assert f"A={web.url}/a.png" in refused.err
    assert "insert the passwords" in refused.err
    web.asked.clear()
    done = ratio(*options, "--changed", "3", "--unchanged", "rest")
    assert (done.column("changed"), copied(web)) == (["16"], [])


def test_a_large_raster_of_a_store_is_copied_once(
    web: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdstats.core.division import Divided
    from cdstats.io.counting import Task, count_or_divide

    monkeypatch.setattr("cdstats.io.counting.DIVIDED_PIXELS", 100)
    monkeypatch.setattr("cdstats.io.counting.PART_PIXELS", 10)
    file = io.BytesIO()
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(file, "TIFF")
    web.files = {"a.tif": file.getvalue()}
    found = count_or_divide(Task(f"{web.url}/a.tif"))
    assert not isinstance(found, Divided)
    assert found[0].mask is not None
    assert found[0].mask.counts.values == {0: 64 * 63, 1: 64}
    assert len(web.of("GET")) == 1


def test_an_audit_reads_a_store_and_tells_what_it_left_out(web: StoreServer) -> None:
    import cdstats

    web.files = {f"dav/label/{number}.png": png(9) for number in range(20)}
    web.wait = 0.01
    found = cdstats.audit(f"{web.url}/dav/label/")
    assert [one.images for one in found.duplicates] == [20]
    assert "image sizes" in found.not_checked
    assert (len(web.of("GET")), web.most > 2) == (20, True)


# Web servers, and Google's store.


def test_passwords_and_signatures_reach_the_server_and_nobody_else(
    web: StoreServer, tmp_path: Path
) -> None:
    web.files = {"m/a b.png": png(4), "cut/b.png": png(1)}
    start = f"http://me:{SECRET}@{web.host}"
    names = ("m/a%20b.png", "cut/b.png", "gone/c.png", "denied/d.png")
    lines = [f"{start}/{name}?signature={SECRET}" for name in names]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    done = ratio(f"@{tmp_path}/list.txt")
    assert done.column("path")[0] == f"{web.url}/cut/b.png"
    assert done.column("status").count("ok") == 1
    assert {request.query for request in web.asked} == {f"signature={SECRET}"}
    assert {request.headers["authorization"][:6] for request in web.asked} == {"Basic "}
    assert ratio(lines[0]).column("path") == ["a%20b.png"]
    for line in lines[1:]:
        assert ratio(line, "--strict").code == 1
        assert loss(line, lines[0]).code == 1
        assert loss(lines[0], line).code == 1


@pytest.mark.parametrize("place", ["m/", "", "m/*.png", "m/{}.png"])
def test_a_server_without_lists_is_told_apart_from_an_empty_folder(
    place: str, web: StoreServer
) -> None:
    web.files = {"m/a.png": png(4)}
    done = ratio(f"{web.url}/{place}")
    assert (done.code, done.rows()) == (1, [])
    assert (
        "lists no folders (it answered 405 Method Not Allowed): give files" in done.err
    )


def test_a_folder_of_a_webdav_server_is_read(web: StoreServer) -> None:
    web.files = {"dav/test/1.png": png(4), "dav/test/2.png": png(5)}
    done = ratio(f"{web.url}/dav/{{split}}/{{}}.png")
    assert (done.code, done.column("changed")) == (0, ["4", "5"])
    assert done.column("split") == ["test", "test"]
    assert ratio(f"{web.url}/dav/").column("path") == ["test/1.png", "test/2.png"]


def test_a_bucket_of_google_is_read(web: StoreServer) -> None:
    web.files = {f"b/val/{number}.png": png(number) for number in range(3)}
    with environment(STORAGE_EMULATOR_HOST=web.host):
        done = ratio("gs://b/{split}/{}.png")
        one = ratio("gs://b/val/2.png")
    assert (done.code, done.column("changed")) == (0, ["0", "1", "2"])
    assert one.column("changed") == ["2"]


def test_what_was_read_once_is_read_again_by_the_next_run(
    web: StoreServer, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.full((64, 64), 0.5))
    for changed in (3, 4):
        web.files = {"m/a.png": png(changed), "m/list.txt": b"a.png"}
        places = f"{web.url}/m/a.png", f"@{web.url}/m/list.txt"
        assert loss(tmp_path / "a.npy", places[0]).column("changed") == [str(changed)]
        for place in places:
            assert ratio(place).column("changed") == [str(changed)]


@pytest.mark.parametrize("text", ["http://[x/a.png", "https:///a.png", "gs:///a"])
def test_an_address_without_a_server_is_wrong_usage(text: str) -> None:
    assert ratio(text).code == 2


def test_a_server_that_is_not_there_is_told() -> None:
    with StoreServer() as server:
        url = server.url
    done = ratio(f"{url}/a.png")
    assert (done.code, done.column("reason")) == (
        1,
        ["cannot be read: the server cannot be reached"],
    )


def test_without_the_library_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    (tmp_path / "list.txt").write_text("s3://masks/a.png")
    for place in ("s3://masks/a.png", f"@{tmp_path}/list.txt"):
        done = ratio(place)
        assert (done.code, done.out) == (2, "")
        assert "pip install 'cdstats[remote]'" in done.err


# Addresses as text.


@given(st.text(min_size=1, max_size=8), st.text(max_size=8))
def test_what_is_shown_of_an_address_holds_no_secret(user: str, secret: str) -> None:
    from urllib.parse import quote

    hidden = quote(f"\0{user}{secret}", safe="")
    text = f"https://{hidden}:{hidden}@host/a/b.png?{hidden}"
    assert sealed(text).like("") == Sealed("", f"{hidden}:{hidden}", hidden)
    assert str(sealed(text)) == "https://host/a/b.png"


@given(st.text("ab/ é%?#{}", min_size=1).filter(lambda key: key.strip("/")))
def test_the_address_of_a_key_is_parsed_to_the_key(key: str) -> None:
    for start in ("s3://bucket/", "https://u:p@host:1/"):
        address = Address.parse(start)
        again = Address.parse(address.with_key(key))
        assert again.key == key.strip("/")
        assert (again.host, again.login) == (address.host, address.login)
