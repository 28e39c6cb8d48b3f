"""What is done with one file: read, hashed, compared with what an earlier try staged, sent, and recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from dpone_airflow.staging.checkpoints import Checkpoints, StagedBefore
from dpone_airflow.staging.content_type import guess_content_type
from dpone_airflow.staging.manifest import ObjectStorageStagingObject
from dpone_airflow.staging.progress import Progress
from dpone_airflow.staging.sources import SourceFile
from dpone_airflow.staging.upload import SMALL_FILE_BYTES, is_read_ahead
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import SourceFileError
from dpone_airflow.storage.hashing import read_whole
from dpone_airflow.storage.readers import sha256_of
from dpone_airflow.storage.uri import ObjectStorageUri


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file that is staged.

    :param item: its entry in the manifest.
    :param kept: whether an earlier try has sent it.
    """

    item: ObjectStorageStagingObject
    kept: bool


@dataclass(frozen=True)
class FileStaging:
    """Stages the files of one call, each by itself and in any thread.

    :param prefix: where they go.
    :param known: what an earlier try has staged, by file name.
    :param content_type: of all files; None to guess each one's.
    :param go_on: raises when the call is to end.
    :param lanes: how many parts of one large file go at once.
    :param delete_local: whether a file is removed once it is staged.
    """

    client: ObjectStorageClient
    prefix: ObjectStorageUri
    known: Mapping[str, StagedBefore]
    content_type: str | None
    checkpoints: Checkpoints
    progress: Progress
    go_on: Callable[[], None]
    lanes: int
    delete_local: bool

    def begin(self, source: SourceFile) -> Callable[[], StagedFile]:
        """Read a small file and return what sends it; return what does all with a large one."""
        name = source.file_name
        uri = self.prefix.child(name)
        content_type = self.content_type or guess_content_type(name)
        before = self.known.get(name)
        if before and not before.could_be(source, content_type):
            before = None
        if is_read_ahead(source):
            data = read_whole(source.path, self._on_read, at_most=SMALL_FILE_BYTES)
            digest = sha256(data).hexdigest()
            if before and before.sha256 == digest:
                return lambda: self._kept(before, uri, source)
            send = self.client.prepare_bytes(data, uri, digest, content_type=content_type)
            return lambda: self._sent(send(), source)
        if before:
            if before.sha256 == sha256_of(source.content, self._on_read):
                return lambda: self._kept(before, uri, source)
            self.progress.add_bytes(-source.known_bytes)  # they are read again, to be sent
        return lambda: self._sent(
            self.client.put_file(
                source.content, uri, content_type=content_type, lanes=self.lanes, on_read=self._on_read
            ),
            source,
        )

    def _on_read(self, size_bytes: int) -> None:
        self.go_on()
        self.checkpoints.check()  # or a large file is sent to its end, over what a later try has sent
        self.progress.add_bytes(size_bytes)

    def _sent(self, sent: ObjectStorageObject, source: SourceFile) -> StagedFile:
        assert sent.sha256 is not None, "what is sent is hashed"
        item = ObjectStorageStagingObject(
            str(sent.uri), source.file_name, sent.size_bytes, sent.sha256, sent.content_type, sent.etag
        )
        self.checkpoints.add(item)
        return self._done(item, source, kept=False)

    def _kept(self, before: StagedBefore, uri: ObjectStorageUri, source: SourceFile) -> StagedFile:
        return self._done(before.as_object(uri, source.file_name), source, kept=True)

    def _done(self, item: ObjectStorageStagingObject, source: SourceFile, *, kept: bool) -> StagedFile:
        if self.delete_local and source.remote is None:
            _remove(source.path)
        self.progress.file_done()
        return StagedFile(item, kept)


def _remove(path: str) -> None:
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise SourceFileError(
            f"{path} is staged and can't be removed, as delete_local=True asks: {error.strerror}. Let the "
            "task write to its directory, or leave delete_local out."
        ) from error
