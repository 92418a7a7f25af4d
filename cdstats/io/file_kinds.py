"""Masks among the files of a folder, by file names such as ``1_mask.png``."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import DataError, counted
from cdstats.core.vocabulary import vocabulary
from cdstats.io.containers import is_archive
from cdstats.io.naming import (
    LABELS,
    Role,
    label_rank,
    naturally,
    role_of,
    some,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

_SHOWN: Final = 3
"""Most folders or files named in a note."""
ENOUGH: Final = 0.5
"""Share of the smaller of two name sets that must match for the same images."""
_MOST_BESIDE: Final = 24
"""Most files in a folder where one, such as ``ref.png``, is the only mask."""
_TOKEN: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\dA-Za-z_]+")
_LONG_NUMBER: Final = re.compile(r"\d{2,}")
_THIRD: Final = re.compile(r"(?i)(?<![a-z])t0*([3-9]|[1-9]\d+)(?!\d)")
"""A tile number from ``t3`` on: ``t1`` and ``t2`` are tiles too, not dates."""


def path_choices(folder: Path, globs: Iterable[str]) -> str:
    """Shell-quoted paths, joined by "or"."""
    text = folder.as_posix()
    start = f"{text if is_archive(text) else glob.escape(text)}/"
    start = "" if folder == Path() else start
    if "=" in start.split("/")[0]:
        start = f"./{start}"
    return " or ".join(f"'{start}**/{one}'" for one in globs)


def paths_of_masks(folder: Path, masks: Sequence[str], others: Sequence[str]) -> str:
    """Globs that match the masks but not the other files in the same folder.

    Example:
        >>> paths_of_masks(Path("X"), ["y/1.png", "y/2.png"], ["x1/1.png", "x1/2.png"])
        "'X/**/y'"
        >>> paths_of_masks(Path("X"), ["s/cd_1.png"], ["s/2019_1.png", "s/2020_1.png"])
        "'X/**/cd_1.png'"
    """

    def file_name(name: str) -> str:
        return glob.escape(PurePosixPath(name).name)

    def shape(name: str) -> str:
        return re.sub(r"\d+", "*", file_name(name))

    def own_folder(name: str) -> str:
        return glob.escape(PurePosixPath(name).parent.name)

    for kind in (file_name, own_folder, shape):
        found = {kind(name) for name in masks}
        apart = not any(fnmatch(kind(one), way) for one in others for way in found)
        if apart and 0 < len(found) < _SHOWN and "" not in found:
            return path_choices(folder, naturally(found))
    return ""


def name_the_same(keys: AbstractSet[object], others: AbstractSet[object]) -> bool:
    """Whether at least half of the names of the smaller set are in the other."""
    fewer = min(len(keys), len(others))
    return fewer > 0 and len(keys & others) >= ENOUGH * fewer


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


class _Stem(NamedTuple):
    """The parsed name of a file.

    Attributes:
        kind: Words that state the kind of file, such as ``mask``; may be empty.
        key: The rest of the name, which the files of one image share.
        shape: The name as a glob, with ``*`` for all but the words of `kind`.
    """

    kind: str
    key: str
    shape: str


@lru_cache(maxsize=64)
def _stem_words() -> frozenset[str]:
    known = vocabulary()["words"]
    return frozenset().union(*(known[m] for m in known if m != "plain"))


def _is_marked(stem: str, token: re.Match[str], before: str, dated: bool) -> bool:
    """Whether a token of a file name states the kind of file."""
    word = token[0].lower()
    if word == "t" and not dated:
        return False
    if word in _stem_words() or word in vocabulary()["names"]["truth"]:
        return True
    if word.isdigit():
        # The number in im1 or t2, or of one of two labels.
        near = before and stem[token.start() - 1].isalpha()
        return bool(near and word in ("1", "2"))
    if word not in ("a", "b", "t", "s"):
        return False
    around = stem[: token.start()][-1:], stem[token.end() :][:1]
    if not "".join(around):
        return False
    if word in ("t", "s"):
        # Sentinel names have a second number, as in S1_mask_0001.
        is_date = word == "t" or len(re.findall(r"\d+", stem)) > 1
        return around[1] in ("1", "2") and not around[0].isalnum() and is_date
    return not any(one.isalnum() for one in around)


def _stem(name: str, *, numbered: bool = True, dated: bool = True) -> _Stem:
    stem = PurePosixPath(name).stem
    kind, key, shape, end, before = list[str](), list[str](), "", 0, ""
    for token in _TOKEN.finditer(stem):
        marked = _is_marked(stem, token, before, dated)
        if marked and token[0].isdigit() and not numbered:
            marked = before.lower() in ("s", "t")
        between = stem[end : token.start()]
        if marked:
            kind.append(token[0])
            shape += f"{glob.escape(between)}{glob.escape(token[0])}"
        else:
            key.append(token[0].lower())
            shape += "" if shape.endswith("*") else f"{glob.escape(between)}*"
        before = token[0] if marked else ""
        end = token.end()
    ending = glob.escape(stem[end:] + PurePosixPath(name).suffix)
    return _Stem("_".join(kind), "_".join(key), f"{shape}{ending}")


def file_words(name: str) -> tuple[Role, tuple[str, str]]:
    """The role that a file's name states, and its folder with the rest of the name.

    Example:
        >>> role, image = file_words("out/test_1_pred.png")
        >>> role.name, image
        ('PREDICTION', ('out', 'test_1'))
    """
    stem = _stem(name)
    return role_of(stem.kind), (_folder(name), stem.key)


def masks_by_file(
    folder: Path, names: list[str], known: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The masks of a folder by their file names, and notes on skipped files."""
    shapes = {_shape(name) for name in names}
    if len({(_stem(s).kind.lower(), PurePosixPath(s).suffix) for s in shapes}) < 2:
        return names, []
    kinds = _FileKinds(folder, names, known)
    left = kinds.left_out()
    if not left:
        return names, []
    kept = [name for name in names if name not in left]
    files = [name for name in names if name in left]
    read = naturally({kinds.shapes[kinds.kind_of[name]] for name in kept})
    note = (
        f"read {', '.join(read[:_SHOWN])}; "
        f"skipped {counted(len(files), 'file')}: {some(files)}"
    )
    return kept, [note]


