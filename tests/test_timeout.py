"""A file that takes too long fails, and the run goes on."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import helpers
import numpy as np
import pytest
from PIL import Image

import cdstats
from cdstats.core.division import WATCH, Watch
from cdstats.engine.work import run
from cdstats.io import png
from cdstats.io.blocks import Block

SECONDS = 1.0
REASON = "took longer than 1 s (--timeout)"


def reason_of(_: int, reason: str) -> Any:
    return reason


def stuck_at(stuck: Sequence[int], number: int) -> int:
    if number in stuck:
        time.sleep(600)
    return number


def stopped_once(folder: Path, number: int) -> int:
    mark = folder / "stopped"
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return number


def in_windows(number: int) -> int:
    """Takes longer than the limit, but no window does."""
    for _ in range(3):
        time.sleep(SECONDS / 2)
        WATCH.get().alive()
    return number


def test_an_item_that_is_stuck_fails_alone() -> None:
    work = partial(stuck_at, (3, 11))
    found = dict(run(work, range(20), jobs=2, timeout=SECONDS, lost=reason_of))
    assert found == {i: REASON if i in (3, 11) else i for i in range(20)}


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_a_stopped_worker_is_replaced(tmp_path: Path) -> None:
    work = partial(stopped_once, tmp_path)
    found = dict(run(work, range(60), jobs=2, timeout=SECONDS, lost=reason_of))
    assert (tmp_path / "stopped").exists()
    assert {place: found[place] for place in found if place != 7} == {
        i: i for i in range(60) if i != 7
    }
    assert found[7] in (7, REASON)


def test_a_long_item_may_take_many_windows() -> None:
    found = dict(run(in_windows, range(2), jobs=2, timeout=SECONDS, lost=reason_of))
    assert found == {0: 0, 1: 1}


@pytest.mark.full
def test_no_limit_is_no_limit() -> None:
    found = run(in_windows, range(2), jobs=2, timeout=0, lost=reason_of)
    assert sorted(found) == [(0, 0), (1, 1)]
    assert Watch().seconds == 0


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Masks and predictions, of which those called ``slow.png`` take a while."""
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255
    for folder in ("m", "p", "q"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "slow.png"):
            Image.fromarray(pixels).save(tmp_path / folder / name)
    usual = png.open_images

    def open_images(file: Any) -> Any:

        def slowly(read: Any) -> Iterator[Block]:
            time.sleep(0.2 * (file.path.name == "slow.png"))
            yield from read()

        return [o._replace(blocks=partial(slowly, o.blocks)) for o in usual(file)]

    monkeypatch.setattr(png, "open_images", open_images)
    return tmp_path


def test_one_process_notices_between_windows(folders: Path) -> None:
    masks = folders / "m"
    rows = cdstats.ratio(masks, timeout=0.1).images
    reason = "took longer than 0.1 s (timeout)"
    assert [row.reason for row in rows] == ["", reason]
    rows = cdstats.audit(masks, timeout=0.1).images
    assert [row.reason for row in rows] == ["", reason]
    scores = cdstats.loss(folders / "p", masks, timeout=0.1).images
    assert [row.reason for row in scores] == ["", f"mask slow.png: {reason}"]
    assert all(row.status == "ok" for row in cdstats.ratio(masks, timeout=0).images)


SHOWN = "-o made --only distribution --only loss-beta --format svg"
LINES = [
    "ratio m",
    "weights m",
    "audit m",
    "report --masks m -o made",
    f"plot --masks m {SHOWN}",
    "loss --pred p --target m",
    "compare --pred x=p --pred y=q --target m",
    "report --pred p --target m -o made",
    f"plot --pred p --target m {SHOWN}",
]


@pytest.mark.parametrize("line", LINES)
def test_every_command_notices(
    line: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    done = helpers.run(*line.split(), "--timeout", "0.1")
    told = " ".join((done.out + done.err).split())
    assert done.code == 1, told
    assert "slow.png" in told
    assert "took longer than 0.1 s (--timeout)" in told
    if not line.startswith(("report", "plot")):  # which gather as the others do
        done = helpers.run(*line.split(), "--timeout", "60")
        assert done.code == 0
        assert "took longer" not in done.out + done.err


def test_a_limit_below_zero_is_refused(folders: Path) -> None:
    with pytest.raises(cdstats.UsageError, match="timeout"):
        cdstats.ratio(folders / "m", timeout=-1)
