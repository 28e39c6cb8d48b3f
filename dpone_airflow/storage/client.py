"""The port that every store is reached through, and what its clients share.

A client's own module holds only what is truly its store's own: the calls of one SDK. What must be
the same everywhere stands here once: hashing while sending, deleting with every key's result read,
errors with a sentence in them.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol, runtime_checkable
from uuid import uuid4

from dpone_airflow.storage.budget import ByteBudget
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    DeleteIncompleteError,
    InvalidOptionError,
    InvalidUriError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    SourceFileError,
    StorageAccessDeniedError,
    StorageError,
    printable_cause,
    redact,
)
from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage.parts import DEFAULT_PART_BYTES, part_bytes_for
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

log = logging.getLogger(__name__)

DEFAULT_MAX_CONCURRENCY = 8
# What may wait in memory at once: room for every thread's part and as much again.
_BUDGET_PARTS = 16
_DELETE_ROUNDS = 3
_NAMED_IN_MESSAGES = 5


@dataclass(frozen=True, slots=True)
class ObjectStorageObject:
    """One object as a store knows it.

    :param uri: where it is.
    :param size_bytes: its length.
    :param sha256: digest in hex, when it is known without reading the object.
    :param content_type: MIME type, when the call that returned this object tells it.
    :param etag: the store's own version mark without quotes; on GCS the generation.
    """

    uri: ObjectStorageUri
    size_bytes: int
    sha256: str | None = None
    content_type: str | None = None
    etag: str | None = None


@runtime_checkable
class ObjectStorageClient(Protocol):
    """What staging asks of a store. Every method raises the errors of ``storage.errors``."""

    max_concurrency: int

    def check(self, uri: ObjectStorageUri) -> None:
        """Refuse a URI of another store or account than this client's."""

    def put_file(
        self,
        path: str | os.PathLike[str],
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
    ) -> ObjectStorageObject:
        """Upload one local file; the bytes that are hashed are the bytes that are sent."""

    def put_bytes(
        self,
        data: bytes,
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
        only_if_absent: bool = False,
    ) -> ObjectStorageObject:
        """Write a small object; with ``only_if_absent``, only if the key is free."""

    def get_file(self, uri: ObjectStorageUri, path: str | os.PathLike[str]) -> ObjectStorageObject:
        """Download one object to a local file that appears when it is complete."""

    def get_bytes(self, uri: ObjectStorageUri) -> bytes:
        """Return a small object's content."""

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        """Return what the store knows of one object."""

    def exists(self, uri: ObjectStorageUri) -> bool:
        """Return whether there is such an object."""

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        """Yield every object below ``prefix`` (its trailing slash implied), page by page."""

    def list_prefix(self, prefix: ObjectStorageUri) -> list[ObjectStorageUri]:
        """Return the URIs of every object below ``prefix``."""

    def delete_objects(self, uris: Sequence[ObjectStorageUri]) -> None:
        """Delete objects of one bucket, reading every key's result."""

    def delete_prefix(self, prefix: ObjectStorageUri) -> int:
        """Delete every object below ``prefix`` and prove it by a listing; return how many."""