def _shape(name: str) -> str:
    return _LONG_NUMBER.sub("00", name.rpartition("/")[2])


class _FileKinds:
    """The files of a folder, grouped by the kind that their names state."""

    def __init__(self, folder: Path, names: list[str], known: Sequence[str]) -> None:
        self._folder = folder
        self._known = known
        self._names = names
        dated = not any(_THIRD.search(PurePosixPath(name).stem) for name in names)
        read = {name: _stem(name, dated=dated) for name in names}
        roles = {role_of(stem.kind) for stem in read.values()}
        if Role.IMAGE not in roles or len(roles) == 1:
            # Without images, the numbers of gt1 and gt2 identify images.
            read = {name: _stem(name, numbered=False, dated=dated) for name in names}
        self.kind_of = {
            name: f"{stem.kind.lower()}{PurePosixPath(name).suffix.lower()}"
            for name, stem in read.items()
        }
        self.shapes: dict[str, str] = {}
        self._keys: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._folders: dict[str, set[str]] = defaultdict(set)
        for name, stem in read.items():
            kind = self.kind_of[name]
            self.shapes.setdefault(kind, stem.shape)
            self._keys[kind].add((_folder(name), stem.key))
            self._folders[kind].add(_folder(name))

    def _role(self, kind: str) -> Role:
        return role_of(kind.rpartition(".")[0])

    def left_out(self) -> set[str]:
        """The files beside masks that are not masks."""
        labels = sorted(
            (kind for kind in self._keys if self._role(kind) in LABELS),
            key=lambda kind: (label_rank(self._role(kind)), kind),
        )
        left: set[str] = set()
        gone: set[str] = set()
        for kind in labels:
            if kind in gone:
                continue
            for other in self._keys:
                if other == kind or other in gone or not self._share(kind, other):
                    continue
                if self._is_plain_label(other) and self._role(kind) is Role.OTHER:
                    # Colour renderings of the masks beside them, such as 1_color.png.
                    gone.add(kind)
                    left |= self._beside(kind, other)
                    break
                if self._role(other) in LABELS and self._refuses(kind, other):
                    if len(self._presets(kind, other)) == 1:
                        # Pixel values will decide which preset fits.
                        continue
                    self._refuse(kind, other)
                gone.add(other)
                left |= self._beside(other, kind)
        self._refuse_two_formats(gone)
        for kind in self._keys:
            if self._role(kind) is Role.ASIDE and len(self._keys) > 1:
                left |= {name for name in self._names if self.kind_of[name] == kind}
        return left | self._images_beside(left)

    def _refuse_two_formats(self, gone: set[str]) -> None:
        """Refuse the same name in two formats, such as a photograph and a mask."""
        kept = sorted(self._keys.keys() - gone)
        for number, kind in enumerate(kept):
            for other in kept[number + 1 :]:
                same = kind.rpartition(".")[0] == other.rpartition(".")[0]
                if same and name_the_same(self._keys[kind], self._keys[other]):
                    self._refuse(kind, other)

    def _refuses(self, kind: str, other: str) -> bool:
        """Whether neither kind of label is more likely to be the masks."""
        ranks = {label_rank(self._role(one)) for one in (kind, other)}
        return len(ranks) == 1 or "unchange" in other.replace("nochange", "unchange")

    def _share(self, kind: str, other: str) -> bool:
        """Whether two kinds of files belong to the same images.

        A name without a key, such as ``ref.png``, is the mask of its folder. Files
        of unknown kind belong to a mask if its key is a prefix or suffix of theirs.
        """
        keys, others = self._keys[kind], self._keys[other]
        if all(not key for _, key in keys):
            if len(self._keys[other]) > _MOST_BESIDE * len(self._folders[other]):
                return False
            return name_the_same(self._folders[kind], self._folders[other])
        if self._role(other) is Role.NONE:
            # In cd_1.png and seg1_1.png the key comes last.
            is_last = len(keys) > 1 and not self.shapes[kind].startswith("*")
            # Prefixes or suffixes of the key.
            others = {
                (folder, "_".join(words[at:] if is_last else words[: len(words) - at]))
                for folder, key in others
                for words in [key.split("_")]
                for at in range(len(words))
            }
        fewer = min(len(keys), len(self._keys[other]))
        return len(keys & others) >= ENOUGH * fewer

    def _is_plain_label(self, kind: str) -> bool:
        """Whether files of unknown kind are in folders named as masks."""
        if self._role(kind) is not Role.NONE:
            return False
        sure = (Role.TRUTH, Role.CHANGE)
        return all(
            any(role_of(one) in sure for one in (self._folder.name, *folder.split("/")))
            for folder in self._folders[kind]
        )

    def _beside(self, kind: str, masks: str) -> set[str]:
        """The files of a kind that are in the same folders as masks."""
        folders = self._folders[masks]
        return {
            name
            for name in self._names
            if self.kind_of[name] == kind and _folder(name) in folders
        }

    def _images_beside(self, left: set[str]) -> set[str]:
        """Images and predictions beside files of unknown kind."""
        found: set[str] = set()
        plain = [kind for kind in self._keys if self._role(kind) is Role.NONE]
        for kind in self._keys:
            if self._role(kind) in (Role.IMAGE, Role.PREDICTION):
                for other in plain:
                    several = len(self._keys[other]) > len(self._folders[other])
                    if several and not any(key for _, key in self._keys[kind]):
                        continue  # input.png among many masks may be a mask
                    if self._beside(other, kind) - left and self._share(kind, other):
                        found |= self._beside(kind, other)
        return found

    def _presets(self, kind: str, other: str) -> list[str]:
        """Presets of the known datasets that skip files of one of two kinds."""
        from cdstats.core.presets import preset

        names = [n for n in self._names if self.kind_of[n] in (kind, other)]
        return [
            name
            for name in self._known
            if any(
                fnmatch(PurePosixPath(one).name.lower(), shape.lower())
                for shape in preset(name).leave_out
                for one in names
            )
        ]

    def _refuse(self, kind: str, other: str) -> None:
        first, second = (self.shapes[one] for one in (kind, other))
        names = [PurePosixPath(name).name for name in self._names]
        ways = [
            self.shapes[one]
            for one in (kind, other)
            if "unchange" not in one
            and sum(fnmatch(name, self.shapes[one]) for name in names)
            == sum(held == one for held in self.kind_of.values())
        ]
        known = [f"--preset {name}" for name in self._presets(kind, other)]
        choices = " or ".join(known) or path_choices(self._folder, ways)
        text = f"{self._folder}: {first} and {second} are of the same images"
        if "unchange" in other:
            text = (
                f"{self._folder}: {first} marks changed pixels and {second} unchanged "
                "ones"
            )
            if PurePosixPath(first).stem == "change":
                choices = f"--preset partial-pair, or the first alone: {choices}"
        choices = choices or "name its files in a list, @LIST"
        raise DataError(f"{text}; read one: {choices}")
