"""Sheets of pairs: one CSV file names predictions, masks, splits and models."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import Done, run, save
from hypothesis import given
from hypothesis import strategies as st

import cdstats
from cdstats.io.pairing import find_pairs
from cdstats.io.sheets import read_sheet

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ("paris_0", "paris_1", "rome_0", "rome_1")
NUMBERS = (
    *("model", "split", "changed", "tp", "fp", "bce_sum", "balanced_ce_sum", "status"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks in two splits, and the predictions of two models named alike."""
    home = tmp_path_factory.mktemp("sheets")
    random = np.random.default_rng(7)
    for place, name in enumerate(IMAGES):
        split = "test" if place % 2 else "train"
        mask = random.random((24, 30)) < 0.3
        save(home / f"d/{split}/label/{name}.png", mask)
        for model in "ab":
            scores = np.clip(0.5 * mask + 0.6 * random.random(mask.shape), 0, 1)
            save(home / f"{model}/{split}/{name}.npy", scores.astype(np.float32))
    return home


def lines_of(home: Path) -> list[dict[str, str]]:
    """A line of a sheet for each pair."""
    masks = sorted((home / "d").rglob("*.png"))
    return [
        {
            "pred": f"{model}/{mask.parts[-3]}/{mask.stem}.npy",
            "target": mask.relative_to(home).as_posix(),
            "split": mask.parts[-3],
            "model": model,
            "group": mask.stem.partition("_")[0],
        }
        for model in "ab"
        for mask in masks
    ]


def write(
    path: Path, lines: list[dict[str, str]], *columns: str, delimiter: str = ","
) -> str:
    """Write some columns of lines, and return how the sheet is named."""
    names = columns or tuple(lines[0])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return f"@{path}"


def numbers(done: Done) -> list[tuple[str, ...]]:
    return sorted(tuple(row[name] for name in NUMBERS) for row in done.rows())


def by_image(*arguments: object) -> Done:
    return run(*arguments, "--by", "image", "--format", "csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_sheet_scores_what_folders_score(home: Path, delimiter: str) -> None:
    columns = ("group", "model", "target", "pred", "split")
    sheet = write(home / "pairs.csv", lines_of(home), *columns, delimiter=delimiter)
    folders = [arg for model in "ab" for arg in ("--pred", f"{model}={home / model}")]
    expected = by_image("loss", *folders, "--target", home / "d")
    done = by_image("loss", "--pred", sheet)
    assert (done.code, expected.code) == (0, 0)
    assert numbers(done) == numbers(expected)


def test_a_sheet_of_one_model_needs_two_columns(home: Path) -> None:
    own = [line for line in lines_of(home) if line["model"] == "b"]
    sheet = write(home / "two.csv", own, "pred", "target")
    expected = by_image("loss", "--pred", f"b={home}/b", "--target", home / "d")
    # Without a column the splits are those of the folders of the masks.
    assert numbers(by_image("loss", "--pred", f"b={sheet}")) == numbers(expected)


def test_models_may_come_in_a_sheet_each(home: Path, tmp_path: Path) -> None:
    one = write(home / "both.csv", lines_of(home))
    lines = [
        line | {key: f"{home}/{line[key]}" for key in ("pred", "target")}
        for line in lines_of(home)
        if line["model"] == "b"
    ]
    other = write(tmp_path / "b.csv", lines, "pred", "target", "split")
    own = [line for line in lines_of(home) if line["model"] == "a"]
    first = write(home / "a.csv", own, "pred", "target", "split")
    options = ("--resamples", 20, "--format", "csv")
    apart = run("compare", "--pred", f"a={first}", "--pred", f"b={other}", *options)
    assert apart.code == 0
    assert apart.out == run("compare", "--pred", one, *options).out


def test_ratio_counts_each_mask_of_a_sheet_once_in_its_split(home: Path) -> None:
    lines = [
        line | {"split": "train" if "paris" in line["target"] else "val"}
        for line in lines_of(home)
    ]
    sheet = write(home / "cities.csv", lines)
    rows = run("ratio", sheet, "--format", "csv").rows()
    assert [(r["split"], r["images"]) for r in rows] == [
        ("all", "4"),
        ("train", "2"),
        ("val", "2"),
    ]
    folder = run("ratio", home / "d", "--format", "csv").rows()[0]
    assert rows[0]["changed"] == folder["changed"]
    write(home / "masks.csv", lines, "target", "split")
    assert len(run("ratio", f"@{home}/masks.csv", "--format", "csv").rows()) == 3


def test_a_split_of_a_sheet_is_scored_alone(home: Path) -> None:
    sheet = write(home / "split.csv", lines_of(home))
    done = by_image("loss", "--pred", sheet, "--split", "test")
    assert {row["split"] for row in done.rows()} == {"test"}
    assert "4 predictions outside split test skipped" in done.err
    lacking = by_image("loss", "--pred", sheet, "--split", "val")
    assert lacking.code == 1
    assert "has no split 'val'; it holds test, train" in lacking.err


def test_pairs_keep_their_group_and_the_order_of_masks(home: Path) -> None:
    sheet = write(home / "group.csv", lines_of(home)[::-1])
    pairs = find_pairs([sheet], None).pairs
    assert [pair.model for pair in pairs] == list("bbbbaaaa")
    assert [pair.words for pair in pairs] == ["group=paris", "group=rome"] * 4
    assert [pair.target.name for pair in pairs[:4] if pair.target] == sorted(
        pair.target.name for pair in pairs[:4] if pair.target
    )


def test_a_missing_file_is_a_failed_row_and_the_rest_is_scored(home: Path) -> None:
    lines = lines_of(home)[:3]
    lines[0]["pred"], lines[1]["target"] = "a/none.npy", "d/none.png"
    done = by_image("loss", "--pred", write(home / "missing.csv", lines))
    assert done.code == 1
    failed = {row["pred"]: row["status"] for row in done.rows()}
    assert sorted(failed.values()) == ["failed", "failed", "ok"]
    assert failed["a/none.npy"] == "failed"


@pytest.mark.usefixtures("blank_figures")
def test_report_and_python_take_a_sheet(home: Path, tmp_path: Path) -> None:
    sheet = write(home / "report.csv", lines_of(home))
    done = run("report", "--pred", sheet, "-o", tmp_path / "r.html")
    assert done.code == 0, done.err
    assert "report.csv" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert [one.dataset.model for one in cdstats.loss(sheet).models] == ["a", "b"]


def test_further_columns_are_named_in_a_note(home: Path) -> None:
    lines = [line | {"city": "x", "": "y"} for line in lines_of(home)]
    sheet = write(home / "further.csv", lines)
    done = by_image("loss", "--pred", sheet)
    assert (done.code, "column city: used only by --group" in done.err) == (0, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "prediction,mask\np.npy,m.png\n",
            "the first line is 'prediction,mask'; expected a header "
            "pred,target[,split,model,group,seed]",
            id="other-header",
        ),
        pytest.param(
            "p.npy\nq.npy\n", "the first line is 'p.npy'; expected", id="list"
        ),
        pytest.param("", "the first line is ''; expected", id="empty"),
        pytest.param("pred,target\n", "has a header but no pairs", id="no-pair"),
        pytest.param(
            "target,split\nm.png,train\n", "has no predictions", id="no-predictions"
        ),
        pytest.param(
            "pred,target,Pred\na,b,c\n",
            "its header names the column 'pred' twice",
            id="column-twice",
        ),
        pytest.param(
            "\npred,target\n\np.npy,m.png\nq.npy,\n", "line 5 has no target", id="cell"
        ),
        pytest.param(
            "pred,target,split\np.npy,m.png,test\nq.npy,n.png\n",
            "line 3 has no split (1 such line)",
            id="split-of-some",
        ),
        pytest.param(
            "pred,target\np,1.npy,m.png\n",
            "line 2 has 3 cells; expected 2. Quote paths that contain ','",
            id="comma",
        ),
        pytest.param(
            "pred,target\np.npy,m.png\n./p.npy,m.png\n",
            "lines 2 and 3 are the same pair: ./p.npy, m.png",
            id="pair-twice",
        ),
        pytest.param(
            "pred,target\np.npy,m.png\np.npy,n.png\n",
            "lines 2 and 3 give the prediction p.npy two masks; expected one",
            id="two-masks",
        ),
        pytest.param(
            "pred,target\np.npy,m.png\nq.npy,m.png\n",
            "give the mask m.png two predictions; expected one. Name the models in a "
            "column model",
            id="two-predictions",
        ),
        pytest.param(
            "pred,target,split,model\np,m.png,train,a\nq,m.png,test,b\n",
            "lines 2 and 3 give m.png two splits",
            id="two-splits",
        ),
        pytest.param(
            "pred,target\n" + '"' + 3 * (50_000 * "p" + "\n"), "line 4: ", id="quote"
        ),
    ],
)
def test_a_sheet_that_is_not_clear_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    done = run("loss", "--pred", f"@{tmp_path}/pairs.csv")
    assert (done.code, done.out) == (1, "")
    assert told in done.err


