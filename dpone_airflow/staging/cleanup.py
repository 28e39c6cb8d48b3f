"""Deleting what a run staged: one exact prefix, under a claim, proven by a listing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpone_airflow.staging.deletion import NO_LIMITS, DeletionLimits, delete_claimed, look_at
from dpone_airflow.staging.evidence import Claim, StagingEvidence, StagingWriter
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import ClaimNotFoundError, RetainedRunError, UnclaimedPrefixError


@dataclass(frozen=True)
class CleanupReport:
    """What a cleanup did, or with ``dry_run`` would do.

    :param cleanup_policy: the policy it followed.
    :param prefix: the prefix it was for, as text, with its trailing slash.
    :param deleted_objects: how many objects are gone.
    :param deleted_bytes: their size in bytes.
    :param hidden_objects: how many the bucket hides behind a delete marker and keeps as older versions, which are
        billed on. https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html
    :param hidden_bytes: their size in bytes.
    :param dry_run: True if nothing was deleted and the figures are what would have been.
    :param objects: those that are gone, or would be; not in ``to_dict``.
    """

    cleanup_policy: str
    prefix: str
    deleted_objects: int = 0
    deleted_bytes: int = 0
    hidden_objects: int = 0
    hidden_bytes: int = 0
    dry_run: bool = False
    objects: Sequence[ObjectStorageObject] = field(default=(), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: all fields but ``objects``, by name."""
        return {
            "cleanup_policy": str(self.cleanup_policy),
            "prefix": self.prefix,
            "deleted_objects": self.deleted_objects,
            "deleted_bytes": self.deleted_bytes,
            "hidden_objects": self.hidden_objects,
            "hidden_bytes": self.hidden_bytes,
            "dry_run": self.dry_run,
        }


def clean_up_run(
    client: ObjectStorageClient,
    base_uri: str,
    run_id: str,
    *,
    policy: str | None,
    include_retained: bool = False,
    part: str | None = None,
    staged_by: StagingWriter | None = None,
    must_be_claimed: bool = False,
    limits: DeletionLimits = NO_LIMITS,
    dry_run: bool = False,
    by: Mapping[str, Any] | None = None,
) -> CleanupReport:
    """Apply ``policy`` to one run prefix, or to one part of it. When to call it is the caller's choice.

    :param policy: None for a person who wants the run gone: then the claim's own is recorded.
    :param include_retained: without a policy: whether that may be ``retain``.
    :param staged_by: the writer whose claim it must be; None takes any claim.
    :param must_be_claimed: False if the writer may never have begun to write; without a writer a
        claim is always wanted.
    :param limits: how much may go at once.
    :param by: who cleans up, for the evidence; see ``actor.described``.
    :raises ClaimNotFoundError: if there must be a claim and is none.
    :raises ClaimedByAnotherWriterError: if somebody else than ``staged_by`` did.
    :raises UnclaimedPrefixError: if there are objects and no claim, or another base's evidence lies in the prefix.
    :raises RetainedRunError: without a policy, if the claim's is ``retain``.
    :raises DeletionLimitError: if there is more than ``limits`` allow; nothing was deleted.
    :raises DeleteIncompleteError: naming what is left; the evidence says it too.
    """
    given = None if policy is None else CleanupPolicy.of(policy)
    evidence = StagingEvidence(client, base_uri, run_id, part, by=by)
    prefix = f"{evidence.prefix}/"
    if given is CleanupPolicy.RETAIN:
        return CleanupReport(given, prefix, dry_run=dry_run)
    claim = evidence.read_claim()
    if claim is None:
        if given is None or staged_by is None or must_be_claimed:
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
        return CleanupReport(given, prefix, dry_run=dry_run)
    if staged_by is not None:
        evidence.check_owner(claim.writer, staged_by)
    followed = given or _claimed_policy(claim, prefix, include_retained)
    planned = look_at(client, evidence, limits)
    report = CleanupReport(followed, prefix, dry_run=dry_run, objects=tuple(planned.objects), **planned.figures())
    if not dry_run:
        delete_claimed(client, evidence, planned, {"cleanup_policy": str(followed), "dry_run": False})
    return report


def refuse_retained(prefix: str, policies: Iterable[str | None]) -> None:
    """Refuse to delete what some record of it says to keep.

    :raises RetainedRunError: if one of ``policies`` is ``retain``.
    """
    if CleanupPolicy.RETAIN in policies:
        raise RetainedRunError(
            f"{prefix} was staged with cleanup_policy 'retain', so nothing was deleted: give include_retained "
            "(--include-retained) if it shall go all the same."
        )


def _claimed_policy(claim: Claim, prefix: str, include_retained: bool) -> CleanupPolicy:
    policy = CleanupPolicy.of(str(claim.plan.get("cleanup_policy")))
    if not include_retained:
        refuse_retained(prefix, [policy])
    return policy
