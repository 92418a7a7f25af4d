"""`cdstats.audit`: checks of masks before training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.arguments import takes, texts
from cdstats.core.counts import Counted, CountedMask
from cdstats.core.errors import Level, Message
from cdstats.core.labelling import decide, label_dataset
from cdstats.core.options import AuditOptions
from cdstats.core.records import split_order
from cdstats.engine.work import run
from cdstats.io.addresses import is_address
from cdstats.io.beside import forget_folders
from cdstats.io.containers import inside
from cdstats.io.counting import Task
from cdstats.io.discovery import find_masks
from cdstats.io.held import as_files
from cdstats.scan.evidence import Seen
from cdstats.scan.examination import AuditResult, examine, joined, row_parts
from cdstats.scan.inspection import Inspected, Look, possible_rules
from cdstats.scan.rows import row_name
from cdstats.scan.saved import ratio_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdstats.core.labels import LabelRule, RuleChoice
    from cdstats.core.records import ImageRecord
    from cdstats.io.found import FoundFile, FoundSet
    from cdstats.scan.inspection import View

NEEDS_PIXELS: Final = (
    "values",
    "binarisation",
    "image sizes",
    "duplicates",
    "regions",
    "heat map",
)
"""Checks that are skipped if only counted rows are given."""
NEEDS_A_DISK: Final = ("image sizes", "equality of files byte by byte")
"""Checks that are skipped for masks in a store or an archive."""


@takes(AuditOptions, partial(as_files, stay=False))
def audit(options: AuditOptions) -> AuditResult:
    """Check masks for problems: leakage, encodings, specks, shifts and more.

    Masks are named and read as by `cdstats.ratio`. With rows of an earlier run
    (``from_file``), checks that need pixels are skipped and listed in ``not_checked``.

    Raises:
        UsageError: If a rule, preset or pattern is invalid.
        DataError: If ``from_file`` has no image rows.

    Example:
        >>> found = audit("sample_masks/CDD")
        >>> [(row.split, row.images, row.bins) for row in found.splits][1]
        ('train', 10, (0, 0, 1, 7, 2))
    """
    return audit_masks(options)


def audit_masks(options: AuditOptions) -> AuditResult:
    """The result of `audit` for an options record."""
    if options.from_file is not None:
        return _audit_from(Path(options.from_file))
    choice = options.rule_choice()
    paths = texts(options.paths)
    found = find_masks(
        paths, split=options.split, preset=choice.preset, known=choice.takes_presets
    )
    look = Look(
        possible_rules(choice),
        options.band_of(choice),
        choice.edges,
        int(options.connectivity),
        options.max_pixels,
    )
    looks = _look_at(found, look, options.jobs, options.timeout, options.progress)
    parts = [
        _dataset(one, inspected, choice, look, options.speck)
        for one, inspected in zip(found, looks, strict=True)
    ]
    away = any(
        is_address(file.path) or inside(file.path)
        for one in found
        for file in one.files
    )
    return joined(parts, NEEDS_A_DISK if away else ())


def _audit_from(path: Path) -> AuditResult:
    """The audit of the image rows of an earlier run, without `NEEDS_PIXELS`."""
    rows = ratio_from(path).images
    parts = []
    for name in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == name]
        found, splits, shifts = row_parts(name, own, None)
        parts.append(AuditResult(found, splits, shifts=shifts, images=tuple(own)))
    return joined(parts, NEEDS_PIXELS)


def _look_at(
    found: Sequence[FoundSet],
    look: Look,
    jobs: int | None,
    timeout: float,
    progress: Callable[[int, int, int], None] | None,
) -> list[list[list[Inspected]]]:
    """The inspected masks of each file of each dataset."""
    forget_folders()
    files = [file for dataset in found for file in dataset.files]
    tasks = [Task(file.path, file.member, file.partner) for file in files]
    results: list[list[Inspected]] = [[] for _ in tasks]
    pixels = 0
    outcomes = run(
        look,
        tasks,
        jobs=jobs,
        timeout=timeout,
        lost=lambda _, reason: [Inspected(Counted("", None, reason))],
    )
    for done, (place, seen) in enumerate(outcomes, start=1):
        results[place] = seen
        masks = (one.counted.mask for one in seen)
        pixels += sum(mask.width * mask.height for mask in masks if mask)
        if progress:
            progress(done, len(tasks), pixels)
    ordered = iter(results)
    return [[next(ordered) for _ in dataset.files] for dataset in found]


def _dataset(
    found: FoundSet,
    looks: Sequence[Sequence[Inspected]],
    choice: RuleChoice,
    look: Look,
    speck: int,
) -> AuditResult:
    problems = [Message(Level.ERROR, text) for text in found.problems]
    notes = [Message(Level.NOTE, f"{found.name}: {text}") for text in found.notes]
    if not found.files:
        return AuditResult(messages=(*problems, *notes), unread=len(problems))
    seen, warnings = _seen(found, looks, choice, look)
    part = examine(found.name, seen, speck, look.connectivity)
    messages = (*problems, *notes, *warnings)
    return joined([part, AuditResult(messages=messages, unread=len(problems))])


def _seen(
    found: FoundSet,
    looks: Sequence[Sequence[Inspected]],
    choice: RuleChoice,
    look: Look,
) -> tuple[list[Seen], list[Message]]:
    """Every mask with its row and its view under the final rule."""
    pairs = [
        (file, one)
        for file, ones in zip(found.files, looks, strict=True)
        for one in ones
    ]
    pairs.sort(key=lambda pair: split_order(pair[0].split))
    masks = [
        CountedMask(
            found.name,
            file.split,
            row_name(file.name, file.member, one.counted.member),
            one.counted,
        )
        for file, one in pairs
    ]
    labelled = label_dataset(masks, choice, found.origin)
    decisions, _ = decide(masks, choice, found.origin)
    rows = zip(pairs, labelled.images, decisions, strict=True)
    seen = [
        Seen(row, decision.rule, one, _view(row, decision.rule, one, file, look), file)
        for (file, one), row, decision in rows
    ]
    # Notes and errors about labels are reported as findings instead.
    return seen, [m for m in labelled.messages if m.level is Level.WARNING]


def _view(
    row: ImageRecord,
    rule: LabelRule | None,
    one: Inspected,
    file: FoundFile,
    look: Look,
) -> View | None:
    """The view of a mask under its rule; inspects again if the rule was not applied."""
    if row.status != "ok" or rule is None:
        return None
    view = one.view(rule)
    if view is None:
        task = Task(file.path, file.member, file.partner)
        members = replace(look, rules=(rule,), edges=rule.edges)(task)
        same = [m for m in members if m.counted.member == one.counted.member]
        view = same[0].view(rule) if same else None
    return view
