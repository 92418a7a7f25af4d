"""What a file is, by its first bytes; a name proves nothing."""

from __future__ import annotations

from typing import Final

_READABLE: Final = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x93NUMPY": "NPY",
    b"PK\x03\x04": "NPZ",
    b"PK\x05\x06": "NPZ",
}
_OTHERS: Final = {
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file: export the mask as PNG, TIFF or .npy",
    b"MATLAB": "a MATLAB file: export the mask as PNG, TIFF or .npy",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\0\0\0\x0cjP": "a JPEG 2000 image: convert it to TIFF",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}
EXTENSIONS: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy", ".npz")
)
"""File names that a folder scan reads, in lower case."""
EXPECTED: Final = "PNG, JPEG, BMP, TIFF, .npy or .npz"


def wanted_texts(extensions: frozenset[str]) -> tuple[str, str]:
    """What files are called that are looked for by their names, and their kinds.

    Example:
        >>> wanted_texts(EXTENSIONS | {".pt", ".pth"})
        ('prediction file', 'PNG, JPEG, BMP, TIFF, .npy, .npz or .pt')
    """
    if ".pt" not in extensions:
        return "mask file", EXPECTED
    return "prediction file", EXPECTED.replace(" or .npz", ", .npz or .pt")


def file_format(head: bytes) -> str | None:
    """The format of a file that can be read, from its first bytes.

    Example:
        >>> file_format(b"II*" + bytes(5)), file_format(b"GIF89a")
        ('TIFF', None)
    """
    return _match(head, _READABLE)


def foreign_text(head: bytes) -> str:
    """What a file is instead, for a message.

    Example:
        >>> foreign_text(b"hello")
        'is no image; expected PNG, JPEG, BMP, TIFF, .npy or .npz'
    """
    if not head:
        return f"is empty (0 bytes); expected {EXPECTED}"
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON: vector labels? Rasterise them first"
    return f"is {_match(head, _OTHERS) or 'no image'}; expected {EXPECTED}"


def _match(head: bytes, table: dict[bytes, str]) -> str | None:
    return next((name for magic, name in table.items() if head.startswith(magic)), None)
