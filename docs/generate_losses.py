"""Write ``docs/losses.md``: formula, range, edges and source of each loss and metric.

Formulas, parameters, sources and pitfalls are those of the catalogue, values at the
edges are computed, and formulas of metrics are written down by running them on symbols.
Run ``python docs/generate_losses.py`` after a change of the catalogue.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cdstats
from cdstats.core.catalogue import (
    CATALOGUE,
    NOT_SCORES,
    Entry,
    LossResult,
    order,
    pixel,
    region,
)
from cdstats.core.metrics import Confusion, Metric, metrics_of
from cdstats.core.score_records import DatasetScore, ScoreRecord

PAGE = Path(__file__).with_name("losses.md")
INF = float("inf")
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(CATALOGUE, (0, 1)),
    **dict.fromkeys(("bce", "class_mean_bce", "weighted_bce"), (0, 100)),
    **dict.fromkeys(("logit_adjusted_ce", "top_k_ce", "ohem"), (0, 100)),
    **dict.fromkeys(("class_balanced", "distance_map_penalised_ce"), (0, 200)),
    **dict.fromkeys(("exponential_logarithmic", "hausdorff_dt"), (0, INF)),
    "asl": (0, 18.421),
    "balanced_ce": (0, 50),
    "boundary": (-INF, INF),
    "combo": (0, 25.5),
    "focal": (0, 75),
    "label_smoothing": (0.198, 95),
    "log_cosh_dice": (0, 0.434),
    "lovasz_hinge": (0, INF),
    "poly1_bce": (0, 101),
    "soft_mcc": (0, 2),
    "unified_focal": (0, 31),
}
"""Least and largest value of an image of labels, with the default parameters."""
GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "lambda", "phi", "tau")
FUNCTIONS = ("ln", "max", "min", "cosh")
QUANTITY = re.compile(r"[A-Za-z]'?|[A-Za-z]\d|[A-Z]{2}|BCE|IoU")
"""The names of quantities: letters, as p and n1, and abbreviations, as TP."""
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d[\d.]*(?:e-?\d+)?)"
    r"|(?P<call>mean(?=\())"
    r"|(?P<word>[^\W\d_]{2,}(?:-[a-z]{2,})+|[^\W\d_]+\d?(?:'s?)?(?:_\w+)?)"
    r"|(?P<sign>\S))"
)
SIGNS = {"<": " < ", ">": " > ", "%": r"\,\%", "=": " = "}
HEAD = """\
# Losses and metrics

