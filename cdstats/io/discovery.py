"""The masks of each dataset, found from the paths that a user types."""

from __future__ import annotations

import io
import os
import re
import sys
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import CdstatsError, DataError, UsageError
from cdstats.core.labelling import Origin
from cdstats.core.records import ALL
from cdstats.core.secrets import hidden, without_secrets
from cdstats.io.addresses import (
    Address,
    is_address,
    looks_like_address,
    two_slashes,
)
from cdstats.io.containers import (
    ENDING,
    Inside,
    archives_in,
    file_on_disk,
    inside,
    is_archive,
    is_parquet,
    member_in,
    open_archive,
    typed_inside,
)
from cdstats.io.copies import folder
from cdstats.io.found import FoundFile, FoundFiles, FoundSet, identity, paired
from cdstats.io.layouts import (
    Search,
    looks_like,
    path_end,
    split_notes,
    without_left_out,
)
from cdstats.io.listing import (
    ARCHIVE_ENDS,
    ArchiveListing,
    Listing,
    is_folder,
    list_store,
    match_store,
    walk,
)
from cdstats.io.lists import (
    SplitLists,
    beside_list,
    lines_of,
    list_lines,
    listed_file,
    named_file,
)
from cdstats.io.naming import (
    dataset_name,
    natural_key,
    naturally,
    says_split_or_masks,
    split_above,
    split_in,
    usual_split,
)
from cdstats.io.outputs import refuse_overwriting
from cdstats.io.parquet import apart, rows_of
from cdstats.io.patterns import Pattern, is_pattern
from cdstats.io.sheets import SheetLine, header_text, is_sheet, read_sheet
from cdstats.io.signatures import is_one, is_zarr, wanted_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.presets import Preset

_MAGIC: Final = re.compile(r"[*?\[]")
_LOOKED_AT: Final = 500
"""Number of files whose names are compared with known datasets."""
UNASSIGNED: Final = "unassigned"
"""Split of masks that are in no folder of a split."""
_SPLIT_ALL: Final = f"split-{ALL}"
_KEY: Final = re.compile(r"/?[\w-]+(/[\w-]+)*(#\d+)?")


@dataclass
class _Found:
    """Files of one dataset during discovery."""

    name: str = ""
    home: str = ""
    roots: list[Path] = field(default_factory=list)
    files: FoundFiles = field(default_factory=FoundFiles)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    has_splits: bool = False

    def add(self, other: _Found) -> None:
        """Merge the files of another input."""
        if self.files:
            self.files.extend(other.files)
        else:
            self.files = other.files
        self.roots += other.roots
        self.notes += other.notes
        self.problems += other.problems
        self.texts += other.texts
        self.has_splits |= other.has_splits


def find_masks(
    paths: Sequence[str],
    *,
    split: str | None = None,
    preset: Preset | None = None,
    known: bool = False,
) -> list[FoundSet]:
    """Find the masks of every dataset; `known` applies presets to known datasets."""
    groups = _groups(paths, Search(preset=preset, known=known))
    found = [_finish(one, preset) for one in groups]
    return found if split is None else [of_split(one, split) for one in found]


def find_files(paths: Sequence[str], extensions: frozenset[str]) -> list[FoundSet]:
    """Find all files with these extensions, such as predictions."""
    groups = _groups(paths, Search(extensions, masks=False))
    return [_finish(found, None, masks=False) for found in groups]


class SheetPairs(NamedTuple):
    """Lines of sheets as prediction and mask, with the index of their sheet.

    ``masks`` holds the masks of all lines; a pair without a file there has no mask.
    """

    lines: list[tuple[int, SheetLine, FoundFile, FoundFile | None]]
    masks: FoundSet
    notes: tuple[str, ...]


