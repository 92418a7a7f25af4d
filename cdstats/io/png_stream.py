"""Whether the pixel chunks of a PNG are one whole stream, its own sum included.

A decoder that has all rows stops, and looks at no sum. In ordinary files a chunk that
is lost, doubled or misplaced makes a broken stream. It does not where chunks begin at
blocks of the stream that refer to nothing before: those streams are unpacked once here.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from cdstats.io.png import PngHeader

FLUSHED: Final = b"\0\0\xff\xff"
"""The last bytes of what a compressor was told to flush: an empty stored block."""
_STORED: Final = 0
_PIECE: Final = 1 << 20
_PASSES: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
"""First column and row, and steps between columns and rows, of interlaced passes."""


def begins_stored(start: bytes) -> bool:
    """Whether a stream begins with bytes that are stored as they are.

    Args:
        start: Its first three bytes.

    Example:
        >>> begins_stored(zlib.compress(b"a", 0)), begins_stored(zlib.compress(b"a"))
        (True, False)
    """
    return len(start) < 3 or start[2] >> 1 & 3 == _STORED


def check_stream(file: BinaryIO, header: PngHeader) -> None:
    """Unpack the pixels of a PNG in pieces, and check their sum and length.

    Args:
        file: The file, at the first chunk of pixels; it is left behind the last chunk.
        header: What the chunks before say.

    Raises:
        DataError: If the sum does not hold, the pixels are not as many as the header
            says, or bytes follow them.
    """
    expected = _stream_bytes(header)
    stream = zlib.decompressobj()
    unpacked = 0
    try:
        for piece in _pieces(file):
            left = piece
            while left and unpacked <= expected and not stream.unused_data:
                unpacked += len(stream.decompress(left, _PIECE))
                left = stream.unconsumed_tail
        if unpacked <= expected:
            unpacked += len(stream.flush())
    except zlib.error as error:
        raise DataError(f"PNG file is damaged: its pixels: {error}") from None
    if not stream.eof or stream.unused_data or unpacked != expected:
        raise DataError(
            "PNG file is damaged: its pixels are more or fewer than its header says"
        )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """What the chunks of pixels hold, in pieces."""
    while (start := file.read(8))[4:] not in (b"IEND", b""):
        left = int.from_bytes(start[:4])
        while start[4:] == b"IDAT" and left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                return
            yield piece
            left -= len(piece)
        file.seek(left + 4, io.SEEK_CUR)
    file.seek(4, io.SEEK_CUR)


def _stream_bytes(header: PngHeader) -> int:
    """Bytes of the rows of an image, the filter of each included."""
    passes = _PASSES if header.interlaced else ((0, 0, 1, 1),)
    total = 0
    for column, row, right, down in passes:
        width = -((column - header.width) // right)
        height = -((row - header.height) // down)
        if width > 0 and height > 0:
            bits = width * header.channels * header.depth
            total += height * (1 + (bits + 7) // 8)
    return total
