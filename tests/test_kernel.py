"""The kernels of NumPy and of torch: the golden sums, laws of tiles, and agreement."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdstats.score.kernel import COUNTS, SUMS, TILE, TileSums, array_sums
from cdstats.score.kernel.tensors import tensor_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Case = dict[str, Any]

ROOT = Path(__file__).parents[1]
GOLDEN = json.loads((ROOT / "tests/golden/losses.json").read_text())
LISTED = [case for case in GOLDEN["cases"] if not case.get("stress")]
STRESS = next(case for case in GOLDEN["cases"] if case.get("stress"))
STATS = {
    "S1": "ce_changed_sum",
    "S0": "ce_unchanged_sum",
    "P": "prob_sum",
    "I": "prob_changed_sum",
    "Q": "prob_sq_sum",
    "Q1": "prob_sq_changed_sum",
    "Y2": "target_sq_sum",
    "n1": "changed",
}
TYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason="there is no CUDA device"
        ),
    ),
]


ENGINES = ["numpy"]
"""The kernel that is tested, behind the one that is tested without the fixture."""


@pytest.fixture(autouse=True, params=["numpy", "torch", "loops"])
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each kernel on the processor."""
    if request.param == "loops":
        pytest.importorskip("numba", reason="the extra cdstats[fast] is not installed")
    ENGINES.append(request.param)
    yield
    ENGINES.pop()


def tile_sums(scores: Tensor, target: Tensor, **options: Any) -> TileSums:
    """The sums that the kernel of the test gives, as tensors."""
    if scores.device.type == "cpu" and ENGINES[-1] != "torch":
        compiled = ENGINES[-1] == "loops"
        return in_numpy(scores, target, compiled=compiled, **options)
    return tensor_sums(scores, target, **options)


