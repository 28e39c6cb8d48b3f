"""The doctor: tries all that staging does on a sentinel of its own, and looks at the bucket around it.

The sentinel lies below ``<base>/_manifests/.dpone-doctor-<random>/``: outside every run prefix, and
with a name that no record has. It is removed whatever happens.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from dpone_airflow.staging.check import Check, Outcome
from dpone_airflow.staging.doctor_bucket import bucket_checks, disk_check
from dpone_airflow.staging.likely_cause import finding, is_final, runbook
from dpone_airflow.staging.plan import EVIDENCE_FOLDER, base_of
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import (
    ObjectAlreadyExistsError,
    StorageAccessDeniedError,
    StorageError,
    redact,
)
from dpone_airflow.storage.remote_file import RemoteFile
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

_FOLDER = ".dpone-doctor-"
_CONTENT = b"A sentinel of dpone-airflow's doctor. It may be deleted."
_IN_BULK = 3
# The clocks of two machines that are kept by NTP are closer by far; stores tell whole seconds.
_CLOCK_TOLERANCE = timedelta(seconds=60)


def diagnose(client: ObjectStorageClient, base_uri: str, *, short: bool = False) -> list[Check]:
    """Try what staging does below a base, and return what was seen, in the order in which it was looked at.

    ``client.largest_put_bytes`` and one byte more are uploaded twice, the second time not to the end.

    :param short: only put, conditional put, list, get and delete, and the emulator's disk.
    :raises InvalidUriError: if ``base_uri`` isn't one of the four forms.
    :raises InvalidPlanError: if it lies among the evidence of another base.
    """
    base = base_of(base_uri)
    examination = _Examination(client, base, short)
    try:
        examination.run()
    finally:
        examination.tidy_up()
    return examination.checks


class _StoppedError(Exception):
    """Raised by the doctor itself in the middle of an upload."""


class _Examination:
    """One run of the doctor.

    :param client: the store.
    :param base: what to look at.
    :param short: whether to leave out all that the short form has not.
    """

    def __init__(self, client: ObjectStorageClient, base: ObjectStorageUri, short: bool) -> None:
        self.checks: list[Check] = []
        self._client = client
        self._base = base
        self._short = short
        self._folder = base.child(f"{EVIDENCE_FOLDER}/{_FOLDER}{uuid4().hex[:12]}")
        # What may be there: noted before it is written, taken off when its delete was proven.
        self._may_be_there: set[ObjectStorageUri] = set()
        self._there: ObjectStorageUri | None = None
        self._failed: set[str] = set()
        self._final: str | None = None

    def run(self) -> None:
        """Make the checks."""
        if not self._short:
            self.checks.append(client_check(self._client, self._base))
        self._try("put", self._put)
        self._try("conditional put", self._conditional_put)
        if not self._short:
            self._try("stat", self._stat, needs_object=True)
            self._try("clock", self._look_at_clock, needs="stat")
        self._try("list", self._list, needs_object=True)
        self._try("get", self._get, needs_object=True)
        self._try("delete", self._delete, needs_object=True)
        if not self._short:
            self._try("checksum", self._checksum, needs_object=True)
            self._try("multipart", self._multipart, needs="delete")
            self._try("multipart abort", self._multipart_abort, needs="multipart")
            self._try("bulk delete", self._bulk_delete, needs="delete")
            self.checks += bucket_checks(self._client, self._base, not_run=self._final)
        self.checks += disk_check(self._client)

    def tidy_up(self) -> None:
        """Remove every sentinel, and say which ones are still there."""
        if self._final is not None and self._there is None:
            return  # nothing was written, and nothing could be deleted
        with suppress(StorageError):
            self._client.abort_uploads(self._folder)
        if not self._may_be_there:
            return
        left = self._may_be_there
        with suppress(StorageError):
            self._client.delete_objects(sorted(left))
            left = set()
        with suppress(StorageError):
            left = set(self._client.list_prefix(self._folder))
        if left:
            named = ", ".join(map(str, sorted(left)))
            self.checks.append(
                Check(
                    "sentinel",
                    Outcome.WARNING,
                    f"What the doctor wrote could not be removed: {named}.",
                    "The right to delete is missing, or the store was away.",
                    runbook("Delete it with an identity that may", "something-is-left"),
                )
            )

    def _try(self, name: str, look: Callable[[], Check], *, needs_object: bool = False, needs: str = "") -> None:
        """Make one check, if what it needs is there.

        :param needs_object: whether something must have been written.
        :param needs: a check that must not have failed.
        """
        if self._final is not None:
            found = not_run(name, self._final)
        elif needs in self._failed:
            found = not_run(name, needs)
        elif (needs_object or needs) and self._there is None:
            found = not_run(name, "put")
        else:
            try:
                found = look()
            except StorageError as error:
                found = finding(name, error)
                if is_final(error):
                    self._final = name
        if found.outcome is Outcome.FAILED:
            self._failed.add(name)
        self.checks.append(found)

    def _write(self, name: str, *, only_if_absent: bool = False) -> ObjectStorageUri:
        uri = self._folder.child(name)
        self._may_be_there.add(uri)
        try:
            self._client.put_bytes(_CONTENT, uri, only_if_absent=only_if_absent)
        except StorageAccessDeniedError:
            self._may_be_there.discard(uri)
            raise
        return uri

    def _put(self) -> Check:
        self._there = self._write("object")
        return _ok("put", f"{len(_CONTENT)} bytes were written by {self._client.engine}.")

    def _conditional_put(self) -> Check:
        uri = self._write("claim", only_if_absent=True)
        self._there = self._there or uri
        try:
            self._client.put_bytes(b"another writer's", uri, only_if_absent=True)
        except ObjectAlreadyExistsError:
            return _ok("conditional put", "A key that is taken can't be created again.")
        return Check(
            "conditional put",
            Outcome.FAILED,
            f"{uri} was created twice: the second create wasn't refused, and wrote over the first.",
            "The store doesn't know conditional writes, so two tasks that claim a run at one moment both get it.",
            runbook("Update the store, or never let two tasks stage to one run"),
        )

    def _look_at_clock(self) -> Check:
        uri = self._folder.child("clock")
        self._may_be_there.add(uri)
        before = datetime.now(UTC)
        self._client.put_bytes(_CONTENT, uri)
        after = datetime.now(UTC)
        modified_at = self._client.stat(uri).modified_at
        if modified_at is None:
            return Check("clock", Outcome.UNKNOWN, "The store doesn't say when an object was written.")
        ahead = _apart(before, modified_at, after)
        seconds = abs(ahead.total_seconds())
        if seconds <= _CLOCK_TOLERANCE.total_seconds():
            return _ok("clock", f"The clocks of this host and of the store are within {max(1, round(seconds))} s.")
        direction = "behind" if ahead > timedelta(0) else "ahead of"
        return Check(
            "clock",
            Outcome.WARNING,
            f"This host's clock is {round(seconds):,} s {direction} the store's.",
            "One of the two isn't kept by NTP. From 15 minutes on S3 and Azure refuse what is signed here.",
            runbook("Set the clock"),
        )

    def _stat(self) -> Check:
        assert self._there is not None
        found = self._client.stat(self._there)
        if found.size_bytes != len(_CONTENT):
            return self._other("stat", f"says {found.size_bytes} bytes of {self._there}, which has {len(_CONTENT)}")
        if found.sha256 not in (None, hashlib.sha256(_CONTENT).hexdigest()):
            return self._other("stat", f"gives {self._there} back with other metadata than it was written with")
        return _ok("stat", "Size and metadata are those that were written.")

    def _list(self) -> Check:
        if self._there not in self._client.list_prefix(self._folder):
            return self._other("list", f"doesn't list {self._there}, which was written before")
        return _ok("list", "What was written is listed.")

    def _get(self) -> Check:
        assert self._there is not None
        if self._client.get_bytes(self._there) != _CONTENT:
            return self._other("get", f"gives {self._there} back with other bytes")
        return _ok("get", "The bytes are those that were written.")

    def _delete(self) -> Check:
        assert self._there is not None
        return self._deleted("delete", [self._there]) or _ok("delete", "What was written is gone.")

    def _deleted(self, name: str, uris: list[ObjectStorageUri]) -> Check | None:
        """Delete objects; return a check if they are still there."""
        self._client.delete_objects(uris)
        try:
            still = set(uris) & set(self._client.list_prefix(self._folder))
        except StorageError:  # the check of the listing tells
            still = set()
        self._may_be_there -= set(uris) - still
        if still:
            return self._other(name, f"says that it deleted {min(still)} and still lists it")
        return None

    def _checksum(self) -> Check:
        uri = self._folder.child("checksum")
        self._may_be_there.add(uri)
        refused = self._client.refuses_wrong_checksum(uri)
        if refused is None:
            return _ok("checksum", "There is nothing to check: a write is one to a file.")
        if refused:
            return _ok("checksum", "Bytes that aren't those of their checksum are refused.")
        return Check(
            "checksum",
            Outcome.WARNING,
            "Bytes that aren't those of their checksum were taken.",
            "The store doesn't check what it is sent, so bytes that change on their way are noticed late, or never.",
            runbook("Verify with mode='sha256' before a load, or update the store"),
        )

    def _upload_large(self, name: str, on_read: Callable[[int], None] | None = None) -> ObjectStorageUri:
        uri = self._folder.child(name)
        size = self._large_size
        self._may_be_there.add(uri)
        content = RemoteFile(name, size, lambda: io.BytesIO(bytes(size)), "the doctor's large sentinel")
        # One part after the other: so some are sent before the last is read.
        self._client.put_file(content, uri, lanes=1, on_read=on_read)
        return uri

    def _multipart(self) -> Check:
        uri = self._upload_large("large")
        found = self._listed_sizes().get(uri, self._large_size)
        if found != self._large_size:
            return self._other("multipart", f"has {found} bytes of {uri}, of which {self._large_size} were sent")
        return _ok("multipart", f"{self._large_size:,} bytes were written in parts.")

    def _multipart_abort(self) -> Check:
        name = "stopped"
        read = 0

        def stop_at_the_end(size: int) -> None:
            nonlocal read
            read += size
            if read >= self._large_size:
                raise _StoppedError

        # The emulator doesn't know where an unfinished file was to go, so there may be others.
        before = self._unfinished()
        with suppress(_StoppedError):
            self._upload_large(name, stop_at_the_end)
        if self._folder.child(name) in self._listed_sizes():
            return self._other("multipart abort", "has an object of an upload that was stopped before its end")
        if self._base.provider is ObjectStorageProvider.AZURE_BLOB:
            # It keeps the blocks that were sent for a week, or until the same blob is written.
            self._write(name)
        after = self._unfinished()
        for listing in (before, after):
            if isinstance(listing, StorageError):  # staging does without it, see stale_uploads
                return replace(finding("multipart abort", listing), outcome=Outcome.UNKNOWN)
        assert isinstance(before, set)
        assert isinstance(after, set)
        if after - before:
            return Check(
                "multipart abort",
                Outcome.WARNING,
                f"An upload to {self._folder.child(name)} that was stopped before its end is still there.",
                "The right to abort is missing; parts of uploads that fail stay, and are billed.",
                runbook("Grant s3:AbortMultipartUpload below the base", "unfinished-uploads-may-be-left"),
            )
        return _ok("multipart abort", "Of an upload that was stopped before its end nothing is left to be seen.")

    def _unfinished(self) -> set[str] | StorageError:
        """Return the ids of uploads that were never finished, or why they can't be listed."""
        try:
            return {upload.upload_id for upload in self._client.list_uploads(self._folder)}
        except StorageError as error:
            return error

    @property
    def _large_size(self) -> int:
        return self._client.largest_put_bytes + 1

    def _listed_sizes(self) -> dict[ObjectStorageUri, int]:
        """Return what is listed of the sentinels; nothing if that fails, which the check of the listing tells."""
        with suppress(StorageError):
            return {item.uri: item.size_bytes for item in self._client.list_objects(self._folder)}
        return {}

    def _bulk_delete(self) -> Check:
        uris = [self._write(f"bulk-{number}") for number in range(_IN_BULK)]
        told = self._deleted("bulk delete", uris)
        if told is not None:
            return told
        because = self._client.one_by_one_because
        if because:
            return _ok("bulk delete", f"Objects are deleted one by one: the store answers a batch with {because}.")
        return _ok("bulk delete", f"{_IN_BULK} objects were deleted in one batch.")

    def _other(self, name: str, what: str) -> Check:
        return Check(
            name,
            Outcome.FAILED,
            f"The store {what}.",
            "Something else writes or deletes below the base, or the store isn't consistent.",
            runbook("Find what writes there", "the-prefix-isnt-what-was-uploaded"),
        )


def client_check(client: ObjectStorageClient, base: ObjectStorageUri) -> Check:
    """Return which client serves a base, and what uploads, and why."""
    place = f" at {client.endpoint_url}" if client.endpoint_url else ""
    because = f", since {client.engine_note}" if client.engine_note else ""
    return _ok("client", redact(f"{type(client).__name__}{place}; {client.engine} uploads{because}."))


def not_run(name: str, failed: str) -> Check:
    """Return a check that can't be made because another one failed."""
    return Check(name, Outcome.UNKNOWN, f"Not run, because {failed} failed.")


def _ok(name: str, detail: str) -> Check:
    return Check(name, Outcome.OK, detail)


def _apart(before: datetime, at: datetime, after: datetime) -> timedelta:
    """Return how far the store's time is from the moment of a write: above 0 if the store is ahead."""
    if at > after:
        return at - after
    # A store that tells whole seconds has cut off what is less.
    return min(timedelta(0), at + timedelta(seconds=1) - before)
