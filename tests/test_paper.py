"""Tables of Markdown and LaTeX for papers."""

import csv
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers import run, save
from hypothesis import given
from hypothesis import strategies as st

from cdstats.core.columns import Column, per_cent
from cdstats.render.paper import BEST, SECOND, Paper, set_columns

MODELS = ("one", "two_b", "three")
NAMES = ("precision_pooled", "recall_pooled", "f1_pooled", "iou_pooled")
LOSSES = ("bce_mean", "class_mean_bce", "balanced_ce_mean")


@pytest.fixture(autouse=True, scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Masks and three models; of the first, all is worse than of the others."""
    random = np.random.default_rng(3)
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("models"))
    for number in range(6):
        mask = random.random((24, 24)) < 0.3
        save(Path(f"masks/{number}.png"), mask)
        for model, noise in zip(MODELS, (0.5, 0.3, 0.2), strict=True):
            probs = 0.2 + 0.6 * mask + random.normal(0, noise, mask.shape)
            probs = np.clip(probs, 0.01, 0.99).astype(np.float32)
            save(Path(model, f"{number}.npy"), probs)
    yield
    os.chdir(before)


def scored(command: str, *options: object, models: tuple[str, ...] = MODELS) -> str:
    preds = [word for name in models for word in ("--pred", f"{name}={name}")]
    few = ("--resamples", 20) if command == "compare" else ()
    done = run(command, *preds, "--target", "masks", "-q", *few, *options)
    assert done.code == 0, done.err
    return done.out


def rows_of(text: str) -> list[list[str]]:
    """The cells of a table of Markdown, headings first."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [cells[0], *cells[2:]]


def plain(cell: str) -> str:
    return re.sub(r"\*\*|</?u>", "", cell)


@cache
def csv_of(command: str) -> list[dict[str, str]]:
    lines = scored(command, "--format", "csv").splitlines()
    return list(csv.DictReader(lines))


def test_the_best_is_bold_and_the_second_underlined_and_of_losses_the_lowest() -> None:
    columns = ("model", "images", *NAMES, *LOSSES)
    table = rows_of(
        scored("loss", "--format", "markdown", "--columns", ",".join(columns))
    )
    known = csv_of("loss")
    for place, name in enumerate(columns[2:], start=2):
        values = [float(row[name]) for row in known]
        order = sorted(range(3), key=values.__getitem__, reverse=name in NAMES)
        cells = [row[place] for row in table[1:]]
        assert cells[order[0]] == f"**{values[order[0]]:.3f}**"
        assert cells[order[1]] == f"<u>{values[order[1]]:.3f}</u>"
        assert cells[order[2]] == f"{values[order[2]]:.3f}"
    assert [row[1] for row in table[1:]] == ["6", "6", "6"]


@pytest.mark.parametrize("command", ["loss", "compare"])
def test_nothing_is_marked_where_there_is_one_model(command: str) -> None:
    if command == "loss":
        assert "**" not in scored("loss", "--format", "markdown", models=("one",))
    same = scored(
        command, "--pred", "again=one", "--format", "markdown", models=("one",)
    )
    assert "**" not in same


VALUES = st.lists(st.none() | st.floats(-1, 1), min_size=1, max_size=6)


@given(VALUES, st.integers(0, 6), st.booleans(), st.sampled_from(["higher", "lower"]))
def test_marks_follow_from_the_printed_numbers(
    values: list[float | None], decimals: int, percent: bool, better: str
) -> None:
    column = Column("x", "X", better=better, is_share=True)  # type: ignore[arg-type]
    paper = Paper(percent=percent, decimals=decimals)
    rows = [[value] for value in values]
    (found,) = set_columns([column], rows, paper, ranks=True, joins=True)
    known = {
        cell.text: float(cell.text.replace("−", "-"))
        for cell in found.cells
        if cell.text != "–"
    }
    order = sorted(set(known.values()), reverse=better == "higher")
    for value, cell in zip(values, found.cells, strict=True):
        if value is None:
            assert cell == ("–", "")
            continue
        scale = 100 if percent else 1
        assert math.isclose(
            known[cell.text], scale * value, abs_tol=0.5000001 * 10**-decimals
        )
        assert "-" not in cell.text
        place = order.index(known[cell.text])
        wanted = ("", "") if len(order) < 2 else (BEST, SECOND)
        assert cell.mark == (*wanted, "", "", "", "")[place]


def test_per_cent_is_for_metrics_and_not_for_losses() -> None:
    names = ",".join(("model", *NAMES, *LOSSES, "mcc_pooled", "images"))
    how = ("--format", "markdown", "--columns", names)
    head, *table = rows_of(scored("loss", *how, "--percent", "--decimals", "2"))
    assert head[1:5] == ["P (%)", "R (%)", "F1 (%)", "IoU (%)"]
    assert head[5:] == ["BCE", "Class-mean BCE", "Balanced CE", "MCC (%)", "Images"]
    for row, known in zip(table, csv_of("loss"), strict=True):
        cells = [*map(plain, row[1:])]
        assert cells[:4] == [f"{100 * float(known[n]):.2f}" for n in NAMES]
        assert cells[4:7] == [f"{float(known[n]):.2f}" for n in LOSSES]
        assert cells[8] == "6"


def test_the_table_has_the_numbers_it_had_where_nothing_is_asked_for() -> None:
    table = rows_of(scored("loss", "--format", "markdown"))
    for row, known in zip(table[1:], csv_of("loss"), strict=True):
        shown = [f"{float(known[n]):.3f}" for n in (*NAMES, *LOSSES)]
        assert [*map(plain, row)][2:] == shown


def test_a_difference_has_half_the_width_of_its_interval() -> None:
    text = scored("compare", "--format", "markdown", "--percent", "--decimals", "3")
    head, *table = rows_of(text)
    assert "F1 difference (%)" in head
    assert not any("low" in one or "high" in one for one in head)
    for name, title, scale in (
        ("f1_pooled", "F1 difference (%)", 100),
        ("bce_mean", "BCE difference", 1),
    ):
        cells = [row[head.index(title)] for row in table]
        assert cells[0] == "–"
        for cell, known in zip(cells[1:], csv_of("compare")[1:], strict=True):
            parts = (float(known[f"{name}_{p}"]) for p in ("difference", "low", "high"))
            value, low, high = parts
            wanted = f"{scale * value:+.3f} ± {scale * (high - low) / 2:.3f}"
            assert cell == wanted.replace("-", "−")
    chosen = "model,f1_pooled_difference,f1_pooled_low,f1_pooled_high"
    head, *_ = rows_of(scored("compare", "--format", "markdown", "--columns", chosen))
    assert head == ["Model", "F1 difference", "F1 low", "F1 high"]


NOTES = ("differences from", "same sign", "interval", "in-sample", "AP, best F1")


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ((), ["differences from", "interval"]),
        (("--columns", "model,bce_mean"), []),
        (("--columns", "model,average_precision"), ["AP, best F1"]),
        (
            ("--columns", "model,f1_pooled_same_sign"),
            ["differences from", "same sign"],
        ),
    ],
)
def test_footnotes_are_those_of_the_columns_of_compared_models(
    columns: tuple[str, ...], wanted: list[str]
) -> None:
    text = scored("compare", "--format", "markdown", *columns)
    notes = text.rpartition(" |\n")[2]
    assert [one for one in NOTES if one in notes] == wanted
    assert ("changed when p" in notes) is ("f1_pooled" in str(columns) or not columns)


