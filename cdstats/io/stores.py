"""Object stores: opened as the environment says, and why they do not answer."""

from __future__ import annotations

import base64
import os
import re
import sys
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from cdstats.core.errors import DataError, UsageError, access_text
from cdstats.core.secrets import sealed, unsigned
from cdstats.io.addresses import Address

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, HTTPStore, RetryConfig, S3Store

    Store = S3Store | GCSStore | HTTPStore

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
    """The store of an address."""
    try:
        import obstore  # noqa: F401 - whether it is there
    except ImportError:
        raise UsageError(
            f"{address.scheme}:// addresses need a library that is not installed: "
            "pip install 'cdstats[remote]'"
        ) from None
    try:
        return _store(address.scheme, address.host, address.query, address.login)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(
            f"the store {address.host} cannot be set up ({type(error).__name__}): see "
            "its variables in the environment"
        ) from None


def kept_name(text: str) -> str:
    """The name of an object that may be kept: it holds no secret.

    It names the service too, where the environment names one, and what of the query is
    no signature, as a hash: so objects of different content have different names.

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
    """The address of a service that the environment names instead of the usual one."""
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
    """How requests are made; the time without a byte is limited, the whole is not."""
    return {
        "allow_http": plain,
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": _SILENCE,
        "timeout": timedelta(days=1),
    }


def _s3(bucket: str) -> S3Store:
    """A bucket with the credentials that AWS's own tools find, or none at all."""
    from obstore.store import S3Store

    endpoint = _service("s3")
    config: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    options = _options(plain=endpoint.startswith("http://"))
    provider = None
    if not os.environ.get("AWS_ACCESS_KEY_ID") and not _says_yes("AWS_SKIP_SIGNATURE"):
        if sys.modules.get("boto3") is None:
            sys.modules.pop("boto3", None)  # left out for rasterio's sake
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
    """A bucket with the credentials that Google's own tools find, or none at all."""
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
        return access_text(error)
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
