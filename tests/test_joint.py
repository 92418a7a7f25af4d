"""Joint counts of label and level: the compiled loops and NumPy, one integer alike."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cdstats.core.histogram import BINS, LevelCounts
from cdstats.score import joint
from cdstats.score.joint import binned_counts, joint_counts


@pytest.fixture(params=[True, False], ids=["compiled", "numpy"])
def either(request: pytest.FixtureRequest) -> bool:
    """Whether loops are compiled."""
    compiled: bool = request.param
    if compiled:
        pytest.importorskip("numba", reason="the extra cdstats[fast] is not installed")
    return compiled


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and chunks so short that a small array is cut into several."""
    monkeypatch.setattr(joint, "_PART", 64)
    monkeypatch.setattr(joint, "_CHUNK", 50)
    monkeypatch.setattr(joint, "_PAIRED", 8)


def labels_of(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    return random.choice(np.array([0, 1, 255, 7], np.uint8), size)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize(
    ("dtype", "levels"), [("uint8", 256), ("uint16", 256), ("uint16", 65536)]
)
@pytest.mark.parametrize("size", [0, 1, 49, 1001, 4096])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("start", [0, 3])
def test_each_label_is_counted_at_each_level(
    either: bool, dtype: str, levels: int, size: int, share: float, start: int
) -> None:
    random = np.random.default_rng(size)
    values = random.integers(0, levels, size + start).astype(dtype)[start:]
    labels = labels_of(random, size + start)[start:]
    # Runs of one label, and runs of several.
    for at in range(0, size, 100):
        if random.random() >= share:
            labels[at : at + 100] = random.choice([0, 0, 0, 1, 255])
    found = joint_counts(values, labels, levels, compiled=either)
    for label in (0, 1):
        held = values[labels == label].astype(np.int64)
        assert np.array_equal(found[label], np.bincount(held, minlength=levels))
    assert found.shape == (2, levels)


def test_all_ways_of_numpy_are_taken_in_one_map(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joint, "_CHUNK", 1 << 16)
    monkeypatch.setattr(joint, "_PAIRED", 1 << 16)
    random = np.random.default_rng(3)
    size = (5 << 16) + 77
    values = random.integers(0, 256, size).astype(np.uint8)
    labels = (random.random(size) < 0.1).astype(np.uint8)
    labels[1 << 16 : 2 << 16] = labels_of(random, 1 << 16)
    labels[2 << 16 : 2 << 16 | 500] = 255
    found = joint_counts(values, labels, 256)
    for label in (0, 1):
        expected = np.bincount(values[labels == label], minlength=256)
        assert np.array_equal(found[label], expected)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_what_is_no_probability_is_in_no_bin(either: bool, dtype: str) -> None:
    odd = [np.nan, np.inf, -np.inf, -1e-3, 1.5, 0.0, 1.0, 0.5, 0.25, 0.75]
    probs = np.array(odd, dtype=dtype)
    labels = np.array([1, 1, 0, 0, 1, 0, 1, 1, 255, 0], dtype=np.uint8)
    unchanged, changed = binned_counts(probs, labels, compiled=either)
    assert np.flatnonzero(unchanged).tolist() == [0, 3 * BINS // 4]
    assert np.flatnonzero(changed).tolist() == [BINS // 2, BINS]


@pytest.mark.usefixtures("short_parts")
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), threshold=st.integers(0, BINS))
def test_a_threshold_of_whole_bins_is_exact(seed: int, threshold: int) -> None:
    random = np.random.default_rng(seed)
    size = 300
    probs = np.where(
        random.random(size) < 0.5,
        random.integers(0, BINS + 1, size) / BINS,
        random.random(size),
    ).astype(np.float32)
    labels = labels_of(random, size)
    sweep = LevelCounts.of_bins(*binned_counts(probs, labels)).sweep()
    cut = threshold / BINS
    above = int((sweep.thresholds >= cut).sum())
    found = (sweep.tp[above - 1], sweep.fp[above - 1]) if above else (0, 0)
    hit = probs >= np.float32(cut)
    assert found == ((hit & (labels == 1)).sum(), (hit & (labels == 0)).sum())


def test_levels_fall_into_the_bins_of_their_probabilities() -> None:
    random: Any = np.random.default_rng(5)
    values = (random.integers(0, 256, 500) / 255).astype(np.float64)
    labels = labels_of(random, 500)
    levels = LevelCounts.of(values[labels == 1], values[labels == 0]).binned()
    expected = LevelCounts.of_bins(*binned_counts(values, labels))
    assert levels.values.tolist() == expected.values.tolist()
    assert levels.changed.tolist() == expected.changed.tolist()
    assert levels.unchanged.tolist() == expected.unchanged.tolist()
