"""What discovery finds: the masks of each dataset, before any is opened."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A mask file, or one array or image of it.

    Attributes:
        path: Where the file is.
        name: Its path below the dataset's, with forward slashes.
        split: Its split; empty for none.
        member: The array or image to read; empty for all.
        partner: The file of unchanged pixels, when two files make one mask.
    """

    path: str
    name: str
    split: str = ""
    member: str = ""
    partner: str = ""


@dataclass(frozen=True, slots=True)
class FoundSet:
    """The masks of one dataset.

    Attributes:
        name: The dataset's name.
        files: Its masks, in natural order.
        notes: What was decided on the way, for the user.
        problems: Inputs that could not be read, as one line each.
    """

    name: str
    files: tuple[FoundFile, ...] = ()
    notes: tuple[str, ...] = field(default=())
    problems: tuple[str, ...] = field(default=())


def pair_partial(files: Sequence[FoundFile]) -> list[FoundFile]:
    """``change`` files with the ``unchanged`` file beside them."""
    pairs, held = [], {file.path for file in files}
    for file in files:
        path = Path(file.path)
        partner = f"{file.path.removesuffix(path.name)}unchanged{path.suffix}"
        if path.stem == "change" and (partner in held or Path(partner).exists()):
            name = f"{file.name} + {Path(partner).name}"
            pairs.append(replace(file, name=name, partner=partner))
    return pairs
