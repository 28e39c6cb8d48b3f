"""As much of Azure Blob Storage's API as a claim, a listing and a cleanup need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote_to_bytes
from xml.sax.saxutils import escape

from benchmarks.null_sink.buckets import FILL, KEPT_FOLDER, Buckets, Item
from benchmarks.null_sink.http import Request

_PAGE = 5000
_HTTP_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
_IN_BATCH = re.compile(rb"^DELETE (\S+)", re.M)
_METADATA = re.compile(rb"\r\nx-ms-meta-[^\r]*", re.I)


class Azure:
    """The operations of small block blobs of one account, which is the first part of each path."""

    def __init__(self) -> None:
        self._buckets = Buckets()

    def keeps_body(self, request: Request) -> bool:
        """Return whether the body will be read: records, and what is said in XML."""
        return request.method == b"POST" or KEPT_FOLDER in request.path

    def answer(self, request: Request) -> bytes:
        """Do what a request asks for."""
        if request.path == FILL:
            self._buckets.fill(request.query)
            return _answer(200)
        container, key = _place(request.path)
        asked = dict(parse_qsl(request.query.decode()))
        match request.method:
            case b"GET" if asked.get("comp") == "list":
                return self._list(container, asked)
            case b"POST" if asked.get("comp") == "batch":
                return self._batch(request, container)
            case b"PUT" if key and "comp" not in asked:
                return self._put(request, container, key)
            case b"GET" | b"HEAD" if key:
                return self._get(request, container, key)
            case b"DELETE":
                return self._delete(container, key)
        return _answer(501)

    def _put(self, request: Request, container: str, key: bytes) -> bytes:
        items = self._buckets[container]
        if request.header(b"if-none-match") == b"*" and key in items:
            return _error(409, "BlobAlreadyExists")
        metadata = b"".join(_METADATA.findall(request.head))
        item = Item(request.length, self._buckets.etag(), request.body if KEPT_FOLDER in key else None, metadata)
        items.put(key, item)
        return _answer(201, lines=_marks(item))

    def _get(self, request: Request, container: str, key: bytes) -> bytes:
        item = self._buckets[container].get(key)
        if item is None:
            return _error(404, "BlobNotFound", has_body=request.method == b"GET")
        lines = [*_marks(item), "x-ms-blob-type: BlockBlob", "Content-Type: application/octet-stream"]
        if request.method == b"HEAD":
            return _answer(200, lines=lines, length=item.size, more=item.metadata)
        content = bytes(item.size) if item.content is None else item.content
        if not content or not request.header(b"x-ms-range"):
            return _answer(200, content, lines=lines, more=item.metadata)
        # The SDK's first range is longer than anything that is kept here.
        lines.append(f"Content-Range: bytes 0-{item.size - 1}/{item.size}")
        return _answer(206, content, lines=lines, more=item.metadata)

    def _list(self, container: str, asked: dict[str, str]) -> bytes:
        prefix, after = asked.get("prefix", "").encode(), asked.get("marker", "").encode()
        found, _, last = self._buckets[container].below(prefix, after, int(asked.get("maxresults", _PAGE)))
        blobs = "".join(
            f"<Blob><Name>{escape(key.decode())}</Name><Properties><Last-Modified>{_HTTP_DATE}</Last-Modified>"
            f'<Etag>"{item.etag}"</Etag><Content-Length>{item.size}</Content-Length>'
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for key, item in found
        )
        return _xml(
            f'<EnumerationResults ServiceEndpoint="http://127.0.0.1/" ContainerName="{container}">'
            f"<Blobs>{blobs}</Blobs><NextMarker>{escape(last.decode()) if last else ''}</NextMarker>"
            "</EnumerationResults>"
        )

    def _delete(self, container: str, key: bytes) -> bytes:
        if key not in self._buckets[container]:
            return _error(404, "BlobNotFound")
        self._buckets[container].remove(key)
        return _answer(202)

    def _batch(self, request: Request, container: str) -> bytes:
        parts = []
        for number, target in enumerate(_IN_BATCH.findall(request.body)):
            path = target.partition(b"?")[0]
            # The SDK writes the account into a path for an address without a name of its own.
            key = path.partition(b"/" + container.encode() + b"/")[2]
            top = f"--batch\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            parts.append(top.encode() + self._delete(container, unquote_to_bytes(key)) + b"\r\n")
        content = b"".join(parts) + b"--batch--\r\n"
        return _answer(202, content, lines=["Content-Type: multipart/mixed; boundary=batch"])


def _place(path: bytes) -> tuple[str, bytes]:
    """Return container and key of ``/account/container/key``."""
    _, _, rest = path[1:].partition(b"/")
    container, _, key = rest.partition(b"/")
    return container.decode(), unquote_to_bytes(key)


def _marks(item: Item) -> list[str]:
    return [f'ETag: "{item.etag}"', f"Last-Modified: {_HTTP_DATE}"]


def _error(status: int, code: str, *, has_body: bool = True) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>" if has_body else ""
    return _xml(text, status, f"x-ms-error-code: {code}")


def _xml(text: str, status: int = 200, *lines: str) -> bytes:
    data = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode() if text else b""
    return _answer(status, data, lines=["Content-Type: application/xml", *lines])


def _answer(
    status: int, body: bytes = b"", *, lines: Sequence[str] = (), length: int | None = None, more: bytes = b""
) -> bytes:
    top = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Length: {len(body) if length is None else length}",
        "x-ms-version: 2021-12-02",
        *lines,
    ]
    return "\r\n".join(top).encode() + more + b"\r\n\r\n" + body
