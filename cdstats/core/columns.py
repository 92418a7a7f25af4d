r"""Columns, each declared once on a field of its record.

A record is a frozen dataclass, and field order is column order. By default the field
name gives the title (``f1_image_mean`` becomes *F1 image mean*), its type the alignment
(text on the left) and its value the format (thousands separators, three decimals).
Metadata changes these::

    change_fraction: float | None = field(
        metadata=column("Change\nfraction", format=per_cent)
    )

Every output format, data frame and report table then has the column. Inherited fields
come last. Columns that are known only at run time, such as chosen losses, are in a
mapping marked with `NOT_A_COLUMN`, and a property ``further`` returns them by name; a
static method ``further_column`` may describe them.
"""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


Side = Literal["left", "right"]
Better = Literal["", "higher", "lower"]
UNDEFINED: Final = "–"
"""Text for undefined values."""
NOT_A_COLUMN: Final[Mapping[str, Any]] = {"hidden": True}
"""Metadata of a field that holds further columns."""
_TEXTS: Final = ("str", "Literal")


class Record(Protocol):
    """A frozen dataclass whose fields are columns."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def plain(value: Any) -> str:  # noqa: ANN401 - any value of a record
    """Format a value with thousands separators and three decimals.

    Example:
        >>> plain(134068750), plain(0.1466), plain("a")
        ('134,068,750', '0.147', 'a')
    """
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value))


def per_cent(value: float) -> str:
    """Format a fraction as a percentage.

    Example:
        >>> per_cent(0.12785)
        '12.785 %'
    """
    return f"{100 * value:.3f} %"


def printable(text: str) -> str:
    r"""Escape control characters, so that names cannot control a terminal.

    Example:
        >>> printable("a\x1b[31m\n.png")
        'a\\x1b[31m\\n.png'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(title: str) -> str:
    """A heading on one line."""
    return title.replace("/\n", "/").replace("\n", " ")


@dataclass(frozen=True, slots=True)
class Column:
    r"""A column of a table.

    ``better`` is the direction of improvement, if any; ``is_share`` marks values that a
    paper may print in per cent.
    """

    name: str
    title: str
    align: Side = "right"
    format: Callable[[Any], str] = plain
    better: Better = ""
    is_share: bool = False

    @property
    def line(self) -> str:
        """The heading on one line."""
        return one_line(self.title)

    def cell(self, value: Any) -> str:  # noqa: ANN401 - any value of a record
        """Format a value."""
        return UNDEFINED if value is None else self.format(value)


def column(
    title: str = "",
    *,
    align: Side | None = None,
    format: Callable[[Any], str] = plain,  # noqa: A002 - as the attribute of a column
    better: Better = "",
    is_share: bool = False,
) -> Mapping[str, Any]:
    """Metadata for a column that differs from the defaults of its name and type."""
    settings = {"format": format, "better": better, "is_share": is_share}
    return {"title": title, "align": align, **settings}


CHANGED: Final = column("Changed\npixels")
UNCHANGED: Final = column("Unchanged\npixels")
IGNORED: Final = column("Ignored\npixels")
CHANGE_RATIO: Final = column("Changed/\nunchanged")
CHANGE_FRACTION: Final = column("Change\nfraction", format=per_cent)


def columns_of(kind: type[Record]) -> Mapping[str, Column]:
    """Columns of a record type, by name, in order.

    Example:
        >>> from cdstats.core.records import SummaryRecord
        >>> columns_of(SummaryRecord)["without_change"].title
        'Without change'
    """
    if kind not in _DECLARED:
        known = {one.name: one for one in fields(kind)}
        shown = (known[n] for n in own_first(kind) if "hidden" not in known[n].metadata)
        _DECLARED[kind] = {one.name: _declared(one) for one in shown}
    return _DECLARED[kind]


_DECLARED: Final[dict[type[Record], Mapping[str, Column]]] = {}


def own_first(kind: type[Record]) -> list[str]:
    """Fields of a record type, inherited ones last."""
    known = [one.name for one in fields(kind)]
    return [n for n in dict.fromkeys((*kind.__annotations__, *known)) if n in known]


def _declared(one: Field[Any]) -> Column:
    usual: Side = "left" if _type(one).startswith(_TEXTS) else "right"
    align: Side = one.metadata.get("align") or usual
    title = one.metadata.get("title") or _words(one.name)
    names = ("format", "better", "is_share")
    settings = {n: one.metadata[n] for n in names if n in one.metadata}
    return Column(one.name, title, align, **settings)


def _type(one: Field[Any]) -> str:
    """The type name of a field; annotations may be objects or texts."""
    return str(getattr(one.type, "__name__", one.type))


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def column_of(kind: type[Record], name: str) -> Column:
    """A column by name: a field, or a further column."""
    declared = columns_of(kind).get(name)
    if declared:
        return declared
    make: Callable[[str], Column] = getattr(kind, "further_column", further_column)
    return make(name)


def further_column(
    name: str, title: str = "", better: Better = "", *, is_share: bool = False
) -> Column:
    """A numeric column that is not a field."""
    return Column(name, title or _words(name), better=better, is_share=is_share)


def further_columns(records: Iterable[Record]) -> tuple[str, ...]:
    """Names of the further columns of some records, without duplicates."""
    return tuple(dict.fromkeys(n for one in records for n in _further(one)))


def values(record: Record, names: Sequence[str]) -> list[Any]:
    """Values of some columns; None for further columns that a record lacks."""
    further = _further(record)
    return [further[n] if n in further else getattr(record, n, None) for n in names]


def _further(record: Record) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(record, "further", {})
    return found


_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")


def to_cell(text: str) -> str:
    """Escape a text that spreadsheets would read as a formula.

    Example:
        >>> to_cell("=cmd()"), to_cell("a=b"), to_cell("'=")
        ("'=cmd()", 'a=b', "''=")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """Undo `to_cell`.

    Example:
        >>> from_cell("'=cmd()"), from_cell("a=b"), from_cell("'q")
        ('=cmd()', 'a=b', "'q")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
