"""The port that every store is reached through, and what its clients share.

A client's own module holds only what is truly its store's own: the calls of one SDK. What must be
the same everywhere stands here once: hashing while sending, proving a delete, errors with a
sentence in them.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol, TypeVar, cast, runtime_checkable
from uuid import uuid4

from dpone_airflow.storage.answers import broke_off, store_error
from dpone_airflow.storage.bucket_settings import BucketSettings
from dpone_airflow.storage.concurrency import checked_max_concurrency
from dpone_airflow.storage.deletes import Deleter, delete_incomplete, narrow_prefix
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    InvalidUriError,
    ObjectNotFoundError,
    SourceFileError,
    StorageError,
    printable_cause,
)
from dpone_airflow.storage.hashing import HashingSink
from dpone_airflow.storage.lanes import Lanes
from dpone_airflow.storage.parts import DEFAULT_PART_BYTES, part_bytes_for
from dpone_airflow.storage.readers import Content, Reader, TimedReader, open_reader, sha256_of
from dpone_airflow.storage.uploader import NotThisUploaderError, Uploader, UploadTarget
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

log = logging.getLogger(__name__)

Read = TypeVar("Read")

DEFAULT_MAX_CONCURRENCY = 8
# What may wait in memory at once, in parts: eight that are sent, one that is read, and room to begin the next file.
_PARTS_IN_MEMORY = 12
# A file of up to this many parts goes in one request all the same: parts cost two requests more.
_PARTS_IN_ONE_PUT = 2
# Content whose size isn't known goes in parts so many times as large: 9,000 of 32 MiB are 281 GiB.
_UNKNOWN_SIZE_FACTOR = 4
# How often an object is read whose answer breaks off.
_TRIES_TO_READ = 3


@dataclass(frozen=True, slots=True)
class ObjectStorageObject:
    """One object as a store knows it.

    :param uri: where it is.
    :param size_bytes: its length in bytes.
    :param sha256: digest in lower-case hex, when it is known without reading the object; else None. A listing knows
        none.
    :param content_type: MIME type, when the call that returned this object tells it; else None.
    :param etag: the store's own version mark without quotes; on GCS the generation, a number as text.
        https://cloud.google.com/storage/docs/metadata#generation-number
    :param nonce: what its upload alone carried, when the call that returned this object tells it; else None.
    :param modified: when it was written, as that call tells it: a time, ISO 8601 text, or seconds
        since 1970; else None. Most listings are never asked for it, so it is read by ``modified_at``.
    """

    uri: ObjectStorageUri
    size_bytes: int
    sha256: str | None = None
    content_type: str | None = None
    etag: str | None = None
    nonce: str | None = field(default=None, compare=False)
    modified: datetime | str | float | None = field(default=None, compare=False, repr=False)

    @property
    def modified_at(self) -> datetime | None:
        """When it was written, in UTC and by the store's clock; None when the call that returned it doesn't tell."""
        if self.modified is None:
            return None
        if isinstance(self.modified, datetime):
            return self.modified.astimezone(UTC)
        if isinstance(self.modified, str):
            return datetime.fromisoformat(self.modified).astimezone(UTC)
        return datetime.fromtimestamp(self.modified, UTC)


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was never finished: billed by some stores, and no object.

    :param uri: where its object would be; of the emulator only the bucket is known.
    :param upload_id: the store's name for it.
    :param began_at: when it began, in UTC and by the store's clock.
    """

    uri: ObjectStorageUri
    upload_id: str
    began_at: datetime | None


