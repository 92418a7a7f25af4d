"""Records as text: one function for each format."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.cells import to_cell
from cdstats.report.columns import cell, column_value, heading, is_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cdstats.core.records import Record

    CsvWriter = Callable[[Iterable[Record], Sequence[str]], Iterator[str]]
    """Gives the lines of rows with some columns."""

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def to_csv(records: Iterable[Record], columns: Sequence[str]) -> str:
    """Records as CSV in full precision; undefined values are empty."""
    return "".join(csv_lines(records, columns))


def csv_lines(records: Iterable[Record], columns: Sequence[str]) -> Iterator[str]:
    """The text of `to_csv` line by line: the columns, then each record."""
    yield _csv_line(columns)
    for record in records:
        yield _csv_line([_plain(column_value(record, name)) for name in columns])


def printed_csv_lines(
    records: Iterable[Record], columns: Sequence[str]
) -> Iterator[str]:
    """The lines of `csv_lines` for standard output.

    A terminal, which a name could steer, gets control characters as escapes; a file or
    a pipe gets the very text.
    """
    lines = csv_lines(records, columns)
    if not sys.stdout.isatty():
        return lines
    return (printable(line.removesuffix("\n")) + "\n" for line in lines)


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    # Cells are quoted for the signs of the line's end, and a name may hold either.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def to_json(lists: Mapping[str, Sequence[Record]]) -> str:
    """Lists of records as one JSON object in full precision; undefined is ``null``."""
    return "".join(json_parts(lists))


def json_parts(lists: Mapping[str, Iterable[Record]]) -> Iterator[str]:
    """The text of `to_json` record by record.

    Example:
        >>> "".join(json_parts({"rows": []})) == json_text({"rows": []})
        True
    """
    yield "{"
    for place, (name, records) in enumerate(lists.items()):
        yield f"{',' if place else ''}\n {json.dumps(name)}: ["
        first = True
        for record in records:
            text = json.dumps(asdict(record), indent=1, allow_nan=False)
            # No text holds a line break in JSON, so that each one is layout.
            yield ("" if first else ",") + "\n  " + text.replace("\n", "\n  ")
            first = False
        yield "]" if first else "\n ]"
    yield "\n}\n" if lists else "}\n"


def json_text(data: Mapping[str, Any]) -> str:
    """An object as JSON in full precision."""
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def to_jsonl(records: Iterable[Record], columns: Sequence[str]) -> str:
    """Records as JSON, one on each line."""
    return "".join(jsonl_lines(records, columns))


def jsonl_lines(records: Iterable[Record], columns: Sequence[str]) -> Iterator[str]:
    """The text of `to_jsonl` line by line."""
    for record in records:
        row = {name: column_value(record, name) for name in columns}
        yield json.dumps(row, allow_nan=False) + "\n"


def to_markdown(
    records: Sequence[Record], columns: Sequence[str], footnotes: Sequence[str]
) -> str:
    """Records as a Markdown table with footnotes below."""
    kind = _kind(records)
    rule = [":--" if is_text(name, kind) else "--:" for name in columns]
    lines = [[_one_line(heading(name, kind)) for name in columns], rule]
    lines += [
        [_markdown(cell(name, value)) for name, value in zip(columns, row, strict=True)]
        for row in _rows(records, columns)
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(f"\n{_markdown(note)}\n" for note in footnotes)


def to_latex(
    records: Sequence[Record], columns: Sequence[str], footnotes: Sequence[str]
) -> str:
    """Records as a LaTeX table of the booktabs package, footnotes below."""
    kind = _kind(records)
    align = "".join("l" if is_text(name, kind) else "r" for name in columns)
    body = "".join(
        _latex_line([cell(n, v) for n, v in zip(columns, row, strict=True)])
        for row in _rows(records, columns)
    )
    notes = "".join(f"\\\\{{\\footnotesize {latex(note)}}}\n" for note in footnotes)
    return (
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n\\centering\n"
        f"\\begin{{tabular}}{{{align}}}\n\\toprule\n"
        f"{_latex_line([_one_line(heading(name, kind)) for name in columns])}"
        f"\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n{notes}\\end{{table}}\n"
    )


def latex(text: str) -> str:
    r"""A text that LaTeX prints as it is.

    Example:
        >>> latex(r"a_b & \input{x}")
        'a\\_b \\& \\textbackslash{}input\\{x\\}'
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _latex_line(cells: Sequence[str]) -> str:
    """A row of a table.

    The row break and the rule before it take a star or a bracket that follows for their
    own argument, so that an empty group stands between.
    """
    guard = "{}" if cells[0].lstrip().startswith(("[", "*")) else ""
    return f"{guard}{' & '.join(map(latex, cells))} \\\\\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def _one_line(title: str) -> str:
    return title.replace("/\n", "/").replace("\n", " ")


def _kind(records: Sequence[Record]) -> type[Record] | None:
    return type(records[0]) if records else None


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a record
    """A value as a cell of CSV: nothing for None, a comma list, no formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, str):
        return to_cell(value)
    return "" if value is None else value


def _rows(records: Sequence[Record], columns: Sequence[str]) -> list[list[Any]]:
    return [[column_value(record, name) for name in columns] for record in records]
