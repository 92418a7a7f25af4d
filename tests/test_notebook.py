"""What results show of themselves in a session and in a notebook."""

import math
import re
from pathlib import Path
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


@pytest.mark.parametrize("name", NAMES)
def test_a_logger_gets_flat_numbers_by_names_that_every_logger_takes(
    name: str, results: dict[str, Any]
) -> None:
    found = results[name].to_dict()
    assert len(found) > 5
    for key, value in found.items():
        assert re.fullmatch(r"[\w.\- /]+", key), key
        assert type(value) is float, key


def test_the_numbers_of_a_logger_are_those_of_the_rows(
    results: dict[str, Any],
) -> None:
    (row,) = results["RatioResult"].datasets
    name = "_t_"
    assert results["RatioResult"].to_dict()[f"{name}/change_ratio"] == row.change_ratio
    (score,) = (one.dataset for one in results["LossRun"].models)
    logged = results["LossRun"].to_dict()
    assert logged["f1_pooled"] == score.f1_pooled
    assert set(logged) >= {"bce_mean", "balanced_ce_mean", "images", "kappa"}
    assert results["Comparison"].to_dict()["b/f1_pooled_difference"] == 0
    (weights,) = results["WeightsResult"].datasets
    key = f"{name}/pos-weight/changed_weight"
    expected = weights.scheme("pos-weight").changed_weight
    assert results["WeightsResult"].to_dict()[key] == expected
    audit = results["AuditResult"]
    notes = sum(one.severity == "note" for one in audit.findings)
    assert audit.to_dict()["notes"] == notes
    assert audit.to_dict()[f"{name}/without_change"] == 1


def test_undefined_numbers_and_losses_with_parameters_are_logged(
    tmp_path: Path,
) -> None:
    for place in ("p", "t"):
        (tmp_path / place).mkdir()
        np.save(tmp_path / place / "0.npy", np.zeros((4, 4), np.uint8))
    found = cdstats.loss(
        pred=tmp_path / "p",
        target=tmp_path / "t",
        changed="1",
        unchanged="0",
        kind="hard",
        losses=["dice", "tversky:smooth=0", "poly1_bce:epsilon=-1"],
    ).to_dict()
    assert found["dice_smooth_1_pooled"] == 0
    assert math.isnan(found["f1_pooled"])
    assert "poly1_bce_epsilon_-1_mean" in found
    assert "tversky_fp_weight_0.3_fn_weight_0.7_smooth_0_image_mean" in found
