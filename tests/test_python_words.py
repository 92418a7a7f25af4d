"""Texts of the Python functions name arguments, never options of the command line."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import cdstats
from cdstats.core.arguments import Option, in_python
from cdstats.core.errors import Message
from cdstats.core.options import (
    AuditOptions,
    CompareOptions,
    LossOptions,
    RatioOptions,
    WeightsOptions,
)
from cdstats.report.options import PlotOptions, ReportOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROUPS = (AuditOptions, CompareOptions, LossOptions, RatioOptions, WeightsOptions)
SHOWN = (ReportOptions, PlotOptions)
OPTIONS = {n: one for group in (*GROUPS, *SHOWN) for n, one in group.declared.items()}
ONLY_COMMANDS = {
    "--add",
    "--columns",
    "--explain",
    "--fail-over",
    "--fail-under",
    "--format",
    "--scheme",
    "--tolerance",
}
"""Options of commands that no function has; nothing that a function says names them."""
VALUES = {"rest", "logit", "none", "hard", "prob", "sitscd", "x"}
"""Values that messages give to options without a list of choices."""
OPTION = re.compile(r"--[a-z][a-z-]+")


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a module that is no docstring; ``x`` stands for what it holds."""
    nodes = list(ast.walk(tree))
    inner = {
        id(part)
        for node in nodes
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    inner |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (
                p.value if isinstance(p, ast.Constant) else "x" for p in node.values
            )
            yield "".join(map(str, parts)).replace("x--", "x --")


@cache
def messages() -> list[tuple[str, str]]:
    """Texts of the package that name options, with their module."""
    root = Path(cdstats.__file__).parent
    return [
        (path.name, text)
        for path in root.rglob("*.py")
        if "cli" not in path.relative_to(root).parts
        for text in texts(ast.parse(path.read_text()))
        if OPTION.search(text) and not re.fullmatch(r"--[a-z/-]+", text)
    ]


def test_what_follows_an_option_in_a_message_is_a_value_or_known_prose() -> None:
    names = (flag for n, one in OPTIONS.items() for flag in one.names(n))
    known = {part for flag in names for part in flag.split("/")}
    choices = {word for one in OPTIONS.values() for word in one.choices}
    found = [one for one in messages() if "pip install" not in one[1]]
    assert len(found) > 80
    for place, text in found:
        if set(OPTION.findall(text)) & ONLY_COMMANDS:
            continue
        assert set(OPTION.findall(text)) <= known, (place, text)
        told = in_python(text, OPTIONS)
        assert not OPTION.search(told), (place, text)
        assert "True and" not in told, (place, told)
        words = set(re.findall(r'="([a-z]+)"', told))
        assert words <= choices | VALUES, (place, told)


def test_no_command_in_back_ticks_has_options() -> None:
    for place, text in messages():
        assert not re.search(r"`cdstats [^`]*--", text), (place, text)


# Refusals, as a user meets them


def save(folder: Path, **arrays: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        stem, _, ending = name.rpartition("_")
        path = folder / f"{stem}.{ending}"
        if ending == "npy":
            np.save(path, array)
        else:
            Image.fromarray(array).save(path)
    return folder


def grey(*values: int) -> Any:
    return np.resize(np.array(values, np.uint8), (8, 8))


MASK = grey(0, 255, 255)
CODED = {
    "two-codes": [grey(1, 2)],
    "three-codes": [grey(0, 1, 2)],
    "ignored": [grey(0, 1, 255)],
    "sbi": [grey(0, 85, 170, 255, 50)],
    "cdnet": [grey(0, 50, 85, 170, 255)],
    "smeared": [np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)],
    "half-grey": [grey(0, 128)],
    "constant": [grey(7)],
    "colours": [np.stack([grey(0, 255), grey(0, 90), grey(3, 200)], axis=-1)],
    "contradict": [MASK, grey(1, 2), grey(1, 2, 3)],
}


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("function", ["ratio", "audit", "weights"])
def test_refused_encodings(name: str, function: str, tmp_path: Path) -> None:
    arrays = {f"{n}_png": array for n, array in enumerate(CODED[name])}
    folder = save(tmp_path / "train", **arrays)
    run: Callable[..., Any] = getattr(cdstats, function)
    says_nothing_of_options(lambda: run(folder), at_least=function != "audit")
    for options in ({"split": "train"}, {"band": 1}, {"ignore": 0}):
        says_nothing_of_options(lambda: run(tmp_path, errors="keep", **options))  # noqa: B023


def check(text: str) -> None:
    assert not OPTION.search(text), text
    assert not re.search(r"(?<!=)\bPATH\b", text), text


def says_nothing_of_options(call: Callable[[], Any], *, at_least: bool = False) -> None:
    """Call a function, and look at all that it says."""
    try:
        found = call()
    except (cdstats.DataError, cdstats.UsageError, TypeError) as error:
        check(str(error))
        return
    assert not at_least, "expected a refusal"
    for one in found.messages:
        check(one.text)
        for way in one.ways:
            check(way)
    for row in (*found.images, *getattr(found, "findings", ())):
        check(getattr(row, "reason", "") + getattr(row, "text", ""))


def probs(*values: float) -> Any:
    return np.resize(np.array(values, np.float32), (8, 8))


SCORED: dict[str, tuple[Any, dict[str, Any]]] = {
    "per-cent": (probs(0, 100), {}),
    "negative": (probs(-3, 4), {}),
    "not-scale": (probs(0, 300), {"scale": 100}),
    "hard": (probs(0, 0.5), {"kind": "hard"}),
    "codes": (np.resize(np.array([1, 2], np.int32), (8, 8)), {}),
    "many-codes": (np.resize(np.array([0, 3, 5], np.int32), (8, 8)), {}),
    "percent-codes": (np.resize(np.array([0, 50, 100], np.int32), (8, 8)), {}),
    "channels": (np.zeros((8, 8, 3), np.float32), {}),
    "seven": (np.full((7, 8, 8), 1 / 7, np.float32), {}),
    "two-logits": (np.stack([probs(-3, 4), probs(3, -4)]), {}),
    "scale-and-hard": (probs(0, 1), {"kind": "hard", "scale": 100}),
    "rule-and-kind": (probs(0, 1), {"pred_changed": 1, "kind": "hard"}),
    "rule-alone": (probs(0, 1), {"pred_unchanged": 0}),
    "no-such-model": (probs(0, 1), {"kind": "other=prob"}),
    "no-such-kind": (probs(0, 1), {"kind": "probs"}),
    "no-such-device": (probs(0, 1), {"device": "cuda"}),
    "needs-logits": (probs(0, 1), {"losses": "sigmoid_focal"}),
    "no-such-loss": (probs(0, 1), {"losses": "fokal"}),
    "beta": (probs(0, 1), {"beta": 2}),
    "batch": (probs(0, 1), {"batch_size": 0}),
    "band": (probs(0, 1), {"pred_band": 3}),
    "overlap": (probs(0, 1), {"overlap": "mean", "kind": "hard"}),
    "scheduler": (probs(0, 1), {"engine": "dask"}),
    "preset": (probs(0, 1), {"preset": "sbi2015", "changed": 1}),
    "half-rule": (probs(0, 1), {"changed": 255}),
    "both-rules": (probs(0, 1), {"changed": 255, "unchanged": 255}),
    "size": (probs(0, 1)[:4], {}),
}


@pytest.mark.parametrize("name", SCORED)
def test_refused_predictions(name: str, tmp_path: Path) -> None:
    array, options = SCORED[name]
    save(tmp_path / "target", a_png=MASK)
    for model in ("one", "two"):
        save(tmp_path / model, a_npy=array)
    pred, target = [f"{m}={tmp_path / m}" for m in ("one", "two")], tmp_path / "target"
    says_nothing_of_options(lambda: cdstats.loss(pred, target, **options))
    says_nothing_of_options(
        lambda: cdstats.loss(pred, target, errors="keep", **options)
    )
    says_nothing_of_options(lambda: cdstats.compare(pred, target, **options))


def test_refused_comparisons(tmp_path: Path) -> None:
    save(tmp_path / "target", a_png=MASK, b_png=MASK)
    save(tmp_path / "one", a_npy=probs(0, 1), b_npy=probs(0, 1))
    save(tmp_path / "two", a_npy=probs(0, 1))
    pred, target = [f"{m}={tmp_path / m}" for m in ("one", "two")], tmp_path / "target"
    choices: list[dict[str, Any]] = [
        *({}, {"baseline": "none"}, {"confidence": 2}, {"resamples": 0}, {"seed": -1}),
        {"common": True},
    ]
    for options in choices:
        says_nothing_of_options(lambda: cdstats.compare(pred, target, **options))  # noqa: B023
    says_nothing_of_options(lambda: cdstats.compare(pred[:1], target), at_least=True)


def test_refused_sources(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n")
    calls: list[Callable[[], Any]] = [
        lambda: cdstats.ratio(),
        lambda: cdstats.ratio(from_file=rows),
        lambda: cdstats.ratio(from_file=rows, changed=1),
        lambda: cdstats.weights(from_file=rows),
        lambda: cdstats.audit(from_file=rows),
        lambda: cdstats.loss(from_file=rows),
        lambda: cdstats.loss(from_file=rows, kind="prob"),
        lambda: cdstats.loss("p"),
        lambda: cdstats.compare(from_file=rows),
        lambda: cdstats.write_report(),
        lambda: cdstats.write_report(pred="p"),
        lambda: cdstats.write_report(masks="-", losses="focal"),
        lambda: cdstats.plot(from_files=[rows]),
        lambda: cdstats.plot(pred="-", target="t"),
        lambda: cdstats.ratio(tmp_path, jobs=0),
        lambda: cdstats.ratio(tmp_path, engine="dask", jobs=2, scheduler="tcp://x:1"),
        lambda: cdstats.ratio(tmp_path, scheduler="tcp://x:1"),
    ]
    for call in calls:
        says_nothing_of_options(call, at_least=True)


def test_ways_and_texts_of_a_refusal_are_arguments(tmp_path: Path) -> None:
    folder = save(tmp_path / "masks", a_png=grey(1, 2))
    found = cdstats.ratio(folder, errors="keep").messages
    ways = [way for one in found for way in one.ways]
    assert 'changed="2", unchanged="1"' in ways
    assert all(isinstance(one, Message) for one in found)


def test_the_help_of_functions_speaks_of_arguments() -> None:
    for function in (cdstats.ratio, cdstats.loss, cdstats.write_report, cdstats.plot):
        assert not OPTION.search(inspect.getdoc(function) or "")


def test_an_option_that_is_unknown_is_a_bare_name() -> None:
    assert in_python("say --max-files 3", {}) == 'say max_files="3"'
    assert in_python("--jobs 3", {"jobs": Option(1, "", typed=int)}) == "jobs=3"
