"""Pairs scored in shares, wherever: the same rows as in one process."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cdstats
from cdstats.core.errors import DataError, UsageError
from cdstats.io.pairing import find_pairs
from cdstats.score import devices, scoring
from cdstats.score import loss as loss_module
from cdstats.score.devices import compiling_pays
from cdstats.score.scoring import Share, lost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cdstats.score.results import LossRun

EVERY_WAY = ["lovasz_softmax", "logit_adjusted_ce", "boundary", "focal"]


def write(root: Path, images: int = 9) -> tuple[list[str], str]:
    """Two models of two types beside masks in two crops each, one file broken."""
    random = np.random.default_rng(2)
    (root / "masks").mkdir()
    for number in range(images):
        mask = (random.random((16, 24)) < 0.3).astype(np.uint8)
        np.save(root / f"masks/{number}.npy", mask)
        for model, dtype, scale in (("a", "uint8", 255), ("b", "float32", 1)):
            probs = random.random(mask.shape) * scale
            for column in (0, 12):
                path = root / model / f"{number}_0_{column}.npy"
                path.parent.mkdir(exist_ok=True)
                np.save(path, probs[:, column : column + 12].astype(dtype))
    (root / "a/3_0_12.npy").write_bytes(b"\x93NUMPY")
    models = [f"{name}={root}/{name}/{{}}_{{y}}_{{x}}.npy" for name in "ab"]
    return models, f"{root}/masks/{{}}.npy"


@pytest.fixture
def in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that cuts the pairs into small shares and takes the last one first."""

    def apply(function: Any, items: list[Share], **_: object) -> Iterator[Any]:
        for place in reversed(range(len(items))):
            yield place, function(items[place])

    def opened(*_: object) -> AbstractContextManager[Any]:
        from contextlib import nullcontext

        return nullcontext(apply)

    monkeypatch.setattr(loss_module, "open_engine", opened)
    monkeypatch.setattr(scoring, "_MOST_PAIRS", 5)


def same(one: LossRun, two: LossRun) -> None:
    assert one.images == two.images
    assert one.device == two.device
    for first, second in zip(one.models, two.models, strict=True):
        assert first.dataset == second.dataset
        assert first.losses == second.losses


def test_shares_in_any_order_give_the_rows_of_one_pass(
    tmp_path: Path, in_shares: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del in_shares
    pred, target = write(tmp_path)
    found = cdstats.loss(
        pred, target, losses=EVERY_WAY, engine="dask", scheduler="tcp://there"
    )
    monkeypatch.undo()
    same(found, cdstats.loss(pred, target, losses=EVERY_WAY))
    assert found.failed == 1


def test_strict_stops_wherever_a_pair_is_scored(
    tmp_path: Path, in_shares: None
) -> None:
    del in_shares
    pred, target = write(tmp_path)
    with pytest.raises(DataError, match="3_0_12"):
        cdstats.loss(pred, target, strict=True, engine="dask", scheduler="tcp://there")


def test_crops_that_overlap_are_seen_whatever_the_share(
    tmp_path: Path, in_shares: None
) -> None:
    del in_shares
    pred, target = write(tmp_path)
    np.save(tmp_path / "b/5_0_6.npy", np.zeros((16, 12), dtype=np.float32))
    found = cdstats.loss(pred, target, engine="dask", scheduler="tcp://there")
    reasons = [row.reason for row in found.images if "overlaps" in row.reason]
    assert len(reasons) == 1


def test_a_share_whose_process_died_fails_with_its_pairs(tmp_path: Path) -> None:
    pred, target = write(tmp_path, 2)
    pairs = find_pairs(pred, target, split=None, preset=None).pairs
    targets: Any = None
    outcome = lost(Share(tuple(enumerate(pairs)), targets), "died")
    assert [state.rank for state in outcome.states] == list(range(len(pairs)))
    assert all("died" in state.reason for state in outcome.states)


def test_a_cluster_needs_its_address_and_no_other_engine_takes_one() -> None:
    with pytest.raises(UsageError, match="scheduler="):
        cdstats.loss("nowhere", "nowhere", engine="dask")
    with pytest.raises(UsageError, match='engine="dask"'):
        cdstats.loss("nowhere", "nowhere", scheduler="tcp://there")


# Compiled loops


def test_compiling_pays_for_half_a_gibibyte_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="the extra cdstats[fast] is not installed")
    files = [tmp_path / name for name in "ab"]
    for file in files:
        with file.open("wb") as empty:
            empty.truncate(1 << 28)
    paths = [str(file) for file in files]
    assert compiling_pays(paths)
    assert compiling_pays(["s3://store/there", *paths[::-1], str(tmp_path / "none")])
    assert not compiling_pays([paths[0], paths[0], str(tmp_path)])
    monkeypatch.setattr(devices, "has_numba", lambda: False)
    assert not compiling_pays(paths)


def test_compiled_loops_give_the_rows_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = pytest.importorskip(
        "cdstats.score.kernel.loops", reason="cdstats[fast] is not installed"
    )
    pred, target = write(tmp_path)
    expected = cdstats.loss(pred, target, histograms=True)
    taken = []

    def noted(*arguments: Any) -> Any:
        taken.append(arguments)
        return found_sums(*arguments)

    found_sums = loops.loop_sums
    monkeypatch.setattr(loops, "loop_sums", noted)
    monkeypatch.setattr(devices, "_LEAST_BYTES", 1)
    found = cdstats.loss(pred, target, histograms=True)
    assert len(taken) == 18
    monkeypatch.setattr(scoring, "has_numba", lambda: False)
    assert cdstats.loss(pred, target).images == expected.images
    assert len(taken) == 18
    for one, two in zip(found.images, expected.images, strict=True):
        for name, number in asdict(two).items():
            value = getattr(one, name)
            if name == "calibration_sums":
                # Differences of sums, which lose digits of float32.
                bins = [float(one) for one in number.split()]
                value = [float(one) for one in value.split()]
                expectation = pytest.approx(bins, abs=1e-5)
            else:
                near = isinstance(number, float)
                expectation = pytest.approx(number, rel=1e-6) if near else number
            assert value == expectation, name
    for run in (found, expected):
        assert run.curves is not None
    places = [row.place for row in found.images if row.status == "ok"]
    first, second = (one.curves.of(places) for one in (found, expected) if one.curves)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.changed, second.changed)
    assert np.array_equal(first.unchanged, second.unchanged)
