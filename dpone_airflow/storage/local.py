"""A local emulator: every URI form, kept as ordinary files under one directory.

What lies in it:

    <root>/s3/<bucket>/<key>                  an object is a file where its key says
    <root>/gs/<bucket>/..   az/<container>/..   azure/<account>/<container>/..
    <root>/.dpone/metadata/<ab>/<sha256 of place>/<etag>.json
    <root>/.dpone/unfinished/                 what is being written, each file locked by its writer

A write is a file in ``unfinished``, then its metadata, then one rename: a reader sees the old
object or the new one, whole, with the metadata of just that one. Keys are percent-encoded where a
file system needs it, so no key leaves the root.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from dpone_airflow.storage.answers import NO_SPACE
from dpone_airflow.storage.bucket_settings import BucketSettings, Unreadable
from dpone_airflow.storage.client import (
    DEFAULT_MAX_CONCURRENCY,
    BaseObjectStorageClient,
    ObjectStorageObject,
    UnfinishedUpload,
)
from dpone_airflow.storage.errors import (
    InvalidOptionError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    StorageError,
)
from dpone_airflow.storage.parts import DEFAULT_PART_BYTES
from dpone_airflow.storage.readers import Reader
from dpone_airflow.storage.uploader import UploadTarget
from dpone_airflow.storage.uri import ObjectStorageUri

_OWN = ".dpone"
# What Linux and macOS take as one file name.
_MAX_NAME_BYTES = 255
_ATTEMPTS = 100
# The object run/ and the folder in run//file are both called nothing; two names keep them apart.
_EMPTY_NAME = "%"
_EMPTY_FOLDER = "%%"
_UNSAFE = re.compile(r"[%/\\\x00-\x1f]")
_ESCAPED = re.compile(r"[%\\\x00-\x1f]")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")


class LocalObjectStorageClient(BaseObjectStorageClient):
    """Objects as files below ``root_dir``, for tests, CI and work without a cloud.

    A bucket comes to be with its first object. One key can't be both an object and another's
    folder (``a`` and ``a/b``), because both would be one name in a directory. It takes files of up to 5 TiB, as
    S3 long did, and names of up to 255 bytes between two slashes, as Linux and macOS do.

    :param root_dir: the directory, as a path; it is made when it isn't there.
    :param max_concurrency: files written at the same time, from 1.
    :param part_bytes: in bytes; files above twice this size are read and written in pieces of it.
    :raises InvalidOptionError: for an empty ``root_dir``, or a ``max_concurrency`` below 1.
    """

    provider = None
    sdk = "dpone-airflow"
    max_object_bytes = 5 * 1024**4
    parts_side_by_side = False
    delete_batch_size = 1000

    def __init__(
        self,
        root_dir: str | os.PathLike[str],
        *,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> None:
        super().__init__(max_concurrency=max_concurrency, part_bytes=part_bytes)
        if not str(root_dir):
            raise InvalidOptionError("root_dir is empty: give the directory that holds the emulator's buckets.")
        self.root_dir = Path(root_dir).absolute()

    def path_of(self, uri: ObjectStorageUri) -> Path:
        """Return the file that holds, or would hold, an object; readers and loaders may open it.

        :param uri: the object; nothing is looked up.
        :returns: an absolute path below ``root_dir``.
        :raises StorageError: if a segment of the key is too long for a file name.
        """
        *folders, name = uri.key.split("/")
        return self._folder(uri, folders) / _file_name(name, uri)

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        for _ in range(_ATTEMPTS):
            with self._opened(uri) as file:
                found = self._object(uri, file)
            with self._calling("look up", uri, on_404=ObjectNotFoundError):
                if found.sha256 or _etag(os.stat(self.path_of(uri))) == found.etag:
                    return found
        raise StorageError(f"{uri} is replaced faster than it can be read; try again.", uri=str(uri))

    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
        with self._opened(uri) as file:
            return file.read(-1 if limit is None else limit)

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        folder = self._folder(prefix, prefix.prefix.split("/")[:-1])
        with self._calling("list", prefix):
            for key, status in _walk(folder, prefix.prefix):
                yield ObjectStorageObject(
                    replace(prefix, key=key), status.st_size, etag=_etag(status), modified=status.st_mtime
                )

    def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
        folder = self._folder(prefix, prefix.prefix.split("/")[:-1])
        with self._calling("list", prefix), suppress(FileNotFoundError, NotADirectoryError):
            return sorted(_segment(entry) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        return []

    def keeps_versions(self, anywhere: ObjectStorageUri) -> bool | None:
        self.check(anywhere)
        return False

    def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
        self.check(anywhere)
        no_rules = Unreadable("The emulator has no lifecycle rules: a stage and a cleanup remove unfinished files.")
        return BucketSettings(public=(), kept="", rules=no_rules)

    def free_bytes(self) -> int | None:
        folder = self.root_dir
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def _put_wrong(self, target: UploadTarget, data: bytes, digest: str) -> bool:
        return False

    def _put_small(self, target: UploadTarget, data: bytes, digest: str, only_if_absent: bool) -> str | None:
        if only_if_absent:
            # A claim begins a stage. A first one doesn't look back, and what killed writers left is no run's own.
            with suppress(StorageError):
                self.abort_uploads(target.uri)

        def write(file: BinaryIO) -> str:
            file.write(data)
            return digest

        return self._write(target, write, only_if_absent)

    def _put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        def write(file: BinaryIO) -> str:
            while chunk := reader.read(part_bytes):
                file.write(chunk)
            return reader.sha256()

        return self._write(target, write, False)

    def _write(self, upload: UploadTarget, write: Callable[[BinaryIO], str], only_if_absent: bool) -> str:
        uri = upload.uri
        target = self.path_of(uri)
        with self._calling("write", uri, on_404=StorageError):
            directory = self._own_dir("unfinished")
            try:
                with _unfinished_in(directory) as (unfinished, file):
                    digest = write(file)
                    file.flush()
                    # The clock's own resolution would give two quick writes one time, and so one ETag.
                    now = time.time_ns()
                    os.utime(unfinished, ns=(now, now))
                    etag = _etag(os.stat(unfinished))
                    notes = self._write_notes(
                        uri,
                        etag,
                        {
                            "uri": str(uri),
                            "sha256": digest,
                            "content_type": upload.content_type,
                            "nonce": upload.metadata["dpone-nonce"],
                        },
                    )
                    replaced = _etag_of(target)
                    try:
                        _move(unfinished, target, only_if_absent)
                    except OSError:
                        notes.unlink(missing_ok=True)
                        raise
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                raise self._taken(uri, target) from error
        self._forget(uri, replaced)
        return etag

    def _write_notes(self, uri: ObjectStorageUri, etag: str, notes: dict[str, Any]) -> Path:
        path = self._notes(uri, etag)
        text = json.dumps(notes)
        try:
            try:
                path.write_text(text)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        except OSError:
            with suppress(OSError):  # half a note, on a disk that is full
                path.unlink(missing_ok=True)
            raise
        return path

    @staticmethod
    def _taken(uri: ObjectStorageUri, target: Path) -> StorageError:
        if target.is_file():
            return ObjectAlreadyExistsError(
                f"Could not write {uri}: it is there already. Somebody else wrote it first.", uri=str(uri)
            )
        return StorageError(
            f"Could not write {uri}: the local emulator keeps objects as files, so one key can't be both an "
            "object and the folder of another. Give one of the two another name.",
            uri=str(uri),
        )

    def _forget(self, uri: ObjectStorageUri, etag: str | None) -> None:
        """Drop the notes on a version that is gone, and only those: another may be on its way."""
        if etag is not None:
            self._notes(uri, etag).unlink(missing_ok=True)

    def _download(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        with self._opened(uri) as source:
            found = self._object(uri, source)
            while chunk := source.read(self.part_bytes):
                file.write(chunk)
        return found

    @contextmanager
    def _opened(self, uri: ObjectStorageUri) -> Iterator[BinaryIO]:
        with self._calling("read", uri, on_404=ObjectNotFoundError), open(self.path_of(uri), "rb") as file:
            yield file

    def _object(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        status = os.fstat(file.fileno())
        etag = _etag(status)
        notes: dict[str, Any] = {}
        # No notes: the file was put there by hand, or was replaced since it was opened.
        with suppress(FileNotFoundError):
            notes = json.loads(self._notes(uri, etag).read_text())
        return ObjectStorageObject(
            uri,
            status.st_size,
            notes.get("sha256"),
            notes.get("content_type"),
            etag,
            notes.get("nonce"),
            status.st_mtime,
        )

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        refused = {}
        for key in keys:
            try:
                self._delete_one(replace(anywhere, key=key))
            except StorageError as error:
                refused[key] = str(error)
        return refused

    def _delete_one(self, uri: ObjectStorageUri) -> None:
        path = self.path_of(uri)
        with self._calling("delete", uri, on_404=ObjectNotFoundError):
            etag = _etag_of(path)
            if etag is None or path.is_dir():
                return
            path.unlink(missing_ok=True)
            self._forget(uri, etag)
            self._delete_empty_folders(path.parent, self._bucket_dir(uri))

    def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
        """Return what killed writers left below any prefix: an unfinished file doesn't say where it was to go.

        :param prefix: says in which bucket they are said to be.
        :raises StorageError: if the directory can't be read.
        """
        self.check(prefix)
        found = []
        with self._calling("list unfinished writes for", prefix):
            for path in self.root_dir.joinpath(_OWN, "unfinished").glob("*"):
                with _unwritten(path) as file:
                    if file is not None:
                        began_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
                        found.append(UnfinishedUpload(replace(prefix, key=""), path.name, began_at))
        return found

    def _abort(self, upload: UnfinishedUpload) -> bool:
        path = self.root_dir.joinpath(_OWN, "unfinished", upload.upload_id)
        with self._calling("remove an unfinished write for", upload.uri), _unwritten(path) as file:
            if file is None:
                return False
            path.unlink()
        return True

    @staticmethod
    def _delete_empty_folders(folder: Path, bucket: Path) -> None:
        """Remove the folders that only existed for the deleted key, as stores have none."""
        with suppress(OSError):  # not empty: the usual end
            while folder != bucket:
                folder.rmdir()
                folder = folder.parent

    def _folder(self, uri: ObjectStorageUri, segments: list[str]) -> Path:
        return self._bucket_dir(uri).joinpath(*(_file_name(part, uri) if part else _EMPTY_FOLDER for part in segments))

    def _bucket_dir(self, uri: ObjectStorageUri) -> Path:
        account = [_file_name(uri.account, uri)] if uri.account else []
        return self.root_dir.joinpath(uri.scheme, *account, _file_name(uri.bucket, uri))

    def _notes(self, uri: ObjectStorageUri, etag: str) -> Path:
        """Return the file with what is known of one version besides its content.

        All of them lie in a few folders: one folder an object costs the file system more than the object.
        """
        digest = sha256(str(uri).encode()).hexdigest()
        return self.root_dir.joinpath(_OWN, "metadata", digest[:2], f"{digest}.{etag}.json")

    def _own_dir(self, *names: str) -> Path:
        directory = self.root_dir.joinpath(_OWN, *names)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        return (OSError,)

    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        status = None
        if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
            status = 404
        elif isinstance(error, PermissionError):
            status = 403
        name = NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else type(error).__name__
        return status, name, f"{error.strerror}: {error.filename or self.root_dir}"


def _file_name(segment: str, uri: ObjectStorageUri) -> str:
    """Return a file name that no other segment has."""
    if not segment:
        return _EMPTY_NAME
    name = _encoded(segment)
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise StorageError(f"{str(uri)!r} isn't valid Unicode, so no file can have its name.") from None
    if length > _MAX_NAME_BYTES:
        raise StorageError(
            f"{uri} has a segment of {length} bytes, and the local emulator keeps objects as files, "
            f"whose names take {_MAX_NAME_BYTES}: shorten it.",
            uri=str(uri),
        )
    return name


def _segment(entry: os.DirEntry[str]) -> str:
    """Return the segment of a key that a file or a folder stands for.

    :raises StorageError: for a name that nothing here gave it.
    """
    name = entry.name
    if not name.isascii() and not _is_unicode(name):
        raise StorageError(
            f"{entry.path!r} was put into the local emulator by hand and stands for no key, for its name isn't valid "
            "Unicode: rename it, or move it away."
        )
    if not _ESCAPED.search(name):
        return name
    is_folder = entry.is_dir(follow_symlinks=False)
    if name == (_EMPTY_FOLDER if is_folder else _EMPTY_NAME):
        return ""
    segment = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), name)
    if segment and "/" not in segment and _encoded(segment) == name:
        return segment
    raise StorageError(
        f"{entry.path} was put into the local emulator by hand and stands for no key: "
        f"name it {_encoded(name)!r}, or move it away."
    )


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python reads bytes that aren't text as halves of characters
        return False
    return True


def _encoded(segment: str) -> str:
    if segment in (".", ".."):
        return segment.replace(".", "%2E")
    return _UNSAFE.sub(lambda character: f"%{ord(character[0]):02X}", segment)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield key and status of every object in ``folder``, sorted by name as a store's listing is."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    folders = {entry.path for entry in entries if entry.is_dir(follow_symlinks=False)}
    keys = {entry.path: prefix + _segment(entry) + ("/" if entry.path in folders else "") for entry in entries}
    for entry in sorted(entries, key=lambda entry: keys[entry.path]):
        key = keys[entry.path]
        if entry.path in folders:
            yield from _walk(Path(entry.path), key)
        else:
            with suppress(FileNotFoundError):  # deleted since the folder was read
                yield key, entry.stat()


@contextmanager
def _unfinished_in(directory: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a file that no ``abort_uploads`` removes while this process lives and has it open."""
    for _ in range(_ATTEMPTS):
        path = directory / uuid4().hex
        with open(path, "xb") as file:
            try:
                # Where a file system has no locks, the sweep can't lock the file either and leaves it.
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:  # else it was swept away before it was locked
                    yield path, file
                    return
            finally:
                path.unlink(missing_ok=True)
    raise FileNotFoundError(errno.ENOENT, "its file is removed faster than it can be locked", str(path))


