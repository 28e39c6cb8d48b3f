"""S3's answers as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote
from xml.sax.saxutils import escape, unescape

from benchmarks.null_sink.http import Request

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_DATE = "2026-01-01T00:00:00.000Z"
_HTTP_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
_CHECKSUMS = (b"x-amz-checksum-sha256", b"x-amz-checksum-crc32", b"x-amz-checksum-crc64nvme")

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def ok(etag: str = "", request: Request | None = None) -> bytes:
    """Return an answer without a body; the checksum that came with the request goes back as S3 does it."""
    lines = [b"HTTP/1.1 200 OK\r\nContent-Length: 0"]
    if etag:
        lines.append(b'ETag: "%b"' % etag.encode())
    if request is not None:
        for name in _CHECKSUMS:
            if value := request.header(name):
                lines.append(name + b": " + value)
                break
    return b"\r\n".join(lines) + b"\r\n\r\n"


def head(status: int, etag: str = "", size: int = 0, metadata: bytes = b"") -> bytes:
    """Return the answer to a HEAD, whose length is the object's."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {size}"]
    if etag:
        lines += [f'ETag: "{etag}"', f"Last-Modified: {_HTTP_DATE}", "Content-Type: application/octet-stream"]
    return "\r\n".join(lines).encode() + metadata + b"\r\n\r\n"


def content(etag: str, data: bytes, metadata: bytes = b"") -> bytes:
    """Return an object."""
    return head(200, etag, len(data), metadata) + data


def error(status: int, code: str, message: str) -> bytes:
    """Return one of S3's errors."""
    return _xml(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status)


def location() -> bytes:
    """Return where a bucket is; nothing stands for us-east-1."""
    return _xml(f"<LocationConstraint {_NAMESPACE}/>")


def buckets(names: Sequence[str]) -> bytes:
    """Return the list of buckets."""
    items = "".join(f"<Bucket><Name>{name}</Name><CreationDate>{_DATE}</CreationDate></Bucket>" for name in names)
    return _xml(f"<ListAllMyBucketsResult {_NAMESPACE}><Buckets>{items}</Buckets></ListAllMyBucketsResult>")


def upload_created(bucket: str, key: bytes, upload_id: str) -> bytes:
    """Return the answer to CreateMultipartUpload."""
    return _xml(
        f"<InitiateMultipartUploadResult {_NAMESPACE}><Bucket>{bucket}</Bucket><Key>{_text(key)}</Key>"
        f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
    )


def upload_completed(bucket: str, key: bytes, etag: str) -> bytes:
    """Return the answer to CompleteMultipartUpload."""
    return _xml(
        f"<CompleteMultipartUploadResult {_NAMESPACE}><Bucket>{bucket}</Bucket><Key>{_text(key)}</Key>"
        f"<ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>"
    )


def uploads(bucket: str, found: Sequence[tuple[bytes, str]]) -> bytes:
    """Return the multipart uploads that are open."""
    items = "".join(
        f"<Upload><Key>{_text(key)}</Key><UploadId>{upload_id}</UploadId><Initiated>{_DATE}</Initiated></Upload>"
        for key, upload_id in found
    )
    return _xml(
        f"<ListMultipartUploadsResult {_NAMESPACE}><Bucket>{bucket}</Bucket><IsTruncated>false</IsTruncated>"
        f"{items}</ListMultipartUploadsResult>"
    )


def deleted(keys: Sequence[bytes]) -> bytes:
    """Return the answer to DeleteObjects; ``keys`` are as they came, and none for a quiet one."""
    items = "".join(f"<Deleted><Key>{key.decode()}</Key></Deleted>" for key in keys)
    return _xml(f"<DeleteResult {_NAMESPACE}>{items}</DeleteResult>")


def listing(
    bucket: str,
    asked: dict[str, str],
    items: Sequence[tuple[bytes, int, str]],
    folders: Sequence[bytes],
    last: str | None,
) -> bytes:
    """Return a page of a listing; ``last`` is where the next one begins."""
    encode = quote if asked.get("encoding-type") == "url" else escape
    more = ""
    if last is not None:
        name = "NextContinuationToken" if asked.get("list-type") == "2" else "NextMarker"
        more = f"<{name}>{escape(last) if name == 'NextContinuationToken' else encode(last)}</{name}>"
    contents = "".join(
        f"<Contents><Key>{encode(key.decode())}</Key><LastModified>{_DATE}</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key, size, etag in items
    )
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>{encode(folder.decode())}</Prefix></CommonPrefixes>" for folder in folders
    )
    encoding = "<EncodingType>url</EncodingType>" if encode is quote else ""
    return _xml(
        f"<ListBucketResult {_NAMESPACE}><Name>{bucket}</Name><Prefix>{encode(asked.get('prefix', ''))}</Prefix>"
        f"<KeyCount>{len(items) + len(folders)}</KeyCount><MaxKeys>1000</MaxKeys>{encoding}"
        f"<IsTruncated>{'false' if last is None else 'true'}</IsTruncated>{more}{contents}{prefixes}</ListBucketResult>"
    )


def unescaped(text: bytes) -> bytes:
    """Return what a text in XML stands for."""
    if b"&" not in text:
        return text
    return unescape(text.decode(), {"&quot;": '"', "&apos;": "'", "&#13;": "\r", "&#10;": "\n"}).encode()


def _text(key: bytes) -> str:
    return escape(key.decode())


def _xml(text: str, status: int = 200) -> bytes:
    data = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    top = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/xml\r\n"
    return f"{top}Content-Length: {len(data)}\r\n\r\n".encode() + data


NO_SUCH_UPLOAD = error(404, "NoSuchUpload", "The specified multipart upload does not exist.")
