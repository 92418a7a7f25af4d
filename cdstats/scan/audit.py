"""`cdstats.audit`: what is wrong with masks, before a network is trained on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.counted import Counted, CountedMask
from cdstats.core.labelling import decide, label_dataset
from cdstats.core.messages import Level, Message
from cdstats.core.records import split_order
from cdstats.core.rules import choose_rule
from cdstats.engine.work import run
from cdstats.io.addresses import is_address
from cdstats.io.beside import forget_folders
from cdstats.io.counting import Task
from cdstats.io.discovery import find_masks
from cdstats.io.limits import MAX_PIXELS
from cdstats.scan.evidence import Seen
from cdstats.scan.examination import AuditResult, examine, joined, row_parts
from cdstats.scan.inspection import (
    Inspect,
    Inspected,
    Look,
    inspect_file,
    possible_rules,
)
from cdstats.scan.regions import CONNECTIVITY
from cdstats.scan.saved import ratio_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from cdstats.core.labels import LabelRule
    from cdstats.core.records import ImageRecord
    from cdstats.core.rules import RuleChoice
    from cdstats.io.found import FoundFile, FoundSet
    from cdstats.scan.inspection import View

SPECK: Final = 9
"""Regions below this many pixels are specks."""
NEEDS_PIXELS: Final = (
    "values",
    "binarisation",
    "image sizes",
    "duplicates",
    "regions",
    "heat map",
)
"""What rows that are counted already cannot tell."""
NEEDS_A_DISK: Final = ("image sizes", "equality of files byte by byte")
"""What is not looked for beside masks of a store."""


def audit(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    changed: str | None = None,
    unchanged: str | None = None,
    ignore: str | None = None,
    preset: str | None = None,
    band: int | None = None,
    split: str | None = None,
    speck: int = SPECK,
    connectivity: int = CONNECTIVITY,
    jobs: int | None = 1,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int, int], None] | None = None,
) -> AuditResult:
    """Look for what is wrong with masks, reading each once.

    Args:
        paths: Masks, as for `cdstats.ratio`.
        changed: Values that are changed; with the next three as for `cdstats.ratio`.
        unchanged: Values that are unchanged.
        ignore: Values that are in no ratio.
        preset: Name of a public dataset's encoding.
        band: Band of each mask, counted from 1; None where there is one choice.
        split: Keep this split alone.
        speck: Regions below this many pixels are specks.
        connectivity: Neighbours of a pixel of a region: 8, or 4 without diagonals.
        jobs: Worker processes, as for `cdstats.ratio`.
        max_pixels: Pixels that a mask may declare; a larger one is refused.
        progress: Called with files done, files in all and pixels counted so far.

    Raises:
        UsageError: If a rule, preset or pattern is not understood.
        ValueError: If `connectivity` is neither 4 nor 8.

    Example:
        >>> found = audit("sample_masks/CDD")
        >>> [(row.split, row.images, row.bins) for row in found.splits][1]
        ('train', 10, (0, 0, 1, 7, 2))
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is {connectivity}; expected 4 or 8")
    choice = choose_rule(changed, unchanged, ignore, preset)
    texts = [paths] if not isinstance(paths, (list, tuple)) else paths
    found = find_masks([str(text) for text in texts], split=split, preset=choice.preset)
    band = band or (choice.preset.band if choice.preset else None)
    look = Look(possible_rules(choice), band, choice.edges, connectivity, max_pixels)
    looks = _look_at(found, look, jobs, progress)
    parts = [
        _dataset(one, inspected, choice, look, speck)
        for one, inspected in zip(found, looks, strict=True)
    ]
    remote = any(is_address(file.path) for one in found for file in one.files)
    return joined(parts, NEEDS_A_DISK if remote else ())


def audit_from(path: str | PathLike[str]) -> AuditResult:
    """What the image rows of an earlier ``--csv`` tell; `NEEDS_PIXELS` is left out.

    Raises:
        DataError: If the file holds no image rows.
    """
    rows = ratio_from(Path(path)).images
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
    progress: Callable[[int, int, int], None] | None,
) -> list[list[list[Inspected]]]:
    """What a look at each file of each dataset gave."""
    forget_folders()
    files = [file for dataset in found for file in dataset.files]
    tasks = [_task(file) for file in files]
    results: list[list[Inspected]] = [[] for _ in tasks]
    pixels = 0
    outcomes = run(Inspect(look), tasks, jobs=jobs, lost=_lost)
    for done, (place, seen) in enumerate(outcomes, start=1):
        results[place] = seen
        masks = (one.counted.mask for one in seen)
        pixels += sum(mask.width * mask.height for mask in masks if mask)
        if progress:
            progress(done, len(tasks), pixels)
    ordered = iter(results)
    return [[next(ordered) for _ in dataset.files] for dataset in found]


def _task(file: FoundFile) -> Task:
    return Task(file.path, file.member, file.partner)


def _lost(_: Task) -> list[Inspected]:
    reason = "the process that read it died (out of memory?)"
    return [Inspected(Counted("", None, reason))]


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
    """Every mask with its row and the view of the rule that was decided on."""
    pairs = [
        (file, one)
        for file, ones in zip(found.files, looks, strict=True)
        for one in ones
    ]
    pairs.sort(key=lambda pair: split_order(pair[0].split))
    masks = [
        CountedMask(found.name, file.split, _row_name(file, one), one.counted)
        for file, one in pairs
    ]
    labelled = label_dataset(masks, choice, found.looks)
    decisions, _ = decide(masks, choice)
    rows = zip(pairs, labelled.images, decisions, strict=True)
    seen = [
        Seen(row, decision.rule, one, _view(row, decision.rule, one, file, look), file)
        for (file, one), row, decision in rows
    ]
    # Its notes and errors are findings here.
    return seen, [m for m in labelled.messages if m.level is Level.WARNING]


def _row_name(file: FoundFile, one: Inspected) -> str:
    numbered = file.member.isdigit()
    return file.name if numbered else f"{file.name}{one.counted.member}"


def _view(
    row: ImageRecord,
    rule: LabelRule | None,
    one: Inspected,
    file: FoundFile,
    look: Look,
) -> View | None:
    """What the labels of the rule tell; a rule not foreseen takes another look."""
    if row.status != "ok" or rule is None:
        return None
    view = one.view(rule)
    if view is None:
        again = replace(look, rules=(rule,), edges=rule.edges)
        members = inspect_file(_task(file), look=again)
        same = [m for m in members if m.counted.member == one.counted.member]
        view = same[0].view(rule) if same else None
    return view