Formula, range, edge cases and source of everything that `cdstats loss` computes. The
page is written from the catalogue that the program uses (`docs/generate_losses.py`);
`cdstats explain NAME` prints formula, parameters, source and pitfalls of one loss.
"""
EDGE_TEXT = """
The value of one image of 10 × 10 pixels, with the default parameters. For *no change*
and *all changed*, p is 0.7 in the first column of pixels and 0.2 elsewhere. For *all
right* and *all wrong*, the mask is changed in that column, and p is exactly 0 or 1. A
dash is an undefined value: it is `null` in JSON and left out of every mean. Every loss
is undefined for an image without a valid pixel.
"""
NOT_TEXT = """
These losses are known by name, and cannot be computed from saved predictions.
"""
METRICS_TEXT = """
Metrics count pixels after the threshold: a pixel is predicted changed when p is at
least the threshold. TP, FP, FN and TN are the numbers of changed pixels found, false
alarms, misses, and unchanged pixels left so. A column whose name ends in `pooled` adds
the counts of all images first; one with `image_mean` is the mean over the images where
the metric is defined. [Which F1](explanation.md#which-f1) says how these differ.
"""
RANKED_TEXT = """
## Metrics without a threshold

`average_precision` is the area under the precision-recall curve in steps, as in
scikit-learn, over the distinct scores in falling order:

$$
\\mathrm{AP} = \\sum_k (R_k - R_{k-1}) P_k
$$

It is between 0 and 1, undefined without a changed pixel, and the share of changed
pixels for a constant score. `best_f1_in_sample` is the largest F1 over all thresholds;
it is chosen on the images that it is computed from, so expect less on others.

`ece`, the expected calibration error, compares the mean probability with the share of
changed pixels in 15 bins of p of equal width, of $n_b$ pixels each:

$$
\\mathrm{ECE} = \\frac{1}{n} \\sum_b \\left| \\sum_{i \\in b} (p_i - y_i) \\right|
$$

It is between 0 and 1, and 0 does not mean that a model is useful: predicting the share
of changed pixels everywhere also gives 0.
"""
SYMBOLS = """
In the formulas, $p$ is the predicted probability of change and $p_t$ that of the true
label, $y$ is 1 for a changed and 0 for an unchanged pixel, and sums run over the valid
pixels of an image: $n$ of them, $n_1$ changed and $n_0$ unchanged. $S_1 = \\sum y \\ln
p$, $S_0 = \\sum (1-y) \\ln (1-p)$, $I = \\sum y p$ and $P = \\sum p$. TP, FP, FN and TN
are $I$, $P - I$, $n_1 - I$ and $n - n_1 - P + I$. Logarithms are natural, and at least
−100 unless a formula says otherwise.
"""


@dataclass(frozen=True)
class Part:
    """A piece of a formula as TeX; ``word`` where it is one of prose."""

    tex: str
    word: str = ""
    is_group: bool = False
    is_sign: bool = False

    @property
    def inner(self) -> str:
        """What stands in the parentheses of a group."""
        bare = self.tex.removeprefix(r"\left(").removesuffix(r"\right)")
        return (
            bare[self.is_group : len(bare) - self.is_group]
            if bare == self.tex
            else bare
        )


def parts_of(text: str) -> list[Part]:
    """The pieces of a formula of the catalogue, with fractions and powers set."""
    found = ((one.lastgroup or "", one) for one in TOKEN.finditer(text.strip()))
    return _sequence([(kind, one[kind]) for kind, one in found], "")


def _sequence(tokens: list[tuple[str, str]], end: str) -> list[Part]:
    parts: list[Part] = []
    while tokens:
        if tokens[0][1] == end:
            tokens.pop(0)
            break
        if tokens[0][1] == "/":
            tokens.pop(0)
            above, below = parts.pop(), _one(tokens)
            parts.append(Part(rf"\frac{{{above.inner}}}{{{below.inner}}}"))
        else:
            parts.append(_one(tokens))
    return parts


def _one(tokens: list[tuple[str, str]]) -> Part:
    """The next piece with its power and, of a function, its argument."""
    kind, text = tokens.pop(0)
    if kind == "number":
        found = Part(text.replace("1e", "10^{") + "}" if "e" in text else text)
    elif kind == "call":
        found = Part(rf"\operatorname{{{text}}}{_one(tokens).tex}")
    elif text == "sqrt":
        found = Part(rf"\sqrt{{{_one(tokens).inner}}}")
    elif text in FUNCTIONS and tokens:
        found = Part(rf"\{text} {_one(tokens).tex}")
    elif text in ("(", "["):
        close = {"(": ")", "[": "]"}[text]
        inner = tex(_sequence(tokens, close))
        wide = ("\\left", "\\right") if inner.startswith(r"\frac") else ("", "")
        found = Part(f"{wide[0]}{text}{inner}{wide[1]}{close}", is_group=True)
    elif kind == "sign":
        found = Part(SIGNS.get(text, text), is_sign=True)
    else:
        found = _word(text)
    if tokens and tokens[0][1] == "^":
        tokens.pop(0)
        found = Part(f"{found.tex}^{{{_one(tokens).inner}}}")
    return found


def _word(text: str) -> Part:
    name, _, below = text.partition("_")
    if below and (name in GREEK or QUANTITY.fullmatch(name)):
        return Part(f"{_word(name).tex}_{{{_word(below).tex}}}")
    if text in GREEK:
        return Part(rf"\{text} ")
    if text == "sum":
        return Part(r"\sum ")
    if not QUANTITY.fullmatch(text):
        return Part(rf"\text{{{text}}}".replace("_", r"}\_\text{"), word=text)
    if text[1:].isdigit():
        return Part(f"{text[0]}_{text[1]}")
    return Part(text if len(text.rstrip("'")) == 1 else rf"\mathrm{{{text}}}")


def tex(parts: list[Part]) -> str:
    """The pieces as TeX, with room around words and names of several letters."""
    found = ""
    for before, one in zip([None, *parts], parts, strict=False):
        names = [r for r in (before, one) if r and r.tex[:6] in (r"\text{", r"\mathr")]
        if before and names and not (before.is_sign or one.is_sign):
            found += r"\ " if before.word and one.word else r"\, "
        found += one.tex
    return found


def prose(text: str, entry: Entry) -> str:
    """A text with its words as they are, parameters as code, the rest as TeX."""
    known = {one.name for one in entry.parameters}
    runs: list[tuple[bool, list[Part]]] = []
    for one in parts_of(text):
        is_text = bool(one.word) or (one.is_sign and one.tex in ",;:")
        if not runs or runs[-1][0] != is_text:
            runs.append((is_text, []))
        runs[-1][1].append(one)
    written = ""
    for is_text, parts in runs:
        if not is_text:
            written += f" ${tex(parts).strip()}$"
            continue
        for one in parts:
            word = f"`{one.word}`" if one.word in known else one.word
            written += f" {word}" if one.word else one.tex
    return written.strip()


def formula(entry: Entry) -> str:
    """The definition of a loss on a line of its own, then what its letters are."""
    place = _first_break(entry.formula)
    first, rest = entry.formula[:place], entry.formula[place + 1 :].strip()
    parts = parts_of(first)
    if sum(bool(one.word) for one in parts) > 3:
        text = prose(entry.formula, entry)
        return f"{text[:1].upper()}{text[1:]}.\n"
    lead = "with " if entry.formula[place : place + 1] == "," else "This is "
    where = f"\n{lead}{prose(rest, entry)}.\n" if rest else ""
    return f"$$\n{tex(parts)}\n$$\n{where}"


def _first_break(text: str) -> int:
    """Where the definition ends: at punctuation outside of parentheses."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if not depth and sign in ",;:":
            return place
    return len(text)


@dataclass(frozen=True)
class Symbol:
    """A count of pixels by name, which arithmetic turns into a formula."""

    tex: str
    is_sum: bool = False

    def __bool__(self) -> bool:
        return True

    def __add__(self, other: Symbol) -> Symbol:
        return Symbol(f"{self.tex} + {other.tex}", is_sum=True)

    def __rmul__(self, number: int) -> Symbol:
        return Symbol(rf"{number}\,{self.tex}")

    def __truediv__(self, other: Symbol | int) -> Symbol:
        below = other if isinstance(other, int) else other.tex
        return Symbol(rf"\frac{{{self.tex}}}{{{below}}}")


def metric_formula(one: Metric) -> str:
    """The formula of a metric: that of its docstring, or what it does to symbols."""
    written = re.search(r"``(.*?)``", one.formula.__doc__ or "", re.DOTALL)
    if written:
        return tex(parts_of(" ".join(written[1].split())))
    names = (rf"\mathrm{{{name}}}" for name in ("TP", "FP", "FN", "TN"))
    found: Symbol = one.formula(Confusion(*map(Symbol, names)))
    return found.tex


SHAPE = (10, 10)
MASK = (np.arange(100).reshape(SHAPE) % 10 == 0).astype(np.uint8)
EDGES = {
    "no change": (np.where(MASK, 0.7, 0.2), np.zeros(SHAPE, np.uint8)),
    "all changed": (np.where(MASK, 0.7, 0.2), np.ones(SHAPE, np.uint8)),
    "all right": (MASK.astype(float), MASK),
    "all wrong": (1.0 - MASK, MASK),
}
COUNTS = {
    "no change, none predicted": Confusion(tn=100),
    "no change, 10 predicted": Confusion(fp=10, tn=90),
    "10 changed, none predicted": Confusion(fn=10, tn=90),
    "all right": Confusion(tp=10, tn=90),
    "all wrong": Confusion(fp=90, fn=10),
}


def image_values(
    probs: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]
) -> dict[str, float | None]:
    """Every loss of one image, with the default parameters; None where undefined."""
    rule = {"changed": "1", "unchanged": "0", "device": "cpu"}
    scored = cdstats.loss([probs], [mask], losses="all", **rule).models[0].losses
    if not np.isin(probs, (0, 1)).any():
        logits = [np.log(probs / (1 - probs))]
        hinge = cdstats.loss(
            logits, [mask], losses="lovasz_hinge", kind="logit", **rule
        )
        scored = (*scored, *hinge.models[0].losses)
    return {"lovasz_hinge": None, **{one.loss: _value(one) for one in scored}}


