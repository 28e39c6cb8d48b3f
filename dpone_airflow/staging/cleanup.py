"""Deleting what a run staged: one exact prefix, under a claim, proven by a listing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpone_airflow.staging.evidence import StagingEvidence, StagingWriter, refuse_nested_base
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.staging.stale_uploads import abort_stale_uploads
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import ClaimNotFoundError, DeleteIncompleteError, StorageError, UnclaimedPrefixError


@dataclass(frozen=True)
class CleanupReport:
    """What a cleanup did, or with ``dry_run`` would do.

    :param cleanup_policy: the policy it followed.
    :param prefix: the prefix it was for, with its trailing slash.
    :param deleted_objects: how many objects are gone.
    :param deleted_bytes: their size.
    :param dry_run: True if nothing was deleted and the figures are what would have been.
    """

    cleanup_policy: str
    prefix: str
    deleted_objects: int = 0
    deleted_bytes: int = 0
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "cleanup_policy": str(self.cleanup_policy),
            "prefix": self.prefix,
            "deleted_objects": self.deleted_objects,
            "deleted_bytes": self.deleted_bytes,
            "dry_run": self.dry_run,
        }


def clean_up_run(
    client: ObjectStorageClient,
    base_uri: str,
    run_id: str,
    *,
    policy: str,
    part: str | None = None,
    staged_by: StagingWriter | None = None,
    must_be_claimed: bool = False,
    dry_run: bool = False,
    by: Mapping[str, Any] | None = None,
) -> CleanupReport:
    """Apply ``policy`` to one run prefix, or to one part of it. When to call it is the caller's choice.

    :param staged_by: the writer whose claim it must be; None takes any claim.
    :param must_be_claimed: False if the writer may never have begun to write; without a writer a
        claim is always wanted.
    :param by: who cleans up, for the evidence; see ``actor.described``.
    :raises ClaimNotFoundError: if there must be a claim and is none.
    :raises ClaimedByAnotherWriterError: if somebody else than ``staged_by`` did.
    :raises UnclaimedPrefixError: if there are objects and no claim, or another base's evidence lies in the prefix.
    :raises DeleteIncompleteError: naming what is left; the evidence says it too.
    """
    policy = CleanupPolicy.of(policy)
    evidence = StagingEvidence(client, base_uri, run_id, part, by=by)
    prefix = f"{evidence.prefix}/"
    if policy is CleanupPolicy.RETAIN:
        return CleanupReport(policy, prefix, dry_run=dry_run)
    claim = evidence.read_claim()
    if claim is None:
        if staged_by is None or must_be_claimed:
            raise ClaimNotFoundError(
                f"No stage has claimed {prefix} (there is no {evidence.claim_uri}), so nothing was deleted: "
                "check base_uri, run_id and conn_id, and whether somebody removed the evidence."
            )
        stranger = next(iter(client.list_objects(evidence.prefix)), None)
        if stranger is not None:
            raise UnclaimedPrefixError(
                f"{prefix} holds objects, e.g. {stranger.uri}, that this stage never claimed. Nothing was deleted: "
                "look whose they are."
            )
        return CleanupReport(policy, prefix, dry_run=dry_run)
    if staged_by is not None:
        evidence.check_owner(claim.writer, staged_by)
    found = list(client.list_objects(evidence.prefix))
    refuse_nested_base(evidence.prefix, found)
    report = CleanupReport(policy, prefix, len(found), sum(item.size_bytes for item in found), dry_run)
    if not dry_run:
        _delete(client, evidence, found, report)
    return report


def _delete(
    client: ObjectStorageClient, evidence: StagingEvidence, found: list[ObjectStorageObject], report: CleanupReport
) -> None:
    # First, for an upload that is completed after the last listing would be an object nobody deletes.
    abort_stale_uploads(client, evidence.prefix)
    try:
        client.delete_objects([item.uri for item in found])
        remaining = client.list_prefix(evidence.prefix)
        if remaining:
            raise delete_incomplete({str(uri): "listed after the delete" for uri in remaining})
    except DeleteIncompleteError as error:
        gone = [item for item in found if str(item.uri) not in error.left]
        partial = CleanupReport(report.cleanup_policy, report.prefix, len(gone), sum(item.size_bytes for item in gone))
        try:
            evidence.write_cleanup({"outcome": "incomplete", **partial.to_dict(), "left": error.left})
        except StorageError as unwritten:
            error.add_note(f"The evidence doesn't say so: {unwritten}")
        raise
    evidence.write_cleanup({"outcome": "deleted", **report.to_dict()})
