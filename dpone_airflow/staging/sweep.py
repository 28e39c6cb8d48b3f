"""Deletes what runs have left behind: old ones, ``delete_always`` ones that nobody cleaned up, unfinished uploads.

A run is a prefix that a claim names. What no claim names is told and never touched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dpone_airflow.staging.deletion import delete_claimed, look_at, record_deleted
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.plan import base_of
from dpone_airflow.staging.sweep_report import SweepReport, SweptEvidence, SweptRun
from dpone_airflow.staging.sweep_rules import Ceilings, Kept, SweepRules, newest_of
from dpone_airflow.staging.sweep_search import ClaimedRun, Findings, is_stale, search, side_by_side, signs_of_life
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import InvalidOptionError, StorageError, redact
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)

#: In place of a ceiling's name: the sweep was told to stop before it came to that run.
STOPPED = "stopped"


def sweep_base(
    client: ObjectStorageClient,
    base_uri: str,
    *,
    older_than: timedelta,
    overdue_after: timedelta | None = None,
    dry_run: bool = True,
    include_retained: bool = False,
    evidence_older_than: timedelta | None = None,
    max_runs: int | None = None,
    max_objects: int | None = None,
    max_bytes: int | None = None,
    allow_bucket_root: bool = False,
    by: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    stop: threading.Event | None = None,
) -> SweepReport:
    """Delete the runs of a base that are due, or with ``dry_run`` only say which.

    Ages are those that the store tells of objects and records; a run is as old as the newest of them. A run that
    fails doesn't stop the others: see ``SweepReport.failures`` and ``SweepReport.check``.

    :param client: the store.
    :param base_uri: the base that runs are staged below, e.g. ``s3://bucket/prefix``.
    :param older_than: the age from which a run is due, at least an hour.
    :param overdue_after: the age from which a ``delete_always`` run that no cleanup has deleted is due; by default
        ``older_than``.
    :param dry_run: delete nothing; the report says what would go. True unless you say otherwise.
    :param include_retained: delete ``retain`` runs as well.
    :param evidence_older_than: the age from which the evidence of runs without objects is deleted; None for never.
    :param max_runs: how many runs may go in all; what would be more is left, the oldest go first. None for any
        number.
    :param max_objects: likewise, how many objects and records.
    :param max_bytes: likewise, how many bytes.
    :param allow_bucket_root: whether the base may be a whole bucket.
    :param by: who sweeps, for the evidence, plain JSON; see ``actor.described``.
    :param now: what ages count to, a time with its zone; None for this host's clock.
    :param stop: once it is set, no further run is begun; None if nobody will.
    :returns: what went, what stayed and why.
    :raises InvalidUriError: if ``base_uri`` isn't one of the four forms.
    :raises InvalidPlanError: if it lies among evidence.
    :raises InvalidOptionError: for a whole bucket, an age below an hour or further back than the year 1, or a ceiling
        that isn't a number from 0.
    :raises StorageError: if the store refuses a listing of the base or of its evidence.
    """
    base = base_of(base_uri)
    if not base.key and not allow_bucket_root:
        raise InvalidOptionError(
            f"base_uri {base} is a whole bucket: name the prefix that runs are staged below, or write "
            "allow_bucket_root=True if they lie directly in the bucket."
        )
    rules = SweepRules(
        now=now or datetime.now(UTC),
        older_than=older_than,
        overdue_after=overdue_after,
        evidence_older_than=evidence_older_than,
        include_retained=include_retained,
        max_runs=max_runs,
        max_objects=max_objects,
        max_bytes=max_bytes,
    )
    report = SweepReport(str(base), dry_run, rules)
    found = search(client, base, rules, report)
    ceilings = Ceilings(rules)
    due: list[SweptRun] = []
    for run in found.due:
        ceiling = ceilings.take(run.objects, run.size_bytes)
        if ceiling is None:
            due.append(run)
        else:
            report.postponed.append((run, ceiling))
    evidence = [item for item in found.evidence if ceilings.take(item.records, item.size_bytes) is None]
    report.postponed_evidence = len(found.evidence) - len(evidence)
    if dry_run:
        _tell(found, due, evidence, report)
    else:
        _Sweep(client, base, rules, report, by, stop or threading.Event()).do(found, due, evidence)
    return report


def _tell(found: Findings, due: list[SweptRun], evidence: list[SweptEvidence], report: SweepReport) -> None:
    """Put into the report what ``_Sweep`` would do."""
    going = {run.run_id for run in due}
    before = report.rules.uploads_before()
    # A deletion aborts all uploads below its run, and those whose place nobody knows.
    placeless = [upload for upload in found.placeless_uploads if due or is_stale(upload, before)]
    stale = (count for run_id, count in found.stale_uploads.items() if run_id not in going)
    report.aborted_uploads = sum(found.uploads[run_id] for run_id in going) + sum(stale) + len(placeless)
    report.swept += due
    report.evidence += evidence


class _Sweep:
    """The part of a sweep that deletes."""

    def __init__(
        self,
        client: ObjectStorageClient,
        base: ObjectStorageUri,
        rules: SweepRules,
        report: SweepReport,
        by: Mapping[str, Any] | None,
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._base = base
        self._rules = rules
        self._report = report
        self._by = by
        self._stop = stop

    def do(self, found: Findings, due: list[SweptRun], evidence: list[SweptEvidence]) -> None:
        report = self._report
        going = {run.run_id for run in due}
        self._abort_uploads([run_id for run_id in found.stale_uploads if run_id not in going], found)
        for run, outcome in side_by_side(self._client, due, self._delete_run, report):
            if isinstance(outcome, tuple):
                done, aborted_uploads = outcome
                report.swept.append(done)
                report.aborted_uploads += aborted_uploads
            elif isinstance(outcome, Kept):
                report.kept[outcome] += 1
            else:
                report.postponed.append((run, outcome))
        for _ in side_by_side(self._client, found.unrecorded, self._record_deletion, report):
            pass
        for item, kept in side_by_side(self._client, evidence, self._delete_evidence, report):
            if kept is None:
                report.evidence.append(item)
            elif kept == STOPPED:
                report.postponed_evidence += 1
            else:
                report.kept[kept] += 1

    def _abort_uploads(self, run_ids: Iterable[str], found: Findings) -> None:
        report, before = self._report, self._rules.uploads_before()
        places = {run_id: self._base.child(run_id) for run_id in run_ids}
        if any(is_stale(upload, before) for upload in found.placeless_uploads):
            places["unfinished uploads"] = self._base
        for name, place in places.items():
            try:
                report.aborted_uploads += self._client.abort_uploads(place, begun_before=before)
            except StorageError as error:
                report.failures[name] = redact(str(error))

    def _delete_run(self, run: SweptRun) -> tuple[SweptRun, int] | Kept | str:
        """Delete a run; return it as it was and how many uploads were aborted, or why it was left."""
        if self._stop.is_set():
            return STOPPED
        evidence = StagingEvidence(self._client, str(self._base), run.run_id, by=self._by)
        planned = look_at(self._client, evidence)
        if not planned.objects:
            return Kept.EMPTY
        newest = newest_of(planned.objects)
        if newest is None or newest > run.newest or len(planned.objects) > run.objects:
            return Kept.CHANGED
        # Last, for whoever begins to stage there again says so in the evidence.
        before = self._rules.uploads_before(run.reason)
        if self._has_changed(evidence, run.newest, also_deletions=False) or self._is_uploading(evidence.prefix, before):
            return Kept.CHANGED
        record = {"cleanup_policy": str(run.policy), "reason": "swept"}
        aborted_uploads = delete_claimed(self._client, evidence, planned, record)
        size_bytes = sum(item.size_bytes for item in planned.objects)
        done = replace(run, objects=len(planned.objects), size_bytes=size_bytes, hidden=planned.hidden)
        log.info("Swept %s", done)
        return done, aborted_uploads

    def _record_deletion(self, run: ClaimedRun) -> None:
        """Record what a deletion that died has done: nothing is left.

        No upload is aborted here: one that has begun meanwhile is that of a stage at work.
        """
        if self._stop.is_set():
            return
        evidence = StagingEvidence(self._client, str(self._base), run.run_id, by=self._by)
        planned = look_at(self._client, evidence)
        claim = evidence.read_claim()
        newest = newest_of(run.records)
        if planned.objects or claim is None or newest is None:
            return
        # Last, as for a deletion.
        if self._has_changed(evidence, newest, also_deletions=True):
            return
        if self._is_uploading(evidence.prefix, self._rules.uploads_before()):
            return
        record = {"cleanup_policy": claim.plan["cleanup_policy"], "reason": "swept"}
        record_deleted(self._client, evidence, planned, record)

    def _has_changed(self, evidence: StagingEvidence, newest_then: datetime, *, also_deletions: bool) -> bool:
        """Return whether somebody has written evidence of a run since it was looked at, or removed its claim."""
        records: Iterable[ObjectStorageObject] = list(self._client.list_objects(evidence.run_folder))
        newest = newest_of(records if also_deletions else signs_of_life(records, evidence.run_folder.prefix))
        return newest is None or newest > newest_then or evidence.read_claim() is None

    def _is_uploading(self, prefix: ObjectStorageUri, before: datetime) -> bool:
        if self._report.uploads_unknown is not None:
            return False
        uploads = (upload for upload in self._client.list_uploads(prefix) if upload.uri.key)
        return any(not is_stale(upload, before) for upload in uploads)

    def _delete_evidence(self, item: SweptEvidence) -> Kept | str | None:
        """Delete all that is recorded of a run; return why it was left, or None.

        The claim goes last: a sweep that is killed leaves what the next one finds.
        """
        if self._stop.is_set():
            return STOPPED
        client = self._client
        evidence = StagingEvidence(client, str(self._base), item.run_id)
        folder = evidence.run_folder
        if self._has_changed(evidence, item.newest, also_deletions=True):
            return Kept.CHANGED
        records = client.list_prefix(folder)
        if next(iter(client.list_objects(evidence.prefix)), None) is not None:
            return Kept.CHANGED
        client.delete_objects([uri for uri in records if uri != evidence.claim_uri])
        left = set(client.list_prefix(folder)) - {evidence.claim_uri}
        if left - set(records):
            return Kept.CHANGED
        if left:
            raise delete_incomplete({str(uri): "listed after the delete" for uri in sorted(left)})
        client.delete_objects([evidence.claim_uri])
        return None
