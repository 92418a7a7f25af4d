"""The page of losses and metrics says what the program computes."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdstats.core.catalogue import CATALOGUE

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "losses.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page() -> Any:
    spec = importlib.util.spec_from_file_location("page", DOCS / "generate_losses.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["page"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_catalogue(page: Any) -> None:
    # When this fails: python docs/generate_losses.py
    assert page.render() == TEXT


def test_every_formula_is_one_that_browsers_show() -> None:
    mathml = pytest.importorskip("docutils.utils.math.latex2mathml")
    found = re.findall(r"\$\$\n(.*?)\n\$\$|(?<!\$)\$([^$\n]+)\$", TEXT, re.DOTALL)
    assert len(found) > len(CATALOGUE)
    for block, inline in found:
        assert "merror" not in mathml.tex2mathml(block or inline)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 - (2I+s)/(P+n1+s)", r"1-\frac{2I+s}{P+n_1+s}"),
        ("(1-p_t)^gamma ln p_t", r"(1-p_{t})^{\gamma }\ln p_{t}"),
        ("(max d - d)/max d", r"\frac{\max d-d}{\max d}"),
        ("TP / sqrt(TP FN)", r"\frac{\mathrm{TP}}{\sqrt{\mathrm{TP}\, \mathrm{FN}}}"),
        ("(n/n_c)^0.5", r"\left(\frac{n}{n_{c}}\right)^{0.5}"),
        ("unchanged / valid", r"\frac{\text{unchanged}}{\text{valid}}"),
        ("ln 1e-8", r"\ln 10^{-8}"),
    ],
)
def test_a_formula_is_set_as_it_is_meant(page: Any, text: str, expected: str) -> None:
    assert page.tex(page.parts_of(text)) == expected


def test_values_lie_in_the_range_that_the_page_states(page: Any) -> None:
    rng = np.random.default_rng(8)
    images = [*page.EDGES.values()]
    for share in (0.02, 0.5, 0.98):
        mask = (rng.random((9, 11)) < share).astype(np.uint8)
        images += [(rng.random(mask.shape), mask), (1.0 - mask, mask)]
        images.append((np.clip(mask + rng.normal(0, 0.1, mask.shape), 0, 1), mask))
    reached: dict[str, list[float]] = {name: [] for name in CATALOGUE}
    for probs, mask in images:
        for name, value in page.image_values(probs, mask).items():
            reached[name] += [] if value is None else [value]
    for name, (low, high) in page.RANGES.items():
        assert low - 1e-3 <= min(reached[name]), name
        assert max(reached[name]) <= high + 1e-3, name
