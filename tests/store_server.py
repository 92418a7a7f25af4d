"""A small server on the loopback interface that misbehaves as stores do.

It answers as a web server, and as a store with the interface of S3 and of Google. The
first folder of a path (the bucket) says how it behaves.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape
from zlib import crc32

if TYPE_CHECKING:
    from typing import Self

STATUS = {"denied": 403, "unknown": 401, "busy": 503, "gone": 404}


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


@dataclass
class StoreServer:
    """The server; its files by path, without the first slash.

    Attributes:
        files: What it holds.
        asked: The requests so far.
        most: The most requests that were answered at once.
        wait: Seconds before an answer.
        tags: Whether an answer has a tag of the content.
        lists_tags: Whether lists have the same tags.
        time: When all files were modified; seconds.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    most: int = 0
    wait: float = 0
    tags: bool = True
    lists_tags: bool = True
    time: float = 1_700_000_000

    def __enter__(self) -> Self:
        self.at_once = 0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"store": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def of(self, method: str) -> list[Request]:
        return [request for request in self.asked if request.method == method]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that has gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: StoreServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PROPFIND(self) -> None:
        place, path = self._begin()
        if path.split("/")[0] != "dav":
            self._answer(405)
            return
        below = [
            name for name in place.files if name.startswith(f"{path.rstrip('/')}/")
        ]
        self._answer(207, _dav(below, place))

    def _begin(self) -> tuple[StoreServer, str]:
        parts = urlsplit(self.path)
        path = unquote(parts.path).removeprefix("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, parts.query, headers)
        self.store.asked.append(request)
        return self.store, path

    def _serve(self) -> None:
        place, path = self._begin()
        with place.lock:
            place.at_once += 1
            place.most = max(place.most, place.at_once)
        time.sleep(place.wait)
        # Before the answer: its reader may ask again while this thread goes on.
        with place.lock:
            place.at_once -= 1
        bucket = path.split("/")[0]
        if bucket in STATUS or (bucket == "headless" and self.command == "HEAD"):
            self._answer(
                STATUS.get(bucket, 403), b"<Error><Code>Because</Code></Error>"
            )
        elif "list-type=2" in self.path:
            self._list(bucket)
        elif path not in place.files:
            self._answer(404)
        else:
            self._send(bucket, place.files[path])

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _list(self, bucket: str) -> None:
        """A page of keys; the second page of ``half`` does not come."""
        asked = parse_qs(urlsplit(self.path).query)
        if bucket == "half" and "continuation-token" in asked:
            self._cut()
            return
        prefix = asked.get("prefix", [""])[0]
        keys = [
            name.removeprefix(f"{bucket}/")
            for name in self.store.files
            if name.startswith(f"{bucket}/{prefix}")
        ]
        tags = {
            key: crc32(self.store.files[f"{bucket}/{key}"]) for key in keys
        }  # fmt: skip
        self._answer(200, _page(tags, more=bucket == "half"))

    def _send(self, bucket: str, body: bytes) -> None:
        size, wanted = len(body), self.headers.get("Range", "")
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first or 0)
        whole = crc32(body)
        body = body[: int(last) + 1] if last else body
        # As from stores: equal content has an equal tag.
        tag = len(self.store.asked) if bucket in ("changing", "anew") else whole
        self.send_response(206 if wanted else 200)
        self.send_header("Last-Modified", formatdate(self.store.time, usegmt=True))
        if self.store.tags:
            self.send_header("ETag", f'"{tag}"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{size}")
        if bucket == "endless":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = body[start:]
        if bucket == "cut" or (bucket in ("once", "changing") and not start):
            self.wfile.write(rest[: len(rest) // 2])
            self._cut()
        elif bucket == "short":
            self.wfile.write(rest[:-1])
            self.close_connection = True
        elif bucket == "endless":
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))
        else:
            self.wfile.write(rest)

    def _cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def _page(tags: dict[str, int], *, more: bool) -> bytes:
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>1</Size><ETag>{tag}</ETag>"
        "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
        for key, tag in tags.items()
    )
    token = "<NextContinuationToken>2</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        f"{entries}</ListBucketResult>"
    ).encode()


def _dav(names: list[str], store: StoreServer) -> bytes:
    entries = "".join(
        f"<D:response><D:href>/{name}</D:href><D:propstat><D:prop>"
        f"<D:getlastmodified>{formatdate(1_700_000_000, usegmt=True)}"
        f"</D:getlastmodified>{_dav_tag(store, name)}<D:getcontentlength>"
        f"{len(store.files[name])}</D:getcontentlength><D:resourcetype/></D:prop>"
        "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        for name in names
    )
    return f'<D:multistatus xmlns:D="DAV:">{entries}</D:multistatus>'.encode()


def _dav_tag(store: StoreServer, name: str) -> str:
    if not store.lists_tags:
        return ""
    return f'<D:getetag>"{crc32(store.files[name])}"</D:getetag>'
