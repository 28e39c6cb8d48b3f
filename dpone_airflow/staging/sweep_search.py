"""Finds what is due below a base: three listings, and only the runs whose records are old are looked at closely.

What is found here is what a dry run tells, and what a real sweep then deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar

from dpone_airflow.staging.evidence import StagingWriter, is_one_place, refuse_nested_base
from dpone_airflow.staging.plan import EVIDENCE_FOLDER, run_prefix
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.staging.run_id import check_run_id
from dpone_airflow.staging.run_records import Place, Record, UnreadableRecord, read_heads, records_in
from dpone_airflow.staging.runs import runs_at
from dpone_airflow.staging.sweep_report import SweepReport, SweptEvidence, SweptRun
from dpone_airflow.staging.sweep_rules import SHORTEST_AGE, Kept, SweepRules, newest_of
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject, UnfinishedUpload
from dpone_airflow.storage.errors import (
    DponeAirflowError,
    InvalidInputError,
    InvalidPlanError,
    StorageError,
    UnclaimedPrefixError,
    redact,
)
from dpone_airflow.storage.uri import ObjectStorageUri


class OfARun(Protocol):
    """Anything that is about one run."""

    @property
    def run_id(self) -> str:
        """The run's id."""


_OF_DELETIONS = ("cleanup.json", "deleting.json")
_R = TypeVar("_R", bound=OfARun)
_T = TypeVar("_T")
_Verdict: TypeAlias = "Kept | SweptRun | SweptEvidence | Sequence[UnreadableRecord]"


@dataclass(frozen=True)
class ClaimedRun:
    """A run that a claim names, as the listings show it.

    :param run_id: its id.
    :param places: its records by part.
    :param records: everything in its evidence folder.
    :param has_objects: whether anything lies below its prefix.
    :param uploads: the unfinished uploads below its prefix.
    :param evidence_uploads: those of its records.
    """

    run_id: str
    places: Mapping[str | None, Place]
    records: Sequence[ObjectStorageObject]
    has_objects: bool
    uploads: Sequence[UnfinishedUpload]
    evidence_uploads: Sequence[UnfinishedUpload]

    @property
    def newest_sign(self) -> datetime | None:
        """When its newest record was written, but for those of deletions; None if the store doesn't tell it.

        A deletion that failed, or was killed, doesn't make a run young again.
        """
        folder = self.claim.uri.key.rpartition("/")[0]
        return newest_of(signs_of_life(self.records, f"{folder}/"))

    @property
    def claim(self) -> ObjectStorageObject:
        """Its claim, as it was listed."""
        return self.places[None].listed["claim"]

    def deletion_died(self, rules: SweepRules) -> bool:
        """Return whether a deletion of the run has begun long ago and recorded no end, and nobody stages there."""
        whole, quiet_since = self.places[None].listed, rules.now - SHORTEST_AGE
        began, ended = (whole[kind].modified_at if kind in whole else None for kind in ("deleting", "cleanup"))
        if began is None or began > quiet_since or (ended is not None and ended >= began):
            return False
        newest_sign = self.newest_sign
        is_quiet = newest_sign is not None and newest_sign <= quiet_since
        return is_quiet and not self.is_uploading(rules.uploads_before())

    def is_uploading(self, since: datetime) -> bool:
        """Return whether an upload is under way: it began since then, or nobody knows when."""
        return any(not is_stale(upload, since) for upload in (*self.uploads, *self.evidence_uploads))


@dataclass
class Findings:
    """What may go.

    :param due: the runs that are due, the oldest first.
    :param evidence: the evidence that is.
    :param uploads: how many unfinished uploads each due run has.
    :param stale_uploads: how many uploads nobody will finish, by the id of the run below whose prefix they are.
    :param placeless_uploads: those of which the store doesn't say where they belong: the emulator's.
    :param unrecorded: the runs without objects whose deletion died before it could be recorded.
    """

    due: list[SweptRun] = field(default_factory=list)
    evidence: list[SweptEvidence] = field(default_factory=list)
    uploads: dict[str, int] = field(default_factory=dict)
    stale_uploads: dict[str, int] = field(default_factory=dict)
    placeless_uploads: Sequence[UnfinishedUpload] = ()
    unrecorded: list[ClaimedRun] = field(default_factory=list)