class BaseObjectStorageClient(ABC):
    """What the clients share.

    :param max_concurrency: files, or parts of a file, that are sent at the same time.
    :param part_bytes: files above this size are sent in parts of it.
    """

    provider: ClassVar[ObjectStorageProvider | None]
    #: The largest object the store takes, in bytes.
    max_object_bytes: ClassVar[int]
    #: The largest number of keys that one delete request takes.
    delete_batch_size: ClassVar[int]

    def __init__(
        self,
        *,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> None:
        self.max_concurrency = checked_max_concurrency(max_concurrency)
        self.part_bytes = part_bytes
        self._takes_batches = True
        self._budget = ByteBudget(part_bytes * _BUDGET_PARTS)

    def put_file(
        self,
        path: str | os.PathLike[str],
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
    ) -> ObjectStorageObject:
        self.check(uri)
        with HashingReader(path) as reader:
            if reader.size > self.max_object_bytes:
                raise SourceFileError(
                    f"{reader.path} has {reader.size} bytes and the store of {uri} takes "
                    f"{self.max_object_bytes} at most: split the file."
                )
            if reader.size <= self.part_bytes:
                with self._budget.holding(reader.size):
                    data = reader.read()
                    etag = self._put_small(uri, data, content_type, reader.sha256(), False)
            else:
                etag = self._put_large(uri, reader, content_type, part_bytes_for(reader.size, self.part_bytes))
            return ObjectStorageObject(uri, reader.size, reader.sha256(), content_type, etag)

    def put_bytes(
        self,
        data: bytes,
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
        only_if_absent: bool = False,
    ) -> ObjectStorageObject:
        self.check(uri)
        digest = sha256(data).hexdigest()
        etag = self._put_small(uri, data, content_type, digest, only_if_absent)
        return ObjectStorageObject(uri, len(data), digest, content_type, etag)

    def get_file(self, uri: ObjectStorageUri, path: str | os.PathLike[str]) -> ObjectStorageObject:
        self.check(uri)
        target = Path(path)
        unfinished = target.parent / f".{target.name[:100]}.{uuid4().hex}"
        try:
            with open(unfinished, "xb") as file:
                found = self._download(uri, file)
            with HashingReader(unfinished) as reader:
                while reader.read(self.part_bytes):
                    pass
                digest = reader.sha256()
                size = reader.size
            if size != found.size_bytes or found.sha256 not in (None, digest):
                raise ChecksumMismatchError(
                    f"{uri} came back with {size} bytes and sha256 {digest}, but the store says "
                    f"{found.size_bytes} bytes and sha256 {found.sha256}: read it again, and stage it anew "
                    "if that fails too.",
                    uri=str(uri),
                )
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
        return ObjectStorageObject(uri, size, digest, found.content_type, found.etag)

    def exists(self, uri: ObjectStorageUri) -> bool:
        try:
            self.stat(uri)
        except ObjectNotFoundError:
            return False
        return True

    def list_prefix(self, prefix: ObjectStorageUri) -> list[ObjectStorageUri]:
        return [found.uri for found in self.list_objects(prefix)]

    def delete_objects(self, uris: Sequence[ObjectStorageUri]) -> None:
        if not uris:
            return
        for uri in uris:
            self.check(uri)
        by_key = {uri.key: uri for uri in uris}
        left = dict.fromkeys(by_key, "")
        for _ in range(_DELETE_ROUNDS):
            left = self._delete_once(uris[0], list(left))
            if not left:
                return
        raise delete_incomplete({str(by_key[key]): reason for key, reason in left.items()})

    def delete_prefix(self, prefix: ObjectStorageUri) -> int:
        uris = self.list_prefix(narrow_prefix(prefix))
        self.delete_objects(uris)
        remaining = self.list_prefix(prefix)
        if remaining:
            raise delete_incomplete({str(uri): "still listed after its delete" for uri in remaining})
        return len(uris)

    def _delete_once(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        """Send one delete for each key, batch by batch; return the refused keys with the reason."""
        batches = [
            keys[start : start + self.delete_batch_size] for start in range(0, len(keys), self.delete_batch_size)
        ]
        refused: dict[str, str] = {}
        with ThreadPoolExecutor(self.max_concurrency, thread_name_prefix="dpone-delete") as pool:
            for result in pool.map(lambda batch: self._delete_or_say_why(anywhere, batch), batches):
                refused.update(result)
        return refused

    def _delete_or_say_why(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        if self._takes_batches:
            try:
                return self._delete_batch(anywhere, keys)
            except BucketNotFoundError:
                raise
            except StorageAccessDeniedError as error:
                return dict.fromkeys(keys, str(error))
            except StorageError as error:
                log.info("Deleting one by one, since this store takes no batch: %s", error)
                self._takes_batches = False
        return self._delete_singly(anywhere, keys)

    def _delete_singly(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        refused = {}
        for key in keys:
            try:
                self._delete_one(replace(anywhere, key=key))
            except ObjectNotFoundError:
                continue
            except StorageError as error:
                refused[key] = str(error)
        return refused

    def check(self, uri: ObjectStorageUri) -> None:
        """Refuse a URI that this client can't serve."""
        if self.provider is not None and uri.provider is not self.provider:
            raise InvalidUriError(f"{uri} is no URI for {type(self).__name__}, which serves {self.provider} only.")

    @contextmanager
    def _calling(
        self, action: str, uri: ObjectStorageUri, *, on_404: type[StorageError] = BucketNotFoundError
    ) -> Iterator[None]:
        """Turn an SDK's error into one of ours that says what was done with which object.

        Only a read can miss its object; to any other call a 404 says that the bucket isn't there.
        """
        try:
            yield
        except self._sdk_errors() as error:
            status, code, message = self._describe(error)
            kind = _classify(status, code, on_404)
            detail = ": ".join(part for part in (code, redact(message.strip())) if part).rstrip(".")
            raise kind(f"Could not {action} {uri}: {detail}. {_ADVICE[kind]}", uri=str(uri)) from printable_cause(error)

    @abstractmethod
    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        """Return the SDK's exception types."""

    @abstractmethod
    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        """Return HTTP status, error code and message of an SDK's error."""

    @abstractmethod
    def _put_small(
        self,
        uri: ObjectStorageUri,
        data: bytes,
        content_type: str | None,
        digest: str,
        only_if_absent: bool,
    ) -> str | None:
        """Write one object in one request, the store checking its checksum; return the ETag."""

    @abstractmethod
    def _put_large(
        self,
        uri: ObjectStorageUri,
        reader: HashingReader,
        content_type: str | None,
        part_bytes: int,
    ) -> str | None:
        """Write one object in parts; on an error nothing is left open. Return the ETag."""

    @abstractmethod
    def _download(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        """Write an object's content to ``file`` and return what the store says of it."""

    @abstractmethod
    def get_bytes(self, uri: ObjectStorageUri) -> bytes: ...

    @abstractmethod
    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject: ...

    @abstractmethod
    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]: ...

    @abstractmethod
    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        """Delete keys of one bucket in one request; return those refused, with the reason."""

    @abstractmethod
    def _delete_one(self, uri: ObjectStorageUri) -> None:
        """Delete one object, for stores that refuse a batch."""


def checked_max_concurrency(value: int) -> int:
    """Return ``value`` if that many things can be done at once.

    :raises InvalidOptionError: if it isn't a whole number from 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOptionError(f"max_concurrency is {value!r}: give a whole number from 1.")
    return value


def narrow_prefix(prefix: ObjectStorageUri) -> ObjectStorageUri:
    """Return ``prefix`` if it may be deleted.

    :raises InvalidUriError: for a whole bucket.
    """
    if not prefix.key.strip("/"):
        raise InvalidUriError(f"{prefix} is a whole bucket, and only a prefix in one is ever deleted.")
    return prefix


def delete_incomplete(left: Mapping[str, str]) -> DeleteIncompleteError:
    """Return the error for a delete that left objects behind; all are in ``left``, some in the text."""
    left = {uri: redact(reason) for uri, reason in left.items()}
    named = [f"{uri} ({reason})" for uri, reason in list(left.items())[:_NAMED_IN_MESSAGES]]
    more = f" and {len(left) - len(named)} more" if len(left) > len(named) else ""
    return DeleteIncompleteError(
        f"{len(left)} objects could not be deleted: {', '.join(named)}{more}. "
        "Remove what holds them (a right that is missing, a lease, a retention rule) and run the cleanup again.",
        uri=next(iter(left)),
        left=left,
    )


_CHECKSUM_CODES = {
    "BadDigest",
    "InvalidDigest",
    "Md5Mismatch",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_NO_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound"}
_NO_OBJECT_CODES = {"NoSuchKey", "BlobNotFound"}
_TAKEN_CODES = {"BlobAlreadyExists", "ConditionalRequestConflict", "PreconditionFailed"}
_DENIED_CODES = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NoCredentials",
    "SignatureDoesNotMatch",
}
_ADVICE: dict[type[StorageError], str] = {
    BucketNotFoundError: "Create the bucket or container, or correct the URI.",
    ChecksumMismatchError: "The bytes changed on their way and nothing was stored; run it again.",
    ObjectAlreadyExistsError: "Somebody else wrote it first.",
    ObjectNotFoundError: "Check the URI, and whether a cleanup has deleted it.",
    StorageAccessDeniedError: (
        "Check the credentials of the Airflow connection and the rights they have on this prefix."
    ),
    StorageError: "If the store is up and reachable from this host, run it again.",
}


def _classify(status: int | None, code: str, on_404: type[StorageError]) -> type[StorageError]:
    """Return our error type for a store's answer."""
    if code in _CHECKSUM_CODES:
        return ChecksumMismatchError
    if code in _NO_BUCKET_CODES:
        return BucketNotFoundError
    if code in _NO_OBJECT_CODES:
        return ObjectNotFoundError
    if status == 404:
        return on_404
    if status in (401, 403) or code in _DENIED_CODES:
        return StorageAccessDeniedError
    if status == 412 or code in _TAKEN_CODES:
        return ObjectAlreadyExistsError
    return StorageError
