"""Inspection of a mask: its counts, and its regions, positions and hash of labels.

The rule is decided from the whole split, after every mask is read. The inspection
therefore applies every rule that may be decided on. The view of the final rule is
found by the labels that this rule gives to the values of the mask.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.counts import Counted, MaskCounts, ValueCounts, colour_value
from cdstats.core.detection import pair_rule
from cdstats.core.errors import DataError, UsageError, one_file
from cdstats.core.labels import LabelRule
from cdstats.io.beside import Beside, images_beside
from cdstats.io.counting import count_image, expect_tasks
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.masks import open_masks
from cdstats.io.partial import open_pair
from cdstats.io.targets import CODES, label_strips, pair_strips
from cdstats.scan.regions import STRIP_PIXELS, Regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.core.labels import RuleChoice
    from cdstats.io.blocks import OpenImage
    from cdstats.io.counting import Task

GRID: Final = 8
"""Rows and columns of the grid of cells in which changed pixels are counted."""
_HELD_PIXELS: Final = 1 << 22
"""Pixels up to which an image is kept in memory between its views."""
_CHANGED, _IGNORED = 1, 255


@dataclass(frozen=True, slots=True)
class Look:
    """Options of an inspection, and the worker function that runs it."""

    rules: tuple[LabelRule, ...]
    band: int | None
    edges: tuple[float, ...] | None
    connectivity: int
    max_pixels: int = MAX_PIXELS

    def expect(self, tasks: Iterable[Task]) -> None:
        """Announce the tasks that this thread inspects next, in order."""
        expect_tasks(tasks)

    def __call__(self, task: Task) -> list[Inspected]:
        """Inspect every mask of a file; failures become reasons."""
        beside = images_beside(task.path)
        if task.partner:
            return [replace(_inspect_pair(task, self), beside=beside)]
        opened = partial(open_masks, task.path, task.member, self.band, self.max_pixels)
        try:
            images = opened()
        except DataError as error:
            return [Inspected(Counted("", None, str(error)))]
        return [
            replace(
                _inspect_image(image, self, lambda n=n: opened()[n]),  # type: ignore[misc]
                beside=beside,
            )
            for n, image in enumerate(images)
        ]


@dataclass(frozen=True, slots=True)
class View:
    """Properties of a mask under one rule.

    Attributes:
        labels: The label that the rule gives to each counted value.
        digest: Hash of the size and of all labels.
        sizes: The distinct sizes of changed regions.
        counts: Number of regions of each size.
        cells: Changed pixels in each cell of the grid; ``(rows, columns)``.
        valid: Valid pixels in each cell of the grid.
    """

    labels: bytes
    digest: bytes
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    cells: NDArray[np.int64]
    valid: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inspected:
    """A mask after its inspection."""

    counted: Counted
    views: tuple[View, ...] = ()
    beside: tuple[Beside, ...] = ()

    def view(self, rule: LabelRule) -> View | None:
        """The view of a rule, or None if the inspection did not apply it."""
        mask = self.counted.mask
        wanted = label_map(rule, mask) if mask else None
        return next((one for one in self.views if one.labels == wanted), None)


def possible_rules(choice: RuleChoice) -> tuple[LabelRule, ...]:
    """The given rule, or the rules that may be found from the values.

    0 and 255, with or without other values, are labelled as by a threshold at 128.
    """
    if choice.rule is not None:
        return (choice.rule,)
    white = _ignoring(255, True, choice.ignore) or _ignoring(255, False, choice.ignore)
    found = [one for one in (_ignoring(1, False, choice.ignore), white) if one]
    return tuple(found) or (pair_rule(255, False, choice.ignore),)


def _ignoring(changed: int, smeared: bool, ignore: LabelRule) -> LabelRule | None:
    """The rule of 0 and another value; None if one of them is ignored."""
    try:
        return pair_rule(changed, smeared, ignore)
    except UsageError:
        return None


def _inspect_image(
    image: OpenImage, look: Look, again: Callable[[], OpenImage]
) -> Inspected:
    """Inspect an image; a large image is read again for each view."""
    size = (image.width, image.height)
    try:
        with one_file():
            small = image.width * image.height <= _HELD_PIXELS
            if small:
                held = list(image.blocks())
                image = image._replace(blocks=lambda: iter(held))
            counted = count_image(image, look.edges)
            if counted.mask is None or counted.mask.counts.half_transparent:
                return Inspected(counted)
            rules = (*look.rules, *_palette_rules(counted.mask, look))
            maps = {label_map(rule, counted.mask): rule for rule in rules}
            views = []
            for labels, rule in maps.items():
                if labels is not None:
                    strips = label_strips(image if small else again(), rule)
                    views.append(_view(labels, strips, size, look.connectivity))
            return Inspected(counted, tuple(views))
    except DataError as error:
        return Inspected(Counted(image.member, None, str(error), size))


def _palette_rules(mask: MaskCounts, look: Look) -> list[LabelRule]:
    """The rules of black and one palette colour, unless a rule is given."""
    if look.edges is not None or not mask.palette:
        return []
    ignore = LabelRule(ignored=look.rules[0].ignored)
    held = {mask.palette.get(v) for v in mask.counts.values if isinstance(v, int)}
    colours = {colour_value(colour) for colour in held if colour}
    found = sorted(one for one in colours if isinstance(one, str))
    return [pair_rule(colour, False, ignore) for colour in found]


def _inspect_pair(task: Task, look: Look) -> Inspected:
    """Inspect a mask in two files, whose labels are known and give the counts."""
    try:
        pair = open_pair(task.path, task.partner, look.band, look.max_pixels)
        size = (pair[0].width, pair[0].height)
        strips = pair_strips(*pair, task.partner)
        view = _view(b"", strips, size, look.connectivity)
    except DataError as error:
        return Inspected(Counted("", None, str(error)))
    changed, valid = int(view.cells.sum()), int(view.valid.sum())
    marked: dict[Value, int] = {255: changed, 0: valid - changed}
    values = {value: pixels for value, pixels in marked.items() if pixels}
    mask = MaskCounts(*size, ValueCounts(values, masked=size[0] * size[1] - valid))
    maps = {label_map(rule, mask) for rule in look.rules}
    views = [replace(view, labels=one) for one in maps if one is not None]
    return Inspected(Counted("", mask, size=size), tuple(views))


def label_map(rule: LabelRule, mask: MaskCounts) -> bytes | None:
    """The label of each value of a mask, or None if the rule does not apply."""
    codes = bytearray()
    try:
        for value in mask.counts.values:
            label = rule.label_in(mask, value)
            if label is None:
                return None
            codes.append(CODES[label])
    except DataError:
        # Applying the rule to the mask gives its row the reason.
        return None
    return bytes(codes)


def _view(
    labels: bytes,
    strips: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    connectivity: int,
) -> View:
    """The view of a mask whose labels come in strips of whole rows from the top."""
    width, height = size
    regions = Regions(connectivity)
    digest = hashlib.blake2b(repr((height, width)).encode(), digest_size=16)
    cells = np.zeros((2, min(GRID, height), min(GRID, width)), dtype=np.int64)
    row, rows = 0, max(1, STRIP_PIXELS // max(1, width))
    for strip in strips:
        for at in range(0, len(strip), rows):
            part = np.ascontiguousarray(strip[at : at + rows])
            changed = part == _CHANGED
            regions.add(changed)
            digest.update(part.data)
            for held, pixels in zip(cells, (changed, part != _IGNORED), strict=True):
                held += count_cells(pixels, row, height)
            row += len(part)
    sizes, counts = np.unique(regions.sizes, return_counts=True)
    return View(labels, digest.digest(), sizes, counts, *cells)


def count_cells(
    pixels: NDArray[np.bool_], first: int = 0, height: int | None = None
) -> NDArray[np.int64]:
    """Number of true pixels in each cell of a grid over the image.

    Example:
        >>> count_cells(np.eye(16, dtype=bool)).diagonal().tolist()
        [2, 2, 2, 2, 2, 2, 2, 2]
    """
    sides = (len(pixels) if height is None else height, pixels.shape[1])
    down, across = (np.arange(min(GRID, n)) * n // max(1, min(GRID, n)) for n in sides)
    found = np.zeros((down.size, across.size), dtype=np.int64)
    if pixels.size:
        rows = np.add.reduceat(pixels, across, axis=1, dtype=np.int64)
        place = np.searchsorted(down, np.arange(first, first + len(pixels)), "right")
        np.add.at(found, place - 1, rows)
    return found
