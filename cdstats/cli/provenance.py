"""Where a report comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cdstats
from cdstats.core.arguments import texts
from cdstats.core.material import Provenance, list_hash
from cdstats.core.messages import counted
from cdstats.core.records import ALL
from cdstats.io.addresses import shown_in

if TYPE_CHECKING:
    from cdstats.cli.sources_shown import ShownOptions
    from cdstats.core.material import MaskMaterial, ScoreMaterial


def provenance_of(
    options: ShownOptions, masks: MaskMaterial | None, scores: ScoreMaterial | None
) -> Provenance:
    """The version, the command, the rules, and a hash of every list of files."""
    sources = [f"masks {path}" for path in texts(options.masks)]
    sources += [f"predictions {path}" for path in texts(options.pred)]
    if options.target:
        sources.append(f"masks of predictions {options.target}")
    sources += [f"rows {path}" for path in options.from_files]
    lists: dict[str, str] = {}
    rules: list[str] = []
    if masks:
        named = [(row.dataset, row.split, row.path) for row in masks.images]
        lists[counted(len(named), "mask")] = list_hash(named)
        rules += [
            f"{row.dataset}: {row.rule}" for row in masks.datasets if row.split == ALL
        ]
    if scores:
        pairs = [(row.model, row.pred, row.target) for row in scores.images]
        lists[counted(len(pairs), "prediction")] = list_hash(pairs)
        held = dict.fromkeys(one.dataset.rule for one in scores.models)
        rules += [f"masks of predictions: {rule}" for rule in held if rule]
    return Provenance(
        cdstats.__version__,
        options.command,
        tuple(shown_in(source) for source in sources),
        tuple(dict.fromkeys(rules)),
        lists,
    )
