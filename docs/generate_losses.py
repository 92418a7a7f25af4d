"""Write ``docs/losses.md``: formula, range, edge cases and source of all losses.

Formulas, parameters, sources and pitfalls come from the catalogue. The values of edge
cases are computed. The formulas of metrics are obtained by running them on symbols.
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
"""Smallest and largest value of an image of labels, with the default parameters."""
GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "lambda", "phi", "tau")
FUNCTIONS = ("ln", "max", "min", "cosh")
QUANTITY = re.compile(r"[A-Za-z]'?|[A-Za-z]\d|[A-Z]{2}|BCE|IoU")
"""The names of quantities: letters, such as p and n1, and abbreviations, such as TP."""
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d[\d.]*(?:e-?\d+)?)"
    r"|(?P<call>mean(?=\())"
    r"|(?P<word>[^\W\d_]{2,}(?:-[a-z]{2,})+|[^\W\d_]+\d?(?:'s?)?(?:_\w+)?)"
    r"|(?P<sign>\S))"
)
SIGNS = {"<": " < ", ">": " > ", "%": r"\,\%", "=": " = "}
HEAD = """\
# Losses and metrics

This page lists the formula, range, edge cases and source of all losses and metrics of
`cdstats loss`. It is generated from the catalogue that the program uses
(`docs/generate_losses.py`). `cdstats explain NAME` prints the formula, parameters,
source and pitfalls of one loss.
"""
EDGE_TEXT = """
The table shows the value for one image of 10 × 10 pixels, with the default parameters.
For *no change* and *all changed*, p is 0.7 in the first column of pixels and 0.2
elsewhere. For *all correct* and *all wrong*, the mask is changed in the first column,
and p is exactly 0 or 1. A dash is an [undefined value](glossary.md#undefined-value): it
is `null` in JSON and excluded from every mean. Every loss is undefined for an image
without valid pixels.
"""
NOT_TEXT = """
cdstats knows the names of these losses but cannot compute them from saved predictions.
"""
METRICS_TEXT = """
Metrics count pixels at a threshold: a pixel is predicted changed if p is at least the
threshold. TP, FP, FN and TN are the
[confusion counts](glossary.md#true-and-false-positives-and-negatives). Columns whose
name ends in `pooled` first add the counts of all images. Columns with `image_mean` are
the mean over the images for which the metric is defined.
[Which F1](explanation.md#which-f1) explains the difference.
"""
RANKED_TEXT = """
## Metrics without a threshold

`average_precision` is the area under the
[precision-recall curve](glossary.md#precision-recall-curve), summed in steps over the
distinct scores in decreasing order, as in scikit-learn:

$$
\\mathrm{AP} = \\sum_k (R_k - R_{k-1}) P_k
$$

It is between 0 and 1. It is undefined without changed pixels. For a constant score it
is the share of changed pixels. `best_f1_in_sample` is the largest F1 over all
thresholds. The threshold is chosen on the same images, so expect a lower F1 on other
images.

`ece`, the [expected calibration error](glossary.md#ece), compares the mean probability
with the share of changed pixels in 15 bins of equal width. Bin $b$ contains $n_b$
pixels:

$$
\\mathrm{ECE} = \\frac{1}{n} \\sum_b \\left| \\sum_{i \\in b} (p_i - y_i) \\right|
$$

It is between 0 and 1. A value of 0 does not mean that a model is useful: a model that
predicts the share of changed pixels everywhere also has the value 0.
"""
SYMBOLS = """
In the formulas, $p$ is the predicted probability of change, and $p_t$ is the predicted
probability of the true label. $y$ is 1 for a changed and 0 for an unchanged pixel. Sums
run over the [valid pixels](glossary.md#valid-pixels) of an image. Their number is $n$,
of which $n_1$ are changed and $n_0$ unchanged. $S_1 = \\sum y \\ln p$, $S_0 = \\sum
(1-y) \\ln (1-p)$, $I = \\sum y p$ and $P = \\sum p$. The soft counts TP, FP, FN and TN
are $I$, $P - I$, $n_1 - I$ and $n - n_1 - P + I$. Logarithms are natural, and at least
−100 unless a formula says otherwise.
"""


@dataclass(frozen=True)
class Part:
    """A piece of a formula as TeX; ``word`` is set if it is a word of text."""

    tex: str
    word: str = ""
    is_group: bool = False
    is_sign: bool = False

    @property
    def inner(self) -> str:
        """The content of the parentheses of a group."""
        bare = self.tex.removeprefix(r"\left(").removesuffix(r"\right)")
        return (
            bare[self.is_group : len(bare) - self.is_group]
            if bare == self.tex
            else bare
        )


def parts_of(text: str) -> list[Part]:
    """The pieces of a formula of the catalogue, with fractions and powers as TeX."""
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
    """The next piece with its power and, for a function, its argument."""
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
    """The pieces as TeX, with space around words and names of several letters."""
    found = ""
    for before, one in zip([None, *parts], parts, strict=False):
        names = [r for r in (before, one) if r and r.tex[:6] in (r"\text{", r"\mathr")]
        if before and names and not (before.is_sign or one.is_sign):
            found += r"\ " if before.word and one.word else r"\, "
        found += one.tex
    return found


def prose(text: str, entry: Entry) -> str:
    """A text with unchanged words, parameters as code, and the rest as TeX."""
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
    """The definition of a loss on its own line, then the meaning of its symbols."""
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
    """The end of the definition: the first punctuation outside parentheses."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if not depth and sign in ",;:":
            return place
    return len(text)


@dataclass(frozen=True)
class Symbol:
    """A pixel count as a symbol; arithmetic with symbols builds a formula."""

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
    """The formula of a metric, from its docstring or from running it on symbols."""
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
    "all correct": (MASK.astype(float), MASK),
    "all wrong": (1.0 - MASK, MASK),
}
COUNTS = {
    "no change, none predicted": Confusion(tn=100),
    "no change, 10 predicted": Confusion(fp=10, tn=90),
    "10 changed, none predicted": Confusion(fn=10, tn=90),
    "all correct": Confusion(tp=10, tn=90),
    "all wrong": Confusion(fp=90, fn=10),
}


def image_values(
    probs: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]
) -> dict[str, float | None]:
    """Every loss of one image, with the default parameters; None if undefined."""
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
    """A value with at most three decimals."""
    if value is None:
        return "–"
    if abs(value) == INF:
        return "−∞" if value < 0 else "∞"
    return f"{value:.3f}".rstrip("0").rstrip(".").replace("-", "−")


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |\n"


def loss_section(entry: Entry) -> str:
    """The section of a loss: formula, range, numbers, parameters, pitfalls, source."""
    low, high = RANGES[entry.name]
    mean = "mean over its pixels" if "sum" in entry.reduction.value else "value"
    numbers = ", ".join(f"`{one}`" for one in entry.reduction.value)
    text = f"### `{entry.name}`: {entry.title}\n\n{formula(entry)}\n"
    text += f"Range for an image ({mean}): {number(low)} to {number(high)}."
    text += " Also defined for soft targets." if entry.soft_targets else ""
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
    """The values of each loss in the edge cases."""
    found = {name: image_values(*images) for name, images in EDGES.items()}
    text = row("loss", *found) + row(":--", *["--:"] * len(found))
    for name in CATALOGUE:
        text += row(f"`{name}`", *(number(one[name]) for one in found.values()))
    return text


def metric_sections() -> str:
    """The sections of all metrics: formula, range, and values in edge cases."""
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
    text += "### Metrics in edge cases\n\nA dash is an undefined value, 0 / 0.\n\n"
    text += row("metric", *COUNTS) + row(":--", *["--:"] * len(COUNTS))
    for base, one in known.items():
        text += row(base, *(number(one.of(counts)) for counts in COUNTS.values()))
    return text


def render() -> str:
    """The page."""
    families = {
        "Sums over pixels": pixel.ENTRIES,
        "Region losses": region.ENTRIES,
        "Losses of ranking and shape": order.ENTRIES,
    }
    text = HEAD + SYMBOLS
    for title, entries in families.items():
        text += f"\n## {title}\n\n" + "\n".join(map(loss_section, entries))
    text += f"\n## Values in edge cases\n{EDGE_TEXT}\n{edge_table()}"
    text += f"\n## Losses that are not available\n{NOT_TEXT}\n"
    text += row("loss", "reason") + row(":--", ":--")
    for name, reason in NOT_SCORES.items():
        text += row(f"`{name}`", reason.replace("_", r"\_"))
    return f"{text}\n## Metrics\n{METRICS_TEXT}\n{metric_sections()}{RANKED_TEXT}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