def in_numpy(
    scores: Tensor, target: Tensor, terms: Sequence[Any] = (), **options: Any
) -> TileSums:
    """The sums that NumPy and Numba give, as tensors."""
    known = scores.float() if scores.dtype is torch.bfloat16 else scores

    def in_torch(term: Any) -> Any:
        return lambda p, changed, _: term(torch.from_numpy(p), changed).numpy()

    own = [in_torch(term) for term in terms]
    found = array_sums(known.numpy(), target.numpy(), terms=own, **options)
    return TileSums(*map(torch.from_numpy, (found.sums, found.counts, found.terms)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow where other work takes the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiles(case: Case) -> tuple[Tensor, Tensor]:
    """Probabilities and targets of a case, one row for each image."""
    if "generator" in case:
        t = torch.arange(len(case["stats"]["n"]) * 65536).reshape(-1, 65536)
        return generated(case, t)
    p = torch.tensor(case["p"], dtype=torch.float64)
    y = torch.tensor(case["y"], dtype=torch.float64)
    labels = y if "Y2" in case["stats"] else y.to(torch.uint8)
    return p.flatten(1), labels.flatten(1)


def generated(case: Case, t: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and labels of the pixels of given numbers."""
    g = case["generator"]
    p = (2 * ((g["a"] * t + g["b"]) % 128) + 1).double() / 256
    return p, ((g["c"] * t + g["d"]) % g["m"] < g["q"]).to(torch.uint8)


def column(found: TileSums, name: str) -> list[float]:
    if name in ("prob_sum", "prob_sq_sum"):
        kind = name.removeprefix("prob_")
        changed, other = f"prob_{kind}".replace("sum", "changed_sum"), f"false_{kind}"
        pairs = zip(column(found, changed), column(found, other), strict=True)
        return [one + other for one, other in pairs]
    if name in SUMS:
        numbers: list[float] = found.sums[:, SUMS.index(name)].tolist()
    else:
        numbers = found.counts[:, COUNTS.index(name)].tolist()
    return numbers


def assert_stats(found: TileSums, stats: dict[str, list[float]], rel: float) -> None:
    assert column(found, "valid") == stats["n"]
    for name, expected in ({"Y2": stats["n1"]} | stats).items():
        if name == "n":
            continue
        sign = -1 if name in ("S1", "S0") else 1
        numbers = [sign * number for number in column(found, STATS[name])]
        assert numbers == pytest.approx(expected, rel=rel, abs=0), name


def random_tiles(
    rows: int, width: int, dtype: torch.dtype, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Probabilities, 0 and 1 among them, and labels, ignored ones among them."""
    random = torch.Generator().manual_seed(seed)
    p = torch.rand(rows, width, generator=random, dtype=torch.float64)
    p = torch.where(p < 0.02, 0.0, torch.where(p > 0.98, 1.0, p))
    share = torch.rand(rows, 1, generator=random)
    labels = (torch.rand(rows, width, generator=random) < share).to(torch.uint8)
    labels[torch.rand(rows, width, generator=random) < 0.1] = 255
    return p.to(dtype), labels


def cross_entropy(probs: Tensor, changed: bool, _: Any = None) -> Tensor:
    return -(probs.log() if changed else (-probs).log1p()).clamp(min=-100)


def focal(probs: Tensor, changed: bool, _: Any = None) -> Tensor:
    miss = 1 - probs if changed else probs
    return miss**2 * cross_entropy(probs, changed)


# The golden file


@pytest.mark.parametrize("case", LISTED, ids=lambda case: case["id"])
def test_golden_sums_of_a_case(case: Case) -> None:
    scores, target = tiles(case)
    for name in case["p_exact_in"]:
        found = tile_sums(scores.to(TYPES[name]), target)
        assert found.sums.dtype is torch.float64
        assert found.counts.dtype is torch.int64
        assert_stats(found, case["stats"], rel=1e-12 if name == "float64" else 1e-6)


def periodic(case: Case, start: int, pixels: int) -> tuple[Tensor, Tensor]:
    """The pixels from a number on, repeated from one period of each formula."""
    found = []
    for place, period in enumerate((128, case["generator"]["m"])):
        one = generated(case, torch.arange(start, start + period))[place]
        found.append(one.repeat(-(-pixels // period))[:pixels])
    return found[0], found[1]


@pytest.mark.parametrize(
    "engine", ["numpy", pytest.param("torch", marks=pytest.mark.full)], indirect=True
)
def test_the_sums_of_very_many_pixels_are_those_of_the_golden_file(
    request: pytest.FixtureRequest,
) -> None:
    """Of one image, unless the long tests are asked for."""
    images, height, width = STRESS["shape"]
    assert height * width >= 2**24
    for image in range(images if request.config.getoption("--full") else 1):
        p, y = periodic(STRESS, image * height * width, height * width)
        found = tile_sums(p.float().view(-1, TILE), y.view(-1, TILE))
        parts = found.sums, found.counts, found.terms
        whole = TileSums(*(part.sum(0, keepdim=True) for part in parts))
        stats = {name: [ones[image]] for name, ones in STRESS["stats"].items()}
        assert column(whole, "changed") == stats["n1"]
        assert_stats(whole, stats, rel=1e-6)


# Oracles


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "rel"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str
)
def test_plain_cross_entropy_is_that_of_torch(
    dtype: torch.dtype, rel: float, device: str
) -> None:
    p, labels = random_tiles(3, 10_000, dtype)
    labels[labels == 255] = 0
    found = tile_sums(p.to(device), labels.to(device))
    sums = column(found, "ce_changed_sum"), column(found, "ce_unchanged_sum")
    ours = [a + b for a, b in zip(*sums, strict=True)]
    expected = F.binary_cross_entropy(p, labels.to(dtype), reduction="none").sum(1)
    assert ours == pytest.approx(expected.tolist(), rel=rel)
    total = F.binary_cross_entropy(p, labels.to(dtype), reduction="sum").item()
    mean = F.binary_cross_entropy(p, labels.to(dtype)).item()
    assert sum(ours) == pytest.approx(total, rel=rel)
    assert sum(ours) / sum(column(found, "valid")) == pytest.approx(mean, rel=rel)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "rel"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str
)
def test_logits_give_the_sums_of_their_sigmoid(
    dtype: torch.dtype, rel: float, device: str
) -> None:
    random = torch.Generator().manual_seed(2)
    z = (4 * torch.randn(3, 5_000, generator=random, dtype=torch.float64)).to(dtype)
    _, labels = random_tiles(3, 5_000, dtype)
    found = tile_sums(z.to(device), labels.to(device), logits=True)
    plain = tile_sums(z.double().sigmoid(), labels)
    for name in SUMS:
        assert column(found, name) == pytest.approx(column(plain, name), rel=rel), name
    assert torch.equal(found.counts.cpu(), plain.counts)
    valid = labels != 255
    of_torch = F.binary_cross_entropy_with_logits(
        z.double(), labels.double(), reduction="none"
    )
    expected = torch.where(valid, of_torch, 0).sum(1)
    assert (found.sums[:, 0] + found.sums[:, 1]).tolist() == pytest.approx(
        expected.tolist(), rel=rel
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_loss_of_a_logit_is_its_size_up_to_the_clamp(dtype: torch.dtype) -> None:
    z = torch.tensor([[20.0], [40.0], [99.0], [101.0], [1e4]], dtype=dtype)
    labels = torch.zeros(5, 1, dtype=torch.uint8)
    wrong = tile_sums(z, labels, logits=True)
    expected = [20, 40, 99, 100, 100]
    assert column(wrong, "ce_unchanged_sum") == pytest.approx(expected, rel=1e-6)
    missed = tile_sums(-z, labels + 1, logits=True)
    assert column(missed, "ce_changed_sum") == pytest.approx(expected, rel=1e-6)


# Laws


@pytest.mark.parametrize(
    ("engine", "logits"),
    [("numpy", False), ("numpy", True), ("loops", False)],
    indirect=["engine"],
)
def test_a_row_is_the_same_alone_and_in_any_batch(logits: bool) -> None:
    pytest.importorskip("hypothesis")
    from hypothesis import example, given, settings
    from hypothesis import strategies as st

    @settings(max_examples=15, derandomize=True)
    @given(
        rows=st.integers(2, 4),
        width=st.sampled_from([1, 3, 17, 100, 4099, 32768, TILE + 1]),
        dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
        seed=st.integers(0, 99),
    )
    @example(rows=5, width=100, dtype=torch.float16, seed=0)
    def holds(rows: int, width: int, dtype: torch.dtype, seed: int) -> None:
        p, labels = random_tiles(rows, width, dtype, seed)
        # Terms are summed by NumPy even where the loops are asked for.
        terms = [] if ENGINES[-1] == "loops" else [focal]
        whole = tile_sums(p, labels, logits=logits, terms=terms)
        for row in range(rows):
            one = slice(row, row + 1)
            alone = tile_sums(p[one], labels[one], logits=logits, terms=terms)
            assert torch.equal(alone.counts, whole.counts[one])
            assert torch.equal(alone.sums, whole.sums[one])
            assert torch.equal(alone.terms, whole.terms[one])

    holds()


def test_the_smallest_probabilities_keep_their_loss() -> None:
    probs = [1e-300, 1e-20, 3e-9, 1e-3]
    p = torch.tensor([probs], dtype=torch.float64).T
    found = tile_sums(p, torch.zeros(4, 1, dtype=torch.uint8))
    expected = [-math.log1p(-number) for number in probs]
    assert column(found, "ce_unchanged_sum") == pytest.approx(expected, rel=1e-12)
    missed = tile_sums(p, torch.ones(4, 1, dtype=torch.uint8))
    expected = [min(-math.log(number), 100) for number in probs]
    assert column(missed, "ce_changed_sum") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("engine", ["torch"], indirect=True)
@pytest.mark.parametrize(
    ("width", "dtype"), [(TILE, torch.float32), (40_000, torch.float64)], ids=str
)
def test_the_sums_do_not_depend_on_the_number_of_threads(
    width: int, dtype: torch.dtype
) -> None:
    p, labels = random_tiles(3, width, dtype)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(tile_sums(p, labels))
    one, two = found
    assert torch.equal(one.counts, two.counts)
    torch.testing.assert_close(one.sums, two.sums, rtol=1e-12, atol=0)


@pytest.mark.parametrize("logits", [False, True], ids=["probs", "logits"])
def test_what_lies_under_ignored_pixels_enters_nothing(logits: bool) -> None:
    p, labels = random_tiles(3, 500, torch.float64)
    hidden = labels == 255
    options: dict[str, Any] = {"logits": logits, "terms": [focal]}
    clean = tile_sums(p.masked_fill(hidden, 0.3), labels, **options)
    assert column(clean, "valid") == (~hidden).sum(1).tolist()
    assert column(clean, "not_finite") == column(clean, "outside") == [0, 0, 0]
    for bad in (torch.nan, torch.inf, -torch.inf, 7.0):
        dirty = tile_sums(p.masked_fill(hidden, bad), labels, **options)
        assert torch.equal(clean.sums, dirty.sums), bad
        assert torch.equal(clean.counts, dirty.counts), bad
        assert torch.equal(clean.terms, dirty.terms), bad


def test_soft_targets_leave_out_what_lies_under_negative_ones() -> None:
    p = torch.tensor([[0.25, torch.nan, 0.5, torch.inf]], dtype=torch.float64)
    y = torch.tensor([[0.75, -1.0, 0.0, -1.0]], dtype=torch.float64)
    found = tile_sums(p, y)
    expected = tile_sums(p[:, ::2].contiguous(), y[:, ::2].contiguous())
    assert torch.equal(found.sums, expected.sums)
    assert column(found, "valid") == [2]
    assert column(found, "not_finite") == [0]


def test_soft_targets_weigh_both_logarithms() -> None:
    p, _ = random_tiles(2, 300, torch.float64)
    y = torch.rand(2, 300, generator=torch.Generator().manual_seed(5)).double()
    found = tile_sums(p, y)
    expected = F.binary_cross_entropy(p, y, reduction="none").sum(1)
    total = found.sums[:, 0] + found.sums[:, 1]
    assert total.tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    direct = {
        "missed_sum": y * (1 - p),
        "missed_sq_sum": y * (1 - p) ** 2,
        "false_sum": (1 - y) * p,
        "false_sq_sum": (1 - y) * p * p,
        "prob_sum": p,
        "prob_changed_sum": p * y,
        "prob_sq_sum": p * p,
        "prob_sq_changed_sum": p * p * y,
        "target_sq_sum": y * y,
        "changed": y,
    }
    for name, values in direct.items():
        numbers = values.sum(1).tolist()
        assert column(found, name) == pytest.approx(numbers, rel=1e-12), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("changed", "unchanged"), [(1e-3, 1e-4), (1e-5, 1e-6), (2e-8, 1e-9), (0.6, 0.3)]
)
def test_the_sums_of_missed_change_keep_their_digits(
    dtype: torch.dtype, changed: float, unchanged: float
) -> None:
    labels = (torch.arange(TILE).view(1, TILE) % 7 == 0).to(torch.uint8)
    spread = 1 + torch.rand(labels.shape, generator=torch.Generator().manual_seed(1))
    p = (torch.where(labels == 1, changed, unchanged) * spread / 2).to(dtype)
    exact, rel = p.double(), 1e-6 if dtype is torch.float32 else 1e-12
    hard, soft = tile_sums(p, labels), tile_sums(p, labels.to(dtype))
    for name, values in {
        "prob_changed_sum": exact * labels,
        "prob_sq_changed_sum": exact * exact * labels,
        "prob_sum": exact,
        "prob_sq_sum": exact * exact,
    }.items():
        wanted = pytest.approx(values.sum(1).tolist(), rel=rel, abs=0)
        assert column(hard, name) == wanted, name
        assert column(soft, name) == wanted, name


@pytest.mark.parametrize("way", ["labels", "ignored", "logits", "soft"])
@pytest.mark.parametrize("width", [1000, TILE], ids=str)
def test_misses_are_added_up_by_the_bin_of_their_probability(
    way: str, width: int
) -> None:
    probs, target = random_tiles(2, width, torch.float32)
    # Runs within a bin, at the edges of bins, and of any number.
    probs[0, : width // 2] = probs[0, : width // 2] / 20 + 0.94
    probs[1, : width // 2] = torch.arange(width // 2) % 16 / 15
    if way != "ignored":
        target[target == 255] = 0
    p, y = probs.double(), target.double()
    if way == "logits":
        probs = probs.double().clamp(1e-6, 1 - 1e-6).logit()
        p = probs.sigmoid()
    shown = p if way == "logits" else probs
    labels = torch.rand(target.shape) if way == "soft" else target
    y = labels.double() if way == "soft" else y
    found = tile_sums(probs, labels, logits=way == "logits")
    for row in range(2):
        held = target[row] <= 1
        bins = (shown[row][held] * 15).clamp(max=14).long()
        expected = torch.bincount(bins, (p - y)[row][held], minlength=15)
        sums = found.sums[row, -15:]
        torch.testing.assert_close(sums, expected, rtol=1e-6, atol=1e-6 * width)


@pytest.mark.parametrize(
    ("scores", "counts"),
    [
        pytest.param([torch.nan, 0.5, torch.inf, -torch.inf], (3, 0), id="not finite"),
        pytest.param([1.5, -0.25, 0.0, 1.0], (0, 2), id="outside"),
        pytest.param([1.0000001, -1e-12, torch.nan, 0.5], (1, 2), id="both"),
    ],
)
def test_scores_that_are_no_probabilities_are_counted(
    scores: list[float], counts: tuple[int, int]
) -> None:
    p = torch.tensor([scores, [0.5] * 4], dtype=torch.float64)
    found = tile_sums(p, torch.tensor([[1, 0, 1, 0]] * 2, dtype=torch.uint8))
    assert column(found, "not_finite") == [counts[0], 0]
    assert column(found, "outside") == [counts[1], 0]


def test_no_finite_logit_is_outside() -> None:
    z = torch.tensor([[-1e4, -3.0, 0.0, 3.0, 1e4]])
    found = tile_sums(
        z, torch.tensor([[0, 1, 0, 1, 1]], dtype=torch.uint8), logits=True
    )
    assert column(found, "outside") == column(found, "not_finite") == [0]
    infinite = tile_sums(z / 0, torch.zeros(1, 5, dtype=torch.uint8), logits=True)
    assert column(infinite, "not_finite") == [5]


# Terms


def test_terms_are_summed_over_each_class() -> None:
    p, labels = random_tiles(2, 300, torch.float64)
    found = tile_sums(p, labels, terms=[focal, lambda probs, *_: probs])
    assert found.terms.shape == (2, 2, 2)
    for place, label in enumerate((1, 0)):
        own = labels == label
        expected = torch.where(own, focal(p, label == 1), 0).sum(1).tolist()
        assert found.terms[:, 0, place].tolist() == pytest.approx(expected, rel=1e-12)
        expected = torch.where(own, p, 0).sum(1).tolist()
        assert found.terms[:, 1, place].tolist() == pytest.approx(expected, rel=1e-12)


def test_a_term_may_be_infinite_where_it_is_not_summed() -> None:
    scores = torch.tensor([[0.0, 0.5, 1.0, 0.0]], dtype=torch.float64)
    target = torch.tensor([[0, 1, 1, 255]], dtype=torch.uint8)
    found = tile_sums(scores, target, terms=[lambda probs, *_: 1 / probs.sqrt()])
    assert found.terms[0, 0, 0].item() == pytest.approx(1 + 2**0.5)


# What callers may get wrong


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)], ids=str)
def test_no_rows_or_no_pixels_give_nothing(shape: tuple[int, int]) -> None:
    found = tile_sums(torch.zeros(shape), torch.zeros(shape, dtype=torch.uint8))
    assert found.sums.shape == (shape[0], len(SUMS))
    assert found.counts.sum() == 0


# On a device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("dtype", TYPES.values(), ids=str)
@pytest.mark.parametrize("logits", [False, True], ids=["probs", "logits"])
def test_the_device_agrees_with_the_processor(dtype: torch.dtype, logits: bool) -> None:
    p, labels = random_tiles(40, 20_000, dtype)
    here = tile_sums(p, labels, logits=logits, terms=[focal])
    there = tile_sums(p.cuda(), labels.cuda(), logits=logits, terms=[focal])
    assert torch.equal(here.counts, there.counts.cpu())
    rel = 1e-12 if dtype is torch.float64 else 1e-6
    torch.testing.assert_close(there.sums.cpu(), here.sums, rtol=rel, atol=0)
    torch.testing.assert_close(there.terms.cpu(), here.terms, rtol=rel, atol=0)


# What the caller's state must not change


def test_sums_made_in_inference_mode_leave_nothing_behind() -> None:
    p, labels = random_tiles(2, 777, torch.float32)
    expected = tile_sums(p, labels)
    with torch.inference_mode():
        tile_sums(p, labels)
    assert torch.equal(tile_sums(p, labels).sums, expected.sums)
    with torch.device("meta"):
        tile_sums(p, labels)
    assert torch.equal(tile_sums(p, labels).sums, expected.sums)


def test_autocast_and_fast_products_change_no_digit() -> None:
    p, labels = random_tiles(3, 5001, torch.float32)
    expected = tile_sums(p, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = tile_sums(p, labels)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        fast = tile_sums(p, labels)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    for other in (found, fast):
        assert torch.equal(other.sums, expected.sums)
        assert torch.equal(other.counts, expected.counts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_threshold_is_compared_as_it_is_and_not_as_it_rounds(
    dtype: torch.dtype,
) -> None:
    for threshold in (0.9, 0.1, 1 / 3, 0.5):
        near = torch.tensor([threshold], dtype=dtype)
        steps = [near.nextafter(torch.full_like(near, x)) for x in (0.0, 1.0)]
        p = torch.cat([near, *steps])[None]
        found = tile_sums(p, torch.ones((1, 3), dtype=torch.uint8), threshold=threshold)
        expected = int((p.double() >= threshold).sum())
        assert column(found, "tp") == [expected], threshold
