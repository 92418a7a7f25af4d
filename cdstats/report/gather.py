"""The records of a report or a set of figures, from masks and predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cdstats
from cdstats.core.arguments import texts
from cdstats.core.errors import DataError, counted
from cdstats.core.material import (
    MaskMaterial,
    Material,
    Provenance,
    ScoreMaterial,
    list_hash,
)
from cdstats.core.options import AuditOptions, LossOptions
from cdstats.core.records import summaries
from cdstats.render.masks import rules_of
from cdstats.report.options import check_sources, rows_of

if TYPE_CHECKING:
    from cdstats.core.arguments import StrPath
    from cdstats.core.comparison_records import ComparedModel
    from cdstats.core.curves import Curve
    from cdstats.core.errors import Message
    from cdstats.report.options import ShownOptions
    from cdstats.scan.examination import AuditResult
    from cdstats.score.results import LossRun

MOST_PICTURES: Final = 24
"""Largest number of error images of a run."""
_PER_MODEL: Final = 6


@dataclass(frozen=True)
class Gathered:
    """The records of a run, its messages, and its number of unreadable inputs."""

    material: Material
    messages: tuple[Message, ...]
    unread: int


def gather(options: ShownOptions) -> Gathered:
    """Read masks and predictions, or the rows of earlier runs."""
    saved = {rows_of(path): path for path in options.from_files}
    check_sources(options, saved)
    audit = _audit(options, saved.get("masks"))
    run = _score(options, saved.get("predictions"))
    messages: list[Message] = list(audit.messages) if audit else []
    scores = None
    masks = _mask_material(audit) if audit else None
    if run:
        messages += run.messages
        scores, notes = _score_material(run, options)
        messages += notes
    material = Material(_provenance(options, masks, scores), masks, scores)
    return Gathered(
        material,
        tuple(messages),
        (audit.unread if audit else 0) + (run.unread if run else 0),
    )


def _audit(options: ShownOptions, saved: StrPath | None) -> AuditResult | None:
    from cdstats.scan.audit import audit_masks

    if saved is not None:
        return audit_masks(AuditOptions(from_file=saved))
    if not options.masks:
        return None
    with options.counting() as progress:
        found = audit_masks(
            AuditOptions.of(options, paths=options.masks, progress=progress)
        )
    if not found.images:
        texts = [message.text for message in found.messages]
        raise DataError(texts[0] if texts else "no mask was found")
    return found


def _score(options: ShownOptions, saved: StrPath | None) -> LossRun | None:
    from pathlib import Path

    if saved is not None:
        from cdstats.score.results import loss_from

        return loss_from(Path(saved), options.losses, options.beta)
    if not options.pred:
        return None
    from cdstats.score.loss import score_predictions

    with options.scoring() as progress:
        return score_predictions(
            LossOptions.of(options, histograms=True, progress=progress)
        )


def _mask_material(audit: AuditResult) -> MaskMaterial:
    from cdstats.scan.audit import NEEDS_PIXELS

    names = list(dict.fromkeys(row.dataset for row in audit.images))
    return MaskMaterial(
        summaries(names, audit.images),
        audit.images,
        audit.shifts,
        audit.binarisations,
        audit.regions,
        audit.heat_maps,
        has_pixels=audit.not_checked != NEEDS_PIXELS,
        findings=audit.findings,
    )


def _score_material(
    run: LossRun, options: ShownOptions
) -> tuple[ScoreMaterial, tuple[Message, ...]]:
    """Scores with pooled curves and error images, and notes about the images."""
    curves, names = run.curves, [one.name for one in run.models]
    pooled: dict[str, Curve | None] = {}
    if curves:
        for name in names:
            ok = (r for r in run.images if r.model == name and r.status == "ok")
            pooled[name] = curves.of(r.place for r in ok if r.changed or r.unchanged)
    models = tuple(replace(one, curve=pooled.get(one.name)) for one in run.models)
    compared = _compared(run, options.beta)
    if curves is None:
        scores = ScoreMaterial(
            models, run.images, threshold=None, has_pixels=False, compared=compared
        )
        return scores, ()
    from cdstats.core.charts import worst_images
    from cdstats.score.pictures import error_pictures

    # The number of images is limited per model and in total.
    drawn = names[:MOST_PICTURES]
    each = min(_PER_MODEL, MOST_PICTURES // max(1, len(drawn)))
    worst = [
        image
        for name in drawn
        for image in worst_images(
            name, (row for row in run.images if row.model == name), each
        )
    ]
    pictures, notes = error_pictures(worst, curves)
    used = {one.dataset.threshold for one in run.models}
    threshold = used.pop() if len(used) == 1 else None
    scores = ScoreMaterial(
        *(models, run.images, pictures, threshold),
        compared=compared,
        rule_sensitivity=run.rule_sensitivity,
    )
    return scores, notes


def _compared(run: LossRun, beta: str | float) -> tuple[ComparedModel, ...]:
    """Differences of models with intervals, on the images scored by all of them."""
    if len(run.models) < 2 or not run.has_valid:
        return ()
    from cdstats.score.comparison import compare_run
    from cdstats.score.measures import Resampling
    from cdstats.score.results import choose_losses

    plain = replace(run, curves=None)
    try:
        return compare_run(
            *(plain, choose_losses((), beta), Resampling(), ()), None, common=True
        ).models
    except DataError:
        # The models share no image, or scored different pixels of one.
        return ()


def _provenance(
    options: ShownOptions, masks: MaskMaterial | None, scores: ScoreMaterial | None
) -> Provenance:
    """The version, command, sources and rules, and a hash of every list of files."""
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
        rules += [f"{at}: {rule}" for at, rule in rules_of(masks.datasets).items()]
    if scores:
        pairs = [(row.model, row.pred, row.target) for row in scores.images]
        lists[counted(len(pairs), "prediction")] = list_hash(pairs)
        held = dict.fromkeys(one.dataset.rule for one in scores.models)
        rules += [f"masks of predictions: {rule}" for rule in held if rule]
    return Provenance(
        cdstats.__version__,
        options.command,
        tuple(sources),
        tuple(dict.fromkeys(rules)),
        lists,
    )