def search(client: ObjectStorageClient, base: ObjectStorageUri, rules: SweepRules, report: SweepReport) -> Findings:
    """Look at a base; return what is due, and put into ``report`` what isn't.

    :raises StorageError: if the store refuses a listing of the base or of its evidence.
    """
    found = Findings()
    uploads = _uploads(client, base, report)
    runs = _claimed_runs(client, base, uploads, report)
    report.runs = len(runs)
    wanted: list[ClaimedRun] = []
    for run in runs:
        newest, newest_sign = newest_of(run.records), run.newest_sign
        if newest is None or newest_sign is None:
            report.kept[Kept.AGE_UNKNOWN] += 1
        elif not (run.has_objects or rules.evidence_is_due(newest) or run.deletion_died(rules)):
            report.kept[Kept.EMPTY] += 1
        elif run.has_objects and not rules.may_be_due(newest_sign):
            report.kept[Kept.YOUNG] += 1
        else:
            wanted.append(run)
    for run, verdict in side_by_side(client, wanted, lambda run: _look_at(client, base, rules, run), report):
        if isinstance(verdict, Kept):
            report.kept[verdict] += 1
            if verdict is Kept.EMPTY and run.deletion_died(rules):
                found.unrecorded.append(run)
        elif isinstance(verdict, SweptRun):
            found.due.append(verdict)
            found.uploads[run.run_id] = len(run.uploads)
        elif isinstance(verdict, SweptEvidence):
            found.evidence.append(verdict)
        else:
            report.unreadable += verdict
    found.due.sort(key=lambda run: (run.newest, run.run_id))
    found.evidence.sort(key=lambda item: (item.newest, item.run_id))
    _find_stale_uploads(client, base, rules, runs, report, found)
    if runs:
        found.placeless_uploads = uploads.get("", ())
    return found


def signs_of_life(records: Iterable[ObjectStorageObject], folder: str) -> Iterator[ObjectStorageObject]:
    """Yield the records of a run that aren't those of its deletion.

    :param folder: the key of the run's evidence folder, with its trailing slash.
    """
    for item in records:
        # Below the folder of the run or of a part: directly in it are claims, also of a part that is called so.
        if item.uri.key[len(folder) :].partition("/")[2] not in _OF_DELETIONS:
            yield item


def is_stale(upload: UnfinishedUpload, begun_before: datetime) -> bool:
    """Return whether an upload began so long ago that nobody will finish it."""
    return upload.began_at is not None and upload.began_at < begun_before


def side_by_side(
    client: ObjectStorageClient, items: Iterable[_R], work: Callable[[_R], _T], report: SweepReport
) -> Iterator[tuple[_R, _T]]:
    """Do something for several runs at once; yield each with what came out, in order, without those that failed."""

    def attempt(item: _R) -> _T | DponeAirflowError:
        try:
            return work(item)
        except DponeAirflowError as error:
            return error

    items = list(items)
    with ThreadPoolExecutor(client.max_concurrency, thread_name_prefix="dpone-sweep") as pool:
        for item, outcome in zip(items, pool.map(attempt, items), strict=True):
            if isinstance(outcome, DponeAirflowError):
                report.failures[item.run_id] = redact(str(outcome))
            else:
                yield item, outcome


def _uploads(
    client: ObjectStorageClient, base: ObjectStorageUri, report: SweepReport
) -> dict[str, list[UnfinishedUpload]]:
    """Return the unfinished uploads by the first segments of their keys; "" for those without a key."""
    found: dict[str, list[UnfinishedUpload]] = {}
    try:
        listed = client.list_uploads(base)
    except StorageError as error:
        # A right that nothing else here needs. Who uploads gives signs of life all the same.
        report.uploads_unknown = redact(str(error))
        return found
    for upload in listed:
        segments = upload.uri.key[len(base.prefix) :].split("/")
        place = "/".join(segments[: 2 if segments[0] == EVIDENCE_FOLDER else 1])
        found.setdefault(place, []).append(upload)
    return found


def _claimed_runs(
    client: ObjectStorageClient,
    base: ObjectStorageUri,
    uploads: Mapping[str, Sequence[UnfinishedUpload]],
    report: SweepReport,
) -> list[ClaimedRun]:
    # In this order: a claim is made before its run's first object, so none is taken for unclaimed.
    folders = dict.fromkeys(client.list_folders(base))
    top = base.child(EVIDENCE_FOLDER)
    records: dict[str, list[ObjectStorageObject]] = {}
    for item in client.list_objects(top):
        records.setdefault(item.uri.key[len(top.prefix) :].partition("/")[0], []).append(item)
    runs = []
    for run_id, listed in records.items():
        places = records_in(listed, top).get(run_id, {})
        if _is_run_id(run_id) and "claim" in places.get(None, Place()).listed:
            own = uploads.get(run_id, ()), uploads.get(f"{EVIDENCE_FOLDER}/{run_id}", ())
            runs.append(ClaimedRun(run_id, places, listed, run_id in folders, *own))
    claimed = {run.run_id for run in runs}
    report.unclaimed = [f"{base}/{name}/" for name in folders if name not in claimed and name != EVIDENCE_FOLDER]
    return runs


def _is_run_id(name: str) -> bool:
    try:
        check_run_id(name)
    except InvalidPlanError:
        return False
    return True