def test_what_a_sheet_says_is_not_said_again(home: Path) -> None:
    sheet = write(home / "again.csv", lines_of(home))
    for arguments, told in (
        (("--pred", sheet, "--target", home / "d"), "omit --target"),
        (("--pred", f"x={sheet}"), "given by NAME= and in the column model"),
        (("--pred", sheet, "--pred", home / "a"), "or both with --pred @pairs.csv"),
    ):
        done = run("loss", *arguments)
        assert (done.code, done.out) == (2, "")
        assert told in done.err
    two = run("loss", "--pred", sheet, "--pred", sheet)
    assert two.code == 1
    assert "has two predictions of a" in two.err


def test_a_table_that_is_no_sheet_is_no_list_of_masks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\n1.png,2.png\n", encoding="utf-8")
    done = run("ratio", f"@{tmp_path}/t.csv")
    assert done.code == 1
    assert (
        "expected a header pred,target[,split,model,group,seed], or one path"
        in done.err
    )


def test_secrets_of_a_sheet_are_not_shown(tmp_path: Path) -> None:
    address = "https://host/{}.png?X-Amz-Signature=CANARY"
    lines = [address.format(1), address.format(2)]
    (tmp_path / "s.csv").write_text("\n".join(lines), encoding="utf-8")
    done = run("loss", "--pred", f"@{tmp_path}/s.csv")
    assert "the first line is" in done.err
    text = f"pred,target\n{lines[0]},{lines[1]}\n{lines[0]},m.png\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    two = run("loss", "--pred", f"@{tmp_path}/t.csv")
    assert "two masks" in two.err
    assert "CANARY" not in done.err + two.err


@given(
    lines=st.lists(
        st.tuples(*(st.text("ab,;\"' \t", min_size=1).filter(str.strip),) * 2),
        min_size=1,
        max_size=5,
        unique_by=(lambda one: one[0].strip(), lambda one: one[1].strip()),
    )
)
def test_every_path_that_csv_can_hold_is_read_back(
    lines: list[tuple[str, str]],
) -> None:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    written = ["target,pred", *(f"{cell(two)},{cell(one)}" for one, two in lines)]
    sheet = read_sheet("s", written)
    held = [(line.pred, line.target) for line in sheet.lines]
    assert held == [(one.strip(), two.strip()) for one, two in lines]
