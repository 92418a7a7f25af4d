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
from cdstats.core.columns import column_of, printable, values
from cdstats.core.records import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cdstats.core.columns import Column, Record

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
        yield _csv_line([_plain(value) for value in values(record, columns)])


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
        row = dict(zip(columns, values(record, columns), strict=True))
        yield json.dumps(row, allow_nan=False) + "\n"


def to_markdown(
    records: Sequence[Record], columns: Sequence[str], footnotes: Sequence[str]
) -> str:
    """Records as a Markdown table with footnotes below."""
    heads = _heads(records, columns)
    rule = [":--" if head.align == "left" else "--:" for head in heads]
    lines = [[head.line for head in heads], rule]
    lines += [[_markdown(cell) for cell in _cells(row, heads)] for row in records]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(f"\n{_markdown(note)}\n" for note in footnotes)


def to_latex(
    records: Sequence[Record], columns: Sequence[str], footnotes: Sequence[str]
) -> str:
    """Records as a LaTeX table of the booktabs package, footnotes below."""
    heads = _heads(records, columns)
    align = "".join(head.align[0] for head in heads)
    body = "".join(_latex_line(_cells(row, heads)) for row in records)
    notes = "".join(f"\\\\{{\\footnotesize {latex(note)}}}\n" for note in footnotes)
    return (
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n\\centering\n"
        f"\\begin{{tabular}}{{{align}}}\n\\toprule\n"
        f"{_latex_line([head.line for head in heads])}"
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


def _heads(records: Sequence[Record], columns: Sequence[str]) -> list[Column]:
    kind = type(records[0]) if records else ImageRecord
    return [column_of(kind, name) for name in columns]


def _cells(record: Record, heads: Sequence[Column]) -> list[str]:
    found = values(record, [head.name for head in heads])
    return [head.cell(value) for head, value in zip(heads, found, strict=True)]


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a record
    """A value as a cell of CSV: nothing for None, a comma list, no formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, str):
        return to_cell(value)
    return "" if value is None else value
