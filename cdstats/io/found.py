"""What discovery finds: the masks of each dataset, before any is opened."""

from __future__ import annotations

from dataclasses import dataclass, field


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
