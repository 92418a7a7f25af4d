"""Every loss of the catalogue: the golden file, oracles, laws, edges and options."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from torch.nn import functional

from cdstats.core.catalogue import (
    CATALOGUE,
    FILE_EPS,
    NOT_SCORES,
    LevelValues,
    Reads,
    all_losses,
    changed_shares,
    choose,
    constant_prediction,
    evaluate,
    level_value,
    parse_loss,
)
from cdstats.core.errors import UsageError
from cdstats.core.histogram import LevelCounts
from cdstats.core.pixel_terms import Term, cross_entropy
from cdstats.core.sums import ImageSums, SumsTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cdstats.core.catalogue import Loss

    Array = NDArray[Any]
    Images = Sequence[Array]
    Case = dict[str, Any]


# States from arrays, written from the definitions


def arrays(case: Case) -> tuple[Images, Images, Images]:
    """Probabilities, targets and valid pixels of a case, one array per image."""
    if "generator" in case:
        pairs = [generated(case, image) for image in range(case["shape"][0])]
    else:
        listed = zip(case["p"], case["y"], strict=True)
        pairs = [(np.array(p, dtype=np.float64), np.array(y)) for p, y in listed]
    p, y = [p for p, _ in pairs], [y for _, y in pairs]
    return p, y, [np.asarray(image != case["ignore_value"]) for image in y]


def generated(case: Case, image: int) -> tuple[Array, Array]:
    g, (_, height, width) = case["generator"], case["shape"]
    t = np.arange(image * height * width, (image + 1) * height * width)
    p = (2 * ((g["a"] * t + g["b"]) % 128) + 1) / 256
    y = (g["c"] * t + g["d"]) % g["m"] < g["q"]
    return p.reshape(height, width), y.astype(np.int64).reshape(height, width)


def direct_sums(p: Array, y: Array, valid: Array, terms: Sequence[Term]) -> ImageSums:
    """The sums of one image, pixel by pixel."""
    p_valid, y_valid = p[valid], y[valid]
    ce1, ce0 = (cross_entropy(p_valid, changed=label) for label in (True, False))

    def total(values: Array) -> float:
        return math.fsum(values.tolist())

    def pair(term: Term) -> tuple[float, float]:
        if term.needs_positions:
            values = position_term(term, p, y)
            return total(values[y == 1]), total(values[y == 0])
        first, second = (term.per_pixel(p_valid, changed=c) for c in (True, False))
        return total(y_valid * first), total((1 - y_valid) * second)

    changed = y_valid.sum().item()
    return ImageSums(
        valid=p_valid.size,
        changed=changed,
        ignored=p.size - p_valid.size,
        ce_changed_sum=total(y_valid * ce1),
        ce_unchanged_sum=total((1 - y_valid) * ce0),
        missed_sum=total(y_valid * (1 - p_valid)),
        missed_sq_sum=total(y_valid * (1 - p_valid) ** 2),
        prob_changed_sum=total(y_valid * p_valid),
        prob_sq_changed_sum=total(y_valid * p_valid**2),
        false_sum=total((1 - y_valid) * p_valid),
        false_sq_sum=total((1 - y_valid) * p_valid**2),
        target_sq_sum=float((y_valid**2).sum()),
        terms={term: pair(term) for term in terms},
    )


def position_term(term: Term, p: Array, y: Array) -> Array:
    """What each pixel adds to a term of positions."""
    inside, outside = sides(y == 1)
    if term.name == "boundary":
        return p * np.where(y == 1, -np.maximum(inside - 1, 0), outside)
    if term.name == "hausdorff_dt":
        (alpha,) = term.params
        predicted = np.add(*sides(p > 0.5))
        return (p - y) ** 2 * (predicted**alpha + (inside + outside) ** alpha)
    near_inside, near_outside = nearness(inside), nearness(outside)
    ce = cross_entropy(np.where(y == 1, p, 1 - p), changed=True)
    return np.asarray(ce * (near_inside + near_outside))


def nearness(distance: Array) -> Array:
    """(max d - d) / max d on one side, 0 on the other."""
    far = distance.max()
    return np.where(distance > 0, (far - distance) / max(far, 1), 0)


def sides(mask: Array) -> tuple[Array, Array]:
    """Distances to the other class, inside and outside; 0 if there is one class."""
    if mask.all() or not mask.any():
        return np.zeros(mask.shape), np.zeros(mask.shape)
    return distance_transform_edt(mask), distance_transform_edt(~mask)


def counted(p: Array, y: Array, valid: Array, *, logits: bool = False) -> LevelCounts:
    parts = (p[valid & (y == one)] for one in (1, 0))
    return LevelCounts.of(*parts, logits=logits)


def table_of(
    loss: Loss, p: Images, y: Images, valid: Images, *, histogram: bool = False
) -> SumsTable:
    """The sums of all images, with the terms of a loss."""
    n1 = sum((target[v]).sum() for target, v in zip(y, valid, strict=True))
    n = sum(v.sum() for v in valid)
    terms = loss.terms(prior=float(n1 / n) if n else math.nan)
    if histogram and loss.reads is not Reads.POSITIONS:
        images = map(counted, p, y, valid)
        return SumsTable.of(levels.sums(terms=terms) for levels in images)
    return SumsTable.of(map(direct_sums, p, y, valid, [terms] * len(p)))


def score(
    loss: Loss,
    p: Images,
    y: Images,
    valid: Images | None = None,
    *,
    histogram: bool = False,
    logits: Images | None = None,
) -> Any:
    """A loss of arrays, by the path that it reads."""
    valid = [np.ones(image.shape, bool) for image in p] if valid is None else valid
    table = table_of(loss, p, y, valid, histogram=histogram)
    if not loss.entry.from_levels:
        return evaluate(loss, table)
    source = logits if logits and loss.reads is Reads.LOGITS else p
    of = partial(counted, logits=source is logits)
    levels = list(map(of, source, y, valid))
    pooled = sum(levels[1:], levels[0])
    values = [level_value(loss, image) for image in levels]
    return evaluate(loss, table, levels=LevelValues(values, level_value(loss, pooled)))


def mixed(seed: int = 1, images: int = 3, pixels: int = 60) -> tuple[Images, Images]:
    """Random images, the first without change, in one row of pixels each."""
    rng = np.random.default_rng(seed)
    p = [rng.integers(0, 65, pixels) / 64 for _ in range(images)]
    y = [(rng.random(pixels) < 0.3 * image).astype(int) for image in range(images)]
    return p, y


# Independent oracles


def test_weighted_bce_agrees_with_pos_weight() -> None:
    rng = np.random.default_rng(5)
    z, y = rng.normal(size=100), rng.integers(0, 2, 100)
    p = 1 / (1 + np.exp(-z))
    expected = functional.binary_cross_entropy_with_logits(
        torch.tensor(z), torch.tensor(y).double(), pos_weight=torch.tensor(3.0)
    )
    ours = score(choose("weighted_bce", {"pos_weight": 3}), [p], [y])
    assert ours.mean == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", ["top_k_ce:k=7", "ohem:threshold=0.3", "ohem"])
def test_selections_agree_with_sorting_the_pixels(name: str) -> None:
    p, y = mixed(seed=4)
    loss = parse_loss(name)
    expected = []
    for probs, target in zip(p, y, strict=True):
        right = np.where(target == 1, probs, 1 - probs)
        worst = np.sort(cross_entropy(right, changed=True))[::-1]
        if loss.name == "top_k_ce":
            kept = worst[: 60 * 7 // 100]
        else:
            kept = worst[: max(1, (right < loss.params["threshold"]).sum())]
        expected.append(kept.mean())
    assert score(loss, p, y).per_image == pytest.approx(expected, rel=1e-12)


def test_ohem_keeps_at_least_the_pixels_asked_for() -> None:
    p, y = [np.array([0.9, 0.8, 0.95, 0.9])], [np.ones(4, int)]
    kept = parse_loss("ohem:min_kept=2")
    expected = -(math.log(0.8) + math.log(0.9)) / 2
    assert score(kept, p, y).per_image == pytest.approx([expected], rel=1e-14)
    every = parse_loss("ohem:min_kept=100")
    assert score(every, p, y).pooled == pytest.approx(score(choose("bce"), p, y).mean)


def test_generalised_dice_agrees_with_its_formula() -> None:
    p, y = mixed()
    loss, (q, t) = score(choose("generalised_dice"), p, y), (p[1], y[1])
    w1, w0 = 1 / t.sum() ** 2, 1 / (1 - t).sum() ** 2
    overlap = w1 * (q * t).sum() + w0 * ((1 - q) * (1 - t)).sum()
    sizes = w1 * (q + t).sum() + w0 * (2 - q - t).sum()
    assert loss.per_image[1] == pytest.approx(1 - 2 * overlap / sizes, rel=1e-12)
    assert loss.per_image[0] is None


def test_soft_mcc_agrees_with_the_correlation_coefficient() -> None:
    rng = np.random.default_rng(2)
    p, y = rng.integers(0, 2, 50).astype(float), rng.integers(0, 2, 50)
    ours = score(choose("soft_mcc", {"epsilon": 0}), [p], [y]).pooled
    assert ours == pytest.approx(1 - np.corrcoef(p, y)[0, 1], rel=1e-12)


def test_generalised_wasserstein_dice_is_dice() -> None:
    p, y = mixed()
    ours = score(choose("generalised_wasserstein_dice"), p, y).per_image
    assert ours == pytest.approx(score(choose("dice", {"smooth": 0}), p, y).per_image)


def test_the_exponential_logarithmic_loss_agrees_with_its_formula() -> None:
    p, y = mixed()
    q, t = p[2] * 0.98 + 0.01, y[2]
    ce = -np.log(np.where(t == 1, q, 1 - q))
    weights = np.where(t == 1, np.sqrt(60 / t.sum()), np.sqrt(60 / (60 - t.sum())))
    dice = -math.log((2 * (q * t).sum() + 1) / (q.sum() + t.sum() + 1))
    for typed, factor in (("frequency", weights), ("none", 1)):
        loss = parse_loss(f"exponential_logarithmic:class_weights={typed}")
        expected = 0.8 * dice**0.3 + 0.2 * (factor * ce**0.3).mean()
        assert score(loss, [q], [t]).pooled == pytest.approx(expected, rel=1e-12)


def test_the_unified_focal_loss_agrees_with_its_formula() -> None:
    p, y = mixed()
    q, t = p[2] * 0.98 + 0.01, y[2]
    ce = -0.6 * t * np.log(q) - 0.4 * (1 - t) * q**0.5 * np.log(1 - q)

    def index(q: Array, t: Array) -> float:
        tp, fn, fp = (q * t).sum(), ((1 - q) * t).sum(), (q * (1 - t)).sum()
        return float(tp / (tp + 0.6 * fn + 0.4 * fp))

    region = (1 - index(1 - q, 1 - t)) + (1 - index(q, t)) ** 0.5
    expected = 0.25 * ce.mean() + 0.75 * region
    loss = parse_loss("unified_focal:lambda=0.25")
    assert score(loss, [q], [t]).pooled == pytest.approx(expected, rel=1e-12)


def test_class_balanced_weights_follow_the_effective_numbers() -> None:
    p, y = mixed()
    n1 = sum(map(np.sum, y))
    weights = [(1 - 0.9) / (1 - 0.9**n) for n in (n1, 180 - n1)]
    table = table_of(choose("bce"), p, y, [np.ones(60, bool)] * 3)
    sums = table.total.ce_changed_sum[0], table.total.ce_unchanged_sum[0]
    expected = np.dot(weights, sums) * 2 / sum(weights)
    ours = score(choose("class_balanced", {"b": 0.9}), p, y)
    assert ours.sum == pytest.approx(expected, rel=1e-12)


def test_label_smoothing_is_the_cross_entropy_of_the_smoothed_target() -> None:
    p, y = mixed()
    probs, target = torch.tensor(np.array(p)), torch.tensor(np.array(y)).double()
    expected = functional.binary_cross_entropy(probs, target * 0.8 + 0.1)
    ours = score(choose("label_smoothing", {"epsilon": 0.2}), p, y)
    assert ours.mean == pytest.approx(expected.item(), rel=1e-12)


def test_the_distance_map_penalty_is_largest_at_the_boundary() -> None:
    p, y = [np.full((1, 4), 0.5)], [np.array([[1, 0, 0, 0]])]
    expected = math.log(2) * (1 + (1 + 2 / 3) + (1 + 1 / 3) + 1)
    ours = score(choose("distance_map_penalised_ce"), p, y)
    assert ours.sum == pytest.approx(expected, rel=1e-14)


# Laws


SAME = [
    ("focal:alpha=none,gamma=0", "bce", 1),
    ("balanced_ce:beta=0.5", "bce", 0.5),
    ("weighted_bce:pos_weight=1", "bce", 1),
    ("poly1_bce:epsilon=0", "bce", 1),
    ("label_smoothing:epsilon=0", "bce", 1),
    ("logit_adjusted_ce:tau=0", "bce", 1),
    ("logit_adjusted_ce:prior=0.5", "bce", 1),
    ("class_balanced:b=0", "bce", 1),
    ("tversky:fp_weight=0.5,fn_weight=0.5,smooth=1", "dice:smooth=2", 1),
    ("tversky:fp_weight=1,fn_weight=1", "jaccard", 1),
    ("focal_tversky:exponent=1", "tversky", 1),
    ("asymmetric_similarity:beta=1,smooth=0.5", "dice:smooth=1", 1),
    ("combo:alpha=0", "dice", 1),
]


@pytest.mark.parametrize(("left", "right", "factor"), SAME)
def test_special_cases_are_other_losses(left: str, right: str, factor: float) -> None:
    p, y = mixed()
    first, second = (score(parse_loss(text), p, y) for text in (left, right))
    expected = [factor * value for value in second.image_values]
    assert first.image_values == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "text", ["combo:alpha=1", "top_k_ce:k=100", "ohem:threshold=1"]
)
def test_other_special_cases_are_the_mean_of_bce(text: str) -> None:
    p = [np.array([0.9, 0.3, 0.5, 0.2])]
    y = [np.array([1, 0, 1, 0])]
    factor = 0.5 if text.startswith("combo") else 1
    expected = factor * score(choose("bce"), p, y).mean
    assert score(parse_loss(text), p, y).pooled == pytest.approx(expected, rel=1e-12)


def test_the_order_of_images_changes_no_number_of_all() -> None:
    p, y = mixed(images=6)
    logits = [4 * probs - 2 for probs in p]
    for loss in all_losses():
        once = score(loss, p, y, logits=logits).as_record()
        again = score(loss, p[::-1], y[::-1], logits=logits[::-1]).as_record()
        for key, value in once.items():
            expected = again[key][::-1] if isinstance(value, list) else again[key]
            assert value == expected, loss


def test_an_image_without_valid_pixels_is_left_out() -> None:
    p, y = mixed(images=2)
    logits = [4 * probs - 2 for probs in p]
    valid = [np.ones(60, bool), np.ones(60, bool), np.zeros(60, bool)]
    for loss in all_losses():
        alone = score(loss, p, y, logits=logits)
        beside = score(loss, [*p, p[0]], [*y, y[0]], valid, logits=[*logits, logits[0]])
        for key, value in alone.as_record().items():
            expected = [*value, None] if isinstance(value, list) else value
            assert beside.as_record()[key] == expected, loss
        nothing = score(loss, p[:1], y[:1], valid[2:], logits=logits)
        numbers = list(nothing.as_record().values())[2:]
        assert all(number in (None, [None]) for number in numbers), loss


def test_perfect_predictions_are_not_worse_than_others() -> None:
    y = [np.array([1, 0, 0, 1, 0])]
    right, wrong = [y[0] * 1.0], [1 - y[0] * 1.0]
    for loss in all_losses():
        best = score(loss, right, y, logits=[8 * y[0] - 4.0])
        worst = score(loss, wrong, y, logits=[4 - 8.0 * y[0]])
        assert best.image_values[0] <= worst.image_values[0], loss
        if loss.name != "label_smoothing":
            assert best.image_values[0] == pytest.approx(0, abs=2e-5), loss


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 16), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_no_loss_warns_or_is_infinite(levels: list[int], labels: list[bool]) -> None:
    p = [np.array(levels) / 16]
    y = [np.array(labels[: len(levels)]).astype(int)]
    for loss in all_losses():
        result = score(loss, p, y, histogram=True, logits=[8 * p[0] - 4])
        for value in result.image_values:
            assert value is None or math.isfinite(value)
            assert value is None or value >= 0 or loss.name == "boundary"


# Edges


BCE = math.log(2)
EDGES = [
    ("balanced_ce", 0.0, 0.0),
    ("class_mean_bce", None, None),
    ("class_balanced", None, None),
    ("logit_adjusted_ce", None, None),
    ("generalised_dice", None, None),
    ("sensitivity_specificity", None, None),
    ("dice:smooth=0", 1.0, 1 / 3),
    ("lovasz_softmax", 0.5, 0.5),
    ("boundary", 0.0, 0.0),
    ("distance_map_penalised_ce", 4 * BCE, 4 * BCE),
    ("soft_mcc:epsilon=0", None, None),
    ("unified_focal:lambda=0", 1.2 / 3.2 + 1, 1 + (1.2 / 3.2) ** 0.5),
    ("top_k_ce", BCE, BCE),
]


@pytest.mark.parametrize(("text", "unchanged", "changed"), EDGES)
def test_images_of_one_class(
    text: str, unchanged: float | None, changed: float | None
) -> None:
    p = [np.full((2, 2), 0.5)]
    loss = parse_loss(text)
    for label, expected in ((0, unchanged), (1, changed)):
        found = score(loss, p, [np.full((2, 2), label)]).image_values[0]
        assert found == (expected if expected is None else pytest.approx(expected))


def test_nothing_changed_and_nothing_predicted_is_undefined_without_smoothing() -> None:
    p, y = [np.zeros(4)], [np.zeros(4, int)]
    for name in ("dice", "dice_squared", "jaccard", "tversky", "log_cosh_dice"):
        assert score(choose(name, {"smooth": 0}), p, y).pooled is None
        assert score(choose(name, {"smooth": 1}), p, y).pooled == 0


def test_log_cosh_keeps_its_digits_near_zero() -> None:
    image = ImageSums(valid=2, changed=1, missed_sum=2e-8, prob_changed_sum=1)
    x = 2e-8 / (2 * image.prob_changed_sum + 2e-8)
    ours = evaluate(
        choose("log_cosh_dice", {"smooth": 0}), SumsTable.of([image])
    ).pooled
    assert ours == pytest.approx(x * x / 2, rel=1e-6)


def test_the_rare_class_keeps_the_digits_of_its_weight() -> None:
    image = ImageSums(valid=3 * 10**9, changed=1, ce_unchanged_sum=3e9)
    ours = evaluate(choose("balanced_ce"), SumsTable.of([image]))
    assert ours.sum == pytest.approx(1.0, rel=1e-15)


# Refusals


def test_soft_targets_are_scored_or_refused_in_words() -> None:
    p, y = [np.array([0.2, 0.7])], [np.array([0.25, 1.0])]
    for loss in all_losses():
        if loss.entry.soft_targets:
            assert score(loss, p, y).image_values[0] > 0, loss
        else:
            with pytest.raises(UsageError, match=f"{loss.name} is defined for masks"):
                evaluate(loss, SumsTable.of([ImageSums(valid=2, changed=1.25)]))


# Shares and baselines


GRADIENTS = [loss for loss in all_losses() if loss.entry.weights or loss.entry.gradient]


@pytest.mark.parametrize("loss", GRADIENTS, ids=lambda loss: loss.name)
def test_gradient_shares_agree_with_differences(loss: Loss) -> None:
    rng = np.random.default_rng(6)
    z, y = rng.normal(size=(2, 12)), np.array([[1, 0, 0] * 4, [0, 1, 0] * 4])

    def total(logits: Array) -> float:
        p = list(1 / (1 + np.exp(-logits)))
        result = score(loss, p, list(y))
        return float(result.pooled if result.sum is None else result.sum)

    slopes = np.zeros_like(z)
    for place in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[place] = 1e-5
        slopes[place] = abs(total(z + step) - total(z - step))
    p = list(1 / (1 + np.exp(-z)))
    share = changed_shares(loss, table_of(loss, p, list(y), [y[0] >= 0] * 2)).gradient
    assert share == pytest.approx(slopes[y == 1].sum() / slopes.sum(), rel=1e-5)


def test_the_share_of_a_loss_is_that_of_the_changed_pixels() -> None:
    p, y = mixed()
    valid = [np.ones(60, bool)] * 3
    loss = choose("focal")
    share = changed_shares(loss, table_of(loss, p, y, valid)).loss
    changed = [label == 1 for label in y]
    part = score(loss, p, y, changed).sum
    assert share == pytest.approx(part / score(loss, p, y).sum, rel=1e-12)


def hard_image(changed: int) -> ImageSums:
    return ImageSums(valid=8, changed=changed, target_sq_sum=changed)


def test_the_prior_everywhere_costs_its_entropy() -> None:
    table = SumsTable.of(map(hard_image, (1, 3)))
    constant = constant_prediction(table, table.prior)
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert evaluate(choose("bce"), constant).mean == pytest.approx(entropy, rel=1e-15)
    assert evaluate(choose("brier"), constant).mean == 0.25 * 0.75


@pytest.mark.parametrize("name", ["bce", "focal", "dice", "label_smoothing"])
def test_constant_predictions_equal_images_of_one_probability(name: str) -> None:
    loss, eps = choose(name), FILE_EPS["uint8"]
    y = [np.array([1, 0, 0]), np.array([0, 0, 0])]
    p = [np.full(3, eps)] * 2
    table = table_of(
        choose("bce"), mixed(images=2, pixels=3)[0], y, [np.ones(3, bool)] * 2
    )
    ours = evaluate(loss, constant_prediction(table, eps, loss.terms()))
    assert ours.image_values == pytest.approx(score(loss, p, y).image_values, rel=1e-14)


def test_the_eps_of_file_types_is_that_of_torch() -> None:
    for name in ("float64", "float32", "float16", "bfloat16"):
        assert FILE_EPS[name] == torch.finfo(getattr(torch, name)).eps


# The table of losses and what a user types


def test_every_entry_says_how_it_is_computed_and_what_to_know() -> None:
    for entry in CATALOGUE.values():
        ways = [entry.weights, entry.parts, entry.values, entry.from_levels]
        given = sum(way is not None for way in ways)
        assert given == 1 or (given == 0 and entry.terms), entry.name
        assert all((entry.title, entry.formula, entry.source, entry.pitfalls))
        for parameter in entry.parameters:
            parameter.check(parameter.default)
    assert not CATALOGUE.keys() & NOT_SCORES.keys()


def test_values_are_echoed_as_typed() -> None:
    params = parse_loss("tversky:fp_weight=0.50,fn_weight=1e0,smooth=0").params
    assert json.dumps(params) == '{"fp_weight": 0.5, "fn_weight": 1.0, "smooth": 0}'
    assert parse_loss("focal:alpha=none, gamma=2").params == {"alpha": None, "gamma": 2}
    assert parse_loss("balanced_ce:beta=dataset").label == "balanced_ce[beta=dataset]"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("brier", "brier_sum"),
        ("balanced_ce:beta=0.9", "balanced_ce[beta=0.9]_sum"),
        ("focal:alpha=none,gamma=2", "focal[alpha=none,gamma=2]_sum"),
        ("dice:smooth=0", "dice[smooth=0]"),
        ("class_mean_bce", "class_mean_bce"),
        ("unified_focal", "unified_focal[lambda=0.5,delta=0.6,gamma=0.5]"),
    ],
)
def test_a_column_is_named_by_loss_and_parameters(text: str, column: str) -> None:
    assert parse_loss(text).column == column


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("dcie", "Did you mean dice", id="near-name"),
        pytest.param("zzz", "there is no loss 'zzz'. `cdstats explain`", id="name"),
        pytest.param(
            "ldam",
            "ldam is not a score of saved predictions: its margins",
            id="not-a-score",
        ),
        pytest.param(
            "dice:smoth=1", "no parameter 'smoth'; it has smooth", id="parameter"
        ),
        pytest.param("dice:smooth", "expected NAME:param=value", id="no-value"),
        pytest.param("dice:smooth=1,smooth=2", "gives smooth twice", id="twice"),
        pytest.param(
            "dice:smooth=-1", "smooth=-1: expected a number of at least 0", id="below"
        ),
        pytest.param("dice:smooth=.5", "smooth='.5': expected a number", id="not-json"),
        pytest.param("dice:smooth=1e999", "smooth=inf: expected", id="infinite"),
        pytest.param("focal:alpha=2", "from 0 to 1, or none", id="above"),
        pytest.param(
            "balanced_ce:beta=batch", "from 0 to 1, image, or dataset", id="word"
        ),
        pytest.param("top_k_ce:k=0", "above 0 and up to 100", id="open-low"),
        pytest.param("ohem:min_kept=1.5", "a whole number of at least 1", id="whole"),
    ],
)
def test_wrong_text_is_refused_with_what_is_right(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_loss(text)
    assert message in str(caught.value)