def find_sheets(places: Sequence[str], preset: Preset | None = None) -> SheetPairs:
    """Read the pairs of sheets, each given as ``@FILE``.

    Raises:
        DataError: If a list is not a sheet or has no column of predictions.
    """
    sides, lines = (_Found(), _Found()), list[tuple[int, SheetLine]]()
    notes = list[str]()
    for number, text in enumerate(map(hidden, places)):
        name, root = _list_name(text[1:])
        sheet = read_sheet(text, list_lines(text[1:]))
        if not sheet.lines[0].pred:
            raise DataError(f"{text}: has no predictions; expected a column pred")
        lines += [(number, line) for line in sheet.lines]
        notes += [f"{text}: {one}" for one in sheet.notes]
        for side, masks in zip(sides, (False, True), strict=True):
            side.add(_on_sheet(text[1:], name, root, sheet.lines, masks=masks))
    keys = [[identity(file) for file in side.files] for side in sides]
    found = [
        _finish(side, preset if masks else None, masks=masks)
        for side, masks in zip(sides, (False, True), strict=True)
    ]
    preds, targets = ({identity(file): file for file in one.files} for one in found)
    pairs = [
        (*line, preds[one], targets.get(two))
        for line, one, two in zip(lines, *keys, strict=True)
    ]
    notes += [*found[0].notes, *found[1].notes]
    return SheetPairs(pairs, found[1], tuple(notes))


def _groups(paths: Sequence[str], search: Search) -> list[_Found]:
    """Group the inputs by dataset.

    Files without a name form one dataset, as do split folders of one dataset.
    """
    groups: dict[str, _Found] = {}
    for text in map(hidden, paths):
        name, place = split_name(text)
        found = _find(name, place, search)
        key = name or found.home or ("" if not found.name else f"\0{text}")
        into = groups.setdefault(key, _Found(found.name))
        into.add(found)
        into.sources.append(text)
    return _apart(list(groups.values()))


def _apart(groups: list[_Found]) -> list[_Found]:
    """Give datasets of the same name different names, by parent folder or number."""
    seen: dict[str, int] = {}
    names = [found.name for found in groups]
    for found in groups:
        if names.count(found.name) > 1 and found.home:
            above = Path(found.home).parent.name
            found.name = f"{above}/{found.name}" if above else found.name
        seen[found.name] = seen.get(found.name, 0) + 1
        if seen[found.name] > 1 and found.name:
            found.name = f"{found.name} ({seen[found.name]})"
    return groups


def split_name(text: str) -> tuple[str, str]:
    """Split ``NAME=PATH``, unless the whole text is an existing path."""
    name, equals, place = text.partition("=")
    if not text or (equals and not place and not os.path.lexists(text)):
        raise UsageError(f"{text!r} has no path")
    if not equals or not name or "/" in name or os.path.lexists(text):
        return "", text
    return name, place


def _find(name: str, text: str, search: Search) -> _Found:
    """Find the files of one argument; single files get their dataset name later."""
    try:
        found = _look(text, search)
        found.files = rows_of(found.files, text)
    except UsageError:
        raise
    except CdstatsError as error:
        found = _Found(text, problems=[str(error)])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        found = _Found(text, problems=[f"{text}: cannot be read: {reason}"])
    if looks_like_address(text):
        found.problems = [two_slashes(one) for one in found.problems]
    found.name = name or found.name
    return found


def _look(text: str, search: Search) -> _Found:
    if text == "-":
        # UTF-8 in every locale; undecodable bytes in names are kept.
        encoding, errors = "utf-8-sig", "surrogateescape"
        names = io.TextIOWrapper(sys.stdin.buffer, encoding=encoding, errors=errors)
        return _listed("stdin", Path(), "", lines_of(names, "-"), search)
    path, is_there = Path(text), os.path.lexists(text)
    if text.startswith("@") and not is_there:
        return _read_list(text[1:], search)
    if path.is_dir():
        if is_zarr(path):
            return _file(path)
        return _folder(walk(path, search.extensions | {ENDING}), search)
    typed = typed_inside(text)
    if is_there and not typed:
        return _file(path)
    whole, key = member_in(text)
    if _KEY.fullmatch(key) or (key and is_parquet(whole)):
        varies = is_pattern(whole) or _MAGIC.search(whole) or typed_inside(whole)
        if varies or whole.endswith("/") or Path(whole).is_dir():
            # The key applies to each file of the folder, glob or pattern.
            found = _look(whole, search)
            found.files = _with_member(found.files, key)
            return found
    if looks_like_address(text):
        return _remote(text, search)
    if typed:
        return _inside(text, typed, search)
    if is_pattern(text) or _MAGIC.search(text):
        return _local_matching(text, search)
    if key and is_one(Path(whole)):
        return _file(Path(whole), key)
    raise DataError(f"{text}: no such file or folder")


