"""Work on a Dask cluster of two worker processes: the same counts, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from work_items import Told, fail_at

import cdstats
from cdstats.cli import app
from cdstats.core.division import Divided
from cdstats.core.errors import DataError, UsageError
from cdstats.engine import cluster as engine
from cdstats.engine.work import open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

dask = pytest.importorskip("dask", reason="needs the extra cdstats[dask]")
distributed = pytest.importorskip("distributed", reason="needs the extra cdstats[dask]")

LOST = -1


def local_cluster() -> Any:
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    # One death more than this and a task is given up: fewer workers to start again.
    settings: dict[str, Any] = {"distributed.scheduler.allowed-failures": 0}
    if os.name == "posix":  # Workers that start again have loaded Dask already.
        settings["distributed.worker.multiprocessing-method"] = "forkserver"
    with dask.config.set(settings), local_cluster() as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for number in range(40):
        values = rng.choice([0, 0, 255], (20, 30)).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def square(number: int) -> int:
    return number * number


def slowly(number: int) -> int:
    time.sleep(0.03)
    return number * number


def die_at(deadly: Sequence[int], number: int) -> int:
    if number in deadly:
        os._exit(1)
    return number * number


def die_once(folder: Path, number: int) -> int:
    """Kill the worker at one item, but only the first time."""
    mark = folder / "died"
    if number == 30 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return slowly(number)


def halves(number: int) -> Any:
    if number < 0:
        return -number
    parts = [-(number // 2), -(number - number // 2)] if number > 1 else [-number]
    return Divided(parts, sum)


def lost(_: int, reason: str) -> int:
    assert reason
    return LOST


def run(scheduler: str, function: Any, items: Sequence[int]) -> list[tuple[int, int]]:
    with open_engine("dask", scheduler, None) as dask_engine:
        return sorted(dask_engine(function, items, lost=lost))


@pytest.mark.parametrize("items", [[], [7], list(range(700))], ids=len)
def test_a_cluster_gives_what_this_process_gives(
    scheduler: str, items: list[int]
) -> None:
    assert run(scheduler, square, items) == [(i, n * n) for i, n in enumerate(items)]


@pytest.mark.full
def test_a_worker_killed_during_the_run_changes_no_result(
    scheduler: str, tmp_path: Path
) -> None:
    found = run(scheduler, partial(die_once, tmp_path), range(80))
    assert (tmp_path / "died").exists()
    assert found == [(i, i * i) for i in range(80)]


def test_an_item_that_kills_workers_is_lost_alone(scheduler: str) -> None:
    found = run(scheduler, partial(die_at, (7,)), range(20))
    assert found == [(i, LOST if i == 7 else i * i) for i in range(20)]


def test_work_on_a_cluster_is_told_what_comes_next(scheduler: str) -> None:
    assert run(scheduler, Told(), range(200)) == [(place, 1) for place in range(200)]


def test_divided_items_are_joined(scheduler: str) -> None:
    assert run(scheduler, halves, range(1, 50)) == [(i, i + 1) for i in range(49)]


@pytest.mark.unexpected
def test_an_exception_is_the_result_of_its_item(scheduler: str) -> None:
    found = run(scheduler, partial(fail_at, 5), range(20))
    assert found == [(i, LOST if i == 5 else i) for i in range(20)]


def test_a_caller_may_have_enough(scheduler: str) -> None:
    with open_engine("dask", scheduler, None) as dask_engine:
        found = dask_engine(slowly, range(500), lost=lost)
        next(iter(found))
        start = time.monotonic()
    assert time.monotonic() - start < 10


def test_masks_are_counted_as_here(
    scheduler: str, masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(masks.parent)
    here = cdstats.ratio(masks.name)
    there = cdstats.ratio(masks.name, engine="dask", scheduler=scheduler)
    assert there == here
    assert (here.failed, len(here.images)) == (1, 41)


@pytest.mark.full
def test_the_command_prints_the_same_rows(scheduler: str, masks: Path) -> None:
    arguments = ["ratio", str(masks), "--format", "json", "--max-failed", "1"]
    here = CliRunner().invoke(app, arguments)
    there = CliRunner().invoke(
        app, [*arguments, "--engine", "dask", "--scheduler", scheduler]
    )
    assert (there.exit_code, there.stdout) == (0, here.stdout)


def test_workers_of_another_version_are_refused(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdstats, "__version__", "0.0.1")
    with pytest.raises(UsageError, match=r"has cdstats .*; this is cdstats 0\.0\.1"):
        run(scheduler, square, [1])


@pytest.mark.full
def test_a_scheduler_that_goes_away_ends_the_run() -> None:
    with local_cluster() as cluster:
        threading.Timer(1.5, cluster.close).start()
        with pytest.raises(
            DataError, match=r"the Dask scheduler at .* has disconnected"
        ):
            run(cluster.scheduler_address, slowly, range(2_000))


@pytest.mark.full
def test_a_cluster_without_workers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.2)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        pytest.raises(DataError, match="has had no worker"),
    ):
        run(cluster.scheduler_address, square, [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--engine", "dask"], "--scheduler tcp://HOST", id="no address"),
        pytest.param(["--scheduler", "a:1"], "needs --engine dask", id="no engine"),
        pytest.param(
            ["--engine", "dask", "--scheduler", "a:1", "--jobs", "2"],
            "--jobs is for --engine local",
            id="jobs",
        ),
        pytest.param(
            ["--engine", "dask", "--scheduler", "nonsense"],
            "no Dask scheduler answers at nonsense: missing port",
            id="no port",
        ),
        pytest.param(
            ["--engine", "dask", "--scheduler", "foo://a:1"],
            "no Dask scheduler answers at foo://a:1: unknown address",
            id="unknown scheme",
        ),
        pytest.param(["--engine", "spark"], "spark", id="unknown engine"),
    ],
)
def test_wrong_engines_are_refused_before_a_file_is_read(
    arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["ratio", "nowhere", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert "nowhere" not in result.stderr


def test_a_silent_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://"):
        run("tcp://127.0.0.1:1", square, [1])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r'pip install "cdstats\[dask\]"'):
        run("tcp://127.0.0.1:1", square, [1])


@pytest.mark.full
def test_addresses_are_read_by_the_workers(scheduler: str, masks: Path) -> None:
    pytest.importorskip("obstore", reason="needs the extra cdstats[remote]")
    from store_server import StoreServer

    with StoreServer() as web:
        web.files = {f"dav/m/{p.name}": p.read_bytes() for p in masks.iterdir()}
        place = f"{web.url}/dav/m/"
        here = cdstats.ratio(place)
        there = cdstats.ratio(place, engine="dask", scheduler=scheduler)
        assert len(web.of("GET")) == 2 * len(here.images)
        web.files |= {f"dav/p/{p.name}": p.read_bytes() for p in masks.iterdir()}
        both = f"{web.url}/dav/p/", place
        score = cdstats.loss(*both, engine="dask", scheduler=scheduler)
        assert score.images == cdstats.loss(*both).images
    assert there.images == here.images
    assert there.failed == 1


def test_predictions_are_scored_on_the_workers_as_in_one_process(
    scheduler: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    for folder in ("preds", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(12):
        mask = (rng.random((30, 20)) < 0.3).astype(np.uint8)
        np.save(tmp_path / f"masks/{number}.npy", mask)
        probs = rng.random(mask.shape).astype(np.float32)
        np.save(tmp_path / f"preds/{number}.npy", probs)
    (tmp_path / "preds/7.npy").write_bytes(b"no array")
    places = str(tmp_path / "preds"), str(tmp_path / "masks")
    losses = ["lovasz_softmax", "logit_adjusted_ce"]
    here = cdstats.loss(*places, losses=losses, histograms=True)
    there = cdstats.loss(
        *places, losses=losses, histograms=True, engine="dask", scheduler=scheduler
    )
    assert there.images == here.images
    assert [one.losses for one in there.models] == [one.losses for one in here.models]
    assert [one.dataset for one in there.models] == [one.dataset for one in here.models]
    assert there.failed == 1


@pytest.mark.parametrize(
    "ground", [{"overlap": "mean"}, {"uncovered": "ignore"}, {"grid": "overlap"}]
)
def test_workers_merge_the_crops_of_a_mask(
    scheduler: str, tmp_path: Path, ground: dict[str, str]
) -> None:
    rng = np.random.default_rng(6)
    right = 10 if "overlap" in ground else 12
    for folder in ("preds", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(5):
        mask = (rng.random((20, 24)) < 0.3).astype(np.uint8)
        np.save(tmp_path / f"masks/{number}.npy", mask)
        for y in (0, 8):
            for x in (0, right):
                part = rng.random((12, 14))[: 8 + 4 * bool(y), : 12 + 2 * bool(x)]
                name = f"preds/{number}_{y}_{x}.npy"
                np.save(tmp_path / name, part.astype(np.float32))
    (tmp_path / "preds/3_8_0.npy").unlink()
    places = f"{tmp_path}/preds/{{}}_{{y}}_{{x}}.npy", f"{tmp_path}/masks/{{}}.npy"
    ways: dict[str, Any] = {"uncovered": "unchanged", **ground}
    here = cdstats.loss(*places, **ways, errors="keep")
    there = cdstats.loss(
        *places, **ways, errors="keep", engine="dask", scheduler=scheduler
    )
    assert there.images == here.images
    assert len(here.images) == 5
    assert here.models[0].dataset.uncovered == 12 * right


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_a_stopped_scheduler_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.2)
    file = tmp_path / "scheduler.json"

    def start(part: str, *options: str) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{part}"
        named = ["--scheduler-file", str(file)]
        return subprocess.Popen([sys.executable, "-m", module, *named, *options])

    def run_and_stop(address: str, process: subprocess.Popen[bytes]) -> None:
        with open_engine("dask", address, None, 2.0) as dask_engine:
            for place, _ in dask_engine(slowly, range(5_000), lost=lost):
                if place == 20:
                    process.send_signal(signal.SIGSTOP)

    with (
        start("scheduler", "--port", "0", "--no-dashboard") as one,
        start("worker", "--nthreads", "1", "--no-nanny") as two,
    ):
        try:
            while not file.exists():
                time.sleep(0.1)
            address = json.loads(file.read_text())["address"]
            with pytest.raises(
                DataError, match=r"the Dask scheduler at .* has disconnected"
            ):
                run_and_stop(address, one)
        finally:
            one.kill()
            two.kill()