@pytest.mark.parametrize("command", ["loss", "compare"])
def test_a_table_of_losses_has_no_threshold_and_one_of_metrics_no_scale(
    command: str,
) -> None:
    losses = scored(command, "--format", "markdown", "--columns", "model,bce_mean")
    assert ("changed when p" in losses, "clamped at −100" in losses) == (False, True)
    metrics = scored(command, "--format", "markdown", "--columns", "model,f1_pooled")
    assert ("changed when p" in metrics, "clamped" in metrics) == (True, False)
    assert "masks: changed 255" in losses
    assert "grid: none" in losses


def test_the_ratio_is_explained_where_it_stands() -> None:
    for names, told in (("dataset,change_ratio", True), ("dataset,changed", False)):
        text = run("ratio", "masks", "--format", "markdown", "--columns", names).out
        assert ("change ratio =" in text) is told
        assert "cdstats " in text


def test_change_fractions_move_their_sign_to_the_heading() -> None:
    names = ("--columns", "changed,change_fraction")
    how = ("ratio", "masks", "--format", "markdown", *names)
    known = float(run("ratio", "masks", "--format", "csv").rows()[0]["change_fraction"])
    assert rows_of(run(*how).out)[1][1] == per_cent(known)
    head, row = rows_of(run(*how, "--percent", "--decimals", "1").out)
    assert (head[1], row[1]) == ("Change fraction (%)", f"{100 * known:.1f}")
    assert rows_of(run(*how, "--decimals", 0).out)[1][1] == f"{100 * known:.0f} %"


