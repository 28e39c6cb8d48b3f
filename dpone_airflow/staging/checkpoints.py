"""What is staged is recorded while the stage goes on, so that a retry goes on from there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.manifest import ObjectStorageStagingObject
from dpone_airflow.staging.overtaken import StageWatch
from dpone_airflow.staging.sources import SourceFile
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import DeleteIncompleteError, OvertakenError, StorageError
from dpone_airflow.storage.permissions import missing_permission
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
# How often a stage says that it goes on though it has staged nothing new: one large file takes its time.
ALIVE_EVERY_SECONDS = 600.0
# A stage of a day writes some hundred checkpoints, not some ten thousand.
_SHARE_OF_ELAPSED = 0.01


@dataclass(frozen=True, slots=True)
class StagedBefore:
    """A file that an earlier try has staged and that still lies there as it was recorded."""

    size_bytes: int
    sha256: str
    etag: str
    content_type: str | None

    def could_be(self, source: SourceFile, content_type: str | None) -> bool:
        """Return whether a file may be the same: its hash will tell."""
        return source.known_bytes in (0, self.size_bytes) and content_type == self.content_type

    def as_object(self, uri: ObjectStorageUri, file_name: str) -> ObjectStorageStagingObject:
        """Return the manifest's entry."""
        return ObjectStorageStagingObject(
            str(uri), file_name, self.size_bytes, self.sha256, self.content_type, self.etag
        )


def staged_before(
    recorded: Iterable[Mapping[str, Any]], listed: Mapping[str, tuple[int, str | None]]
) -> dict[str, StagedBefore]:
    """Return by file name what needn't be sent again if the local file is still the same.

    :param recorded: entries of earlier tries, see ``ObjectStorageStagingObject.to_dict``.
    :param listed: size and ETag of what lies below the prefix now, by file name.
    """
    known = {}
    for entry in recorded:
        size_bytes, etag = entry["size_bytes"], entry.get("etag")
        if etag is not None and listed.get(entry["file_name"]) == (size_bytes, etag):
            known[entry["file_name"]] = StagedBefore(size_bytes, entry["sha256"], etag, entry.get("content_type"))
    return known


class Checkpoints:
    """Records newly staged objects every few seconds for as long as the ``with`` block lasts, each of them once.

    What is still unrecorded when the block ends with an error is recorded then, as far as it can
    be: that error is the one to tell, and the retry sends the rest again.

    :param evidence: where they are recorded.
    :param every_seconds: the least time between two; it grows with the time that the stage takes.
    :param alive_every_seconds: how long nothing may be recorded before the evidence is told that the stage goes on.
    :param watch: looked at as often, so that a try that is overtaken soon ends.
    """

    def __init__(
        self,
        client: ObjectStorageClient,
        evidence: StagingEvidence,
        *,
        every_seconds: float = EVERY_SECONDS,
        alive_every_seconds: float = ALIVE_EVERY_SECONDS,
        watch: StageWatch | None = None,
    ) -> None:
        self._client = client
        self._evidence = evidence
        self._every_seconds = every_seconds
        self._alive_every_seconds = alive_every_seconds
        self._watch = watch
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._unrecorded: list[ObjectStorageStagingObject] = []
        self._written: list[ObjectStorageUri] = []
        self._ended = threading.Event()
        self._failure: StorageError | OSError | OvertakenError | None = None
        self._writer: threading.Thread | None = None

    def add(self, item: ObjectStorageStagingObject) -> None:
        """Take one staged object.

        :raises StorageError: if a checkpoint couldn't be written: without evidence there is no staging.
        :raises OSError: likewise.
        :raises OvertakenError: if somebody else has begun there.
        """
        self.check()
        with self._lock:
            self._unrecorded.append(item)

    def check(self) -> None:
        """Return while checkpoints can be written and nobody else has begun there, as far as was seen.

        :raises StorageError: as ``add`` does, and so do ``OSError`` and ``OvertakenError``.
        """
        if self._failure is not None:
            raise self._failure

    def write_now(self) -> bool:
        """Record what isn't yet; return whether there was any.

        :raises StorageError: if the store doesn't take it.
        :raises OSError: if the local disk doesn't, where it is put together.
        """
        with self._writing:
            with self._lock:
                batch = list(self._unrecorded)
            if not batch:
                return False
            self._written.append(self._evidence.write_checkpoint(len(self._written) + 1, batch))
            with self._lock:  # only now: what couldn't be written is still to be recorded
                del self._unrecorded[: len(batch)]
        return True

    def say_alive(self) -> None:
        """Record that this stage goes on, though it has staged nothing new.

        :raises StorageError: if the store doesn't take it.
        :raises OvertakenError: if somebody else has begun there.
        """
        if self._watch:
            self._watch.say_alive()
        else:
            self._evidence.write_alive()

    def take_the_place_of(
        self, manifest: ObjectStorageUri, known: Mapping[str, StagedBefore], prefix: ObjectStorageUri
    ) -> None:
        """Record what is still there of a manifest, and delete it: what it says is about to change.

        A run whose stage dies from here on has no manifest, as any other run that isn't staged. Where the
        right to delete is missing the manifest stays, as docs/permissions.md says.

        :raises DeleteIncompleteError: if the store fails to delete it.
        """
        for name, before in known.items():
            self.add(before.as_object(prefix.child(name), name))
        self.write_now()
        try:
            self._client.delete_objects([manifest])
        except DeleteIncompleteError as error:
            reasons = error.left.values()
            if not all(missing_permission("delete", manifest.provider, reason) in reason for reason in reasons):
                raise
            log.warning("%s stays until this stage ends, though what it names may change: %s", manifest, error)

    def remove(self, others: Iterable[ObjectStorageUri] = ()) -> None:
        """Delete the checkpoints, and ``others``: the final manifest has taken their place."""
        own = self._watch.own_records if self._watch else [self._evidence.alive_uri]
        self._delete([*self._written, *own, *others])

    def _delete(self, records: Sequence[ObjectStorageUri]) -> None:
        try:
            self._client.delete_objects(records)
        except StorageError as error:
            log.info("Old records below %s stay, and are read no more: %s", self._evidence.folder, error)

    def __enter__(self) -> Self:
        self._writer = threading.Thread(target=self._write_until_the_end, name="dpone-checkpoints", daemon=True)
        self._writer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._writer is not None:
            self._writer.join()
        if error is not None and not (self._watch and self._watch.overtaken()):
            with suppress(StorageError, OSError):
                self.write_now()

    def _write_until_the_end(self) -> None:
        began = seen_at = time.monotonic()
        pause = self._every_seconds
        while not self._ended.wait(pause):
            try:
                if self._watch:
                    with suppress(StorageError, OSError):  # it is looked again, at the latest at the end
                        self._watch.check()
                if self.write_now():
                    seen_at = time.monotonic()
                elif time.monotonic() - seen_at >= self._alive_every_seconds:
                    self.say_alive()
                    seen_at = time.monotonic()
            except (StorageError, OSError, OvertakenError) as failure:
                self._failure = failure
                return
            longer = max(self._every_seconds, (time.monotonic() - began) * _SHARE_OF_ELAPSED)
            pause = min(longer, self._alive_every_seconds)
