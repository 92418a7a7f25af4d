"""The mask files of all datasets in the order of their result rows."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from cdstats.core.records import split_order
from cdstats.io.counting import Task
from cdstats.io.found import FoundFile, FoundFiles

if TYPE_CHECKING:
    from cdstats.io.found import FoundSet


class Placed(NamedTuple):
    """A mask file with the number and name of its dataset."""

    number: int
    dataset: str
    file: FoundFile

    @property
    def task(self) -> Task:
        """The task with which a worker counts the file."""
        return Task(self.file.path, self.file.member, self.file.partner)


class Places:
    """All files in the order of their rows: datasets as given, then splits in order."""

    def __init__(self, found: Sequence[FoundSet]) -> None:
        self._found = tuple(found)
        self._orders = [_in_splits(dataset) for dataset in found]
        sizes = (len(dataset.files) for dataset in found)
        self._starts = list(accumulate(sizes, initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, place: int) -> Placed:
        number = bisect_right(self._starts, place) - 1
        dataset, order = self._found[number], self._orders[number]
        within = place - self._starts[number]
        file = dataset.files[order[within] if order else within]
        return Placed(number, dataset.name, file)

    def splits(self) -> Counter[tuple[int, str]]:
        """Number of files of each split of each dataset."""
        found: Counter[tuple[int, str]] = Counter()
        for number, dataset in enumerate(self._found):
            for split, files in _sizes(dataset.files).items():
                found[number, split] = files
        return found


def _sizes(files: Sequence[FoundFile]) -> Counter[str]:
    splits = files.splits if isinstance(files, FoundFiles) else ()
    if len(splits) == 1:
        return Counter({splits[0]: len(files)})
    return Counter(file.split for file in files)


def _in_splits(dataset: FoundSet) -> array[int] | None:
    """Indices of the files grouped by split; None for a dataset of one split."""
    splits = _sizes(dataset.files)
    if len(splits) < 2:
        return None
    places: dict[str, array[int]] = {
        split: array("I") for split in sorted(splits, key=split_order)
    }
    for place, file in enumerate(dataset.files):
        places[file.split].append(place)
    joined = array("I")
    for order in places.values():
        joined.extend(order)
    return joined


class Tasks(Sequence[Task]):
    """The tasks of the files at some places, each built on access."""

    def __init__(
        self, places: Places, wanted: Sequence[int], *, anywhere: bool = False
    ) -> None:
        self._places = places
        self._wanted = wanted
        self._anywhere = anywhere

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401 - a place, no slice
        placed = self._places[self._wanted[number]]
        if self._anywhere:
            placed = placed._replace(file=placed.file.anywhere())
        return placed.task
