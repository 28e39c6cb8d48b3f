"""Uploads through obstore, which sends small files about ten times as fast as a cloud's own SDK.

It only writes, and unconditionally: listings, reads, deletes and conditional writes stay with the
SDK. https://developmentseed.org/obstore/latest/api/put/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dpone_airflow.storage.answers import store_error
from dpone_airflow.storage.errors import StorageError, printable_cause
from dpone_airflow.storage.etag import normalise_etag
from dpone_airflow.storage.obstore_keys import is_header_text, obstore_keeps_key
from dpone_airflow.storage.readers import Reader
from dpone_airflow.storage.uploader import NotThisUploaderError, UploadTarget

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_REDIRECTED = "Received redirect"
# What obstore adds to a message for its own developers.
_DEBUG = "\n\nDebug source:"


class ObstoreUploader:
    """Writes into one bucket through an obstore store.

    :param store: an ``obstore.store.S3Store`` or ``AzureStore`` of that bucket or container.
    :param bucket: its name.
    :param attributes: what every object gets besides its metadata, e.g. ``Storage-Class``.
    :param tags: what every object is tagged with.
    """

    engine = "obstore"

    def __init__(
        self,
        store: Any,
        bucket: str,
        *,
        attributes: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        import obstore
        from obstore.exceptions import BaseError

        self._put = obstore.put
        # obstore says that a bucket isn't there with Python's own FileNotFoundError.
        self._errors = (BaseError, FileNotFoundError)
        self._store = store
        self._bucket = bucket
        self._attributes = dict(attributes or {})
        self._tags = dict(tags) if tags else None

    def takes(self, target: UploadTarget) -> bool:
        # obstore panics when a header can't be sent.
        sendable = target.content_type is None or is_header_text(target.content_type)
        return sendable and target.uri.bucket == self._bucket and obstore_keeps_key(target.uri.key)

    def put_small(self, target: UploadTarget, data: bytes) -> str | None:
        return self._write(target, data, use_multipart=False)

    def put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        unread: list[BaseException] = []
        try:
            parts = _parts(reader, part_bytes, unread)
            return self._write(target, parts, chunk_size=part_bytes, max_concurrency=lanes)
        except StorageError as refusal:
            if not unread:
                raise
            # What ended the upload is the one to tell; obstore tells that it could not abort it either.
            unread[0].add_note(f"The upload in parts may be left open: {refusal}")
            raise unread[0] from refusal

    def _write(self, target: UploadTarget, content: bytes | Iterator[bytes], **how: Any) -> str | None:
        attributes = {**self._attributes, **target.metadata}
        if target.content_type:
            attributes["Content-Type"] = target.content_type
        try:
            answer = self._put(self._store, target.uri.key, content, attributes=attributes, tags=self._tags, **how)
        except self._errors as error:
            if _REDIRECTED in str(error):
                # The bucket is in another region than the connection says. boto3 asks S3 which, and follows.
                raise NotThisUploaderError("the region of the connection, which isn't the bucket's") from error
            raise store_error("write", target.uri, *_describe(error)) from printable_cause(error)
        return normalise_etag(answer["e_tag"])


def _parts(reader: Reader, part_bytes: int, unread: list[BaseException]) -> Iterator[bytes]:
    """Yield the file's parts; obstore asks for the next when it has room to send it.

    :param unread: gets what ended the reading.
    """
    while True:
        try:
            part = reader.read(part_bytes)
        except BaseException as error:
            unread.append(error)
            raise
        if not part:
            return
        yield part


def _describe(error: Exception) -> tuple[int | None, str, str]:
    """Return HTTP status, error code and message out of obstore's text."""
    text = str(error).partition(_DEBUG)[0]
    status, code, message = (pattern.search(text) for pattern in (_STATUS, _CODE, _MESSAGE))
    return (
        int(status[1]) if status else None,
        code[1] if code else type(error).__name__,
        message[1] if message else text,
    )
