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
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    compiled: bool = request.param
    if compiled:
        pytest.importorskip("numba", reason="the extra cdstats[fast] is not installed")
    monkeypatch.setattr(joint, "is_compiled", lambda: compiled)
    return compiled


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and chunks so short that a small array is cut into several."""
    monkeypatch.setattr(joint, "_PART", 64)
    monkeypatch.setattr(joint, "_CHUNK", 50)


def labels_of(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    return random.choice(np.array([0, 1, 255, 7], np.uint8), size)


@pytest.mark.usefixtures("either", "short_parts")
@pytest.mark.parametrize(("dtype", "levels"), [("uint8", 256), ("uint16", 65536)])
@pytest.mark.parametrize("size", [0, 1, 49, 1001])
def test_each_label_is_counted_at_each_level(
    dtype: str, levels: int, size: int
) -> None:
    random = np.random.default_rng(size)
    values = random.integers(0, levels, size).astype(dtype)
    labels = labels_of(random, size)
    found = joint_counts(values, labels, levels)
    for label in (0, 1):
        held = values[labels == label].astype(np.int64)
        assert np.array_equal(found[label], np.bincount(held, minlength=levels))
    assert found.shape == (2, levels)


@pytest.mark.usefixtures("either", "short_parts")
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_what_is_no_probability_is_in_no_bin(dtype: str) -> None:
    odd = [np.nan, np.inf, -np.inf, -1e-3, 1.5, 0.0, 1.0, 0.5, 0.25, 0.75]
    probs = np.array(odd, dtype=dtype)
    labels = np.array([1, 1, 0, 0, 1, 0, 1, 1, 255, 0], dtype=np.uint8)
    unchanged, changed = binned_counts(probs, labels)
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
