"""`cdstats.verify`: check whether files give the score of a signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cdstats.core.arguments import takes
from cdstats.core.errors import DataError, one_file
from cdstats.core.known_sets import KnownSet
from cdstats.core.label_hash import hash_text, label_hash, total_hash
from cdstats.core.options import LossOptions
from cdstats.core.records import ALL
from cdstats.core.signature import CheckedField, Signature, VerifyOptions
from cdstats.io.discovery import find_masks
from cdstats.io.held import as_files
from cdstats.render.table import Displayed, Table
from cdstats.score.loss import score_predictions
from cdstats.score.scenes import valid_pixels
from cdstats.score.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdstats.core.errors import Message
    from cdstats.core.options import MaskOptions
    from cdstats.io.found import FoundFile
    from cdstats.score.results import LossRun
    from cdstats.score.targets import Seen, Target

Result = TypeVar("Result")


@dataclass(frozen=True, repr=False)
class Verification(Displayed):
    """The result of `cdstats.verify`.

    Attributes:
        fields: The fields of the signature for each model, stated and found.
        run: The scores of the files, with the threshold and rule of the signature.
        messages: Notes, warnings and errors.
    """

    fields: tuple[CheckedField, ...]
    run: LossRun
    messages: tuple[Message, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether all compared fields agree for all models."""
        return bool(self.fields) and all(one.agrees != "no" for one in self.fields)

    def table(self) -> Table:
        """The fields, as shown by the command."""
        return Table.of(CheckedField, self.fields)


@takes(VerifyOptions, as_files)
def verify(options: VerifyOptions) -> Verification:
    """Check whether predictions and masks give the signature of a score.

    Predictions are scored as by `cdstats.loss` with the threshold, rule, kind and grid
    of the signature; given arguments take precedence. A rule that was found from the
    masks is found again. The version is shown but not compared, and fields that are
    missing in the line are not compared.

    Returns:
        The fields of the signature and those of the files.

    Raises:
        UsageError: If the line is not a signature, or an option is invalid.
        DataError: If nothing pairs, or the meaning of the predictions is unclear.
    """
    return verify_signature(options)


def verify_signature(options: VerifyOptions) -> Verification:
    """The result of `verify` for an options record."""
    stated = Signature.parse(options.line or "")
    run = score_predictions(LossOptions.of(options, **_of_line(stated, options)))
    fields = []
    for row in (one.dataset for one in run.models):
        found = Signature.parse(row.signature)
        for name in (*stated.fields, *stated.beyond(found)):
            agrees = stated.agrees(name, found)
            fields.append(
                CheckedField(
                    row.model,
                    name,
                    stated.fields.get(name, ""),
                    found.fields.get(name, ""),
                    "" if agrees is None else "yes" if agrees else "no",
                )
            )
    return Verification(tuple(fields), run, run.messages)


def _of_line(stated: Signature, options: VerifyOptions) -> dict[str, Any]:
    """The options of a signature, except options that were given."""
    given = {n for n, v in vars(options).items() if v != options.declared[n].default}
    rule = {"changed", "unchanged", "ignore", "preset"}
    if given & rule:
        given |= rule
    return {n: v for n, v in stated.options.items() if n not in given}


def measured_sets(name: str, path: str, options: MaskOptions) -> list[KnownSet]:
    """The masks of a path as known sets, for all masks and for each split.

    Raises:
        DataError: If a mask cannot be read, or has soft targets.
    """
    choice = options.rule_choice()
    targets = Targets(choice, options.band_of(choice), options.max_pixels)
    found = find_masks([path], split=options.split, preset=choice.preset)
    if problems := [text for one in found for text in one.problems]:
        raise DataError(problems[0])
    files = [file for one in found for file in one.files if not file.again]
    if not files:
        raise DataError(f"{path}: no mask found")
    # The rule of a split is known only after all its masks are counted.
    seen = [one for file in files for one in _masks(targets, file, _seen)]
    targets = targets.decided(seen)
    parts: dict[str, list[tuple[int, int, int]]] = {ALL: []}
    for file in files:
        for split in (file.split, ALL) if file.split else (ALL,):
            parts.setdefault(split, [])
        for measured in _masks(targets, file, _measured):
            for split in {file.split or ALL, ALL}:
                parts[split].append(measured)
    sets = []
    for split, each in parts.items():
        pixels, changed, hashes = zip(*each, strict=True)
        labels = hash_text(total_hash(hashes))
        numbers = (len(each), sum(pixels), sum(changed))
        sets.append(KnownSet(name, split, *numbers, labels))
    return sets


def _masks(
    targets: Targets, file: FoundFile, read: Callable[[Target], Result]
) -> Iterator[Result]:
    """The results of a function for each mask of a file."""
    try:
        with one_file():
            yield from map(read, targets.open(file))
    except DataError as error:
        name = "" if file.name in str(error) else f"{file.name}: "
        raise DataError(f"{name}{error}") from None


def _seen(target: Target) -> Seen:
    target.count()
    if target.seen is None:
        raise ValueError("expected a mask that was counted")
    return target.seen


def _measured(target: Target) -> tuple[int, int, int]:
    labels = target.labels
    if labels.dtype != np.uint8:
        raise DataError("has soft targets; expected labels")
    unchanged, changed = valid_pixels(labels).tolist()
    return unchanged + changed, changed, label_hash(labels, target.size)