def _value(one: LossResult) -> float | None:
    return one.mean if "mean" in one.reduction.value else (one.per_image or [None])[0]


def number(value: float | None) -> str:
    """A value in three decimals, as short as it goes."""
    if value is None:
        return "–"
    if abs(value) == INF:
        return "−∞" if value < 0 else "∞"
    return f"{value:.3f}".rstrip("0").rstrip(".").replace("-", "−")


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |\n"


def loss_section(entry: Entry) -> str:
    """All of a loss: formula, range, numbers, parameters, source, pitfalls."""
    low, high = RANGES[entry.name]
    mean = "mean over its pixels" if "sum" in entry.reduction.value else "value"
    numbers = ", ".join(f"`{one}`" for one in entry.reduction.value)
    text = f"### `{entry.name}`: {entry.title}\n\n{formula(entry)}\n"
    text += f"Range for an image ({mean}): {number(low)} to {number(high)}."
    text += " Defined for soft targets, too." if entry.soft_targets else ""
    text += f" Reported as {numbers}.\n\n"
    if entry.parameters:
        text += row("parameter", "default", "allowed", "meaning")
        text += row(":--", ":--", ":--", ":--")
        for one in entry.parameters:
            default = "none" if one.default is None else str(one.default)
            text += row(f"`{one.name}`", default, one.allowed, one.meaning)
        text += "\n"
    pitfalls = entry.pitfalls.replace("_", r"\_").replace("|", r"\|")
    return f"{text}{pitfalls}\n\nSource: {_linked(entry.source)}.\n"


