"""What results show of themselves in a session and in a notebook."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cdstats


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("sources")
    random = np.random.default_rng(5)
    for place in ("<t>", "p"):
        (folder / place).mkdir()
    for number in range(30):
        mask = (random.random((8, 8)) < 0.25).astype(np.uint8)
        np.save(folder / f"<t>/{number}.npy", mask)
        np.save(folder / f"p/{number}.npy", random.random((8, 8)).astype(np.float32))
    np.save(folder / "<t>/0.npy", np.zeros((8, 8), np.uint8))
    masks, preds = folder / "<t>", folder / "p"
    return {
        "RatioResult": cdstats.ratio(masks),
        "AuditResult": cdstats.audit(masks),
        "WeightsResult": cdstats.weights(masks),
        "LossRun": cdstats.loss(preds, masks),
        "Comparison": cdstats.compare([f"a={preds}", f"b={preds}"], masks, resamples=9),
    }


NAMES = ("RatioResult", "AuditResult", "WeightsResult", "LossRun", "Comparison")


@pytest.mark.parametrize("name", NAMES)
def test_the_text_of_a_result_is_short_and_tells_its_sizes(
    name: str, results: dict[str, Any]
) -> None:
    text = repr(results[name])
    assert text.startswith(f"{name}(")
    assert "images: " in text
    assert len(text) <= 400


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_a_table_whose_names_are_escaped(
    name: str, results: dict[str, Any]
) -> None:
    page = results[name]._repr_html_()
    assert page.startswith("<table>")
    assert "<t>" not in page
    rows = len(list(results[name].table().rows))
    assert page.count("<tr>") == rows + 1


def test_the_table_of_a_notebook_holds_the_numbers(results: dict[str, Any]) -> None:
    (row,) = results["RatioResult"].datasets
    page = results["RatioResult"]._repr_html_()
    assert f"{row.changed:,}" in page
    assert f"{row.change_ratio:.3f}" in page


def test_an_audit_gives_data_frames(results: dict[str, Any]) -> None:
    audit = results["AuditResult"]
    assert len(audit.frame()) == len(audit.splits) > 0
    frame = audit.finding_frame()
    assert list(frame["text"]) == [one.text for one in audit.findings]
    assert len(frame) > 0


def test_a_long_value_is_cut(results: dict[str, Any]) -> None:
    one = replace(results["LossRun"], device="cuda:0 " * 20)
    assert repr(one).startswith("LossRun(device: cuda:0 cuda:0 cuda:0 cu…, ")