def _with_member(files: FoundFiles, member: str, ending: str = "") -> FoundFiles:
    return FoundFiles(
        f._replace(name=f"{f.name}#{member}" if f.name else "", member=member)
        if not f.member and f.path.lower().endswith(ending)
        else f
        for f in files
    )


def _remote(text: str, search: Search) -> _Found:
    """Find the files of an address: one file, a member, or a folder or pattern."""
    folder()
    file = named_file(text)
    address = Address.parse(file.path)
    if is_archive(address.key):
        raise DataError(
            f"{text}: archives in a store cannot be read; download it and give the "
            "local path"
        )
    magic = _MAGIC if address.scheme in ("s3", "gs") else re.compile(r"\*")
    if is_pattern(text) or magic.search(text):
        return _matching(text, *match_store(text, search.extensions | {ENDING}), search)
    if not file.member and is_folder(address, text):
        return _folder(list_store(address, search.extensions | {ENDING}), search)
    return _Found(roots=[Path(file.path).parent], files=FoundFiles([file]))


def _inside(text: str, typed: Inside, search: Search) -> _Found:
    """Find the files of a path in an archive: all, a folder, a glob or one member."""
    folder()
    paths, member = archives_in(typed.archive), typed.member
    if is_pattern(member) or _MAGIC.search(member):
        pattern = _pattern(member)
        below = pattern.folder.strip("./")
    else:
        pattern, below = None, member
    listing = ArchiveListing(typed.archive, paths, below, search.extensions)
    if pattern:
        return _matching(text, pattern, listing, search)
    if not member or listing.is_there:
        return _folder(listing, search)
    if listing.problems:
        raise DataError(listing.problems[0])
    files = FoundFiles(
        FoundFile(f"{_absolute(Path(path))}!{member}", "")
        for path in paths
        if member in open_archive(path).members
        and not member.lower().endswith(ARCHIVE_ENDS)
    )
    if not files and is_archive(member):
        raise DataError(
            f"{text}: nested archives cannot be read; unpack {typed.archive} and "
            "name its folder"
        )
    if not files:
        raise DataError(f"{text}: no such file or folder in the archive")
    return _Found(roots=[listing.base], files=files)


def _file(path: Path, member: str = "") -> _Found:
    file = FoundFile(_absolute(path), "", "", member)
    return _Found(roots=[Path(file.path).parent], files=FoundFiles([file]))


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def _folder(listing: Listing, search: Search) -> _Found:
    home = listing.place
    while says_split_or_masks(home.name):
        home = home.parent
    names, told = apart(listing.root, listing.names)
    chosen = search.choose(listing.root, names)
    found = _Found(
        *(dataset_name(listing.folders), str(home), [listing.base]),
        *(listing.files(chosen.names), chosen.notes, listing.problems),
        texts=listing.texts,
    )
    if found.files:
        told += split_notes(chosen.names) if search.masks else []
        told += listing.auxiliary_notes(chosen.names)
        found.notes = [*chosen.notes, *told, *listing.unread_notes()]
    elif not found.problems:
        found.problems = [listing.empty_text(search.extensions)]
    return found


def _local_matching(text: str, search: Search) -> _Found:
    pattern = _pattern(text)
    root = Path(pattern.folder)
    if not root.is_dir():
        raise DataError(f"{text}: folder {root} not found")
    listing = walk(root, search.extensions | {ENDING}, pattern.descent)
    return _matching(text, pattern, listing, search)


def _pattern(text: str) -> Pattern:
    parts = text.replace(os.sep, "/").split("/")
    if not is_pattern(text):
        # In a glob, ** crosses folders only as a whole path component.
        parts = [one if one == "**" else re.sub(r"\*+", "*", one) for one in parts]
    return Pattern("/".join(parts))


