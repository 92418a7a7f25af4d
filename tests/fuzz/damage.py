"""Damages: each turns a whole file into a broken one, by a seeded generator."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from .clean import clean_files
from .parts import is_recombined, is_unchecked, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clean import Clean

SUFFIXES: Final = (".png", ".jpg", ".bmp", ".tif", ".npy", ".npz", ".txt", "")


@dataclass(frozen=True)
class Damaged:
    """A broken file.

    Attributes:
        source: The whole file that it was.
        kind: What was done to it, a key of `DAMAGES`; ``", extension"`` after it where
            its name has a wrong one too.
        data: Its bytes.
        suffix: The extension of its name.
        unchecked: Whether only bytes changed that nothing in the file checks.
    """

    source: Clean
    kind: str
    data: bytes
    suffix: str
    unchecked: bool


def damaged_file(format_: str, seed: int, number: int) -> Damaged:
    """The broken file of a number: the same in every run."""
    random = Random(f"{format_} {seed} {number}")  # noqa: S311 - no secret
    source = random.choice(clean_files(format_))
    kind = random.choice(tuple(DAMAGES))
    data = DAMAGES[kind](source, random)
    # A file spliced near its end or start may be another whole one.
    source = next((f for f in clean_files(format_) if f.data == data), source)
    suffix = "." + source.name.partition(".")[2]
    # The rest of a spliced file is of another one, its start may be harmless there.
    sources = clean_files(format_) if kind == "spliced" else (source,)
    unchecked = any(_is_unchecked(file, data) for file in sources)
    if random.random() < 0.05:
        kind, suffix = f"{kind}, extension", random.choice(SUFFIXES)
    return Damaged(source, kind, data, suffix, unchecked)


def _is_unchecked(source: Clean, data: bytes) -> bool:
    """Whether two files differ in unchecked bytes alone.

    There may be more or fewer of them where the format does not say how many there are.
    """
    if is_recombined(source, data):
        return True
    whole = source.data
    shared = min(len(whole), len(data))
    places = [at for at in range(shared) if whole[at] != data[at]]
    if source.inner.startswith(("zarr.json", ".z")):
        return _is_json(data)
    if len(whole) != len(data):
        if source.format != "jpeg":
            return False
        first = places[0] if places else shared
        rest = zip(reversed(whole[first:]), reversed(data[first:]), strict=False)
        least = min(len(whole), len(data)) - first
        same = next((at for at, (one, two) in enumerate(rest) if one != two), least)
        places = [*range(first, len(whole) - same), max(first - 1, 0)]
    elif _has_exchanged_places(source, data):
        return True
    elif _has_whole_strips(source, data):
        strips = [part for part in parts_of(source) if part.strip]
        places = [
            at for at in places if not any(p.start <= at < p.stop for p in strips)
        ]
        return is_unchecked(source, places)
    return bool(places) and is_unchecked(source, places)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _has_whole_strips(source: Clean, data: bytes) -> bool:
    """Whether every strip of a file is a whole one, if of another place."""
    strips = [part for part in parts_of(source) if part.strip]
    whole = {source.data[part.start : part.stop] for part in strips}
    return bool(strips) and all(data[p.start : p.stop] in whole for p in strips)


def _has_exchanged_places(source: Clean, data: bytes) -> bool:
    """Whether a file differs in nothing but which page has which of its strips."""
    places = [part for part in parts_of(source) if part.place]
    entries = [data[part.start : part.stop] for part in places]
    if sorted(entries) != sorted(source.data[p.start : p.stop] for p in places):
        return False
    mended = bytearray(data)
    for part in places:
        mended[part.start : part.stop] = source.data[part.start : part.stop]
    return mended == source.data


def without_unchecked(source: Clean, data: bytes) -> bytes | None:
    """A broken file whose unchecked bytes are whole again; None if its length differs.

    What it counts tells whether a miscount came from the bytes that nothing checks.
    """
    if len(data) != len(source.data):
        return None
    mended = bytearray(data)
    for part in parts_of(source):
        if part.unchecked:
            mended[part.start : part.stop] = source.data[part.start : part.stop]
    return bytes(mended)


def _place(file: Clean, random: Random) -> int:
    """A byte of any part: small parts are hit as often as large ones."""
    part = random.choice(parts_of(file))
    return random.randrange(part.start, max(part.stop, part.start + 1))


def _edge(file: Clean, random: Random) -> int:
    """A place at which a part begins, or just beside."""
    start = random.choice(parts_of(file)).start + random.choice((-1, 0, 0, 1, 4))
    return min(max(start, 0), len(file.data) - 1)


def _replace(file: Clean, at: int, new: bytes) -> bytes:
    return (file.data[:at] + new + file.data[at + len(new) :])[: len(file.data)]


def _bit(file: Clean, random: Random) -> bytes:
    at = _place(file, random)
    return _replace(file, at, bytes([file.data[at] ^ 1 << random.randrange(8)]))


def _bits(file: Clean, random: Random) -> bytes:
    data = bytearray(file.data)
    for _ in range(random.randint(2, 8)):
        data[_place(file, random)] ^= 1 << random.randrange(8)
    return bytes(data)


def _noise(file: Clean, random: Random) -> bytes:
    at = _place(file, random)
    return _replace(file, at, random.randbytes(random.randint(1, 64)))


def _zeros(file: Clean, random: Random) -> bytes:
    at = _place(file, random)
    return _replace(file, at, bytes(random.choice((1, 2, 4, 8, 16, 64, 512))))


def _cut(file: Clean, random: Random) -> bytes:
    return file.data[: random.randrange(len(file.data))]


def _cut_at_part(file: Clean, random: Random) -> bytes:
    return file.data[: _edge(file, random)]


def _tail_lost(file: Clean, random: Random) -> bytes:
    return file.data[: -random.randint(1, 16)]


def _tail_zeroed(file: Clean, random: Random) -> bytes:
    at = random.randrange(len(file.data))
    return file.data[:at] + bytes(len(file.data) - at)


def _deleted(file: Clean, random: Random) -> bytes:
    at = _place(file, random)
    return file.data[:at] + file.data[at + random.choice((1, 1, 2, 4, 16, 100)) :]


def _inserted(file: Clean, random: Random) -> bytes:
    at = _place(file, random)
    new = random.choice((random.randbytes, bytes))(random.choice((1, 1, 2, 4, 16, 100)))
    return file.data[:at] + new + file.data[at:]


def _number(file: Clean, random: Random) -> bytes:
    """A number, such as a length, near the start of a part is a wrong one."""
    part = random.choice(parts_of(file))
    code = random.choice((">I", "<I", ">H", "<H"))
    size = struct.calcsize(code)
    at = min(part.start + random.randrange(16), len(file.data) - size)
    if at < 0:
        return b""
    (old,) = struct.unpack_from(code, file.data, at)
    full = 256**size
    new = random.choice((old + 1, old - 1, old * 2, old // 2, 0, full - 1, full // 2))
    return _replace(file, at, struct.pack(code, new % full))


def _two_parts(file: Clean, random: Random) -> tuple[slice, slice]:
    """Two parts of a file that do not overlap, in their order."""
    for _ in range(50):
        one, two = sorted(
            random.sample(parts_of(file), 2), key=lambda part: (part.start, part.stop)
        )
        if one.stop <= two.start:
            break
    return slice(one.start, one.stop), slice(max(two.start, one.stop), two.stop)


def _swapped(file: Clean, random: Random) -> bytes:
    one, two = _two_parts(file, random)
    data = file.data
    between = data[one.stop : two.start]
    return data[: one.start] + data[two] + between + data[one] + data[two.stop :]


def _removed(file: Clean, random: Random) -> bytes:
    part = random.choice(parts_of(file))
    return file.data[: part.start] + file.data[part.stop :]


def _doubled(file: Clean, random: Random) -> bytes:
    part = random.choice(parts_of(file))
    return file.data[: part.stop] + file.data[part.start :]


def _joined(file: Clean, random: Random) -> bytes:
    return file.data + random.choice(clean_files(file.format)).data


def _appended(file: Clean, random: Random) -> bytes:
    extra = random.randint(1, 600)
    return file.data + random.choice((bytes(extra), random.randbytes(extra)))


def _spliced(file: Clean, random: Random) -> bytes:
    """The start of one file and the rest of another."""
    other = random.choice(clean_files(file.format)).data
    at = random.randrange(len(file.data))
    return file.data[:at] + other[at:]


DAMAGES: Final[dict[str, Callable[[Clean, Random], bytes]]] = {
    "one bit": _bit,
    "some bits": _bits,
    "noise": _noise,
    "zeros": _zeros,
    "cut": _cut,
    "cut at a part": _cut_at_part,
    "tail lost": _tail_lost,
    "tail zeroed": _tail_zeroed,
    "deleted": _deleted,
    "inserted": _inserted,
    "wrong number": _number,
    "parts swapped": _swapped,
    "part removed": _removed,
    "part doubled": _doubled,
    "joined": _joined,
    "appended": _appended,
    "spliced": _spliced,
}
