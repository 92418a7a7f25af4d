"""Predictions scored again: NumPy counts, plain Python adds without rounding."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from .masks import CHANGED, IGNORED, UNCHANGED, over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Levels = dict[float, tuple[int, int]]

LOWEST_LOG = -100.0


def levels(probs: NDArray[Any], label: NDArray[np.uint8]) -> Levels:
    """How many unchanged and changed pixels have each probability."""
    found: Levels = {}
    for place, meant in enumerate((UNCHANGED, CHANGED)):
        values, counts = np.unique(probs[label == meant], return_counts=True)
        for value, number in zip(values.tolist(), counts.tolist(), strict=True):
            pair = list(found.get(value, (0, 0)))
            pair[place] += number
            found[value] = (pair[0], pair[1])
    return found


def log(p: float) -> float:
    """The logarithm, cut at -100 as torch cuts it."""
    return max(math.log(p), LOWEST_LOG) if p > 0 else LOWEST_LOG


def log_rest(p: float) -> float:
    return max(math.log1p(-p), LOWEST_LOG) if p < 1 else LOWEST_LOG


def sums(found: Levels, threshold: float = 0.5) -> dict[str, Any]:
    """Sums over the pixels of an image, each rounded once."""
    changed = sum(n1 for _, n1 in found.values())
    unchanged = sum(n0 for n0, _ in found.values())
    tp = sum(n1 for p, (_, n1) in found.items() if p >= threshold)
    fp = sum(n0 for p, (n0, _) in found.items() if p >= threshold)

    def exact(power: int, *, of_all: bool) -> float:
        whole = sum(
            (Fraction(p) ** power * (n1 + (n0 if of_all else 0)))
            for p, (n0, n1) in found.items()
        )
        return float(whole)

    return {
        "changed": changed,
        "unchanged": unchanged,
        "ce_changed_sum": -math.fsum(n1 * log(p) for p, (_, n1) in found.items()),
        "ce_unchanged_sum": -math.fsum(
            n0 * log_rest(p) for p, (n0, _) in found.items()
        ),
        "prob_sum": exact(1, of_all=True),
        "prob_changed_sum": exact(1, of_all=False),
        "prob_sq_sum": exact(2, of_all=True),
        "prob_sq_changed_sum": exact(2, of_all=False),
        "saturated_wrong": sum(
            (n1 if p == 0 else 0) + (n0 if p == 1 else 0)
            for p, (n0, n1) in found.items()
        ),
        "tp": tp,
        "fp": fp,
        "fn": changed - tp,
        "tn": unchanged - fp,
        "target_sq_sum": float(changed),
    }


def metrics(tp: int, fp: int, fn: int) -> dict[str, float | None]:
    return {
        "precision": over(tp, tp + fp),
        "recall": over(tp, tp + fn),
        "f1": over(2 * tp, 2 * tp + fp + fn),
        "iou": over(tp, tp + fp + fn),
    }


def image_row(found: Levels, label: NDArray[np.uint8]) -> dict[str, Any]:
    """The columns of the row of an image, all but names."""
    row = sums(found)
    s1, s0 = row["ce_changed_sum"], row["ce_unchanged_sum"]
    n1, n0 = row["changed"], row["unchanged"]
    n = n1 + n0
    balanced = n0 / n * s1 + n1 / n * s0 if n else None
    return row | {
        "height": label.shape[0],
        "width": label.shape[1],
        "ignored": int(np.count_nonzero(label == IGNORED)),
        "bce_sum": s1 + s0 if n else None,
        "bce_mean": over(s1 + s0, n),
        "balanced_ce_sum": balanced,
        "balanced_ce_mean": None if balanced is None else balanced / n,
        "class_mean_bce": (s1 / n1 + s0 / n0) / 2 if n1 and n0 else None,
        **metrics(row["tp"], row["fp"], row["fn"]),
    }


def _mean(numbers: Sequence[float | None]) -> float | None:
    there = [number for number in numbers if number is not None]
    return math.fsum(there) / len(there) if there else None


def dataset_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The columns of the row of all images together."""
    names = (
        *("changed", "unchanged", "ignored", "tp", "fp", "fn", "tn"),
        *("saturated_wrong", "ce_changed_sum", "ce_unchanged_sum", "prob_sum"),
        *("prob_changed_sum", "prob_sq_sum", "prob_sq_changed_sum", "target_sq_sum"),
        *("bce_sum", "balanced_ce_sum"),
    )
    floats = {name for name in names if name.endswith("_sum")}
    row: dict[str, Any] = {
        name: (math.fsum if name in floats else sum)(
            one[name] for one in rows if one[name] is not None
        )
        for name in names
    }
    n1, n0, tp, fp = row["changed"], row["unchanged"], row["tp"], row["fp"]
    n, fn, tn = n1 + n0, row["fn"], row["tn"]
    pooled = metrics(tp, fp, fn)
    f1_other = over(2 * tn, 2 * tn + fp + fn)
    f1 = pooled["f1"]
    agreed = Fraction(tp + tn, n) if n else Fraction()
    by_chance = Fraction((tp + fp) * n1 + (fn + tn) * n0, n * n) if n else Fraction(1)
    return row | {
        "images": len(rows),
        "failed": 0,
        "images_one_class": sum(
            1 for one in rows if bool(one["changed"]) != bool(one["unchanged"])
        ),
        "images_without_valid": sum(
            1 for one in rows if not one["changed"] + one["unchanged"]
        ),
        "bce_mean": over(row["bce_sum"], n),
        "balanced_ce_mean": over(row["balanced_ce_sum"], n),
        "class_mean_bce": (
            (row["ce_changed_sum"] / n1 + row["ce_unchanged_sum"] / n0) / 2
            if n1 and n0
            else None
        ),
        "precision_pooled": pooled["precision"],
        "recall_pooled": pooled["recall"],
        "f1_pooled": f1,
        "iou_pooled": pooled["iou"],
        "mf1_pooled": None if f1 is None or f1_other is None else (f1 + f1_other) / 2,
        "f1_image_mean": _mean([one["f1"] for one in rows]),
        "f1_image_mean_nonempty": _mean([one["f1"] for one in rows if one["changed"]]),
        "oa": over(tp + tn, n),
        "kappa": (
            float((agreed - by_chance) / (1 - by_chance)) if by_chance != 1 else None
        ),
        "beta": over(n0, n),
    }


def added(found: Sequence[Levels]) -> Levels:
    """The levels of several images together."""
    whole: Levels = {}
    for one in found:
        for p, (n0, n1) in one.items():
            m0, m1 = whole.get(p, (0, 0))
            whole[p] = (m0 + n0, m1 + n1)
    return whole


def average_precision(found: Levels) -> float | None:
    """The sum of precision by gained recall, from the surest pixels on."""
    changed = sum(n1 for _, n1 in found.values())
    total, tp, predicted = Fraction(), 0, 0
    for p in sorted(found, reverse=True):
        n0, n1 = found[p]
        tp, predicted = tp + n1, predicted + n0 + n1
        total += Fraction(n1, changed) * Fraction(tp, predicted) if changed else 0
    return float(total) if changed else None


def best_f1(found: Levels) -> float | None:
    """The highest F1 that any threshold gives."""
    changed = sum(n1 for _, n1 in found.values())
    best, tp, predicted = Fraction(), 0, 0
    for p in sorted(found, reverse=True):
        n0, n1 = found[p]
        tp, predicted = tp + n1, predicted + n0 + n1
        best = max(best, Fraction(2 * tp, predicted + changed))
    return float(best) if changed else None
