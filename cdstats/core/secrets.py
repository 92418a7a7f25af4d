"""Addresses without their secrets.

Login, query and a fragment that is not an array name are removed from an address where
it enters the program: in arguments of the command line or Python (`hidden`), and in
lines of lists (`sealed`). The remaining text may appear in messages, tables, files and
caches. A `Sealed` carries login and query in addition to that text, only for the
request, also to worker processes.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

START: Final = re.compile(
    r"(?i)[a-z][a-z0-9+.-]+://|\b(?:s3|gs|https?|ftps?|sftp|webdavs?|tcp|tls):/"
)
"""Start of an address; path objects drop the second slash."""
_AUTHORITY: Final = re.compile(r"/*[^/?#]*")
_HOST: Final = re.compile(r"[^:]*|(?:\[[^\]]*\]|[^:]*\.[^:]*|localhost):\d{0,5}")
"""A host, optionally with a port that cannot be a login such as ``me:1234``."""
_BUCKETS: Final = ("s3", "gs")
_BUCKET_QUERY: Final = re.compile(r"[?#][\w.~%-]+=")
"""Start of a query or token in the key of a bucket; globs may contain ``?`` too."""
_IMAGES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy")
_OF_ARRAYS: Final = (
    *(".npz", ".pt", ".pth", ".h5", ".hdf5", ".nc", ".mat", ".zarr"),
    *("/", "*", "}"),
)
_OF_FRAGMENTS: Final = (*_IMAGES, *_OF_ARRAYS)
_NUMBER: Final = re.compile(r"\d{1,9}")
_NAME: Final = re.compile(r"[\w .:/+-]{1,64}")
_SIGNING: Final = re.compile(
    r"(x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy"
    r"|key-pair-id)(=.*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Parts of a query that sign it; they change whenever an address is created."""


class Sealed(str):
    """The text of an address without its secrets, which it carries along.

    The text may be shown: joining, formatting or slicing it never gives secrets. Two
    objects with equal text but different secrets are unequal.

    Attributes:
        login: ``user:password``; may be empty.
        query: The text after ``?``; may be empty.

    Example:
        >>> place = sealed("https://me:secret@host/a.png?token=1")
        >>> place, f"{place} at {place.login!r}"
        ('https://host/a.png', "https://host/a.png at 'me:secret'")
    """

    login: str
    query: str

    def __new__(cls, text: str, login: str = "", query: str = "") -> Self:
        """Create from text without secrets and the secrets that belong to it."""
        self = super().__new__(cls, text)
        self.login, self.query = login, query
        return self

    def __getnewargs__(self) -> tuple[str, str, str]:  # type: ignore[override]
        return str(self), self.login, self.query

    def __eq__(self, other: object) -> bool:
        secrets = getattr(other, "login", ""), getattr(other, "query", "")
        return str.__eq__(self, other) is True and secrets == (self.login, self.query)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        if not self.login and not self.query:
            return super().__hash__()
        return hash((str(self), self.login, self.query))

    def like(self, text: str) -> Sealed:
        """Another address in the same store."""
        return Sealed(text, self.login, self.query)


_GIVEN: Final[ContextVar[dict[str, Sealed]]] = ContextVar("given")
"""Addresses of arguments with their secrets, by the remaining text."""


@contextmanager
def arguments_of_a_call() -> Iterator[None]:
    """Forget the secrets of arguments at the end of the context.

    A later call with an address without login must not send an earlier login.
    """
    token = _GIVEN.set(dict(_given()))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def hidden(argument: str) -> str:
    """An argument without the secrets of its address, which are remembered.

    The address may follow a name or ``@``: ``NAME=https://...``. `sealed` restores the
    secrets for the remaining text. If addresses differ only in their secrets, later
    ones get a number.

    Example:
        >>> hidden("A=https://me:secret@host/a.png"), hidden("--changed")
        ('A=https://host/a.png', '--changed')
    """
    found = START.search(argument)
    if found is None:
        return argument
    place, text, fragment = _split_address(argument[found.start() :])
    if place.login or place.query:
        number, given = 1, _given()
        while (known := given.get(text)) and unsigned(known.query) != unsigned(
            place.query
        ):
            number += 1
            text = f"{place}?hidden-{number}"
        given[text] = place
    return f"{argument[: found.start()]}{text}{fragment}"


