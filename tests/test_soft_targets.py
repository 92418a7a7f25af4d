"""Losses of soft targets against their formulas, and Brier where parts are negative."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

import cdstats

if TYPE_CHECKING:
    from pathlib import Path

Formula = Callable[[NDArray[Any], NDArray[Any]], Any]
FORMULAS: Final[dict[str, Formula]] = {
    "brier": lambda p, y: ((p - y) ** 2).mean(),
    "dice_squared:smooth=0": lambda p, y: ((p - y) ** 2).sum() / (p * p + y * y).sum(),
    "dice:smooth=0": lambda p, y: 1 - 2 * (p * y).sum() / (p + y).sum(),
    "jaccard:smooth=0": lambda p, y: 1 - (p * y).sum() / (p + y - p * y).sum(),
}


def score(folder: Path, p: NDArray[Any], y: NDArray[Any]) -> dict[str, float | None]:
    """The value of each loss over one image."""
    np.save(folder / "p.npy", p)
    np.save(folder / "y.npy", y)
    run = cdstats.loss(folder / "p.npy", folder / "y.npy", losses=list(FORMULAS))
    found = run.models[0].losses[3:]
    values = [one.mean if one.loss == "brier" else one.pooled for one in found]
    return dict(zip(FORMULAS, values, strict=True))


@pytest.mark.parametrize("near", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_of_soft_targets_follow_their_formulas(
    near: float, seed: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(seed)
    y = random.random((7, 9))
    p = np.clip(y + near * random.normal(size=y.shape), 0, 1)
    found = score(tmp_path, p, y)
    for name, formula in FORMULAS.items():
        assert found[name] == pytest.approx(float(formula(p, y)), abs=1e-12), name


def test_a_perfect_prediction_of_soft_targets_has_no_brier_score(
    tmp_path: Path,
) -> None:
    y = np.random.default_rng(2).random((5, 5))
    assert 0 <= (score(tmp_path, y, y)["brier"] or 0) < 1e-15
