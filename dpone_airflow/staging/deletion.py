"""The one way in which a run's objects are deleted: listed, within limits, under a claim, proven by a listing.

Cleanup and sweep come here. Who may delete what is settled before: the caller has read the claim.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpone_airflow.staging.choices import check_count
from dpone_airflow.staging.evidence import StagingEvidence, refuse_nested_base
from dpone_airflow.staging.overtaken import DeletionWatch
from dpone_airflow.staging.stale_uploads import abort_stale_uploads
from dpone_airflow.storage.answers import NO_SPACE
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import DeleteIncompleteError, DeletionLimitError, OvertakenError, StorageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeletionLimits:
    """How much one deletion may take; what is more is refused before the first delete.

    :param max_objects: how many objects; None for any number.
    :param max_bytes: how many bytes; None for any number.
    :raises InvalidOptionError: for what isn't a whole number from 0.
    """

    max_objects: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_objects", "max_bytes"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), at_least=0)

    def check(self, prefix: str, objects: int, size_bytes: int) -> None:
        """Refuse a deletion of more.

        :raises DeletionLimitError: naming the limit and what there is.
        """
        for name, found in (("max_objects", objects), ("max_bytes", size_bytes)):
            limit = getattr(self, name)
            if limit is not None and found > limit:
                raise DeletionLimitError(
                    f"{prefix} holds {objects} objects of {size_bytes} bytes, and {name} is {limit}. Nothing was "
                    f"deleted: look whether that is the right prefix, and raise {name} if it is."
                )


NO_LIMITS = DeletionLimits()


@dataclass(frozen=True)
class Deletion:
    """What was deleted, or would be.

    :param objects: the objects that are gone, or would be.
    :param hidden: True if the bucket keeps them as older versions, which are billed on.
    :param watch: has looked for stages since before the objects were listed.
    """

    objects: Sequence[ObjectStorageObject]
    hidden: bool
    watch: DeletionWatch | None = field(default=None, compare=False, repr=False)

    @property
    def outcome(self) -> str:
        """What the evidence calls it."""
        return "hidden" if self.hidden else "deleted"

    def figures(self) -> dict[str, int]:
        """Return how many objects and bytes were deleted, and how many the bucket keeps as older versions."""
        count, size_bytes = len(self.objects), sum(item.size_bytes for item in self.objects)
        gone, kept = ("hidden", "deleted") if self.hidden else ("deleted", "hidden")
        return {f"{gone}_objects": count, f"{gone}_bytes": size_bytes, f"{kept}_objects": 0, f"{kept}_bytes": 0}


def look_at(client: ObjectStorageClient, evidence: StagingEvidence, limits: DeletionLimits = NO_LIMITS) -> Deletion:
    """Return what a deletion of the claimed prefix would take, and whether it would only be hidden.

    :raises UnclaimedPrefixError: if the prefix is also the base of other runs.
    :raises DeletionLimitError: if it holds more than ``limits`` allow.
    """
    watch = DeletionWatch(client, evidence)  # first: a stage that begins and ends while this is listed is seen
    found = list(client.list_objects(evidence.prefix))
    refuse_nested_base(evidence.prefix, found)
    limits.check(f"{evidence.prefix}/", len(found), sum(item.size_bytes for item in found))
    keeps_versions = client.keeps_versions(evidence.prefix)
    if keeps_versions is None:
        log.info("It can't be seen whether the bucket of %s/ keeps versions of what is deleted.", evidence.prefix)
    return Deletion(found, hidden=bool(keeps_versions), watch=watch)


def delete_claimed(
    client: ObjectStorageClient, evidence: StagingEvidence, planned: Deletion, record: Mapping[str, Any]
) -> int:
    """Delete what ``look_at`` has found, prove by a listing that nothing is left, and record it.

    :param record: what the evidence says besides the outcome and the figures.
    :returns: how many unfinished uploads were aborted.
    :raises DeleteIncompleteError: naming what is left; the evidence says it too.
    :raises OvertakenError: if a stage has begun there meanwhile. What was found is deleted, and recorded.
    """
    prefix = {"prefix": f"{evidence.prefix}/"}
    watch = planned.watch or DeletionWatch(client, evidence)
    try:
        evidence.write_deleting({**record, **prefix, "found_objects": len(planned.objects)})
    except StorageError as error:
        if error.code != NO_SPACE:
            raise
        log.warning("The evidence doesn't say that this deletion begins, for the disk is full: %s", error)
    # First, for an upload that is completed after the last listing would be an object nobody deletes.
    aborted = abort_stale_uploads(client, evidence.prefix)
    abort_stale_uploads(client, evidence.folder if evidence.whole is not None else evidence.run_folder)
    try:
        client.delete_objects([item.uri for item in planned.objects])
        remaining = client.list_prefix(evidence.prefix)
        if remaining:
            raise delete_incomplete({str(uri): "listed after the delete" for uri in remaining})
    except DeleteIncompleteError as error:
        gone = Deletion([item for item in planned.objects if str(item.uri) not in error.left], planned.hidden)
        # How many comes before which: of a long record a report reads just the beginning.
        left = {"left_objects": len(error.left), "left": error.left}
        try:
            evidence.write_cleanup({"outcome": "incomplete", **record, **prefix, **gone.figures(), **left})
        except StorageError as unwritten:
            error.add_note(f"The evidence doesn't say so: {unwritten}")
        else:
            _no_longer_deleting(client, evidence)
        raise
    begun = watch.begun()
    if planned.hidden and planned.objects:
        log.warning(
            "The bucket keeps versions: %d objects below %s/ are hidden by delete markers and billed until a lifecycle "
            "rule removes their older versions.",
            len(planned.objects),
            evidence.prefix,
        )
    record_deleted(client, evidence, planned, record)
    if begun:
        raise OvertakenError(
            f"A stage began below {evidence.prefix}/ while {len(planned.objects)} objects were deleted there (see "
            f"{begun[0]}): what it staged may be gone in part. Run that stage again, and delete only what nobody "
            "stages."
        )
    return aborted


def record_deleted(
    client: ObjectStorageClient, evidence: StagingEvidence, done: Deletion, record: Mapping[str, Any]
) -> None:
    """Record a deletion that has nothing left to do."""
    outcome = {"outcome": done.outcome, **record, "prefix": f"{evidence.prefix}/", **done.figures()}
    evidence.write_cleanup(outcome)
    _no_longer_deleting(client, evidence)


def _no_longer_deleting(client: ObjectStorageClient, evidence: StagingEvidence) -> None:
    """Remove the record that says so; the cleanup's own has taken its place."""
    try:
        client.delete_objects([evidence.deleting_uri])
    except StorageError as error:
        log.info("%s stays, though that deletion has ended: %s", evidence.deleting_uri, error)