def holds_secret(argument: str) -> bool:
    """Whether secrets were removed from the address of an argument."""
    found = START.search(argument)
    return bool(found and argument[found.start() :].partition("#")[0] in _given())


def forget() -> None:
    """Forget the secrets of all arguments."""
    _given().clear()


def sealed(text: str) -> Sealed:
    """An address, given with or without secrets, as a text that is safe to show."""
    if isinstance(text, Sealed):
        return text
    place, _, fragment = _split_address(text)
    return place.like(f"{place}{fragment}")


def without_secrets(text: str) -> str:
    """A text without the secrets of an address inside it.

    Example:
        >>> without_secrets("N=https://me:secret@host/a.png"), without_secrets("a.png")
        ('N=https://host/a.png', 'a.png')
    """
    found = START.search(text)
    if found is None:
        return text
    address = text[found.start() :]
    place = sealed(address)
    lost = place.login or place.query or ("#" in address and "#" not in place)
    return f"{text[: found.start()]}{place}" if lost else text


def unsigned(query: str) -> str:
    """The query of an address without its signature; it may have other secrets.

    Example:
        >>> unsigned("id=3&X-Amz-Date=1&X-Amz-Signature=2")
        'id=3'
    """
    parts = query.split("&")
    return "&".join(part for part in parts if not _SIGNING.fullmatch(part))


def _given() -> dict[str, Sealed]:
    known = _GIVEN.get(None)
    if known is None:  # threads start without a value
        known = {}
        _GIVEN.set(known)
    return known


def _split_address(text: str) -> tuple[Sealed, str, str]:
    """An address, the text that replaces it, and ``#`` with an array name."""
    base, _, fragment = text.partition("#")
    if place := _given().get(base):
        return place, base, _array(place, fragment)
    scheme, _, rest = text.partition(":")
    scheme, rest = scheme.lower(), rest.removeprefix("/").removeprefix("/")
    end = _end_of_login(scheme, rest)
    login, rest = rest[:end].removesuffix("@"), rest[end:]
    if scheme in _BUCKETS:
        found = _BUCKET_QUERY.search(rest)
        at = found.start() if found else len(rest)
        rest, query = rest[:at], rest[at:]
        above, hash_, fragment = rest.rpartition("#")
        if not hash_ or not above.lower().endswith(_OF_FRAGMENTS):
            above, fragment = rest, ""
        rest = above
    else:
        rest, _, fragment = rest.partition("#")
        rest, _, query = rest.partition("?")
    place = Sealed(f"{scheme}://{rest}", login, query)
    return place, str(place), _array(rest, fragment)


def _end_of_login(scheme: str, rest: str) -> int:
    """Index of the host, after the last ``@`` that may end a login.

    Passwords may contain unescaped ``@``, ``/``, ``#`` and ``?``. In doubt, text counts
    as part of the login; the ``@`` of a key such as ``a@2x.png`` cannot be.
    """
    found = _AUTHORITY.match(rest)
    authority = found[0] if found else ""
    inside = authority.rfind("@")
    of_bucket = scheme in _BUCKETS
    host = "[^:]*" if of_bucket else _HOST
    if inside < 0 and re.fullmatch(host, authority):
        return 0
    end = max(inside, rest.rfind("@", 0, max(rest.rfind("/"), 0)))
    has_port = authority.rpartition(":")[2].isdecimal() and not of_bucket
    return (end if end >= 0 or has_port else rest.rfind("@")) + 1


def _array(path: str, fragment: str) -> str:
    """The fragment if it may name an array; empty if it may be a token."""
    named = _NAME.fullmatch(fragment) and path.lower().endswith(_OF_ARRAYS)
    return f"#{fragment}" if named or _NUMBER.fullmatch(fragment) else ""