def _look_at(client: ObjectStorageClient, base: ObjectStorageUri, rules: SweepRules, run: ClaimedRun) -> _Verdict:
    claim = _read_claim(client, base, run)
    if claim is None:
        return Kept.CHANGED
    if isinstance(claim, UnreadableRecord):
        return (claim,)
    newest_sign = run.newest_sign
    assert newest_sign is not None, "looked at before"
    if not run.has_objects:
        return _look_at_evidence(client, base, rules, run)
    policy = claim.fields["plan"]["cleanup_policy"]
    if rules.retains({policy}):
        return Kept.RETAINED
    places = {run.run_id: run.places}
    (recorded,) = runs_at(client, str(base), places, claims=True, now=rules.now, threads=1).runs
    if recorded.unreadable:
        return recorded.unreadable
    named = (name for part in recorded.parts for name in (part.claimed_policy, part.fields["cleanup_policy"]))
    policies = {policy, *(name for name in named if name is not None)}
    if rules.retains(policies):
        return Kept.RETAINED
    if rules.due(newest_sign, policies, recorded.state) is None:
        return Kept.YOUNG
    prefix = base.child(run.run_id)
    figures = _Figures()
    try:
        refuse_nested_base(prefix, figures.counting(client.list_objects(prefix)))
    except UnclaimedPrefixError:
        return Kept.NESTED_BASE
    if figures.objects == 0:  # a folder that its store goes on to list for a while
        return _look_at_evidence(client, base, rules, run)
    if figures.oldest is None or figures.newest is None:
        return Kept.AGE_UNKNOWN
    newest = max(newest_sign, figures.newest)
    reason = rules.due(newest, policies, recorded.state)
    if reason is None:
        return Kept.YOUNG
    if run.is_uploading(rules.uploads_before(reason)):
        return Kept.UPLOADING
    return SweptRun(
        run_id=run.run_id,
        prefix=f"{prefix}/",
        policy=policy,
        state=recorded.state,
        reason=reason,
        objects=figures.objects,
        size_bytes=figures.size_bytes,
        hidden=bool(client.keeps_versions(prefix)),
        oldest=figures.oldest,
        newest=newest,
    )


def _look_at_evidence(
    client: ObjectStorageClient, base: ObjectStorageUri, rules: SweepRules, run: ClaimedRun
) -> Kept | SweptEvidence:
    newest = newest_of(run.records)
    if newest is None or not rules.evidence_is_due(newest):
        return Kept.EMPTY
    if run.is_uploading(rules.uploads_before()):
        return Kept.UPLOADING
    if next(iter(client.list_objects(base.child(run.run_id))), None) is not None:
        return Kept.CHANGED
    return SweptEvidence(run.run_id, len(run.records), sum(item.size_bytes for item in run.records), newest)


@dataclass
class _Figures:
    """What a listing adds up to; it is never all in memory."""

    objects: int = 0
    size_bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    _all_told: bool = True

    def counting(self, items: Iterable[ObjectStorageObject]) -> Iterator[ObjectStorageObject]:
        for item in items:
            self.objects += 1
            self.size_bytes += item.size_bytes
            at = item.modified_at
            if at is None:
                self._all_told = False
            else:
                self.oldest = at if self.oldest is None else min(self.oldest, at)
                self.newest = at if self.newest is None else max(self.newest, at)
            yield item
        if not self._all_told:
            self.oldest = self.newest = None


def _read_claim(
    client: ObjectStorageClient, base: ObjectStorageUri, run: ClaimedRun
) -> Record | UnreadableRecord | None:
    """Return the claim of a run, if it is one of this very prefix; None if it is gone since it was listed."""
    uri = run.claim.uri
    found = read_heads(client, [("claim", run.claim)], threads=1).get(uri)
    if isinstance(found, Record):
        problem = _claim_problem(found.fields, base, run.run_id)
        if problem is not None:
            return UnreadableRecord(str(uri), problem)
    return found


def _claim_problem(fields: Mapping[str, Any], base: ObjectStorageUri, run_id: str) -> str | None:
    """Return why a record claims nothing here. It may be of a copied base, or be written by whoever may write here."""
    try:
        StagingWriter(**fields["writer"])
        plan = fields["plan"]
        CleanupPolicy.of(plan["cleanup_policy"])
        named = run_prefix(plan["base_uri"], plan["run_id"])
    except (KeyError, TypeError, AttributeError, InvalidInputError) as error:
        return redact(f"is no claim that this dpone-airflow can read ({error!r:.200})")
    return None if is_one_place(named, base.child(run_id)) else f"claims another place: {redact(str(named))}/"


def _find_stale_uploads(
    client: ObjectStorageClient,
    base: ObjectStorageUri,
    rules: SweepRules,
    runs: Iterable[ClaimedRun],
    report: SweepReport,
    found: Findings,
) -> None:
    """Note the uploads that nobody will finish below the prefixes of runs that give no sign of life."""
    stale = {}
    for run in runs:
        count = sum(is_stale(upload, rules.uploads_before()) for upload in run.uploads)
        newest = run.newest_sign
        if count and newest is not None and newest <= rules.now - SHORTEST_AGE:
            stale[run.run_id] = count
    wanted = [run for run in runs if run.run_id in stale and run.run_id not in report.failures]
    for run, claim in side_by_side(client, wanted, lambda run: _read_claim(client, base, run), report):
        if isinstance(claim, Record):
            found.stale_uploads[run.run_id] = stale[run.run_id]
        elif claim is not None and claim not in report.unreadable:
            report.unreadable.append(claim)
