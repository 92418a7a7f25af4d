"""Losses and counts of logits whose sigmoid rounds to 0 or 1."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

import cdstats
from cdstats.core.catalogue.lookup import CATALOGUE
from cdstats.score.kernel import COUNTS, array_sums
from cdstats.score.kernel.tensors import tensor_sums

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]


def write(folder: Path, logits: Array, labels: Array) -> None:
    for name, values in (("p", logits), ("t", labels.astype("u1"))):
        (folder / name).mkdir()
        np.save(folder / f"{name}/0.npy", np.atleast_2d(values))


def scored(folder: Path, *losses: str) -> dict[str, float]:
    run = cdstats.loss(
        *(folder / "p", folder / "t"),
        changed=1,
        unchanged=0,
        kind="logit",
        losses=losses,
    )
    losses_of = run.models[0].losses
    values = {one.loss: one.pooled if one.sum is None else one.sum for one in losses_of}
    return {name: value for name, value in values.items() if value is not None}


# Every loss of the catalogue by the formulas of its definition, in decimal arithmetic

Pixel = tuple[Decimal, Decimal, bool]
"""p, 1 - p and whether the pixel is changed."""
CONTEXT = Context(prec=60)
FLOOR = Decimal(-100)


def total(numbers: Iterable[Decimal | int]) -> Decimal:
    return sum(map(Decimal, numbers), Decimal(0))


def of_logit(z: float) -> tuple[Decimal, Decimal]:
    far = Decimal(-abs(z)).exp(CONTEXT)
    sure = CONTEXT.divide(Decimal(1), 1 + far)
    return (sure, sure * far) if z >= 0 else (sure * far, sure)


def log(number: Decimal, floor: Decimal = FLOOR) -> Decimal:
    return max(number.ln(CONTEXT), floor) if number > 0 else floor


def entropy(pixel: Pixel) -> Decimal:
    p, rest, changed = pixel
    return -log(p if changed else rest)


def lovasz(errors: list[Decimal], labels: list[bool]) -> Decimal:
    order = sorted(range(len(errors)), key=lambda place: -errors[place])
    changed, hits, alarms, last = labels.count(True), 0, 0, Decimal(0)
    found = Decimal(0)
    for place in order:
        hits, alarms = hits + labels[place], alarms + (not labels[place])
        jaccard = 1 - Decimal(changed - hits) / (changed + alarms)
        found += errors[place] * (jaccard - last)
        last = jaccard
    return found


def tversky(overlap: Decimal, fp: Decimal, fn: Decimal, smooth: int) -> Decimal:
    return 1 - (overlap + smooth) / (overlap + fp + fn + smooth)


def worst(entropies: list[Decimal], number: int) -> Decimal:
    return total(sorted(entropies)[-number:]) / number


def sides(mask: Array) -> Array:
    return distance_transform_edt(mask) + distance_transform_edt(~mask)


def by_definition(logits: Array, labels: Array) -> dict[str, Decimal]:
    """The sum of each loss of pixels, the value of each loss of regions."""
    zs, ys = logits.ravel().tolist(), (labels.ravel() == 1).tolist()
    pixels = [(*of_logit(z), y) for z, y in zip(zs, ys, strict=True)]
    n, n1 = len(ys), ys.count(True)
    n0, prior = n - n1, Decimal(n1) / n
    ces = [entropy(one) for one in pixels]
    s1 = total(ce for ce, y in zip(ces, ys, strict=True) if y)
    s0 = total(ce for ce, y in zip(ces, ys, strict=True) if not y)
    wrong = [rest if y else p for p, rest, y in pixels]
    tp = total(p for p, _, y in pixels if y)
    tn = total(rest for _, rest, y in pixels if not y)
    fp = total(p for p, _, y in pixels if not y)
    fn = total(rest for _, rest, y in pixels if y)
    brier = total(one * one for one in wrong)
    p_sq = total(p * p for p, _, _ in pixels)
    number = Decimal  # exact for texts
    half, part = number("0.5"), number("0.3")
    dice = 1 - (2 * tp + 1) / (tp + fp + n1 + 1)
    tv = tversky(tp, part * fp, number("0.7") * fn, 1)
    b = number("2.25") / number("3.25")
    eff = [
        1 / ((1 - number("0.9999") ** count) / (1 - number("0.9999")))
        for count in (n1, n0)
    ]
    cosh = (dice.exp() + (-dice).exp()) / 2
    w1, w0 = number(1) / n1**2, number(1) / n0**2
    tiny = number("1e-5")
    counts = [one + tiny for one in (tp, fp, fn, tn)]
    product = (
        (counts[0] + counts[1])
        * (counts[0] + counts[2])
        * (counts[3] + counts[1])
        * (counts[3] + counts[2])
    )
    adjusted = []
    for p, rest, y in pixels:
        weighed = p * prior, rest * (1 - prior)
        adjusted.append(-log(weighed[0 if y else 1] / total(weighed)))
    asl = Decimal(0)
    for p, rest, y in pixels:
        least = number("1e-8").ln()
        shifted = max(p - number("0.05"), Decimal(0))
        asl -= rest * log(p, least) if y else shifted**4 * log(1 - shifted, least)
    powers = [
        (Decimal(n) / (n1 if y else n0)).sqrt() * ce**part
        for ce, y in zip(ces, ys, strict=True)
    ]
    score = (2 * tp + 1) / (tp + fp + n1 + 1)
    easy = total(
        w.sqrt() * ce for w, ce, y in zip(wrong, ces, ys, strict=True) if not y
    )
    delta = number("0.6")
    unified = (delta * s1 + (1 - delta) * easy) / n
    foreground = tversky(tp, (1 - delta) * fp, delta * fn, 0)
    background = tversky(tn, (1 - delta) * fn, delta * fp, 0)
    hard = total(1 - w < number("0.7") for w in wrong)
    mask = labels == 1
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    phi = np.where(mask, 1 - inside, outside).ravel().tolist()
    distances = (sides(logits > 0) ** 2 + sides(mask) ** 2).ravel().tolist()
    most = np.where(mask, inside.max(), outside.max())
    nearness = ((most - inside - outside) / most).ravel().tolist()
    return {
        "bce": s1 + s0,
        "balanced_ce": (n0 * s1 + n1 * s0) / n,
        "class_mean_bce": (s1 / n1 + s0 / n0) / 2,
        "weighted_bce": s1 + s0,
        "class_balanced": 2 * (eff[0] * s1 + eff[1] * s0) / total(eff),
        "label_smoothing": number("0.95") * total(ces)
        + number("0.05") * total(entropy((p, rest, not y)) for p, rest, y in pixels),
        "logit_adjusted_ce": total(adjusted),
        "focal": total(
            (number("0.25") if y else number("0.75")) * w**2 * ce
            for w, ce, y in zip(wrong, ces, ys, strict=True)
        ),
        "poly1_bce": s1 + s0 + fn + fp,
        "asl": asl,
        "brier": brier,
        "dice": dice,
        "dice_squared": brier / (p_sq + n1 + 1),
        "jaccard": tversky(tp, fp, fn, 1),
        "tversky": tv,
        "focal_tversky": tv ** number("0.75"),
        "asymmetric_similarity": tversky(tp, (1 - b) * fp, b * fn, 1),
        "log_cosh_dice": cosh.ln(),
        "generalised_dice": 1
        - 2 * (w1 * tp + w0 * tn) / (w1 * (tp + fp + n1) + w0 * (tn + fn + n0)),
        "generalised_wasserstein_dice": 1 - 2 * tp / (2 * tp + total(wrong)),
        "sensitivity_specificity": number("0.05")
        * total(w * w for w, y in zip(wrong, ys, strict=True) if y)
        / n1
        + number("0.95")
        * total(w * w for w, y in zip(wrong, ys, strict=True) if not y)
        / n0,
        "soft_mcc": 1
        - (counts[0] * counts[3] - counts[1] * counts[2]) / product.sqrt(),
        "combo": half * half * (s1 + s0) / n + half * dice,
        "exponential_logarithmic": number("0.8") * (-score.ln()) ** part
        + number("0.2") * total(powers) / n,
        "unified_focal": half * unified + half * (background + foreground.sqrt()),
        "lovasz_softmax": lovasz(wrong, ys),
        "lovasz_hinge": lovasz(
            [
                max(Decimal(0), 1 - (1 if y else -1) * Decimal(z))
                for z, y in zip(zs, ys, strict=True)
            ],
            ys,
        ),
        "top_k_ce": worst(ces, max(1, n // 10)),
        "ohem": worst(ces, max(1, int(hard))),
        "boundary": total(
            Decimal(far) * p for far, (p, _, _) in zip(phi, pixels, strict=True)
        ),
        "hausdorff_dt": total(
            Decimal(far) * w * w for far, w in zip(distances, wrong, strict=True)
        ),
        "distance_map_penalised_ce": total(
            (1 + Decimal(near)) * ce for near, ce in zip(nearness, ces, strict=True)
        ),
    }


def picture(sizes: list[float], *, right: float, dtype: str) -> tuple[Array, Array]:
    """Logits of a 6x7 image with one region, sure at the sizes, and its labels."""
    random = np.random.default_rng(len(sizes))
    labels = np.zeros((6, 7), "u1")
    labels[1:5, 2:5] = 1
    signs = np.where(random.random(labels.shape) < right, 1, -1) * (2.0 * labels - 1)
    return (signs * random.choice(sizes, labels.shape)).astype(dtype), labels


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "right"),
    [
        pytest.param([0.5, 2, 9], 0.7, id="ordinary"),
        pytest.param([18, 25, 36], 0.7, id="p-is-1-in-float32"),
        pytest.param([30, 40, 60, 90], 0.7, id="p-is-1-in-float64"),
        pytest.param([40, 60, 99], 1.0, id="all-right"),
        pytest.param([40, 60, 99], 0.0, id="all-wrong"),
        pytest.param([0.25, 40, 101, 150, 200], 0.5, id="beyond-the-floor"),
    ],
)
def test_every_loss_of_sure_logits_is_that_of_its_definition(
    dtype: str, sizes: list[float], right: float, tmp_path: Path
) -> None:
    logits, labels = picture(sizes, right=right, dtype=dtype)
    with localcontext(CONTEXT):
        expected = by_definition(logits.astype(float), labels)
    assert set(expected) == set(CATALOGUE)
    write(tmp_path, logits, labels)
    found = scored(tmp_path, *CATALOGUE)
    rel, least = (1e-12, 1e-15) if dtype == "float64" else (2e-6, 1e-7)
    wrong = {
        name: (found[name], float(value))
        for name, value in expected.items()
        if found[name] != pytest.approx(float(value), rel=rel, abs=least)
    }
    assert not wrong


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_worst_pixels_of_two_images_are_pooled_as_logits(
    dtype: str, tmp_path: Path
) -> None:
    images = [([40, 60, -3], [0, 0, 0]), ([-30, 50, 2], [1, 0, 1])]
    write(tmp_path, *(np.array(one, dtype) for one in images[0]))
    for name, values in zip("pt", images[1], strict=True):
        kind = dtype if name == "p" else "u1"
        np.save(tmp_path / f"{name}/1.npy", np.array([values], kind))
    found = scored(tmp_path, "top_k_ce:k=50", "ohem:threshold=0.5")
    assert found["top_k_ce"] == pytest.approx((60 + 50 + 40) / 3, rel=1e-12)
    assert found["ohem"] == pytest.approx((60 + 50 + 40 + 30) / 4, rel=1e-12)


def test_pixels_that_ohem_keeps_are_found_by_their_logits(tmp_path: Path) -> None:
    logits = np.array([50, 40, -38, -50], "f4")
    write(tmp_path, logits, np.array([1, 1, 0, 0]))
    # 1 - p_t of the first three is 1.9e-22, 4.2e-18 and 3.1e-17; all four are below 1.
    found = scored(tmp_path, "ohem:threshold=1")["ohem"]
    entropies = np.exp(-np.abs(logits.astype(float)))
    assert found == pytest.approx(entropies.mean(), rel=1e-12)


def test_sure_logits_are_no_labels(tmp_path: Path) -> None:
    write(tmp_path, np.array([40, -40, 40], "f4"), np.array([1, 1, 0]))
    places = tmp_path / "p", tmp_path / "t"
    model = cdstats.loss(*places, changed=1, unchanged=0, kind="logit").models[0]
    assert model.losses[0].mean == pytest.approx(80 / 3, rel=1e-7)
    assert not model.hard
    (tmp_path / "p/0.npy").unlink()
    np.save(tmp_path / "p/0.npy", np.array([[1, 0, 1]], "f4"))
    assert cdstats.loss(*places, changed=1, unchanged=0).models[0].hard


# Thresholds


def exactly_changed(z: float, threshold: float) -> bool:
    """Whether the probability of a logit is at least a threshold."""
    with localcontext(prec=400):
        return Decimal(threshold) * (1 + Decimal(-z).exp()) <= 1


def near(threshold: float, dtype: str) -> Array:
    """Logits of a type about that of a threshold, and others."""
    with np.errstate(divide="ignore"):
        wide = np.log(threshold) - np.log1p(-threshold)
    ends = np.nan_to_num(np.float64(wide), posinf=40, neginf=-800)
    middle = np.array([ends]).astype(dtype)
    around = [middle]
    for end in (-np.inf, np.inf):
        step = middle
        for _ in range(3):
            step = np.nextafter(step, np.array(end, dtype))
            around.append(step)
    others = np.array([-200, -104, -17, -1, 0, 1, 15, 17, 37, 89, 200], dtype)
    return np.concatenate([*around, others])


THRESHOLDS = [
    *(
        0.0,
        5e-324,
        1e-300,
        1e-50,
        1e-9,
        0.1,
        0.5,
        np.nextafter(0.5, 1),
        0.7,
        1 / (1 + np.exp(-1)),
    ),
    *(0.999, 1 - 1e-9, 1 - 2.0**-24, 1 - 1e-12, 1 - 2.0**-53, 1.0),
]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("passes", ["numpy", "torch"])
def test_logits_are_compared_with_the_threshold_exactly(
    passes: str, dtype: str, threshold: float
) -> None:
    scores = near(threshold, dtype)
    expected = [exactly_changed(z, threshold) for z in scores.tolist()]
    target = np.zeros(scores.shape, "u1")
    target[::2] = 1
    rows = scores[None], target[None]
    options: Any = {"threshold": threshold, "logits": True}
    if passes == "numpy":
        counts = array_sums(*rows, **options).counts[0]
    else:
        tensors = (torch.from_numpy(one.copy()) for one in rows)
        counts = tensor_sums(*tensors, **options).counts[0].numpy()
    hit = np.array(expected)
    own = target == 1
    found = dict(zip(COUNTS, counts.tolist(), strict=True))
    assert [found[name] for name in ("tp", "fp", "fn", "tn")] == [
        int(one.sum()) for one in (hit & own, hit & ~own, ~hit & own, ~hit & ~own)
    ]
