"""Scores if masks were binarised by the rules that public loaders use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run, save

import cdstats

RULES: dict[str, Any] = {
    ">0": lambda m: m > 0,
    ">=128": lambda m: m >= 128,
    "==255": lambda m: m == 255,
}
SHAPE = (40, 50)
VALUES = np.array([0, 0, 0, 1, 100, 128, 200, 255, 255, 7])
"""Stored values; 7 is ignored."""
OPTIONS: Any = {"changed": ">=200", "unchanged": "<7,8-199", "ignore": "7"}


def mask_of(number: int) -> Any:
    return np.random.default_rng(number).choice(VALUES, SHAPE).astype(np.uint8)


def probs_of(number: int, shift: float = 0.0) -> Any:
    noise = np.random.default_rng(100 + number).normal(shift, 0.3, SHAPE)
    return np.clip(mask_of(number) / 300 + noise, 0, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        save(Path(f"masks/{number}.png"), mask_of(number))
        for name, shift in (("a", 0.0), ("b", 0.1)):
            probs = probs_of(number, shift)
            save(Path(f"float/{name}/{number}.npy"), probs)
            save(Path(f"half/{name}/{number}.npy"), probs.astype(np.float16))
            save(Path(f"bytes/{name}/{number}.png"), np.round(probs * 255))
            save(Path(f"hard/{name}/{number}.png"), probs >= 0.4)
            logits = np.log(probs + 1e-6) - np.log(1 - probs + 1e-6)
            save(Path(f"logit/{name}/{number}.npy"), logits.astype(np.float32))


def expected(rule: str, found: list[Any]) -> tuple[int, int, int, int]:
    """tp, fp, fn and tn, pixel by pixel."""
    truth = [RULES[rule](mask_of(n)) for n in range(3)]
    valid = np.concatenate([(mask_of(n) != 7).ravel() for n in range(3)])
    y, p = (np.concatenate([one.ravel() for one in s])[valid] for s in (truth, found))
    return tuple(int(s.sum()) for s in (y & p, ~y & p, y & ~p, ~y & ~p))  # type: ignore[return-value]


def changed_by(kind: str, name: str, cut: float) -> list[Any]:
    """Which pixels are predicted changed, from the stored numbers."""
    shift = {"a": 0.0, "b": 0.1}[name]
    found = []
    for number in range(3):
        probs = probs_of(number, shift)
        if kind == "half":
            probs = probs.astype(np.float16).astype(np.float64)
        elif kind == "bytes":
            probs = np.round(probs * 255) / 255
        elif kind == "hard":
            probs = (probs >= 0.4).astype(float)
        elif kind == "logit":
            stored = np.log(probs + 1e-6) - np.log(1 - probs + 1e-6)
            probs = 1 / (1 + np.exp(-stored.astype(np.float32).astype(np.float64)))
        found.append(probs >= cut)
    return found


@pytest.mark.parametrize("kind", ["float", "half", "bytes", "hard", "logit"])
@pytest.mark.parametrize("cut", [0.5, 0.3])
def test_counts_are_those_of_masks_binarised_by_each_rule(
    kind: str, cut: float
) -> None:
    told: Any = {"kind": "logit"} if kind == "logit" else {}
    found = cdstats.loss(
        f"{kind}/a", "masks", threshold=cut, rule_sensitivity=True, **OPTIONS, **told
    )
    changed = changed_by(kind, "a", cut)
    row: Any
    for row in found.rule_sensitivity:
        counts = (row.tp, row.fp, row.fn, row.tn)
        assert counts == expected(row.binarised, changed)
        tp, fp, fn, _ = counts
        assert row.f1_pooled == pytest.approx(2 * tp / (2 * tp + fp + fn))
        own: Any = found.models[0].dataset
        assert row.f1_change == pytest.approx(row.f1_pooled - own.f1_pooled)
        assert row.images == 3
    assert [row.binarised for row in found.rule_sensitivity] == list(RULES)


def test_changed_pixels_are_those_that_the_audit_tells() -> None:
    found = cdstats.loss("float/a", "masks", rule_sensitivity=True, **OPTIONS)
    masks = np.concatenate([mask_of(n).ravel() for n in range(3)])
    row: Any
    for row in found.rule_sensitivity:
        valid = masks[masks != 7]
        assert row.changed == int(RULES[row.binarised](valid).sum())
        assert row.changed + row.unchanged == valid.size


def test_the_rule_of_the_run_changes_nothing() -> None:
    found = cdstats.loss(
        "float/a", "masks", rule_sensitivity=True,
        changed=">=128", unchanged="<128",
    )  # fmt: skip
    row = found.rule_sensitivity[1]
    own = found.models[0].dataset
    assert (row.tp, row.fp, row.fn, row.tn) == (own.tp, own.fp, own.fn, own.tn)
    assert row.f1_change == row.kappa_change == row.oa_change == 0


def test_other_numbers_do_not_change_with_the_option() -> None:
    plain = cdstats.loss("float/a", "masks", **OPTIONS, losses=["all"])
    asked = cdstats.loss(
        "float/a", "masks", **OPTIONS, losses=["all"], rule_sensitivity=True
    )
    assert plain.images == asked.images
    assert plain.rule_sensitivity == ()


def test_no_file_is_read_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from cdstats.score import reading, targets

    opened: list[str] = []
    for module, name in ((reading, "open_predictions"), (targets, "open_masks")):
        real = getattr(module, name)

        def noted(path: str, *rest: Any, real: Any = real) -> Any:
            opened.append(path)
            return real(path, *rest)

        monkeypatch.setattr(module, name, noted)
    cdstats.loss("bytes/a", "masks", rule_sensitivity=True, **OPTIONS)
    assert len(opened) == len(set(opened)) == 6


COMMAND = ("--target", "masks", "--changed", ">=200", "--unchanged", "<7,8-199",
           "--ignore", "7", "--rule-sensitivity")  # fmt: skip


def test_compare_tells_how_each_model_depends_on_the_rule() -> None:
    done = run("compare", "--pred", "a=float/a", "--pred", "b=float/b", *COMMAND,
               "--format", "json")  # fmt: skip
    rows = done.data()["rule_sensitivity"]
    assert [(row["model"], row["binarised"]) for row in rows] == [
        (model, rule) for model in "ab" for rule in RULES
    ]
    for row in rows:
        counts = expected(row["binarised"], changed_by("float", row["model"], 0.5))
        assert tuple(row[n] for n in ("tp", "fp", "fn", "tn")) == counts


def test_crops_are_counted_where_they_lie() -> None:
    whole = np.hstack([probs_of(0), probs_of(1)])
    save(Path("wide/m.png"), np.hstack([mask_of(0), mask_of(1)]))
    for x in (0, 30, 60):
        width = 40 if x == 60 else 30
        save(Path(f"crops/m_0_{x}.npy"), whole[:, x : x + width])
    save(Path("whole/m.npy"), whole)
    found = [
        cdstats.loss(pred, target, rule_sensitivity=True, **OPTIONS).rule_sensitivity
        for pred, target in (
            ("whole/m.npy", "wide/m.png"),
            ("crops/{}_{y}_{x}.npy", "wide/{}.png"),
        )
    ]
    for one, two in zip(*found, strict=True):
        assert (one.tp, one.fp, one.fn, one.tn) == (two.tp, two.fp, two.fn, two.tn)


@pytest.mark.parametrize("how", ["ignore", "unchanged"])
def test_pixels_without_a_prediction_follow_their_option(how: str) -> None:
    save(Path("wide/m.png"), mask_of(0))
    save(Path("crops/m_0_0.npy"), probs_of(0)[:, :30])
    found = cdstats.loss(
        "crops/{}_{y}_{x}.npy", "wide/{}.png", rule_sensitivity=True, uncovered=how,
        **OPTIONS,
    )  # fmt: skip
    seen = np.broadcast_to(np.arange(SHAPE[1]) < 30, SHAPE)
    valid = mask_of(0) != 7
    valid &= seen if how == "ignore" else True
    predicted = (probs_of(0) >= 0.5) & seen
    row: Any
    for row in found.rule_sensitivity:
        truth = RULES[row.binarised](mask_of(0))
        assert row.tp == int((truth & predicted & valid).sum())
        assert row.fn == int((truth & ~predicted & valid).sum())
        assert row.tn == int((~truth & ~predicted & valid).sum())


def test_the_screen_shows_a_table_of_its_own() -> None:
    done = run("loss", "--pred", "float/a", *COMMAND)
    assert done.code == 0
    table = done.out[done.out.index("with masks binarised by other rules") :]
    first = [line.split()[0] for line in table.splitlines() if line.strip()]
    assert [one for one in first if one in RULES] == [*RULES, *RULES]
    assert max(map(len, table.splitlines())) <= 80


def test_formats_of_one_table_print_it_with_by_rule() -> None:
    done = run("loss", "--pred", "float/a", *COMMAND, "--by", "rule", "--format", "csv")
    # Spreadsheets would take '=' for a formula.
    assert [one.lstrip("'") for one in done.column("binarised")] == list(RULES)
    for form in ("markdown", "latex"):
        done = run("compare", "--pred", "a=float/a", "--pred", "b=float/b", *COMMAND,
                   "--by", "rule", "--format", form)  # fmt: skip
        assert done.code == 0, done.err
        assert "128" in done.out
    one = run("loss", "--pred", "float/a", *COMMAND, "--by", "rule", "--format", "csv",
              "--columns", "binarised,f1_change")  # fmt: skip
    assert list(one.rows()[0]) == ["binarised", "f1_change"]


@pytest.mark.usefixtures("blank_figures")
def test_the_report_has_a_table_between_metrics_and_losses() -> None:
    models = ("--pred", "a=float/a", "--pred", "b=float/b")
    assert run("report", *models, *COMMAND, "-o", "with.html").code == 0
    page = Path("with.html").read_text(encoding="utf-8")
    assert page.count("with masks binarised by other rules") == 1
    start = page.index('id="table-otherwise"')
    assert page.index('id="table-metrics"') < start < page.index('id="table-losses"')
    table = page[start : page.index("</table>", start)]
    cells = re.findall(r"<t[hd] ?[^>]*>([^<]*)</t[hd]>", table)
    rows = [cells[at : at + 10] for at in range(10, len(cells), 10)]
    for name in ("a", "b"):
        found = cdstats.loss(f"float/{name}", "masks", rule_sensitivity=True, **OPTIONS)
        shown = [row for row in rows if row[0] == name]
        for one, cell in zip(found.rule_sensitivity, shown, strict=True):
            change = f"{one.f1_change:.3f}".replace("-", "\N{MINUS SIGN}")
            f1, rule = f"{one.f1_pooled:.3f}", one.binarised.replace(">", "&gt;")
            assert (cell[1], cell[2]) == (rule, f"{one.changed:,}")
            assert (cell[5], cell[9]) == (f1, change)
    assert " --rule-sensitivity --" in page
    plain = run("report", *models, *COMMAND[:-1], "-o", "without.html")
    assert plain.code == 0
    assert "binarised by other" not in Path("without.html").read_text(encoding="utf-8")


def test_rows_by_rule_must_be_asked_for() -> None:
    done = run("loss", "--pred", "float/a", "--target", "masks", "--by", "rule")
    assert done.code == 2
    assert "--rule-sensitivity" in done.err
    done = run("loss", "--from", "rows.csv", "--rule-sensitivity")
    assert done.code == 2


def test_soft_targets_are_told() -> None:
    save(Path("soft/0.npy"), probs_of(0).astype(np.float64) / 2)
    found = cdstats.loss("float/a/0.npy", "soft/0.npy", rule_sensitivity=True)
    assert found.rule_sensitivity == ()
    text = "rule_sensitivity=True excludes 1 image"
    assert any(text in message.text for message in found.messages)