def test_a_caption_is_escaped_and_a_label_refers_to_it() -> None:
    how = ("--caption", "50 % of\n a_b & $x$ *c*", "--label", "tab:levir-cd")
    text = scored("loss", "--format", "latex", *how)
    caption = r"\caption{50 \% of a\_b \& \$x\$ *c*}" + "\n\\label{tab:levir-cd}\n"
    assert caption in text
    assert text.index(caption) < text.index(r"\begin{tabular}")
    scored("loss", "--summary", "t.md", *how)
    first = Path("t.md").read_text(encoding="utf-8").splitlines()[0]
    assert first == r'<a id="tab:levir-cd"></a>Table: 50 % of a\_b & $x$ \*c\*'


@pytest.mark.parametrize("command", ["ratio", "loss", "compare"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--percent", "--format", "csv"], "--percent needs --format"),
        (["--decimals", "2"], "--decimals needs"),
        (["--decimals", "3", "--format", "json"], "--decimals needs"),
        (["--caption", "a", "--summary", "a.csv"], "--caption needs"),
        (["--narrow", "--format", "markdown"], "--narrow needs --format latex"),
        (["--label", "a", "--format", "latex"], "needs --caption"),
        (["--label", "a}b", "--caption", "a", "--format", "latex"], "holds '}'"),
        (["--decimals", "-1", "--format", "latex"], "--decimals"),
        (["--caption", " ", "--format", "latex"], "--caption is empty"),
    ],
)
def test_what_fits_no_table_is_wrong_usage(
    command: str, options: list[str], told: str
) -> None:
    what = ["masks"] if command == "ratio" else ["--pred", "one", "--target", "masks"]
    done = run(command, *what, *options)
    assert (done.code, done.out, told in done.err) == (2, "", True)


def test_per_cent_does_not_fit_images_of_many_measures() -> None:
    what = ("--pred", "a=one", "--pred", "b=three", "--target", "masks")
    done = run("compare", *what, "--by", "image", "--percent", "--format", "latex")
    assert (done.code, "--percent does not fit --by image" in done.err) == (2, True)


def test_csv_and_json_do_not_change_beside_a_table_that_is_set() -> None:
    for form in ("csv", "json"):
        plain_text = scored("compare", "--format", form)
        how = ("--summary", "t.tex", "--percent", "--decimals", "1", "--narrow")
        assert scored("compare", "--format", form, *how) == plain_text
        assert r"F1 \\ (\%)" in Path("t.tex").read_text(encoding="utf-8")


PAGE = r"""\documentclass{article}
\usepackage{booktabs}
\setlength{\textwidth}{494pt}
\setlength{\columnsep}{20pt}
\begin{document}
\twocolumn
"""


def ratio_table(*options: str) -> str:
    return run("ratio", "LEVIR-CD=masks", "--format", "latex", *options).out


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_every_table_compiles_and_a_narrow_one_fits_a_column() -> None:
    how = ("--format", "latex", "--caption", "100 % of a_b & c", "--narrow")
    tables = [
        scored("loss", *how, "--label", "tab:a"),
        scored("loss", *how, "--percent", "--decimals", "2"),
        scored("compare", *how),
        scored("compare", *how, "--percent", "--decimals", "1"),
        ratio_table("--narrow"),
    ]
    narrow = "\n".join(tables)
    assert "$-$" in narrow
    wide = [scored(name, *how[:-1], "--loss", "dice") for name in ("loss", "compare")]
    text = "\n".join((narrow, "\\clearpage\\typeout{NOW WIDE}", *wide))
    page = f"{PAGE}{text}See Table~\\ref{{tab:a}}.\n\\end{{document}}\n"
    Path("page.tex").write_text(page, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    said = done.stdout.split("NOW WIDE")
    assert ["Overfull" in part for part in said] == [False, True]
