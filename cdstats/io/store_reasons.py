"""Why a store does not give what was asked for, in words that hold no secret.

The text of the stores' library holds whole addresses, with their signatures, and what
the server answered. Only words known to be harmless are taken from it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cdstats.io.addresses import Address

_REGION: Final = "cannot be read: its bucket is in another region; set AWS_REGION"
_PHRASES: Final = (
    ("NoSuchBucket", "is not there: the store has no such bucket"),
    ("RangeNotSupported", "cannot be read: the connection was cut before the end"),
    ("MissingContentLength", "cannot be read: the server does not say how long it is"),
    ("UnexpectedETag", "has changed while it was read"),
    ("kind: Timeout", "cannot be read: the server stopped answering"),
    ("kind: Connect", "cannot be read: the server cannot be reached"),
    ("kind: Interrupted", "cannot be read: the connection was cut before the end"),
    ("kind: Decode", "cannot be read: the connection was cut before the end"),
    ("incorrectly configured region", _REGION),
    ("AuthorizationHeaderMalformed", _REGION),
    (
        "empty path segment",
        "has a folder without a name in its key, and cannot be read",
    ),
)
_CODE: Final = re.compile(r"<Code>([A-Za-z]{3,40})</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3}(?: [A-Za-z]+)*)")


def reason(error: Exception) -> str:
    """Why an object is not read."""
    from obstore import exceptions

    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    because = f": {code[1]}" if code and code[1] != "AccessDenied" else ""
    answer = status[1] if status else ""
    if isinstance(error, exceptions.PermissionDeniedError) or answer[:3] == "403":
        return f"may not be read: access denied{because}"
    if isinstance(error, exceptions.UnauthenticatedError) or answer[:3] == "401":
        return f"may not be read: the store asks for credentials{because}"
    if isinstance(error, exceptions.PreconditionError):
        return "has changed while it was read"
    known = next((said for words, said in _PHRASES if words in text), None)
    if known is not None:
        return known
    if isinstance(error, FileNotFoundError):
        return "is not there"
    if answer:
        return f"cannot be read: the server answered {answer}{because}"
    return f"cannot be read: the store's library gave a {type(error).__name__}"


def list_reason(error: Exception, address: Address) -> str:
    """Why a folder is not listed."""
    status = _STATUS.search(str(error))
    if address.scheme in ("http", "https") and "WebDAV" not in str(error) and status:
        code = int(status[1][:3])
        if code in (400, 403, 404, 405, 501):
            return (
                f"this server lists no folders (it answered {status[1]}): name files, "
                "or @list.txt with an address in each line"
            )
    return reason(error)
