"""Addresses of files in object stores and on web servers, as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from cdstats.core.errors import UsageError

SCHEMES: Final = ("s3", "gs", "https", "http")
_STARTS: Final = tuple(f"{scheme}://" for scheme in SCHEMES)
# Not compiled before they are needed: most runs read no address.
_URL: Final = r"(?i)[a-z][a-z0-9+.-]+://"
_SECRETS: Final = r"(?s)^(https?://?)(?:[^/@?#]*@)?([^?]*)(?:\?.*)?$"
_SIGNING: Final = (
    r"(?is)(x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy"
    r"|key-pair-id)(=.*)?"
)
"""Parts of a query that sign it: they differ each time that an address is made."""
_ONE_SLASH: Final = rf"\b({'|'.join(SCHEMES)}):/(?=[^/])"


def is_address(path: str) -> bool:
    """Whether a path is an address that is read.

    Example:
        >>> is_address("s3://bucket/mask.png"), is_address("data/mask.png")
        (True, False)
    """
    return path.startswith(_STARTS)


def looks_like_address(text: str) -> bool:
    """Whether a text is an address of any kind, read or not.

    Example:
        >>> looks_like_address("ftp://host/masks"), looks_like_address("C:/masks")
        (True, False)
    """
    return bool(re.match(_URL, text))


def shown(path: str) -> str:
    """A path as it may be shown: without the password or signature of an address.

    Example:
        >>> shown("https://me:secret@host/a.png?signature=1"), shown("b/c?.png")
        ('https://host/a.png', 'b/c?.png')
    """
    found = re.match(_SECRETS, path) if path.startswith("http") else None
    return f"{found[1]}{found[2]}" if found else path


def shown_in(argument: str) -> str:
    """An argument as it may be shown; the address in it may follow a name or ``@``.

    Example:
        >>> shown_in("A=https://me:secret@host/a.png"), shown_in("--changed")
        ('A=https://host/a.png', '--changed')
    """
    start = argument.find("http")
    return argument[:start] + shown(argument[start:]) if start >= 0 else argument


def unsigned(query: str) -> str:
    """The query of an address without what signs it; it may hold other secrets.

    Example:
        >>> unsigned("id=3&X-Amz-Date=1&X-Amz-Signature=2")
        'id=3'
    """
    parts = query.split("&")
    return "&".join(part for part in parts if not re.fullmatch(_SIGNING, part))


def two_slashes(text: str) -> str:
    """A text whose addresses have both slashes again, which a path object drops.

    Example:
        >>> two_slashes("s3:/bucket/masks: holds each mask twice")
        's3://bucket/masks: holds each mask twice'
    """
    return re.sub(_ONE_SLASH, r"\1://", text)


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a store.

    Attributes:
        scheme: One of `SCHEMES`.
        host: The bucket, or the host and port of a server.
        key: The path in it, decoded, without slashes at its ends.
        query: What follows ``?`` in the address of a server; may hold a signature.
        user: ``user:password`` of a server; may be empty.
        is_folder: Whether the address ends with a slash, or names the bucket alone.
    """

    scheme: str
    host: str
    key: str
    query: str = ""
    user: str = ""
    is_folder: bool = False

    @classmethod
    def parse(cls, text: str) -> Address:
        """The parts of an address.

        Raises:
            UsageError: If it has no bucket or server, or is of a kind that is not read.

        Example:
            >>> Address.parse("s3://bucket/test/label/")
            Address(scheme='s3', host='bucket', key='test/label', ..., is_folder=True)
        """
        if not is_address(text):
            kinds = ", ".join(_STARTS)
            raise UsageError(f"{shown(text)}: is no address that is read; use {kinds}")
        scheme, _, rest = text.partition("://")
        if scheme in ("s3", "gs"):
            host, _, key = rest.partition("/")
            user = query = ""
        else:
            try:
                parts = urlsplit(text)
            except ValueError as error:
                raise UsageError(f"{shown(text)}: is no address: {error}") from None
            user, _, host = parts.netloc.rpartition("@")
            key, query = unquote(parts.path), parts.query
        if not host:
            raise UsageError(f"{shown(text)}: names no bucket or server")
        is_folder = not key.strip("/") or key.endswith("/")
        return cls(scheme, host, key.strip("/"), query, user, is_folder)

    def with_key(self, key: str) -> str:
        """The address of another key of the same store."""
        if self.scheme in ("s3", "gs"):
            return f"{self.scheme}://{self.host}/{key}"
        user = f"{self.user}@" if self.user else ""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{user}{self.host}/{quote(key)}{query}"
