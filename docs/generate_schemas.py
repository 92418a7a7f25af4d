"""Write ``docs/schemas/``: JSON Schemas of the output of ``--format json``.

Names, titles and types come from the fields of the records, like the columns of tables.
Only the lists of each document are defined here. Run
``python docs/generate_schemas.py`` after a change of a record. Increase
`cdstats.render.writers.SCHEMA_VERSION` if a key is removed or changes its meaning, but
not if a key is added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from cdstats import AuditResult
from cdstats.cli.commands.audit import LISTS
from cdstats.core.catalogue import CATALOGUE, LossResult, choose
from cdstats.core.catalogue.entry import Reduction
from cdstats.core.charts import ErrorCounts, ErrorMap
from cdstats.core.columns import columns_of, own_first
from cdstats.core.comparison_records import (
    SD,
    ComparedModel,
    Difference,
    DifferingImage,
)
from cdstats.core.counts import Value
from cdstats.core.errors import Message
from cdstats.core.presets import Preset
from cdstats.core.records import ImageRecord, SummaryRecord
from cdstats.core.reference import PublishedRecord
from cdstats.core.rule_sensitivity import RuleSensitivity
from cdstats.core.score_records import DatasetScore, ScoreRecord
from cdstats.core.weights import DatasetWeights
from cdstats.render.writers import SCHEMA_VERSION
from cdstats.score.verification import CheckedField

FOLDER = Path(__file__).with_name("schemas")
NAMES = {
    "ImageRecord": ImageRecord,
    "Mapping": Mapping,
    "Message": Message,
    "Numbers": list[float | None],
    "Sequence": Sequence,
    "Value": Value,
}
"""Types that records import only for the type checker."""
TYPES = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    NoneType: "null",
}


@dataclass
class Model:
    """A model of `cdstats loss`: its row, and every number of its losses."""

    model: str
    dataset: DatasetScore
    losses: Sequence[LossResult]


AUDIT = get_type_hints(AuditResult, localns=NAMES)
DOCUMENTS: dict[str, dict[str, Any]] = {
    "ratio": {"datasets": list[SummaryRecord], "images": list[ImageRecord]},
    "ratio-summary": {"datasets": list[SummaryRecord]},
    "audit": {name: AUDIT[name] for name in (*LISTS, "not_checked")},
    "weights": {"datasets": list[DatasetWeights]},
    "loss": {
        "device": str,
        "images": list[ScoreRecord],
        "dataset": DatasetScore,
        "losses": list[LossResult],
        "models": list[Model],
        "rule_sensitivity": list[RuleSensitivity],
    },
    "loss-summary": {"models": list[Model]},
    "compare": {
        "device": str,
        "models": list[ComparedModel],
        "differing": list[DifferingImage],
        "images": list[ScoreRecord],
        "rule_sensitivity": list[RuleSensitivity],
    },
    "compare-summary": {"models": list[ComparedModel]},
    "errors": {"models": list[ErrorCounts], "images": list[ErrorMap]},
    "presets": {"rows": list[Preset]},
    "published": {"rows": list[PublishedRecord]},
    "verify": {"rows": list[CheckedField]},
}
FLAT = (ComparedModel, DatasetScore, ScoreRecord)
"""Records whose further columns are among the others, or in a separate list."""
BRACKETS, SOME = re.compile(r"\[.*\]"), r"\\[.+\\]"
WIDTH = 100
SOMETIMES = {"loss": ("models", "rule_sensitivity"), "compare": ("rule_sensitivity",)}
"""Keys that a document has only for several models, or on request."""


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one document."""
    found: dict[str, Any] = {}
    keys = {
        "schema_version": {"type": "integer", "const": SCHEMA_VERSION},
        **{key: _of(kind, found) for key, kind in DOCUMENTS[name].items()},
    }
    command, _, summary = name.partition("-")
    origin = "--summary FILE.json" if summary else "--format json"
    sometimes = SOMETIMES.get(name, ())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cdstats {command} {origin}",
        **_object(keys, [key for key in keys if key not in sometimes]),
        "$defs": dict(sorted(found.items())),
    }


def _object(keys: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(keys),
        "required": [*(required or keys)],
        "additionalProperties": False,
    }


def _of(kind: Any, found: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a type
    """The schema of a type; schemas of records are added to the definitions."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in TYPES:
        return {"type": TYPES[kind]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (UnionType, Union):
        return {"type": sorted({_of(one, found)["type"] for one in parts})}
    if origin is tuple and parts[-1] is not Ellipsis:
        items = [_of(one, found) for one in parts]
        return {"type": "array", "prefixItems": items, "items": False}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": _of(parts[0], found)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(parts[1], found)}
    name = kind.__name__
    if name not in found:
        found[name] = {}
        found[name] = _record(kind, found)
    return {"$ref": f"#/$defs/{name}"}


def _record(kind: Any, found: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a type
    """The schema of a record: its fields, with the titles of its columns."""
    hints = get_type_hints(kind, localns=NAMES)
    if kind is LossResult:
        return {"anyOf": [_loss(one, hints, found) for one in Reduction]}
    titles = {name: one.line for name, one in columns_of(kind).items()}
    names = [name for name in own_first(kind) if name in titles or kind not in FLAT]
    made = _object(
        {
            name: _of(hints[name], found) | {"title": titles.get(name, name)}
            for name in names
        }
    )
    if kind is ComparedModel:
        measures = {"type": "object", "additionalProperties": _measure()}
        made["properties"]["measures"] = measures
        made["required"].append("measures")
    if kind is ScoreRecord:
        made["patternProperties"] = {_loss_columns(): _of(float | None, found)}
    return made


def _loss(
    one: Reduction, hints: Mapping[str, Any], found: dict[str, Any]
) -> dict[str, Any]:
    """The numbers of a loss with this reduction."""
    names = [name for name, entry in CATALOGUE.items() if entry.reduction is one]
    numbers = {name: _of(hints[name], found) for name in one.value}
    return _object(
        {"loss": {"enum": names}, "params": _of(hints["params"], found), **numbers}
    )


def _measure() -> dict[str, Any]:
    """A measure of a model: its value, and the difference from the baseline."""
    parts = get_type_hints(Difference)
    return _object(
        {"value": _of(float | None, {})}
        | {name: _of(kind | None, {}) for name, kind in parts.items()}
        | {SD: _of(float | None, {})}
    )


def _loss_columns() -> str:
    """The names of the columns of losses in rows of images, as a pattern."""
    columns = (choose(name).column for name in CATALOGUE)
    # The parameters of a loss stand in brackets.
    return f"^({'|'.join(BRACKETS.sub(SOME, one) for one in columns)})$"


def render(name: str) -> str:
    """The text of a schema, with one key of a record per line."""

    def lines(value: Any, depth: int) -> str:  # noqa: ANN401 - plain values
        flat = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, dict) or len(flat) + depth <= WIDTH:
            return flat
        space = "\n" + " " * (depth + 1)
        inner = (f"{json.dumps(k)}: {lines(v, depth + 1)}" for k, v in value.items())
        return f"{{{space}{f',{space}'.join(inner)}{space[:-1]}}}"

    return lines(schema(name), 0) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in DOCUMENTS:
        FOLDER.joinpath(f"{name}.json").write_text(render(name), encoding="utf-8")