def _linked(source: str) -> str:
    link = r"[arXiv:\1](https://arxiv.org/abs/\1)"
    return re.sub(r"arXiv (\d+\.\d+)", link, source)


def edge_table() -> str:
    """What each loss is at the edges."""
    found = {name: image_values(*images) for name, images in EDGES.items()}
    text = row("loss", *found) + row(":--", *["--:"] * len(found))
    for name in CATALOGUE:
        text += row(f"`{name}`", *(number(one[name]) for one in found.values()))
    return text


def metric_sections() -> str:
    """Every metric of scores: formula, range, and values at the edges."""
    columns: dict[str, list[str]] = {}
    known: dict[str, Metric] = {}
    for kind in (DatasetScore, ScoreRecord):
        for name, one in metrics_of(kind).items():
            base = one.name.partition(", mean of nonempty")[0].removesuffix(
                ", image mean"
            )
            columns.setdefault(base, []).append(name)
            known.setdefault(base, one)
    text = ""
    for base, one in known.items():
        signed = min(one.of(counts) or 0 for counts in (*COUNTS.values(),))
        low = "−1" if signed < 0 else "0"
        listed = ", ".join(f"`{name}`" for name in columns[base])
        text += f"### {base}\n\n$$\n{metric_formula(one)}\n$$\n\n"
        text += f"Range: {low} to 1. Columns: {listed}.\n\n"
    text += "### Metrics at the edges\n\nA dash is an undefined value, 0 / 0.\n\n"
    text += row("metric", *COUNTS) + row(":--", *["--:"] * len(COUNTS))
    for base, one in known.items():
        text += row(base, *(number(one.of(counts)) for counts in COUNTS.values()))
    return text


def render() -> str:
    """The page."""
    families = {
        "Losses that are sums over pixels": pixel.ENTRIES,
        "Losses of regions": region.ENTRIES,
        "Losses of order and of shape": order.ENTRIES,
    }
    text = HEAD + SYMBOLS
    for title, entries in families.items():
        text += f"\n## {title}\n\n" + "\n".join(map(loss_section, entries))
    text += f"\n## Values at the edges\n{EDGE_TEXT}\n{edge_table()}"
    text += f"\n## Losses that are not available\n{NOT_TEXT}\n"
    text += row("loss", "why") + row(":--", ":--")
    for name, reason in NOT_SCORES.items():
        text += row(f"`{name}`", reason.replace("_", r"\_"))
    return f"{text}\n## Metrics\n{METRICS_TEXT}\n{metric_sections()}{RANKED_TEXT}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