@runtime_checkable
class ObjectStorageClient(Protocol):
    """What staging asks of a store: the port that every client is reached through.

    Every method that calls the store raises a ``StorageError`` when it refuses or fails: ``StorageAccessDeniedError``
    for credentials or a right, ``BucketNotFoundError``, and the others that are named below. Every method that takes a
    URI raises what ``check`` does, before anything is sent. SDKs try requests again by themselves first.
    A client may be used by several threads at once.
    """

    max_concurrency: int
    #: Files above this size, in bytes, are sent in parts.
    largest_put_bytes: int
    #: What goes with every upload besides its content, see ``storage.options``.
    storage_options: dict[str, Any]

    #: Whether the folders of objects may be listed as empty objects themselves.
    may_list_folders: ClassVar[bool]

    @property
    def engine(self) -> str:
        """The package that uploads: the SDK's, e.g. ``boto3``, or ``obstore``."""

    @property
    def engine_note(self) -> str:
        """Why it is that package, where another might have been expected; else empty."""

    @property
    def one_by_one_because(self) -> str:
        """The store's answer to a batch, if objects are deleted one by one for it; empty if none was refused."""

    @property
    def endpoint_url(self) -> str | None:
        """The address that serves the requests, without credentials; None for the emulator, which has no server."""

    def check(self, uri: ObjectStorageUri) -> None:
        """Refuse a URI of another store or account than this client's; nothing is sent.

        :param uri: any place.
        :raises InvalidUriError: if it is of another store.
        :raises ConnectionMismatchError: if it names another storage account.
        """

    def put_file(
        self,
        content: Content,
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
        lanes: int | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> ObjectStorageObject:
        """Upload one file; the bytes that are hashed are the bytes that are sent.

        An object that is there already is replaced. One above ``largest_put_bytes`` goes in parts, and appears when
        the last of them is there.

        :param content: the path of a local file, or a ``RemoteFile``.
        :param uri: where it goes.
        :param content_type: its MIME type; None for the store's default.
        :param lanes: how many parts of a large file go at once; None, and at most, ``max_concurrency``.
        :param on_read: called with a number of bytes before they are read; what it raises ends the
            upload, and no object comes of it.
        :returns: the object with its size in bytes, sha256, content type and ETag.
        :raises SourceFileError: if the file isn't there, is no regular file, changes while it is read, or is larger
            than the store takes; no object comes of it.
        :raises ChecksumMismatchError: if other bytes arrived.
        :raises StorageError: if the store refuses or fails. Its notes say so where parts may be left open.
        """

    def put_bytes(
        self,
        data: bytes,
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
        only_if_absent: bool = False,
    ) -> ObjectStorageObject:
        """Write a small object in one request.

        A conditional write is the store's own:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        https://cloud.google.com/storage/docs/request-preconditions
        https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations

        :param data: its content.
        :param uri: where it goes.
        :param content_type: its MIME type; None for the store's default.
        :param only_if_absent: False to replace what is there; True to write only if the key is free, which the store
            decides, so that of several who try just one does.
        :returns: the object with its size in bytes, sha256, content type and ETag.
        :raises ObjectAlreadyExistsError: with ``only_if_absent``, if the key is taken; what is there stays.
        :raises ChecksumMismatchError: if other bytes arrived.
        :raises StorageError: if the store refuses or fails.
        """

    def prepare_bytes(
        self, data: bytes, uri: ObjectStorageUri, sha256: str, *, content_type: str | None = None
    ) -> Callable[[], ObjectStorageObject]:
        """Return what writes a small object when it is called, in whichever thread.

        All that can be done before is done here: of the threads that call it, one at a time runs
        Python's own code, and the less there is of it the more of them send.

        :param data: its content.
        :param uri: where it goes.
        :param sha256: the digest of ``data`` in lower-case hex.
        :param content_type: its MIME type; None for the store's default.
        :returns: a function without arguments, which returns and raises what ``put_bytes`` does.
        """

    def get_file(self, uri: ObjectStorageUri, path: str | os.PathLike[str]) -> ObjectStorageObject:
        """Download one object to a local file that appears when it is complete.

        :param uri: the object.
        :param path: the file, in a directory that is there; an older one of that name is replaced.
        :returns: the object with the size in bytes and the sha256 of what came, its content type and its ETag.
        :raises ObjectNotFoundError: if there is no such object.
        :raises ChecksumMismatchError: if what came isn't of the size or the sha256 that the store tells.
        :raises StorageError: if the store refuses or fails; no file is left, nor a part of one.
        :raises OSError: if the file can't be written.
        """

    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
        """Return a small object's content, or its beginning.

        :param uri: the object.
        :param limit: how many bytes at most, above 0; None for all. Only for an object that isn't empty: not every
            store has such a range of an empty one.
        :raises ObjectNotFoundError: if there is no such object.
        :raises StorageError: if the store refuses or fails.
        """

    def hash_object(
        self, uri: ObjectStorageUri, *, on_read: Callable[[int], None] | None = None
    ) -> ObjectStorageObject:
        """Read an object to its end, and return it with the size and sha256 of the bytes that came.

        They are hashed as they come: nothing is written to disk, and no more than a few MiB are in memory.

        :param uri: the object.
        :param on_read: called with each number of bytes that came; below 0 when the object is read
            again. What it raises ends the download.
        :returns: the object with the size in bytes and the sha256 of what came, which is for the caller to compare.
        :raises ObjectNotFoundError: if there is no such object.
        :raises StorageError: if the store refuses or fails.
        """

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        """Return what the store knows of one object, its metadata included.

        :param uri: the object.
        :raises ObjectNotFoundError: if there is no such object.
        :raises StorageAccessDeniedError: also for one that isn't there, where S3 doesn't let this identity list.
            https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        :raises StorageError: if the store refuses or fails.
        """

    def exists(self, uri: ObjectStorageUri) -> bool:
        """Return whether there is such an object.

        :param uri: the object.
        :raises StorageAccessDeniedError: as ``stat`` does, also for one that isn't there.
        :raises StorageError: if the store refuses or fails.
        """

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        """Yield every object below a prefix, page by page, each with its size in bytes and ETag.

        S3 and GCS give 1,000 a page, Azure 5,000. An error comes when its page is asked for.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
        https://cloud.google.com/storage/docs/json_api/v1/objects/list
        https://learn.microsoft.com/rest/api/storageservices/list-blobs

        :param prefix: the place; its trailing slash is implied. A bucket alone lists all of it.
        :raises BucketNotFoundError: if there is no such bucket.
        :raises StorageError: if the store refuses or fails.
        """

    def list_prefix(self, prefix: ObjectStorageUri) -> list[ObjectStorageUri]:
        """Return the URIs of every object below ``prefix``; takes and raises what ``list_objects`` does."""

    def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
        """Return the names directly below ``prefix`` that hold objects, sorted, without a slash.

        :param prefix: the place; its trailing slash is implied.
        :raises BucketNotFoundError: if there is no such bucket; the emulator, which makes them, has no names then.
        :raises StorageError: if the store refuses or fails.
        """

    def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
        """Return what the store says of a bucket: who may read it, what it keeps of deleted objects, its rules.

        What can't be read is no error: each of the three may be an ``Unreadable`` with its reason.

        :param anywhere: any place in the bucket.
        """

    def refuses_wrong_checksum(self, uri: ObjectStorageUri) -> bool | None:
        """Write an object with the checksum of another one; return whether the store refused it.

        :param uri: where it goes; whoever calls this deletes it.
        :returns: True if it was refused, False if the store took it, None where the store is given no checksum at all.
        :raises StorageError: if the store refuses or fails for another reason.
        """

    def free_bytes(self) -> int | None:
        """Return how many more bytes this host's disk takes, where that is what holds the objects; else None."""

    def keeps_versions(self, anywhere: ObjectStorageUri) -> bool | None:
        """Return whether the bucket keeps an older version of what is deleted; None where that can't be known.

        What answers about its objects have said of it is remembered. Where they say nothing, S3 and GCS are asked,
        which takes a right that staging does without.

        :param anywhere: any place in the bucket.
        """

    def delete_objects(self, uris: Sequence[ObjectStorageUri]) -> None:
        """Delete objects of one bucket, reading every key's result.

        One that isn't there counts as deleted. A store that is busy is asked again for about a minute.

        :param uris: the objects, any number of them; none is nothing to do.
        :raises DeleteIncompleteError: if some are left; ``left`` has their URIs, each with the store's reason.
        :raises BucketNotFoundError: if there is no such bucket.
        """

    def delete_prefix(self, prefix: ObjectStorageUri) -> int:
        """Delete every object below ``prefix`` and prove it by a listing; return how many.

        :param prefix: the place; its trailing slash is implied.
        :raises InvalidUriError: for a whole bucket; nothing was deleted.
        :raises DeleteIncompleteError: if some are left, or have come meanwhile; ``left`` has their URIs.
        :raises StorageError: if the store refuses or fails.
        """

    def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
        """Return the uploads in parts below ``prefix`` that aren't finished, those under way included.

        Only S3 and the emulator list any; the emulator lists all that it has, wherever they were to go.

        :param prefix: the place; its trailing slash is implied.
        :raises StorageError: if the store refuses or fails.
        """

    def abort_uploads(self, prefix: ObjectStorageUri, *, begun_before: datetime | None = None) -> int:
        """Abort uploads in parts below ``prefix`` that were never finished; return how many.

        Only for a prefix below which nobody uploads now: an upload under way is aborted as well.

        :param prefix: the place; its trailing slash is implied.
        :param begun_before: a time with its zone; only those are aborted that are older, by the store's clock.
            None for all.
        :raises StorageError: if the store refuses or fails.
        """


class BaseObjectStorageClient(ABC):
    """What the clients share.

    :param max_concurrency: files, or parts of a file, that are sent at the same time, from 1.
    :param part_bytes: in bytes; files above twice this size are sent in parts of it.
    :param store_check: whether the store is given a checksum of what it is sent, to check it.
    :param uploader: writes in the SDK's place what it can; conditional writes stay with the SDK. None for the SDK
        alone.
    :raises InvalidOptionError: for a ``max_concurrency`` that isn't a whole number from 1.
    """

    provider: ClassVar[ObjectStorageProvider | None]
    #: The package whose calls the client makes.
    sdk: ClassVar[str]
    #: What the names of an object's metadata begin with.
    metadata_prefix: ClassVar[str] = "dpone-"
    #: The largest object the store takes, in bytes.
    max_object_bytes: ClassVar[int]
    #: Whether the parts of one large file are sent side by side.
    parts_side_by_side: ClassVar[bool] = True
    #: Whether the folders of objects may be listed as empty objects themselves.
    may_list_folders: ClassVar[bool] = False
    #: The largest number of keys that one delete request takes.
    delete_batch_size: ClassVar[int]

    def __init__(
        self,
        *,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        part_bytes: int = DEFAULT_PART_BYTES,
        store_check: bool = True,
        uploader: Uploader | None = None,
    ) -> None:
        self.max_concurrency = checked_max_concurrency(max_concurrency)
        self.part_bytes = part_bytes
        self.largest_put_bytes = _PARTS_IN_ONE_PUT * part_bytes
        self.storage_options: dict[str, Any] = {}
        self._store_check = store_check
        self._uploader = uploader
        #: Why the SDK uploads, where obstore might have.
        self.engine_note = ""
        self._noted_versions: dict[str, bool | None] = {}
        self._nonces = map(f"{uuid4().hex}-{{}}".format, count())
        self._lanes = Lanes(self.max_concurrency, part_bytes * _PARTS_IN_MEMORY)
        self._deleter = Deleter(
            self._delete_batch,
            self._delete_one,
            batch_size=self.delete_batch_size,
            threads=self.max_concurrency,
        )

    @property
    def engine(self) -> str:
        return self.sdk if self._uploader is None else self._uploader.engine

    @property
    def one_by_one_because(self) -> str:
        return self._deleter.one_by_one_because

    @property
    def endpoint_url(self) -> str | None:
        return None

    def put_file(
        self,
        content: Content,
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
        lanes: int | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> ObjectStorageObject:
        self.check(uri)
        with open_reader(content, on_read, ahead=self.largest_put_bytes + 1) as reader:
            size = reader.size
            if size is not None and size > self.max_object_bytes:
                raise SourceFileError(
                    f"{content} has {size} bytes and the store of {uri} takes {self.max_object_bytes} at most: split "
                    "the file."
                )
            if size is not None and size <= self.largest_put_bytes:
                with self._lanes.holding(1, size):
                    etag = self._prepared(reader.read(), uri, content_type, reader.sha256())()
            else:
                etag = self._send_large(
                    uri, reader, content_type, min(lanes or self.max_concurrency, self.max_concurrency)
                )
            return ObjectStorageObject(uri, reader.tell(), reader.sha256(), content_type, etag)

    def _prepared(
        self, data: bytes, uri: ObjectStorageUri, content_type: str | None, digest: str
    ) -> Callable[[], str | None]:
        """Return what writes one object in one request and returns its ETag."""
        metadata = self._metadata(sha256=digest, nonce=next(self._nonces))
        target = UploadTarget(uri, content_type, metadata)
        by_sdk = partial(self._put_small, target, data, digest, False)
        if self._uploader and self._uploader.takes(target):
            return partial(self._or_by_sdk, partial(self._uploader.put_small, target, data), by_sdk)
        return by_sdk

    def _create(self, data: bytes, uri: ObjectStorageUri, content_type: str | None, digest: str) -> str | None:
        """Write one object if its key is free; return its ETag."""
        nonce = next(self._nonces)
        target = UploadTarget(uri, content_type, self._metadata(sha256=digest, nonce=nonce))
        try:
            return self._put_small(target, data, digest, True)
        except StorageError as failure:
            return self._ours_after_all(uri, nonce, len(data), failure)

    def _send_large(self, uri: ObjectStorageUri, reader: Reader, content_type: str | None, lanes: int) -> str | None:
        nonce = next(self._nonces)
        target = UploadTarget(uri, content_type, self._metadata(nonce=nonce))
        size = reader.size
        part_bytes = self.part_bytes * _UNKNOWN_SIZE_FACTOR if size is None else part_bytes_for(size, self.part_bytes)
        if not self.parts_side_by_side:
            lanes = 1
        # The larger the parts, the fewer at once; one part more than is sent is in memory, being read.
        lanes = max(1, min(lanes, self._lanes.size_bytes // part_bytes - 1))
        in_memory = (lanes + 1) * part_bytes
        if size is not None:
            lanes = min(lanes, math.ceil(size / part_bytes))
            in_memory = min(size, (lanes + 1) * part_bytes)

        with self._lanes.holding(lanes, in_memory):
            timed = TimedReader(reader)

            def by_sdk() -> str | None:
                timed.seek(0)  # where it is already, but after another uploader has given up
                timed.read_at = None
                return self._put_large(target, timed, part_bytes, lanes)

            write: Callable[[], str | None] = by_sdk
            if self._uploader and self._uploader.takes(target):
                by_uploader = partial(self._uploader.put_large, target, timed, part_bytes, lanes)
                write = partial(self._or_by_sdk, by_uploader, by_sdk)
            try:
                return write()
            except StorageError as failure:
                self._close_uploads(uri, timed, failure)
                return self._ours_after_all(uri, nonce, reader.tell() if size is None else size, failure)

    def _close_uploads(  # noqa: B027 - see list_uploads
        self, uri: ObjectStorageUri, content: TimedReader, failure: StorageError
    ) -> None:
        """Abort what a failed upload in parts has left open, where a store keeps such; else ``failure`` says so."""

    def _or_by_sdk(self, by_uploader: Callable[[], str | None], by_sdk: Callable[[], str | None]) -> str | None:
        """Let the uploader write; if that isn't for it after all, the SDK writes this and all that follows."""
        try:
            return by_uploader()
        except NotThisUploaderError as error:
            if self._uploader is not None:
                self._uploader = None
                self.engine_note = f"obstore can't honour {error}"
                log.info("%s, so the SDK uploads.", self.engine_note)
            return by_sdk()

    def _ours_after_all(self, uri: ObjectStorageUri, nonce: str, size: int, failure: StorageError) -> str | None:
        """Return the ETag of an object that our own write has made though its answer got lost.

        :param size: how many bytes were to be written.

        :raises StorageError: ``failure``, if that isn't what is there.
        """
        if isinstance(failure, ChecksumMismatchError):
            raise failure
        with suppress(StorageError):
            found = self.stat(uri)
            if (found.nonce, found.size_bytes) == (nonce, size):
                log.info("%s is there: its upload came to its end though the answer was lost.", uri)
                return found.etag
        raise failure

    def _metadata(self, **values: str) -> dict[str, str]:
        return {f"{self.metadata_prefix}{name}": value for name, value in values.items()}

    def put_bytes(
        self,
        data: bytes,
        uri: ObjectStorageUri,
        *,
        content_type: str | None = None,
        only_if_absent: bool = False,
    ) -> ObjectStorageObject:
        digest = hashlib.sha256(data).hexdigest()
        self.check(uri)
        # Past the lanes: a record that says that a stage goes on must not wait until a large file is there.
        if only_if_absent:
            etag = self._create(data, uri, content_type, digest)
        else:
            etag = self._prepared(data, uri, content_type, digest)()
        return ObjectStorageObject(uri, len(data), digest, content_type, etag)

    def prepare_bytes(
        self, data: bytes, uri: ObjectStorageUri, sha256: str, *, content_type: str | None = None
    ) -> Callable[[], ObjectStorageObject]:
        self.check(uri)
        write = self._prepared(data, uri, content_type, sha256)
        size = len(data)
        lanes = self._lanes

        def send() -> ObjectStorageObject:
            lanes.take(1, size)
            try:
                etag = write()
            finally:
                lanes.give_back(1, size)
            return ObjectStorageObject(uri, size, sha256, content_type, etag)

        return send

    def get_file(self, uri: ObjectStorageUri, path: str | os.PathLike[str]) -> ObjectStorageObject:
        self.check(uri)
        target = Path(path)
        # A file system takes 255 bytes for a name, of which a character may be four.
        unfinished = target.parent / f".{target.name[:50]}.{uuid4().hex}"
        try:
            with open(unfinished, "xb") as file:
                found = self._reading(uri, partial(self._download, uri, file), partial(_empty, file))
            digest = sha256_of(unfinished)
            size = os.stat(unfinished).st_size
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

    def hash_object(
        self, uri: ObjectStorageUri, *, on_read: Callable[[int], None] | None = None
    ) -> ObjectStorageObject:
        self.check(uri)
        sink = HashingSink(on_read)
        download = partial(self._download, uri, cast("BinaryIO", sink))
        found = self._reading(uri, download, partial(sink.seek, 0))
        return ObjectStorageObject(uri, sink.size, sink.sha256(), found.content_type, found.etag)

    def _reading(self, uri: ObjectStorageUri, read: Callable[[], Read], begin_again: Callable[[], object]) -> Read:
        """Return what ``read`` returns; it is called again when an answer broke off.

        The SDKs send a request again, but not all of them go on with an answer of which a part came.
        """
        for _ in range(_TRIES_TO_READ - 1):
            try:
                return read()
            except StorageError as error:
                if not broke_off(error.status, error.code):
                    raise
                log.info("Reading %s again: %s", uri, error)
                begin_again()
        return read()

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
        self._deleter.delete(uris)

    def delete_prefix(self, prefix: ObjectStorageUri) -> int:
        uris = self.list_prefix(narrow_prefix(prefix))
        self.delete_objects(uris)
        remaining = self.list_prefix(prefix)
        if remaining:
            raise delete_incomplete({str(uri): "still listed after its delete" for uri in remaining})
        return len(uris)

    @abstractmethod
    def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings: ...

    def refuses_wrong_checksum(self, uri: ObjectStorageUri) -> bool | None:
        self.check(uri)
        data, digest = b"these bytes", hashlib.sha256(b"other bytes").hexdigest()
        target = UploadTarget(uri, None, self._metadata(nonce=next(self._nonces)))
        try:
            return False if self._put_wrong(target, data, digest) else None
        except StorageError as error:
            # Some stores have no code for it; and what was wrong with the request was the checksum alone.
            if isinstance(error, ChecksumMismatchError) or error.status == 400:
                return True
            raise

    def free_bytes(self) -> int | None:
        return None

    def keeps_versions(self, anywhere: ObjectStorageUri) -> bool | None:
        self.check(anywhere)
        return self._noted_versions.get(anywhere.bucket)

    def _note_version(self, uri: ObjectStorageUri, version: str | None) -> None:
        """Remember what an answer about an object says of its bucket: it names a version where versions are kept."""
        # S3 calls the version "null" that was written while the bucket kept none: what it does now is to be asked.
        noted = None if version == "null" else bool(version)
        before = self._noted_versions.get(uri.bucket, False)
        self._noted_versions[uri.bucket] = True if noted or before else None if None in (noted, before) else False

    def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
        """Return none: what a killed upload leaves in this store never shows, and expires by itself.

        GCS keeps the session of a resumable upload for a week and lists none. Azure drops uncommitted
        blocks after a week, or with the next write of the same blob.
        https://cloud.google.com/storage/docs/resumable-uploads#session-uris
        https://learn.microsoft.com/rest/api/storageservices/put-block#remarks

        :param prefix: as of the port.
        """
        self.check(prefix)
        return []

    def abort_uploads(self, prefix: ObjectStorageUri, *, begun_before: datetime | None = None) -> int:
        uploads = [
            upload
            for upload in self.list_uploads(prefix)
            if begun_before is None or (upload.began_at is not None and upload.began_at < begun_before)
        ]
        with ThreadPoolExecutor(self.max_concurrency, thread_name_prefix="dpone-abort") as pool:
            return sum(pool.map(self._abort, uploads))

    def _abort(self, upload: UnfinishedUpload) -> bool:
        """Abort one upload; return False if it is none any more."""
        raise NotImplementedError(f"{type(self).__name__} lists no unfinished uploads")

    def check(self, uri: ObjectStorageUri) -> None:
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
            raise store_error(action, uri, *self._describe(error), on_404=on_404) from printable_cause(error)

    @abstractmethod
    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        """Return the SDK's exception types."""

    @abstractmethod
    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        """Return HTTP status, error code and message of an SDK's error."""

    @abstractmethod
    def _put_small(self, target: UploadTarget, data: bytes, digest: str, only_if_absent: bool) -> str | None:
        """Write one object in one request, the store checking its checksum; return the ETag."""

    @abstractmethod
    def _put_wrong(self, target: UploadTarget, data: bytes, digest: str) -> bool:
        """Write one object with a checksum cut from ``digest``; return False if the store takes none."""

    @abstractmethod
    def _put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        """Write one object in parts, ``lanes`` at a time; on an error nothing is left open. Return the ETag."""

    @abstractmethod
    def _download(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        """Write an object's content to ``file`` and return what the store says of it."""

    @abstractmethod
    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes: ...

    @abstractmethod
    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject: ...

    @abstractmethod
    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]: ...

    @abstractmethod
    def list_folders(self, prefix: ObjectStorageUri) -> list[str]: ...

    @abstractmethod
    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        """Delete keys of one bucket in one request; return those refused, with the store's code and message.

        The code comes first, as in ``SlowDown: Please reduce your request rate``.
        """

    @abstractmethod
    def _delete_one(self, uri: ObjectStorageUri) -> None:
        """Delete one object, for stores that refuse a batch."""


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
