"""As much of Google Cloud Storage's JSON API as a claim, a listing and a cleanup need."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from benchmarks.null_sink.buckets import FILL, KEPT_FOLDER, Buckets, Item
from benchmarks.null_sink.http import Request

_PAGE = 1000
_OBJECT = re.compile(rb"/b/(?P<bucket>[^/]+)/o(?:/(?P<key>.+))?$")
_BUCKET = re.compile(rb"/b/(?P<bucket>[^/]+)$")
_IN_BATCH = re.compile(rb"^DELETE (\S+)", re.M)
_BOUNDARY = re.compile(rb'boundary="?([^";]+)"?')


class Gcs:
    """The operations of small objects; a resumable upload is refused."""

    def __init__(self) -> None:
        self._buckets = Buckets()

    def keeps_body(self, request: Request) -> bool:
        """Return True: an object's name is in the body."""
        return True

    def answer(self, request: Request) -> bytes:
        """Do what a request asks for."""
        if request.path == FILL:
            self._buckets.fill(request.query)
            return _answer(200)
        if request.path.startswith(b"/batch/"):
            return self._batch(request)
        place = _OBJECT.search(request.path)
        if place is None:
            # The SDK asks this in the background, and again with each request until it is told.
            about = _BUCKET.search(request.path) if request.method == b"GET" else None
            return _answer(501) if about is None else _answer(200, {"name": about["bucket"].decode()})
        bucket = place["bucket"].decode()
        key = unquote_to_bytes(place["key"] or b"")
        asked = dict(parse_qsl(request.query.decode()))
        match request.method:
            case b"POST" if asked.get("uploadType") == "multipart":
                return self._put(request, bucket, asked)
            case b"GET" if key:
                return self._get(bucket, key, asked)
            case b"GET":
                return self._list(bucket, asked)
            case b"DELETE":
                return self._delete(bucket, key)
        return _answer(501)

    def _put(self, request: Request, bucket: str, asked: dict[str, str]) -> bytes:
        boundary = _BOUNDARY.search(request.header(b"content-type"))
        assert boundary is not None, "a multipart upload has a boundary"
        _, described, content, _ = request.body.split(b"--" + boundary[1])
        metadata: dict[str, Any] = json.loads(described.partition(b"\r\n\r\n")[2])
        data = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        key = metadata["name"].encode()
        items = self._buckets[bucket]
        if asked.get("ifGenerationMatch") == "0" and key in items:
            return _answer(412, {"error": {"code": 412, "message": "The condition didn't hold."}})
        kept = json.dumps(metadata.get("metadata", {})).encode()
        item = Item(len(data), str(self._buckets.number()), data if KEPT_FOLDER in key else None, kept)
        items.put(key, item)
        return _answer(200, _described(bucket, key, item))

    def _get(self, bucket: str, key: bytes, asked: dict[str, str]) -> bytes:
        item = self._buckets[bucket].get(key)
        if item is None:
            return _answer(404, {"error": {"code": 404, "message": "No such object."}})
        if asked.get("alt") == "media":
            return _answer(200, bytes(item.size) if item.content is None else item.content)
        return _answer(200, _described(bucket, key, item))

    def _list(self, bucket: str, asked: dict[str, str]) -> bytes:
        prefix, after = asked.get("prefix", "").encode(), asked.get("pageToken", "").encode()
        found, _, last = self._buckets[bucket].below(prefix, after, int(asked.get("maxResults", _PAGE)))
        page: dict[str, Any] = {"items": [_described(bucket, key, item) for key, item in found]}
        if last is not None:
            page["nextPageToken"] = last.decode()
        return _answer(200, page)

    def _delete(self, bucket: str, key: bytes) -> bytes:
        if key not in self._buckets[bucket]:
            return _answer(404, {"error": {"code": 404, "message": "No such object."}})
        self._buckets[bucket].remove(key)
        return _answer(204)

    def _batch(self, request: Request) -> bytes:
        parts = []
        for target in _IN_BATCH.findall(request.body):
            place = _OBJECT.search(target.partition(b"?")[0])
            assert place is not None, "a batch deletes objects"
            answer = self._delete(place["bucket"].decode(), unquote_to_bytes(place["key"]))
            parts.append(b"--batch\r\nContent-Type: application/http\r\n\r\n" + answer + b"\r\n")
        return _answer(200, b"".join(parts) + b"--batch--\r\n", "multipart/mixed; boundary=batch")


def _described(bucket: str, key: bytes, item: Item) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": key.decode(),
        "size": str(item.size),
        "generation": item.etag,
        "metageneration": "1",
        "metadata": json.loads(item.metadata or b"{}"),
    }


def _answer(status: int, body: dict[str, Any] | bytes = b"", content_type: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    top = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
    return f"{top}Content-Length: {len(data)}\r\n\r\n".encode() + data
