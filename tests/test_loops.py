"""The compiled loops: the golden sums, and those that float64 gives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernel import (
    column,
    focal,
    in_numpy,
    random_tiles,
)
from torch import Tensor

from cdstats.score.kernel import TILE, TileSums, arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    Case = dict[str, Any]

pytest.importorskip("numba", reason="the extra cdstats[fast] is not installed")
SPAN = 512


def loops(p: Tensor, labels: Tensor, **options: Any) -> TileSums:
    return in_numpy(p, labels, compiled=True, **options)


def assert_exact(found: TileSums, p: Tensor, labels: Tensor, rel: float) -> None:
    """The counts of float64, and its sums within a share of each."""
    exact = in_numpy(p.double(), labels)
    assert torch.equal(found.counts, exact.counts)
    torch.testing.assert_close(found.sums, exact.sums, rtol=rel, atol=0)


def row_of(scores: Sequence[float], label: int) -> tuple[Tensor, Tensor]:
    p = torch.tensor([scores], dtype=torch.float32)
    return p, torch.full(p.shape, label, dtype=torch.uint8)


@pytest.fixture
def only_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the loops leave to another pass is an error."""

    def refuse(*_: object) -> TileSums:
        raise AssertionError("another pass was taken")

    monkeypatch.setattr(arrays, "_tile", refuse)


@settings(derandomize=True)
@given(
    rows=st.integers(1, 3),
    width=st.sampled_from([1, 17, SPAN - 1, SPAN, SPAN + 1, 4099, TILE, TILE + 1]),
    share=st.sampled_from([0.0, 0.001, 0.3, 1.0]),
    kind=st.sampled_from(["any", "good", "small"]),
    seed=st.integers(0, 99),
)
def test_the_sums_are_those_of_float64_alone_and_in_any_batch(
    rows: int, width: int, share: float, kind: str, seed: int
) -> None:
    p, labels = random_tiles(rows, width, torch.float32, seed)
    random = torch.Generator().manual_seed(seed)
    labels[torch.rand(labels.shape, generator=random) >= share] = 0
    labels[0, : width // 2] = 255
    if kind == "good":
        p = torch.where(labels == 1, 1 - p / 1000, p / 1000)
    elif kind == "small":
        p = p / 1e6
    found = loops(p, labels)
    assert_exact(found, p, labels, rel=1e-10)
    for row in range(rows):
        alone = loops(p[row : row + 1], labels[row : row + 1])
        assert torch.equal(alone.sums[0], found.sums[row])


@pytest.mark.usefixtures("only_loops")
@pytest.mark.parametrize("size", [1, 7, 128, SPAN, 3 * SPAN + 5])
@pytest.mark.parametrize(
    "prob",
    [
        *(0.0, 1.0, 0.5, 1 / 3, 1 - 2**-24, 1e-3, 1 - 1e-3, 1e-12, 1e-37),
        *(2**-20, 2**-20 * (1 - 2**-24), 2**-20 * (1 + 2**-23), 2**-126),
        *(1e-39, 2.0**-149, 26 * 2.0**-149, 27 * 2.0**-149),
    ],
)
@pytest.mark.parametrize("label", [0, 1])
def test_a_map_of_one_value_keeps_its_loss(label: int, prob: float, size: int) -> None:
    p, labels = row_of([prob] * size, label)
    value = float(p[0, 0])
    right = 1 - value if label == 0 else value
    log = -math.inf
    if right:
        log = math.log1p(-value) if label == 0 else math.log(value)
    name = ("ce_unchanged_sum", "ce_changed_sum")[label]
    found = loops(p, labels)
    expected = size * min(-log, 100)
    assert column(found, name) == pytest.approx([expected], rel=2e-10, abs=0)
    wrong = size if value == 1 - label else 0
    assert column(found, "saturated_wrong") == [wrong]


def test_the_number_of_threads_and_the_layout_change_no_digit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p, labels = random_tiles(5, TILE, torch.float32)
    expected = loops(p, labels)
    for threads in (1, 2, 3):
        monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
        assert torch.equal(loops(p, labels).sums, expected.sums)
    wide = torch.stack([p, p], dim=2)[:, :, 0]
    assert torch.equal(loops(wide, labels).sums, expected.sums)


def test_what_the_loops_do_not_sum_goes_its_usual_way() -> None:
    p, labels = random_tiles(2, 600, torch.float32)
    for scores, target, options in (
        (p, labels, {"terms": [focal]}),
        (p, labels, {"logits": True}),
        (p.double(), labels, {}),
        (p, torch.rand(p.shape, generator=torch.Generator().manual_seed(1)), {}),
    ):
        found, expected = (
            in_numpy(scores, target, compiled=compiled, **options)
            for compiled in (True, False)
        )
        assert torch.equal(found.sums, expected.sums)
        assert torch.equal(found.terms, expected.terms)
