"""How many bytes packed data unpacks to, without unpacking it."""

from __future__ import annotations

from typing import Final

_CLEAR: Final = 256
_END: Final = 257
_FIRST: Final = 258
_WIDEST: Final = 12
_END_OF_ROW, _END_OF_RUNS, _SKIP = 0, 1, 2


def packbits_bytes(packed: bytes, most: int) -> int:
    """Bytes that PackBits runs unpack to, counted to at most ``most``.

    Example:
        >>> packbits_bytes(bytes([2, 7, 8, 9, 254, 1]), 100)
        6
    """
    total = at = 0
    while at < len(packed) and total < most:
        head = packed[at]
        if head < 128:
            total += min(head + 1, len(packed) - at - 1)
            at += head + 2
        elif head > 128:
            total += 257 - head if at + 1 < len(packed) else 0
            at += 2
        else:
            at += 1
    return min(total, most)


def lzw_bytes(packed: bytes, most: int) -> int | None:
    """Bytes that the LZW codes of a TIFF strip unpack to, counted to ``most``.

    Codes are read to the one that ends the data. 0 where a code has no meaning, None
    for the codes of early writers, which begin with their lowest bit.

    Example:
        >>> lzw_bytes(bytes([0x80, 0x01, 0xE0, 0x50, 0x10]), 100)
        3
    """
    if len(packed) > 1 and packed[0] == 0 and packed[1] & 1:
        return None
    lengths = [1] * _FIRST
    buffer = held = total = 0
    bits, previous = 9, 0
    for byte in packed:
        buffer = (buffer << 8 | byte) & 0xFFFFFF
        held += 8
        if held < bits:
            continue
        held -= bits
        code = buffer >> held & ((1 << bits) - 1)
        if code == _CLEAR:
            del lengths[_FIRST:]
            bits, previous = 9, 0
            continue
        if code == _END or total >= most:
            break
        if code > len(lengths) or (code == len(lengths) and not previous):
            return 0
        if previous and len(lengths) < 1 << _WIDEST:
            lengths.append(previous + 1)
        previous = lengths[code]
        total += previous
        # The encoder widens its codes one early.
        if len(lengths) >= (1 << bits) - 1 and bits < _WIDEST:
            bits += 1
    return min(total, most)


def run_bytes(
    packed: bytes | memoryview, bits: int, width: int, height: int
) -> int | None:
    """Bytes that the runs of a BMP file take to fill its rows exactly.

    Args:
        packed: The runs, and what follows them.
        bits: Bits of a pixel, 4 or 8.
        width: Pixels of a row.
        height: Rows.

    Returns:
        None where a row gets more or fewer pixels, pixels are skipped, or the runs do
        not come to an end; nothing is read further than that.

    Example:
        >>> run_bytes(bytes([3, 7, 0, 0, 0, 3, 1, 2, 3, 0, 0, 1]), 8, 3, 2)
        12
    """
    filled = rows = at = 0
    while at + 1 < len(packed) and filled <= width:
        count, code = packed[at], packed[at + 1]
        at += 2
        if count:
            filled += count
        elif code == _END_OF_ROW:
            if filled != width or rows == height:
                return None
            filled, rows = 0, rows + 1
        elif code == _END_OF_RUNS:
            # The last row may be ended by itself.
            last = filled == width and rows == height - 1
            return at if last or (not filled and rows == height) else None
        elif code == _SKIP:
            return None
        else:
            filled += code
            length = (code * bits + 7) // 8
            at += length + length % 2
    return None
