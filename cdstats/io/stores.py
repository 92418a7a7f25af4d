"""Object stores and web servers, configured from the environment.

Requests are coroutines of one event loop in a separate thread. Thus they overlap, and
Ctrl-C interrupts the waiting code.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import os
import re
import sys
import threading
from array import array
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from time import time as now
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from cdstats.core.errors import DataError, UsageError, access_text
from cdstats.core.secrets import sealed, unsigned
from cdstats.io.addresses import Address

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, HTTPStore, RetryConfig, S3Store

    Store = S3Store | GCSStore | HTTPStore
    from collections.abc import AsyncIterator, Coroutine
    from concurrent.futures import Future

    from obstore import GetOptions, GetResult, ObjectMeta

_SILENCE: Final = timedelta(seconds=30)
_RETRY: Final[RetryConfig] = {
    "max_retries": 4,
    "retry_timeout": timedelta(minutes=2),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}
_GOOGLE: Final = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)
_GOOGLE_LOGIN: Final = ".config/gcloud/application_default_credentials.json"
_GOOGLE_MACHINE: Final = "/sys/class/dmi/id/product_name"


def store(address: Address) -> Store:
    """The client for the store of an address."""
    try:
        import obstore  # noqa: F401 - checks that it is installed
    except ImportError:
        raise UsageError(
            f"{address.scheme}:// addresses need obstore, which is not installed: "
            "pip install 'cdstats[remote]'"
        ) from None
    try:
        return _store(address.scheme, address.host, address.query, address.login)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(
            f"the store {address.host} cannot be set up ({type(error).__name__}): "
            "check the environment variables for it"
        ) from None


def kept_name(text: str) -> str:
    """The name of an object without secrets, safe to save.

    It includes the service if the environment sets one, and a hash of the query without
    signatures, so that different objects have different names.

    Example:
        >>> kept_name("https://me:secret@host/a.png?X-Amz-Signature=1")
        'https://host/a.png'
    """
    address = Address.parse(text)
    service = _service(address.scheme)
    query = unsigned(address.query)
    name = str(sealed(text)) + (f" at {sealed(service)}" if service else "")
    if query:
        digest = blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16)
        name += f"?{digest.hexdigest()}"
    return name


def _service(scheme: str) -> str:
    """The address of a service set in the environment; may be empty."""
    if scheme == "gs":
        return os.environ.get("STORAGE_EMULATOR_HOST", "")
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    found = (os.environ[name] for name in names if os.environ.get(name))
    return next(found, "") if scheme == "s3" else ""


@lru_cache(maxsize=256)
def _store(scheme: str, host: str, query: str, login: str) -> Store:
    from obstore.store import HTTPStore

    if scheme == "s3":
        return _s3(host)
    if scheme == "gs":
        return _google(host)
    options = _options(plain=scheme == "http")
    if login:
        told = base64.b64encode(unquote_to_bytes(login)).decode()
        options["default_headers"] = {"authorization": f"Basic {told}"}
    url = f"{scheme}://{host}" + (f"?{query}" if query else "")
    return HTTPStore.from_url(url, client_options=options, retry_config=_RETRY)


def _options(*, plain: bool) -> ClientConfig:
    """Client options; the time without data is limited, the total time is not."""
    return {
        "allow_http": plain,
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": _SILENCE,
        "timeout": timedelta(days=1),
    }


def _s3(bucket: str) -> S3Store:
    """A bucket with credentials found as by AWS tools, or without any."""
    from obstore.store import S3Store

    endpoint = _service("s3")
    config: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    options = _options(plain=endpoint.startswith("http://"))
    provider = None
    if not os.environ.get("AWS_ACCESS_KEY_ID") and not _says_yes("AWS_SKIP_SIGNATURE"):
        if sys.modules.get("boto3") is None:
            sys.modules.pop("boto3", None)  # blocked while rasterio was imported
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider

        session = boto3.Session()
        if session.get_credentials() is None:
            config["skip_signature"] = True
        else:
            provider = Boto3CredentialProvider(session)
        if session.region_name:
            config["region"] = session.region_name
    return S3Store(
        bucket,
        client_options=options,
        retry_config=_RETRY,
        credential_provider=provider,
        **config,
    )


def _google(bucket: str) -> GCSStore:
    """A bucket with credentials found as by Google tools, or without any."""
    from obstore.store import GCSStore

    emulator = _service("gs")
    if emulator and "://" not in emulator:
        emulator = f"http://{emulator}"
    config: dict[str, Any] = {"base_url": emulator} if emulator else {}
    machine = Path(_GOOGLE_MACHINE)
    known = (
        any(os.environ.get(name) for name in _GOOGLE)
        or (Path.home() / _GOOGLE_LOGIN).is_file()
        or (machine.is_file() and machine.read_text().startswith("Google"))
    )
    if emulator or not known:
        config["skip_signature"] = True
    options = _options(plain=emulator.startswith("http://"))
    return GCSStore(bucket, client_options=options, retry_config=_RETRY, **config)


def _says_yes(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


_REGION: Final = "cannot be read: its bucket is in another region; set AWS_REGION"
_PHRASES: Final = (
    ("NoSuchBucket", "not found: the store has no such bucket"),
    ("RangeNotSupported", "cannot be read: the connection was cut before the end"),
    ("MissingContentLength", "cannot be read: the server does not report its size"),
    ("UnexpectedETag", "has changed while it was read"),
    ("kind: Timeout", "cannot be read: the server stopped answering"),
    ("kind: Connect", "cannot be read: the server cannot be reached"),
    ("kind: Interrupted", "cannot be read: the connection was cut before the end"),
    ("kind: Decode", "cannot be read: the connection was cut before the end"),
    ("incorrectly configured region", _REGION),
    ("AuthorizationHeaderMalformed", _REGION),
    (
        "empty path segment",
        "cannot be read: its key contains an empty folder name",
    ),
)
_CODE: Final = re.compile(r"<Code>([A-Za-z]{3,40})</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3}(?: [A-Za-z]+)*)")


def reason(error: Exception) -> str:
    """The message on an object that cannot be read."""
    from obstore import exceptions

    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    because = f": {code[1]}" if code and code[1] != "AccessDenied" else ""
    answer = status[1] if status else ""
    if isinstance(error, exceptions.PermissionDeniedError) or answer[:3] == "403":
        return f"cannot be read: access denied{because}"
    if isinstance(error, exceptions.UnauthenticatedError) or answer[:3] == "401":
        return f"cannot be read: the store requires credentials{because}"
    if isinstance(error, exceptions.PreconditionError):
        return "has changed while it was read"
    known = next((said for words, said in _PHRASES if words in text), None)
    if known is not None:
        return known
    if isinstance(error, FileNotFoundError):
        return access_text(error)
    if answer:
        return f"cannot be read: the server answered {answer}{because}"
    return f"cannot be read: obstore raised {type(error).__name__}"


def list_reason(error: Exception, address: Address) -> str:
    """The message on a folder that cannot be listed."""
    status = _STATUS.search(str(error))
    if address.scheme in ("http", "https") and "WebDAV" not in str(error) and status:
        code = int(status[1][:3])
        if code in (400, 403, 404, 405, 501):
            return (
                f"this server lists no folders (it answered {status[1]}): give files, "
                "or @list.txt with one address per line"
            )
    return reason(error)


Result = TypeVar("Result")
Mark = tuple[int, int]
"""Size of an object in bytes, and a number that identifies its version."""

_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
_SETTLED_SECONDS: Final = 60
"""Age from which an object without a tag is identified by its time."""
_BRANCHES: Final = 64
"""Most subfolders listed in parallel; more are listed in one request."""


def start(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Schedule a coroutine of this module."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process; it stops before the interpreter exits."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cdstats-io", daemon=True)
    thread.start()

    def stop() -> None:
        loop.call_soon_threadsafe(_cancel_all, loop)
        thread.join(timeout=5)

    atexit.register(stop)
    return loop


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(loop.stop)


async def is_object(address: Address) -> bool | None:
    """Whether an object exists at an address; None if the store does not tell.

    Stores may answer "denied" for missing objects.
    """
    place = store(address)
    import obstore
    from obstore.exceptions import PermissionDeniedError

    try:
        await obstore.head_async(place, address.key)
    except FileNotFoundError:
        return False
    except PermissionDeniedError:
        return None
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(reason(error)) from None
    return True


@dataclass(frozen=True)
class Listed:
    """The objects of a folder, in any order, each with its mark.

    The mark is -1, -1 if the listing has no tag.
    """

    keys: list[str] = field(default_factory=list)
    marks: array[int] = field(default_factory=lambda: array("q"))

    def add(self, meta: ObjectMeta) -> None:
        """Add an object."""
        # Without a tag, a listing may be less precise than the object's own metadata.
        mark = _mark(meta) if meta["e_tag"] else None
        self.keys.append(meta["path"])
        self.marks.extend(mark or (-1, -1))


async def objects_below(address: Address) -> Listed:
    """List every object in a folder."""
    place, listed = store(address), Listed()
    try:
        await _list(place, address.key, 2, listed)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(list_reason(error, address)) from None
    return listed


async def _list(place: Store, prefix: str, levels: int, listed: Listed) -> None:
    """List a prefix; folders on the upper levels are listed in parallel."""
    import obstore

    if levels:
        found = await obstore.list_with_delimiter_async(place, prefix or None)
        if len(found["common_prefixes"]) <= _BRANCHES:
            for meta in found["objects"]:
                listed.add(meta)
            branches = (
                _list(place, str(folder), levels - 1, listed)
                for folder in found["common_prefixes"]
            )
            await asyncio.gather(*branches)
            return
    async for page in obstore.list(place, prefix or None, chunk_size=_PAGE):
        for meta in page:
            listed.add(meta)


class NotGivenError(DataError):
    """The object does not exist, or access is denied; stores may not distinguish."""


@dataclass(frozen=True)
class Answer:
    """A response with the start of an object.

    The version identifies the object under its key during a run; the mark does so
    across runs, and is None if the store gives too little information.
    """

    size: int
    version: str
    mark: Mark | None
    result: GetResult


async def get(address: Address) -> Answer:
    """Request an object."""
    place = store(address)
    import obstore
    from obstore.exceptions import PermissionDeniedError

    try:
        result = await obstore.get_async(place, address.key)
    except (FileNotFoundError, PermissionDeniedError) as error:
        raise NotGivenError(reason(error)) from None
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(reason(error)) from None
    meta = result.meta
    version = meta["e_tag"] or f"{meta['last_modified']} {meta['size']}"
    return Answer(meta["size"], version, _mark(meta), result)


async def mark_of(address: Address) -> Mark | None:
    """The current mark of an object; None if the store does not give one."""
    try:
        place = store(address)
    except DataError:
        return None
    import obstore

    try:
        if not address.query:
            return _mark(await obstore.head_async(place, address.key))
        # A signed address is valid only for GET.
        first: GetOptions = {"range": (0, 1)}
        answer = await obstore.get_async(place, address.key, options=first)
        return _mark(answer.meta)
    except Exception:  # noqa: BLE001 - reading it will report the reason
        return None


def _mark(meta: ObjectMeta) -> Mark | None:
    """Size, and a number that identifies the version; None if unknown."""
    tag = meta["e_tag"]
    if not tag:
        # Times have whole seconds, so a recent object may change within the same one.
        time = meta["last_modified"].timestamp()
        if time <= 0 or now() - time < _SETTLED_SECONDS:
            return None
        tag = repr(time)
    # Listings may omit the quotes around a tag.
    digest = blake2b(tag.strip('"').encode(), digest_size=8).digest()
    return meta["size"], int.from_bytes(digest) >> 1


async def parts(answer: Answer) -> AsyncIterator[memoryview]:
    """Stream all bytes of an object.

    obstore resumes a broken connection if the object is unchanged.
    """
    done = 0
    try:
        async for part in answer.result.stream(min_chunk_size=_CHUNK):
            done += len(part)
            yield memoryview(part)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(reason(error)) from None
    if done != answer.size:
        raise DataError(f"is cut short: {done:,} of {answer.size:,} bytes arrived")
