"""Addresses without their secrets: every address becomes an object that prints safely.

A login, the query and a fragment that names no array are taken out of an address where
it enters the program: an argument of the command line or of Python (`hidden`), a line
of a list (`sealed`). The text that remains may stand in every message, table, file and
cache. A `Sealed` carries the login and the query beside that text, to
worker processes too, for the request alone.
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
"""How an address begins; a path object drops its second slash."""
_AUTHORITY: Final = re.compile(r"/*[^/?#]*")
_HOST: Final = re.compile(r"[^:]*|(?:\[[^\]]*\]|[^:]*\.[^:]*|localhost):\d{0,5}")
"""A host alone, or one with a port that cannot be a login such as ``me:1234``."""
_BUCKETS: Final = ("s3", "gs")
_BUCKET_QUERY: Final = re.compile(r"[?#][\w.~%-]+=")
"""Where a query or a token begins in the key of a bucket; a glob may hold ``?`` too."""
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
"""Parts of a query that sign it: they differ each time that an address is made."""


class Sealed(str):
    """The text of an address without its secrets, which it carries along.

    It is the text that may be shown: whatever is made of it, by joining, formatting or
    cutting, holds no secret either. Two of the same text and other secrets differ.

    Attributes:
        login: ``user:password``; may be empty.
        query: What followed ``?``; may be empty.

    Example:
        >>> place = sealed("https://me:secret@host/a.png?token=1")
        >>> place, f"{place} at {place.login!r}"
        ('https://host/a.png', "https://host/a.png at 'me:secret'")
    """

    login: str
    query: str

    def __new__(cls, text: str, login: str = "", query: str = "") -> Self:
        """A text that holds no secret, with the secrets that belong to it."""
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
        """Another address of the same store."""
        return Sealed(text, self.login, self.query)


_GIVEN: Final[ContextVar[dict[str, Sealed]]] = ContextVar("given")
"""The addresses whose secrets were taken out of arguments, by the texts left."""


@contextmanager
def arguments_of_a_call() -> Iterator[None]:
    """Forget the secrets of the arguments that are given in the context at its end.

    A later call that gives an address without its login is not to send it.
    """
    token = _GIVEN.set(dict(_given()))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def hidden(argument: str) -> str:
    """An argument without the secrets of its address, which are remembered.

    The address may follow a name or ``@``: ``NAME=https://...``. `sealed` of the text
    left has the secrets again. Of addresses that differ in their secrets alone, the
    later ones get a number.

    Example:
        >>> hidden("A=https://me:secret@host/a.png"), hidden("--changed")
        ('A=https://host/a.png', '--changed')
    """
    found = START.search(argument)
    if found is None:
        return argument
    place, text, fragment = _taken_apart(argument[found.start() :])
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
    """Whether secrets were taken out of the address of an argument."""
    found = START.search(argument)
    return bool(found and argument[found.start() :].partition("#")[0] in _given())


def forget() -> None:
    """Forget the secrets of all arguments."""
    _given().clear()


def sealed(text: str) -> Sealed:
    """An address, with or without its secrets, as a text that prints safely."""
    if isinstance(text, Sealed):
        return text
    place, _, fragment = _taken_apart(text)
    return place.like(f"{place}{fragment}")


def without_secrets(text: str) -> str:
    """A text that is no address, without the secrets of one inside.

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
    """The query of an address without what signs it; it may hold other secrets.

    Example:
        >>> unsigned("id=3&X-Amz-Date=1&X-Amz-Signature=2")
        'id=3'
    """
    parts = query.split("&")
    return "&".join(part for part in parts if not _SIGNING.fullmatch(part))


def _given() -> dict[str, Sealed]:
    known = _GIVEN.get(None)
    if known is None:  # in a thread, which begins without
        known = {}
        _GIVEN.set(known)
    return known


def _taken_apart(text: str) -> tuple[Sealed, str, str]:
    """An address, the text that stands for it, and ``#`` with the array it names."""
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
    """Where the host begins: after the last ``@`` that may end a login.

    A password may hold ``@``, ``/``, ``#`` and ``?`` though it must not. What may be
    part of one is taken for it; the ``@`` of a key such as ``a@2x.png`` cannot be.
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
    """What follows a path where it may name an array; else it may be a token."""
    named = _NAME.fullmatch(fragment) and path.lower().endswith(_OF_ARRAYS)
    return f"#{fragment}" if named or _NUMBER.fullmatch(fragment) else ""
