"""Tables on standard output that is no terminal: those of Rich, without loading it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cdstats.core.records import ImageRecord, SummaryRecord
from cdstats.render.table import Table
from cdstats.render.terminal import (
    print_notes,
    print_table,
    results_console,
    screen_table,
)

NAMES = st.text(st.sampled_from("a, é漢🙂:[]\t"), max_size=12)
SUMMARIES = st.builds(
    SummaryRecord, dataset=NAMES, split=st.sampled_from(["all", "val", "試"])
)
IMAGES = st.builds(ImageRecord, dataset=NAMES, path=NAMES, reason=NAMES)


@given(st.one_of(st.lists(SUMMARIES, max_size=4), st.lists(IMAGES, max_size=4)))
def test_a_plain_table_is_that_of_rich(
    rows: list[SummaryRecord] | list[ImageRecord],
) -> None:
    kind = type(rows[0]) if rows else SummaryRecord
    table = Table.of(kind, rows)
    expected = io.StringIO()
    console = Console(file=expected, width=10_000, highlight=False)
    console.print(screen_table(table, console.width), crop=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", found := io.StringIO())
        print_table(results_console(), table)
    lines = [line.rstrip(" ") for line in expected.getvalue().split("\n")]
    assert found.getvalue().split("\n") == lines


def test_a_footnote_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    note = "rule of :boom:: changed 255, [bold]unchanged[/bold] 0"
    print_notes(results_console(), [note])
    assert capsys.readouterr().out == f"{note}\n"
