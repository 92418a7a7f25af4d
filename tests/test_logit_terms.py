"""Losses of logits whose sigmoid rounds to 0 or 1 keep their digits."""

from pathlib import Path

import numpy as np
import pytest

import cdstats

PLAIN = [
    "focal:alpha=none,gamma=0",
    "logit_adjusted_ce:tau=0",
    "label_smoothing:epsilon=0",
    "asl:gamma_plus=0,gamma_minus=0,margin=0",
]
"""Losses that are plain cross-entropy with these parameters."""


def write(folder: Path, logits: list[float], labels: list[int], dtype: str) -> None:
    for name, values in (("p", np.array(logits, dtype)), ("t", np.array(labels, "u1"))):
        (folder / name).mkdir()
        np.save(folder / f"{name}/0.npy", values.reshape(1, -1))


def scored(folder: Path, *losses: str) -> dict[str, float]:
    run = cdstats.loss(
        *(folder / "p", folder / "t"),
        changed=1,
        unchanged=0,
        kind="logit",
        losses=losses,
    )
    losses_of = run.models[0].losses
    return {one.loss: one.sum for one in losses_of if one.sum is not None}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [3.0, 14.0, 17.0, 30.0, 40.0, 90.0, 120.0])
def test_losses_that_are_plain_cross_entropy_equal_it(
    dtype: str, size: float, tmp_path: Path
) -> None:
    write(tmp_path, [size, -size, size, -size, 0.5], [0, 1, 1, 0, 1], dtype)
    found = scored(tmp_path, *PLAIN[:3])
    for name in ("focal", "logit_adjusted_ce", "label_smoothing"):
        assert found[name] == pytest.approx(found["bce"], rel=1e-6), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_focal_of_a_sure_false_alarm_is_a_fourth_of_the_logit(
    dtype: str, tmp_path: Path
) -> None:
    write(tmp_path, [17.0, 40.0], [0, 0], dtype)
    weight = 0.75
    found = scored(tmp_path, "focal:alpha=0.25,gamma=2")["focal"]
    assert found == pytest.approx(weight * (17 + 40), rel=1e-6)


def test_the_asymmetric_loss_keeps_its_own_floor(tmp_path: Path) -> None:
    write(tmp_path, [10.0, 40.0], [0, 0], "float32")
    found = scored(tmp_path, PLAIN[3])["asl"]
    assert found == pytest.approx(10 + np.log1p(np.exp(-10)) - np.log(1e-8), rel=1e-6)