@contextmanager
def _unwritten(path: Path) -> Iterator[BinaryIO | None]:
    """Hold a file that no process writes any more; None if one does, or if it is gone."""
    with ExitStack() as held:
        file: BinaryIO | None = None
        # Its writer holds the lock, and a process that is killed holds none.
        with suppress(FileNotFoundError, BlockingIOError):
            opened = held.enter_context(path.open("r+b"))
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its writer may have given it its own name, or another sweep removed it, since it was opened.
            if os.path.samestat(os.fstat(opened.fileno()), os.stat(path)):
                file = opened
        yield file


def _move(unfinished: Path, target: Path, only_if_absent: bool) -> None:
    """Give a finished file its name, making folders that a delete may be removing meanwhile."""
    for attempt in range(_ATTEMPTS):
        if not _folder_made(target.parent):
            continue
        try:
            if only_if_absent:
                os.link(unfinished, target)
            else:
                os.replace(unfinished, target)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return
    raise FileNotFoundError(errno.ENOENT, "its folder is deleted faster than it can be made", str(target.parent))


def _folder_made(folder: Path) -> bool:
    """Make a folder; False if a delete removed a part of it meanwhile.

    :raises FileExistsError: if an object has the name of one of the folders.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError):
        if any(above.is_file() for above in (folder, *folder.parents)):
            raise
        return False
    return True


def _etag_of(path: Path) -> str | None:
    try:
        return _etag(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:016x}-{status.st_size:x}"
