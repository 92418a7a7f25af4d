"""Tables of every format, and what `--columns` may name."""

from pathlib import Path

import numpy as np
import pytest
from helpers import run

from cdstats.core.errors import UsageError
from cdstats.core.records import ImageRecord, SummaryRecord, summarise
from cdstats.render.masks import counts_document
from cdstats.render.table import Table, choose_columns
from cdstats.render.writers import Format, html_lines


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three predictions of three masks, and a mask without one."""
    random = np.random.default_rng(1)
    for name in ("p", "t"):
        (tmp_path / name).mkdir()
    for number in range(3):
        mask = (random.random((6, 6)) < 0.4).astype(np.uint8)
        np.save(tmp_path / f"t/{number}.npy", mask)
        np.save(tmp_path / f"p/{number}.npy", mask)
    np.save(tmp_path / "t/lonely.npy", mask)
    return tmp_path


def loss(folder: Path, *options: str) -> str:
    named = ["--pred", f"{folder}/p", "--target", f"{folder}/t", "--quiet"]
    return run("loss", *named, *options).out


def test_chosen_columns_of_models_are_those_of_the_table(pairs: Path) -> None:
    shown = loss(pairs, "--by", "dataset", "--columns", "f1_pooled,tp,fn")
    assert shown.split()[:3] == ["F1", "Tp", "Fn"]
    assert "balanced, class mean" not in shown


@pytest.mark.parametrize("options", [("--by", "image"), ("--by", "dataset"), ()])
def test_a_misspelt_column_is_refused_before_a_file_is_read(
    options: tuple[str, ...],
) -> None:
    wrong = "imagse" if options != ("--by", "image") else "spraed"
    near = "images" if options != ("--by", "image") else "spread"
    named = ["--pred", "a=gone", "--pred", "b=gone", "--target", "gone"]
    done = run("compare", *named, *options, "--columns", wrong)
    assert done.code == 2
    assert f"no column '{wrong}'; did you mean {near}" in done.err


def test_columns_of_models_are_known_when_files_are_listed() -> None:
    names = choose_columns("value[a],path", ImageRecord, ["value["])
    assert names == ("value[a]", "path")
    with pytest.raises(UsageError, match="no column 'value'"):
        choose_columns("value", ImageRecord, ["value["])


@pytest.mark.parametrize("one", [one for one in Format if one is not Format.TABLE])
def test_every_format_writes_a_document_without_rows(one: Format) -> None:
    text = "".join(one.write(counts_document(())))
    assert text or one is Format.JSONL


def test_a_table_in_html_is_escaped() -> None:
    rows = [summarise("<b>&", "all", [])]
    text = "".join(html_lines(Table.of(SummaryRecord, rows, ["dataset"], ["a < b"])))
    assert "<td" in text
    assert "&lt;b&gt;&amp;" in text
    assert "<p>a &lt; b</p>" in text
