"""What S3's operations do, on nothing but keys, sizes and ETags."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes

from benchmarks.null_sink import s3_answers as answers
from benchmarks.null_sink.buckets import FILL, KEPT_FOLDER, Buckets, Item
from benchmarks.null_sink.http import Request

_KEY = re.compile(rb"<Key>(.*?)</Key>", re.S)
_METADATA = re.compile(rb"\r\nx-amz-meta-[^\r]*", re.I)
_PAGE = 1000
_QUIET = re.compile(rb"<Quiet>\s*true\s*</Quiet>")


@dataclass(slots=True)
class _Upload:
    """A multipart upload that isn't complete."""

    bucket: str
    key: bytes
    metadata: bytes
    parts: dict[int, tuple[int, bytes]] = field(default_factory=dict)


class S3:
    """The operations that upload, look up, list and delete."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._uploads: dict[str, _Upload] = {}

    def keeps_body(self, request: Request) -> bool:
        """Return whether the body will be read: records, and what is said in XML."""
        return request.method == b"POST" or KEPT_FOLDER in request.path

    def answer(self, request: Request) -> bytes:
        """Do what a request asks for."""
        if request.path == FILL:
            self._buckets.fill(request.query)
            return answers.ok()
        bucket, _, key = request.path[1:].partition(b"/")
        if b"%" in key:
            key = unquote_to_bytes(key)
        name = bucket.decode()
        if not request.query or request.query.startswith(b"x-id="):
            asked: dict[str, str] = {}
        else:
            asked = dict(parse_qsl(request.query.decode(), keep_blank_values=True))
        if key:
            return self._object(request, name, key, asked)
        return self._bucket(request, name, asked)

    def _object(self, request: Request, bucket: str, key: bytes, asked: dict[str, str]) -> bytes:
        match request.method:
            case b"PUT" if "uploadId" in asked:
                return self._put_part(request, asked)
            case b"PUT":
                return self._put(request, bucket, key)
            case b"GET" if "uploadId" in asked:
                return answers.error(501, "NotImplemented", "Parts are not listed here.")
            case b"GET" | b"HEAD":
                return self._get(request, bucket, key)
            case b"DELETE" if "uploadId" in asked:
                self._uploads.pop(asked["uploadId"], None)
                return answers.NO_CONTENT
            case b"DELETE":
                self._buckets[bucket].remove(key)
                return answers.NO_CONTENT
            case b"POST" if "uploads" in asked:
                upload_id = f"upload-{self._buckets.number()}"
                self._uploads[upload_id] = _Upload(bucket, key, _metadata(request))
                return answers.upload_created(bucket, key, upload_id)
            case b"POST" if "uploadId" in asked:
                return self._complete(asked["uploadId"])
        return answers.error(501, "NotImplemented", "The sink doesn't do this to an object.")

    def _bucket(self, request: Request, bucket: str, asked: dict[str, str]) -> bytes:
        match request.method:
            case b"PUT" | b"HEAD":
                self._buckets[bucket]
                return answers.ok()
            case b"GET" if "location" in asked:
                return answers.location()
            case b"GET" if "uploads" in asked:
                found = [(one.key, number) for number, one in self._uploads.items() if one.bucket == bucket]
                return answers.uploads(bucket, found)
            case b"GET" if not bucket:
                return answers.buckets(self._buckets.names())
            case b"GET":
                return self._list(bucket, asked)
            case b"POST" if "delete" in asked:
                return self._delete(request, bucket)
        return answers.error(501, "NotImplemented", "The sink doesn't do this to a bucket.")

    def _list(self, bucket: str, asked: dict[str, str]) -> bytes:
        """Return one page of ListObjects or ListObjectsV2."""
        is_v2 = asked.get("list-type") == "2"
        after = (asked.get("continuation-token") or asked.get("start-after")) if is_v2 else asked.get("marker")
        found, folders, last = self._buckets[bucket].below(
            asked.get("prefix", "").encode(),
            (after or "").encode(),
            min(int(asked.get("max-keys", _PAGE)), _PAGE),
            asked.get("delimiter", "").encode(),
        )
        return answers.listing(
            bucket,
            asked,
            [(key, item.size, item.etag) for key, item in found],
            folders,
            None if last is None else last.decode(),
        )

    def _put(self, request: Request, bucket: str, key: bytes) -> bytes:
        items = self._buckets[bucket]
        if request.header(b"if-none-match") == b"*" and key in items:
            return answers.error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold.")
        size = int(request.header(b"x-amz-decoded-content-length") or request.length)
        etag = self._buckets.etag()
        items.put(key, Item(size, etag, request.body if KEPT_FOLDER in key else None, _metadata(request)))
        return answers.ok(etag, request)

    def _put_part(self, request: Request, asked: dict[str, str]) -> bytes:
        upload = self._uploads.get(asked["uploadId"])
        if upload is None:
            return answers.NO_SUCH_UPLOAD
        size = int(request.header(b"x-amz-decoded-content-length") or request.length)
        upload.parts[int(asked["partNumber"])] = (size, request.body if KEPT_FOLDER in upload.key else b"")
        return answers.ok(self._buckets.etag(), request)

    def _complete(self, upload_id: str) -> bytes:
        upload = self._uploads.pop(upload_id, None)
        if upload is None:
            return answers.NO_SUCH_UPLOAD
        etag = f"{self._buckets.etag()}-{len(upload.parts)}"
        parts = [upload.parts[number] for number in sorted(upload.parts)]
        content = b"".join(body for _, body in parts) if KEPT_FOLDER in upload.key else None
        item = Item(sum(size for size, _ in parts), etag, content, upload.metadata)
        self._buckets[upload.bucket].put(upload.key, item)
        return answers.upload_completed(upload.bucket, upload.key, etag)

    def _get(self, request: Request, bucket: str, key: bytes) -> bytes:
        item = self._buckets[bucket].get(key)
        if item is None:
            if request.method == b"HEAD":
                return answers.head(404)
            return answers.error(404, "NoSuchKey", "The specified key does not exist.")
        if request.method == b"HEAD":
            return answers.head(200, item.etag, item.size, item.metadata)
        return answers.content(item.etag, bytes(item.size) if item.content is None else item.content, item.metadata)

    def _delete(self, request: Request, bucket: str) -> bytes:
        keys = _KEY.findall(request.body)
        items = self._buckets[bucket]
        for key in keys:
            items.remove(answers.unescaped(key))
        return answers.deleted([] if _QUIET.search(request.body) else keys)


def _metadata(request: Request) -> bytes:
    """Return the lines of the user's metadata as they came, each after its line break."""
    return b"".join(_METADATA.findall(request.head))
