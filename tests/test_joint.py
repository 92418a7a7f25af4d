"""Joint counts of label and level: the compiled loops and NumPy, one integer alike."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cdstats.score import levels as module
from cdstats.score.levels import joint_counts


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
    monkeypatch.setattr(module, "_PART", 64)
    monkeypatch.setattr(module, "_CHUNK", 50)
    monkeypatch.setattr(module, "_PAIRED", 8)


def labels_of(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    return random.choice(np.array([0, 1, 255, 7], np.uint8), size)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize(
    ("dtype", "levels"), [("uint8", 256), ("uint16", 256), ("uint16", 65536)]
)
@pytest.mark.parametrize("size", [0, 1, 1001])
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
