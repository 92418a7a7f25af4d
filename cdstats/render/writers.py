"""The registry of output formats.

A new format is one member of `Format`: its name, the suffix of its ``--summary`` files,
and a function from a `Document` to lines. Packages of a format are imported only when
that format is written.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from cdstats.core.columns import columns_of, further_columns, to_cell
from cdstats.core.columns import values as values_of
from cdstats.render.paper import BEST, SECOND, Cell, Paper, SetColumn, set_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from cdstats.core.columns import Record
    from cdstats.render.table import Document, Table

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    # A plain | is a dash in the usual fonts; lines may break after it.
    "|": r"\textbar{}\allowbreak{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}

SCHEMA_VERSION: Final = 1
"""Increased when a JSON key is removed or changes its meaning."""

_WORDS: Final = re.compile(r"\s|(?<=[-/])")


def csv_lines(table: Table) -> Iterator[str]:
    """The lines of a table as CSV in full precision; undefined values are empty."""
    yield _csv_line(table.names)
    for row in table.values:
        yield _csv_line([_plain(value) for value in row])


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    # The writer quotes cells with characters of its line end; names may hold either.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a record
    """A value as a CSV cell: empty for None, tuples comma-separated, no formulas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, str):
        return to_cell(value)
    return "" if value is None else value


def json_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """An object as JSON in full precision; lists may be lazy.

    ``docs/schemas`` describes the objects of each command.

    Example:
        >>> print("".join(json_lines({"rows": iter([1]), "device": "cpu"})), end="")
        {
         "schema_version": 1,
         "rows": [
          1
         ],
         "device": "cpu"
        }
    """
    yield "{"
    versioned = {"schema_version": SCHEMA_VERSION, **data}
    for place, (name, value) in enumerate(versioned.items()):
        yield f"{',' if place else ''}\n {json.dumps(name)}: "
        if value is None or isinstance(value, (str, int, float, dict)):
            yield _json(value, 1)
            continue
        first = True
        for one in value:
            yield ("[" if first else ",") + "\n  " + _json(one, 2)
            first = False
        yield "[]" if first else "\n ]"
    yield "\n}\n"


def _json(value: Any, depth: int) -> str:  # noqa: ANN401 - any plain value or record
    text = json.dumps(value, indent=1, allow_nan=False, default=asdict)
    # JSON escapes line breaks in strings, so each line break here is layout.
    return text.replace("\n", "\n" + " " * depth)


def jsonl_lines(table: Table) -> Iterator[str]:
    """A table as JSON Lines, one row per line."""
    names = table.names
    for row in table.values:
        yield json.dumps(dict(zip(names, row, strict=True)), allow_nan=False) + "\n"


def markdown_lines(table: Table, paper: Paper) -> Iterator[str]:
    """A table as Markdown, with its caption above and footnotes below."""
    columns = _set(table, paper)
    anchor = f'<a id="{paper.label}"></a>' if paper.label else ""
    if paper.caption:
        yield f"{anchor}Table: {_markdown(paper.caption)}\n\n"
    rule = [":--" if one.align == "left" else "--:" for one in columns]
    cells = zip(*(map(_markdown_cell, one.cells) for one in columns), strict=True)
    for line in ([one.line for one in columns], rule, *cells):
        yield f"| {' | '.join(line)} |\n"
    for note in table.notes:
        yield f"\n{_markdown(note)}\n"


def _set(table: Table, paper: Paper) -> list[SetColumn]:
    found = set_columns(
        table.columns, table.values, paper, ranks=table.ranks, joins=table.joins
    )
    skipped = table.wide if paper.narrow else ()
    return [one for one in found if one.name not in skipped]


def _markdown_cell(cell: Cell) -> str:
    text = _markdown(cell.text)
    return {BEST: f"**{text}**", SECOND: f"<u>{text}</u>"}.get(cell.mark, text)


