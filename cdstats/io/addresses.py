"""Addresses of files in object stores and on web servers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from cdstats.core.errors import UsageError
from cdstats.core.secrets import START, Sealed, sealed

SCHEMES: Final = ("s3", "gs", "https", "http")
_BUCKETS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""Environment variables that hold the credentials of each kind of bucket."""
_STARTS: Final = tuple(f"{scheme}://" for scheme in SCHEMES)
_ONE_SLASH: Final = rf"\b({'|'.join(SCHEMES)}):/(?=[^/])"


def is_address(path: str) -> bool:
    """Whether a path is an address that cdstats can read."""
    return path[:8].lower().startswith(_STARTS)


def looks_like_address(text: str) -> bool:
    """Whether a text is an address, even of an unsupported scheme."""
    return START.match(text) is not None


def two_slashes(text: str) -> str:
    """Restore the second slash of addresses in a text, which a path object drops."""
    return re.sub(_ONE_SLASH, r"\1://", text)


@dataclass(frozen=True, slots=True)
class Address:
    """A location in a store; its text hides secrets.

    Attributes:
        scheme: One of `SCHEMES`.
        host: The bucket, or the host and port of a server.
        key: The decoded path within the bucket or server, without outer slashes.
        query: The text after ``?`` in the address of a server; may hold a signature.
        login: ``user:password`` of a server, as typed; may be empty.
        is_folder: Whether the address ends with a slash, or names the bucket alone.
    """

    scheme: str
    host: str
    key: str
    query: str = field(default="", repr=False)
    login: str = field(default="", repr=False)
    is_folder: bool = False

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address."""
        place = sealed(text)
        if not is_address(place):
            kinds = ", ".join(_STARTS)
            raise UsageError(f"{place}: unsupported address; expected {kinds}")
        scheme, _, rest = place.partition("://")
        if scheme in _BUCKETS:
            if place.login or place.query:
                raise UsageError(
                    f"{place}: has credentials or a query, and {scheme}:// "
                    f"takes neither. Credentials come from the environment: "
                    f"{_BUCKETS[scheme]}"
                )
            host, _, key = rest.partition("/")
        else:
            if re.search(r"[/?#]", place.login):
                raise UsageError(
                    f"{place}: the text before @ is ambiguous. Write the characters "
                    "/ ? # @ of a password, and @ in the folders of a path, as %2F %3F "
                    "%23 %40"
                )
            try:
                parts = urlsplit(place)
            except ValueError as error:
                raise UsageError(f"{place}: invalid address: {error}") from None
            host, key = parts.netloc, unquote(parts.path)
        if not host:
            raise UsageError(f"{place}: names no bucket or server")
        is_folder = not key.strip("/") or key.endswith("/")
        return cls(scheme, host, key.strip("/"), place.query, place.login, is_folder)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.key}"

    def with_key(self, key: str) -> Sealed:
        """The address of another key in the same store."""
        if self.scheme not in _BUCKETS:
            key = quote(key, errors="surrogateescape")
        return Sealed(f"{self.scheme}://{self.host}/{key}", self.login, self.query)
