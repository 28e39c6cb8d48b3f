"""Whether a run prefix still holds what its manifest says: by one listing, or by reading every byte back.

What has changed since the stage, and what lies there besides, is named before a loader takes it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from dpone_airflow.staging.choices import VerifyMode, check_choice
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.progress import Progress, ProgressFactory
from dpone_airflow.staging.real_folders import without_folders
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import ObjectNotFoundError, StagingStoppedError, StagingVerifyError, StorageError
from dpone_airflow.storage.uri import ObjectStorageUri

_NAMED = 5


@dataclass(frozen=True)
class VerifyReport:
    """What a verify compared, and what is different.

    :param mode: ``listing`` or ``sha256``.
    :param prefix: the prefix that was listed, as text, with its trailing slash.
    :param object_count: how many objects the manifest has.
    :param total_size_bytes: their size in bytes, as the manifest says.
    :param read_bytes: how many bytes were read back and hashed; 0 with ``listing``.
    :param missing: the URIs of objects that aren't there, as texts.
    :param extra: the URIs of objects that the manifest doesn't name.
    :param changed: the URI of each object that is another one now, with what is different.
    """

    mode: str
    prefix: str
    object_count: int
    total_size_bytes: int
    read_bytes: int = 0
    missing: Sequence[str] = ()
    extra: Sequence[str] = ()
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether the prefix holds what the manifest says, and nothing else."""
        return not (self.missing or self.extra or self.changed)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: the fields by name, ``outcome`` (``verified`` or ``different``), and how many differ.

        These figures come before what they count: of a long record a report reads just the beginning.
        """
        return {
            "outcome": "verified" if self.agrees else "different",
            "mode": str(self.mode),
            "prefix": self.prefix,
            "object_count": self.object_count,
            "total_size_bytes": self.total_size_bytes,
            "read_bytes": self.read_bytes,
            "missing_objects": len(self.missing),
            "extra_objects": len(self.extra),
            "changed_objects": len(self.changed),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "changed": dict(self.changed),
        }


def verify_staged(
    client: ObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    mode: VerifyMode = "listing",
    *,
    by: Mapping[str, Any] | None = None,
    stop: threading.Event | None = None,
    progress: ProgressFactory = Progress,
) -> VerifyReport:
    """Compare the store with ``manifest``, record what came out, and refuse any difference.

    A manifest of a whole run is compared with the whole run prefix: a part that isn't in it is extra.

    :param mode: ``listing`` compares names, sizes and, where the manifest has them, ETags with one
        listing; ``sha256`` reads and hashes every byte as well, ``client.max_concurrency`` objects at once.
    :param by: who verifies, for the evidence; see ``actor.described``.
    :param stop: once it is set, the verify ends as soon as it can.
    :param progress: what tells how much is read; by default a log line every few seconds.
    :raises InvalidOptionError: for another mode.
    :raises StagingVerifyError: naming what is missing, extra or changed; the evidence says it too.
    :raises StagingStoppedError: if ``stop`` was set before everything was read.
    :raises StorageError: if the store refuses or fails, also when the outcome can't be recorded.
    """
    report = compare_staged(client, manifest, mode, stop=stop, progress=progress)
    evidence = StagingEvidence(client, manifest.base_uri, manifest.run_id, manifest.part, by=by)
    if report.agrees:
        evidence.write_verify(report.to_dict())
        return report
    error = StagingVerifyError(
        f"{report.prefix} doesn't hold what its manifest says: {_differences(report)}. "
        f"{advice(client, manifest, report)}",
        uri=report.prefix,
        missing=report.missing,
        extra=report.extra,
        changed=report.changed,
    )
    try:
        evidence.write_verify(report.to_dict())
    except StorageError as unwritten:
        error.add_note(f"The evidence doesn't say so: {unwritten}")
    raise error


def compare_staged(
    client: ObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    mode: VerifyMode = "listing",
    *,
    stop: threading.Event | None = None,
    progress: ProgressFactory = Progress,
) -> VerifyReport:
    """Return how the store differs from ``manifest``; nothing is recorded and no difference is an error.

    Takes what ``verify_staged`` takes but ``by``, and raises what it raises besides.
    """
    check_choice("mode", mode)
    prefix = manifest.prefix
    below = len(prefix.prefix)
    unseen = {item.file_name: item for item in manifest.objects}
    extra: list[ObjectStorageObject] = []
    changed: dict[str, str] = {}
    to_read: list[ObjectStorageStagingObject] = []
    for found in client.list_objects(prefix):
        item = unseen.pop(found.uri.key[below:], None)
        if item is None:
            extra.append(found)
        elif found.size_bytes != item.size_bytes:
            changed[item.uri] = f"has {found.size_bytes} bytes, not {item.size_bytes}"
        else:
            to_read.append(item)
            if item.etag is not None and found.etag != item.etag:
                changed[item.uri] = f"has the ETag {found.etag}, not {item.etag}"
    missing = [item.uri for item in unseen.values()]
    read_bytes = 0
    if mode == "sha256" and to_read:
        total = sum(item.size_bytes for item in to_read)
        with progress(f"Verifying {prefix}/", len(to_read), total) as done:
            read = _read_back(client, to_read, done, stop or threading.Event())
        for item in to_read:
            came = read[item.uri]
            if came is None:
                changed.pop(item.uri, None)
                missing.append(item.uri)
                continue
            read_bytes += came.size_bytes
            if came.sha256 != item.sha256:
                said = f"{changed[item.uri]}, and" if item.uri in changed else "has"
                changed[item.uri] = f"{said} the sha256 {came.sha256}, not {item.sha256}"
            elif item.uri in changed:
                changed[item.uri] += ", and the same bytes"
    keys = (prefix.prefix + item.file_name for item in manifest.objects)
    return VerifyReport(
        mode=mode,
        prefix=f"{prefix}/",
        object_count=manifest.object_count,
        total_size_bytes=manifest.total_size_bytes,
        read_bytes=read_bytes,
        missing=tuple(missing),
        extra=tuple(str(item.uri) for item in without_folders(client, extra, keys)),
        changed=changed,
    )


def _read_back(
    client: ObjectStorageClient,
    items: Collection[ObjectStorageStagingObject],
    progress: Progress,
    stop: threading.Event,
) -> dict[str, ObjectStorageObject | None]:
    """Read objects to their ends, the largest first; return what came of each URI, None of one that is gone meanwhile.

    The first failure, and whatever interrupts the caller, ends the others at the next bytes that come.
    """
    read: dict[str, ObjectStorageObject | None] = {}
    failures: list[BaseException] = []
    waiting = iter(sorted(items, key=lambda item: -item.size_bytes))
    taking = threading.Lock()
    ended = threading.Event()

    def go_on(size_bytes: int) -> None:
        if stop.is_set() or ended.is_set():
            raise StagingStoppedError(
                f"The verify was stopped after {len(read)} of {len(items)} objects: run it again from its beginning."
            )
        progress.add_bytes(size_bytes)

    def read_one(item: ObjectStorageStagingObject) -> None:
        go_on(0)
        try:
            read[item.uri] = client.hash_object(ObjectStorageUri.parse(item.uri), on_read=go_on)
        except ObjectNotFoundError:
            read[item.uri] = None
        progress.file_done()

    def work() -> None:
        try:
            while True:
                with taking:
                    item = next(waiting, None)
                if item is None:
                    return
                read_one(item)
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(error)
            ended.set()

    threads = min(client.max_concurrency, len(items))
    with ThreadPoolExecutor(threads, thread_name_prefix="dpone-verify") as pool:
        try:
            wait([pool.submit(work) for _ in range(threads)])
        finally:
            ended.set()
    if failures:
        raise failures[0]
    return read


def _differences(report: VerifyReport) -> str:
    changed = [f"{uri} {what}" for uri, what in report.changed.items()]
    return "; ".join(
        f"{len(things)} {kind} ({', '.join(things[:_NAMED])}{' ...' if len(things) > _NAMED else ''})"
        for kind, things in (("missing", report.missing), ("extra", report.extra), ("changed", changed))
        if things
    )


def advice(client: ObjectStorageClient, manifest: ObjectStorageStagingManifest, report: VerifyReport) -> str:
    """Return what to do about a difference; where objects are missing, whether a cleanup took them is looked up."""
    cleaned_up = _cleaned_up(client, manifest) if report.missing else None
    if cleaned_up:
        return f"The evidence has a cleanup of {cleaned_up}: stage the run again before it is loaded."
    return "Load nothing of it: find what writes or deletes there, and stage the run again."


def _cleaned_up(client: ObjectStorageClient, manifest: ObjectStorageStagingManifest) -> str | None:
    """Return when this place, or the whole run, was cleaned up last, if there is a record of it that can be read."""
    for part in dict.fromkeys((manifest.part, None)):
        evidence = StagingEvidence(client, manifest.base_uri, manifest.run_id, part)
        try:
            record = json.loads(client.get_bytes(evidence.cleanup_uri))
        except (StorageError, ValueError):
            continue  # it only explains; what is missing is missing all the same
        at = record.get("at") if isinstance(record, dict) else None
        if isinstance(at, str):
            return at
    return None