def _matching(text: str, pattern: Pattern, listing: Listing, search: Search) -> _Found:
    """Files that match a pattern, and files in folders that match a glob."""
    named, inside = list[str](), list[str]()
    below = None if is_pattern(text) else Pattern(f"{pattern.text}/**")
    folders = below and pattern.text.endswith("/")
    for name in listing.names:
        path = f"{pattern.start}{listing.inner(name)}"
        if not folders and pattern.match(path) is not None:
            named.append(name)
        if below and below.match(path) is not None:
            inside.append(name)
    named, told = apart(listing.root, named)
    inside, more_told = apart(listing.root, inside)
    kept = without_left_out(named, search.preset)
    chosen = search.choose(listing.root, inside)
    more = {*chosen.names}.difference(kept.names) if chosen.names else set()
    names = naturally([*kept.names, *more]) if more else kept.names
    notes = [*told, *more_told, *kept.notes, *(chosen.notes if more else [])]
    notes += listing.auxiliary_notes(names)
    found = _Found(dataset_name(listing.folders), roots=[listing.base], notes=notes)
    found.files, found.problems = listing.files(names), listing.problems
    if "{split}" in pattern.text:
        found.files = FoundFiles(
            file._replace(split=usual_split(parts["split"]))
            for file, name in zip(found.files, names, strict=True)
            if (parts := pattern.match(f"{pattern.start}{listing.inner(name)}"))
        )
    if not names and not found.problems:
        kind, expected = wanted_texts(search.extensions)
        first = _example(listing, search.extensions)
        holds = f"the folder holds {first}, ..." if first else f"expected {expected}"
        raise DataError(f"{text}: matches no {kind}; {holds}")
    return found


def _example(listing: Listing, extensions: frozenset[str]) -> str:
    """The name of one file in the folder, for messages; empty if there is none."""
    if listing.names:
        return min(listing.names, key=natural_key)
    for above, _, names in islice(os.walk(listing.root), _LOOKED_AT):
        suffixes = [(Path(name).suffix.lower(), name) for name in naturally(names)]
        if named := [name for suffix, name in suffixes if suffix in extensions]:
            return Path(above, named[0]).relative_to(listing.root).as_posix()
    return ""


def _read_list(place: str, search: Search) -> _Found:
    return _listed(*_list_name(place), place, list_lines(place), search)


def _list_name(place: str) -> tuple[str, Path]:
    """The dataset name of a list, and the folder to which its paths are relative."""
    path = Path(place)
    if not is_address(place) and path.exists() and not path.is_file():
        # The name of a pipe, such as /dev/fd/63, is not a dataset name.
        return "list", Path()
    return dataset_name(Path(_absolute(path.with_suffix(""))).parts), path.parent


def _listed(
    name: str, root: Path, place: str, lines: Iterable[str], search: Search
) -> _Found:
    """The files of a plain list, or the masks of a sheet."""
    text = f"@{place}" if place else name
    rest, before = iter(lines), list[str]()
    for line in rest:
        before.append(line)
        if line.strip():
            break
    first = before[-1] if before else ""
    if is_sheet(first):
        if not search.masks:
            raise UsageError(
                f"{text}: names the masks of its predictions; omit --target"
            )
        sheet = read_sheet(text, chain(before, rest))
        found = _on_sheet(place, name, root, sheet.lines, masks=True)
        found.notes += sheet.notes
        return found
    is_table = place.lower().endswith((".csv", ".tsv"))
    if is_table and not _names_file(root, first.strip()):
        raise DataError(f"{header_text(text, first)}, or one path in each line")
    written = filter(None, (one.strip() for one in chain([first], rest)))
    return _on_list(place, name, root, written)


def _names_file(root: Path, line: str) -> bool:
    is_plain = not re.search(r"[,;\t]", line) or looks_like_address(line)
    return is_plain or os.path.lexists(root / line)


def _on_sheet(
    place: str, name: str, root: Path, lines: Sequence[SheetLine], *, masks: bool
) -> _Found:
    named = (line.target if masks else line.pred for line in lines)
    found = _on_list(place, name, root, named)
    if len(found.files) != len(lines):
        raise DataError(f"@{place}: expected a row in a cell: {found.files[0].name}")
    if masks and lines[0].split:
        found.has_splits = True
        found.files = FoundFiles(
            file._replace(split=usual_split(line.split))
            for file, line in zip(found.files, lines, strict=True)
        )
    return found