def _markdown(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def latex_lines(table: Table, paper: Paper) -> Iterator[str]:
    """A table as LaTeX for the package booktabs, caption above, footnotes below."""
    columns = _set(table, paper)
    align = "".join(one.align[0] for one in columns)
    titles = [latex(one.line) for one in columns]
    yield "% \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
    if paper.caption:
        yield "\\setlength{\\belowcaptionskip}{4pt}\n"
        yield f"\\caption{{{latex(paper.caption)}}}\n"
    if paper.label:
        yield f"\\label{{{paper.label}}}\n"
    if paper.narrow:
        yield "\\footnotesize\n\\setlength{\\tabcolsep}{2pt}\n"
        align, titles = f"@{{}}{align}@{{}}", [*map(_stacked, columns)]
    yield f"\\begin{{tabular}}{{{align}}}\n\\toprule\n"
    yield _latex_line(titles)
    yield "\\midrule\n"
    for row in zip(*(map(_latex_cell, one.cells) for one in columns), strict=True):
        yield _latex_line(row)
    yield "\\bottomrule\n\\end{tabular}\n"
    for note in table.notes:
        yield f"\\\\{{\\footnotesize {latex(note)}}}\n"
    yield "\\end{table}\n"


def _stacked(column: SetColumn) -> str:
    """A heading with one word per line."""
    lines = [latex(word) for word in _WORDS.split(column.title) if word]
    if len(lines) == 1:
        return lines[0]
    side = column.align[0]
    start = f"\\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}"
    return start + r" \\ ".join(lines) + r"\end{tabular}"


def _latex_cell(cell: Cell) -> str:
    text = latex(cell.text)
    command = {BEST: r"\textbf", SECOND: r"\underline"}.get(cell.mark)
    return f"{command}{{{text}}}" if command else text


def latex(text: str) -> str:
    r"""A text with the special characters of LaTeX escaped.

    Example:
        >>> latex(r"a_b & \input{x}")
        'a\\_b \\& \\textbackslash{}input\\{x\\}'
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _latex_line(cells: Sequence[str]) -> str:
    """A row of a table.

    An empty group precedes a star or bracket, which would otherwise be read as an
    argument of the row break or rule before it.
    """
    guard = "{}" if cells[0].lstrip().startswith(("[", "*")) else ""
    return f"{guard}{' & '.join(cells)} \\\\\n"


def html_lines(table: Table) -> Iterator[str]:
    """A table as HTML elements, with footnotes below."""
    from html import escape

    yield "<table>\n"
    if table.caption:
        yield f"<caption>{escape(table.caption)}</caption>\n"
    aligns = [f' style="text-align: {one.align}"' for one in table.columns]
    yield _html_line("th", aligns, [one.line for one in table.columns])
    for row in table.cells:
        yield _html_line("td", aligns, row)
    yield "</table>\n"
    for note in table.notes:
        yield f"<p>{escape(note)}</p>\n"


def _html_line(tag: str, aligns: Sequence[str], cells: Sequence[str]) -> str:
    from html import escape

    parts = (
        f"<{tag}{align}>{escape(cell)}</{tag}>"
        for align, cell in zip(aligns, cells, strict=True)
    )
    return f"<tr>{''.join(parts)}</tr>\n"


def frame(rows: Iterable[Record], kind: type[Record]) -> pd.DataFrame:
    """A data frame with a row for each record and the columns of ``kind``.

    Counts are ``Int64``; undefined values are ``<NA>`` or ``NaN``. Further columns are
    at the end, such as losses.

    Example:
        >>> from cdstats.core.records import SummaryRecord
        >>> list(frame([], SummaryRecord).columns)[:3]
        ['dataset', 'split', 'images']
    """
    import pandas as pd

    records = list(rows)
    plain, further = tuple(columns_of(kind)), further_columns(records)
    names = [*plain, *further]
    table = pd.DataFrame([values_of(row, names) for row in records], columns=names)
    fields = {name: str(kind.__dataclass_fields__[name].type) for name in plain}
    types = {"int": "Int64", "int | None": "Int64", "float | None": "float64"}
    known = {name: types[text] for name, text in fields.items() if text in types}
    return table.astype({**known, **dict.fromkeys(further, "float64")})


def _screen(document: Document) -> Iterable[str]:
    from cdstats.render.terminal import results_console

    document.show(results_console())
    return ()


class Format(StrEnum):
    """An output format of results."""

    ending: str
    write: Callable[[Document], Iterable[str]]

    def __new__(
        cls, name: str, ending: str, write: Callable[[Document], Iterable[str]]
    ) -> Self:
        """A format with its name, file suffix and writer."""
        one = str.__new__(cls, name)
        one._value_ = name
        one.ending = ending
        one.write = write
        return one

    TABLE = "table", "", _screen
    CSV = "csv", ".csv", lambda document: csv_lines(document.every())
    JSON = "json", ".json", lambda document: json_lines(document.data())
    JSONL = "jsonl", "", lambda document: jsonl_lines(document.every())
    MARKDOWN = "markdown", ".md", lambda one: markdown_lines(one.shown(), one.paper)
    LATEX = "latex", ".tex", lambda one: latex_lines(one.shown(), one.paper)