def _on_list(place: str, name: str, root: Path, lines: Iterable[str]) -> _Found:
    above = Path(_absolute(root))
    files = FoundFiles()
    for line in lines:
        line = beside_list(place, line)
        if looks_like_address(line):
            files.append(listed_file(line))
            continue
        line = without_secrets(line)
        path = root / line
        file, member = member_in(line)
        whole = root / file
        if member and not path.exists() and (is_one(whole) or inside(str(whole))):
            path = whole
        else:
            member = ""
        typed = split_in(Path(line).parts[:-1]) or split_above(above.parts)
        files.append(FoundFile(_absolute(path), line, typed, member))
    if not files:
        raise DataError(f"{name}: the list is empty")
    return _Found(name, roots=[above], files=rows_of(files))


def _finish(found: _Found, preset: Preset | None, *, masks: bool = True) -> FoundSet:
    """Set names, pairs, splits and order of a dataset's files."""
    if preset and preset.variable:
        found.files = _with_member(found.files, preset.variable, ".mat")
    files = _relative(found)
    problems, notes = list(found.problems), list(dict.fromkeys(found.notes))
    if preset and preset.pair and files:
        files = paired(files)
        if not files:
            problems.append(
                f"{found.name}: holds no change.bmp beside an unchanged.bmp"
            )
    refuse_overwriting(
        file_on_disk(path) for f in files for path in (f.path, f.partner) if path
    )
    files = files.unique().ordered()
    common = _common(found.roots) if found.roots else Path()
    root: PurePath = common
    if all(is_address(two_slashes(one.as_posix())) for one in found.roots):
        root = PurePath(os.path.commonpath(found.roots)) if found.roots else root
    # Split lists are searched only within the root.
    reads = masks and files and not found.has_splits
    lists = reads and SplitLists(files, root, found.texts)
    try:
        if any(files.splits):
            notes += lists.beside_folders() if lists else []
            if "" in files.splits:
                files = FoundFiles(
                    file if file.split else file._replace(split=UNASSIGNED)
                    for file in files
                )
        elif lists:
            files, listed = lists.split()
            notes += listed
    except DataError as error:
        files, problems = FoundFiles(), [*problems, str(error)]
    if ALL in files.splits:
        files = FoundFiles(
            file._replace(split=_SPLIT_ALL) if file.split == ALL else file
            for file in files
        )
        notes.append(
            f"split {ALL} is renamed {_SPLIT_ALL}, because {ALL} is the row of the "
            "whole dataset"
        )
    name = found.name or dataset_name(common.parts)
    above = PurePath(name, *common.parts) if files else PurePath()
    looks = looks_like(above, [file.name for file in files[:_LOOKED_AT]])
    origin = Origin(path_end(above), looks)
    sources = tuple(found.sources)
    return FoundSet(name, files, tuple(notes), tuple(problems), sources, origin)


def _common(roots: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([_absolute(root) for root in roots]))


def _relative(found: _Found) -> FoundFiles:
    """Make file names relative to the common folder of the dataset's paths."""
    if len(found.roots) < 2 and found.files.are_named:
        return found.files
    base, files = _common(found.roots), FoundFiles()
    for file in found.files:
        path = Path(_absolute(Path(file.path))).relative_to(base)
        split = file.split or split_in(path.parts[:-1]) or split_above(base.parts)
        name = path.as_posix() + (f"#{file.member}" if file.member else "")
        files.append(file._replace(name=name, split=split))
    return files


def of_split(found: FoundSet, split: str) -> FoundSet:
    """The files of one split; a missing split is reported as a problem."""
    split = usual_split(split)
    kept = FoundFiles(
        file._replace(again=False) for file in found.files if file.split == split
    )
    problems = found.problems
    if found.files and not kept:
        held = ", ".join(sorted({file.split for file in found.files} - {""}))
        way = f"it holds {held}" if held else "none was found: omit --split"
        text = f"has no split {split!r}; {way}"
        problems = (*problems, f"{found.name}: {text}")
    return found._replace(files=kept, problems=problems)
