"""What became of each run of a base, as its evidence tells: who staged what and when, and what came of it.

Nothing but the evidence is read: an object that somebody deleted by hand is still counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import islice
from typing import Any, TypeAlias

from dpone_airflow.staging.manifest import is_count
from dpone_airflow.staging.plan import base_of
from dpone_airflow.staging.run_records import (
    Place,
    Record,
    UnreadableRecord,
    find_records,
    moment,
    read_heads,
)
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import redact
from dpone_airflow.storage.uri import ObjectStorageUri

#: Of what a verify or a cleanup lists, just so many names of each kind are kept.
NAMED = 100
_WRITER = ("deployment", "dag_id", "dag_run_id", "task_id")
_PLAN = ("dataset", "table", "file_format", "compression", "cleanup_policy")
_TIMES = ("claimed_at", "began_at", "staged_at", "failed_at", "verified_at", "cleaned_at")


class RunState(StrEnum):
    """What became of a run or a part of it last; of several parts, what somebody must look at comes first."""

    UNREADABLE = "unreadable"
    VERIFY_FAILED = "verify_failed"
    CLEANUP_INCOMPLETE = "cleanup_incomplete"
    FAILED = "failed"
    STAGING = "being_staged"
    STAGED = "staged"
    VERIFIED = "verified"
    CLEANED = "cleaned"


_Heads: TypeAlias = Mapping[ObjectStorageUri, Record | UnreadableRecord]


@dataclass(frozen=True)
class RecordedPart:
    """A run, or one part of it, as its records tell; None is what they don't.

    :param part: the name of the part; None for the whole of a run that has no parts.
    :param state: what became of it last.
    :param fields: what was staged: dataset, table, file_format, compression, cleanup_policy.
    :param writer: deployment, dag_id, dag_run_id, task_id, and map_index of a mapped instance.
    :param try_number: which try staged it, or failed to.
    :param host: where that was.
    :param engine: what uploaded, with its version.
    :param versions: of Python and the packages, by name.
    :param files: how many are staged.
    :param size_bytes: their size.
    :param sent: how many of them the last try sent.
    :param kept: how many of them an earlier try had sent.
    :param deleted_bytes: what a cleanup deleted.
    :param failure: why the last try failed, if no later one has staged everything.
    :param verify: what the last verify found.
    :param cleanup: what the last cleanup did.
    :param claimed_policy: the cleanup policy of its claim, if the claim was read.
    :param manifest: the record that lists its objects.
    :param unreadable: its records that can't be read.
    """

    part: str | None
    state: RunState
    fields: Mapping[str, str | None]
    writer: Mapping[str, Any]
    claimed_at: datetime | None = None
    began_at: datetime | None = None
    staged_at: datetime | None = None
    failed_at: datetime | None = None
    verified_at: datetime | None = None
    cleaned_at: datetime | None = None
    try_number: int | None = None
    host: str | None = None
    engine: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    files: int | None = None
    size_bytes: int | None = None
    sent: int | None = None
    kept: int | None = None
    deleted_bytes: int = 0
    failure: str | None = None
    verify: Mapping[str, Any] | None = None
    cleanup: Mapping[str, Any] | None = None
    claimed_policy: str | None = None
    manifest: ObjectStorageUri | None = None
    unreadable: tuple[UnreadableRecord, ...] = ()

    @property
    def left_bytes(self) -> int:
        """The bytes that a cleanup hasn't deleted, as far as the records know."""
        if self.state is RunState.CLEANED or self.size_bytes is None:
            return 0
        deleted = self.deleted_bytes if self.state is RunState.CLEANUP_INCOMPLETE else 0
        return max(0, self.size_bytes - deleted)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; times are in UTC."""
        return {
            "part": self.part,
            "state": str(self.state),
            "map_index": self.writer.get("map_index"),
            "try_number": self.try_number,
            **_times(self),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "sent": self.sent,
            "kept": self.kept,
            "host": self.host,
            "engine": self.engine,
            "versions": dict(self.versions),
            "failure": self.failure,
            "verify": None if self.verify is None else dict(self.verify),
            "cleanup": None if self.cleanup is None else dict(self.cleanup),
            "manifest_uri": None if self.manifest is None else str(self.manifest),
        }


@dataclass(frozen=True)
class RecordedRun:
    """A run as its records tell: what its parts have in common, and what they add up to.

    :param run_id: its id.
    :param prefix: where its objects lie or lay, with the trailing slash.
    :param parts: at least one; a run without parts is one part of no name.
    """

    run_id: str
    prefix: str
    parts: tuple[RecordedPart, ...]

    @property
    def in_parts(self) -> bool:
        """Whether several instances of a task have staged a part each."""
        return self.parts[0].part is not None

    @property
    def state(self) -> RunState:
        """The state of its parts; where they differ, the one to look at first."""
        order = list(RunState)
        return min((part.state for part in self.parts), key=order.index)

    @property
    def states(self) -> dict[str, int]:
        """How many parts are in each state."""
        return dict(Counter(str(part.state) for part in self.parts))

    @property
    def writer(self) -> dict[str, Any]:
        """Who staged it: deployment, dag_id, dag_run_id and task_id, as far as they are known."""
        return {name: _first(part.writer.get(name) for part in self.parts) for name in _WRITER}

    @property
    def tries(self) -> int | None:
        """The highest number of a try."""
        return max((part.try_number for part in self.parts if part.try_number is not None), default=None)

    @property
    def files(self) -> int | None:
        """How many files are staged; None while none of its parts is."""
        return _sum(part.files for part in self.parts)

    @property
    def size_bytes(self) -> int | None:
        """Their size."""
        return _sum(part.size_bytes for part in self.parts)

    @property
    def left_bytes(self) -> int:
        """The bytes that no cleanup has deleted."""
        return sum(part.left_bytes for part in self.parts)

    @property
    def unreadable(self) -> tuple[UnreadableRecord, ...]:
        """Its records that can't be read."""
        # One of the whole run is every part's.
        return tuple(dict.fromkeys(record for part in self.parts for record in part.unreadable))

    @property
    def failure(self) -> str | None:
        """Why a part's last try failed."""
        failure: str | None = _first(part.failure for part in self.parts)
        return failure

    @property
    def versions(self) -> dict[str, list[str]]:
        """The versions of Python and the packages that staged its parts, by name."""
        found: dict[str, set[str]] = {}
        for part in self.parts:
            for name, version in part.versions.items():
                found.setdefault(name, set()).add(version)
        return {name: sorted(versions) for name, versions in sorted(found.items())}

    def field(self, name: str) -> str | None:
        """Return dataset, table, file_format, compression or cleanup_policy."""
        value: str | None = _first(part.fields.get(name) for part in self.parts)
        return value

    def first(self, name: str) -> datetime | None:
        """Return the earliest of a time of its parts: ``claimed_at`` or ``began_at``."""
        return min(_known(self.parts, name), default=None)

    def last(self, name: str) -> datetime | None:
        """Return the latest of a time of its parts: ``staged_at``, ``verified_at``, ..."""
        return max(_known(self.parts, name), default=None)

    @property
    def since(self) -> datetime | None:
        """What its age counts from: when it was staged, else when that failed, began or was claimed."""
        return self.last("staged_at") or self.last("failed_at") or self.first("began_at") or self.first("claimed_at")

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """Return plain JSON without the parts; times are in UTC."""
        return {
            "run_id": self.run_id,
            "prefix": self.prefix,
            "state": str(self.state),
            "part_states": self.states if self.in_parts else {},
            **{name: self.field(name) for name in _PLAN},
            **self.writer,
            "tries": self.tries,
            "claimed_at": _text(self.first("claimed_at")),
            "began_at": _text(self.first("began_at")),
            **{name: _text(self.last(name)) for name in ("staged_at", "failed_at", "verified_at", "cleaned_at")},
            "age_seconds": None if self.since is None else round((now - self.since).total_seconds()),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "left_bytes": self.left_bytes,
            "engines": sorted({part.engine for part in self.parts if part.engine}),
            "versions": self.versions,
            "failure": self.failure,
            "unreadable": [record.to_dict() for record in self.unreadable],
        }


@dataclass(frozen=True)
class RecordedRuns:
    """The runs of a base, the newest first.

    :param base_uri: the base.
    :param at: when the records were read.
    :param runs: its runs.
    """

    base_uri: str
    at: datetime
    runs: tuple[RecordedRun, ...]

    def totals(self) -> dict[str, Any]:
        """Return how many runs, files and bytes there are, and how many runs are in each state."""
        states = Counter(run.state for run in self.runs)
        return {
            "runs": len(self.runs),
            "files": sum(run.files or 0 for run in self.runs),
            "size_bytes": sum(run.size_bytes or 0 for run in self.runs),
            "left_bytes": sum(run.left_bytes for run in self.runs),
            "states": {str(state): states[state] for state in RunState if states[state]},
        }

    def days(self) -> dict[date, tuple[int, int]]:
        """Return files and bytes by the day, in UTC, on which they were staged; days without any are left out."""
        days: dict[date, tuple[int, int]] = {}
        for part in (part for run in self.runs for part in run.parts):
            if part.staged_at is not None:
                files, size_bytes = days.get(part.staged_at.date(), (0, 0))
                days[part.staged_at.date()] = (files + (part.files or 0), size_bytes + (part.size_bytes or 0))
        return dict(sorted(days.items()))


def read_runs(
    client: ObjectStorageClient,
    base_uri: str,
    run_id: str | None = None,
    *,
    now: datetime | None = None,
) -> RecordedRuns:
    """Return what the evidence tells of the runs of a base.

    One listing, and of each run or part the records that are needed: two or three, or, of one run
    alone, all of them. Of a manifest only its header is read.

    :param run_id: only this run; its claims are read as well.
    :param now: what ages count to.
    :raises InvalidUriError: if ``base_uri`` isn't one of the four forms.
    :raises InvalidPlanError: if it lies among evidence.
    :raises StorageError: if the store refuses the listing or fails.
    """
    places = find_records(client, base_uri, run_id)
    return runs_at(client, base_uri, places, claims=run_id is not None, now=now)


def runs_at(
    client: ObjectStorageClient,
    base_uri: str,
    places: Mapping[str, Mapping[str | None, Place]],
    *,
    claims: bool,
    now: datetime | None = None,
    threads: int | None = None,
) -> RecordedRuns:
    """Return what is told of runs whose records ``find_records`` has found.

    :param claims: whether every claim is read, or only where nothing else says who staged.
    :param threads: how many records are read at once; by default the client's ``max_concurrency``.
    :raises StorageError: if the store fails.
    """
    base = base_of(base_uri)
    everywhere = [place for run in places.values() for place in run.values()]
    needed = [item for place in everywhere for item in _needed(place, claim=claims)]
    heads = read_heads(client, needed, threads=threads)
    # Who staged is in the manifest too, but not without Airflow.
    heads |= read_heads(
        client,
        [
            ("claim", place.listed["claim"])
            for place in everywhere
            if "claim" in place.listed and place.listed["claim"].uri not in heads and not _says_who(place, heads)
        ],
        threads=threads,
    )
    runs = [_run(base, name, parts, heads) for name, parts in places.items()]
    earliest = datetime.min.replace(tzinfo=UTC)
    runs.sort(key=lambda run: (run.since or earliest, run.run_id), reverse=True)
    return RecordedRuns(str(base), now or datetime.now(UTC), tuple(runs))


def _needed(place: Place, *, claim: bool) -> Iterable[tuple[str, ObjectStorageObject]]:
    staged = "manifest" in place.listed
    for kind, item in place.listed.items():
        if kind != "claim" or claim or not staged:
            yield kind, item
    # What an earlier try left may be older than what another one is doing now.
    if not staged and place.listed.keys() & {"failure", "cleanup"}:
        for item in place.checkpoints.values():
            yield "checkpoint", item


def _says_who(place: Place, heads: _Heads) -> bool:
    if "manifest" not in place.listed:
        return False
    head = heads.get(place.listed["manifest"].uri)
    return isinstance(head, Record) and isinstance(head.fields.get("by"), dict)


def _run(base: ObjectStorageUri, run_id: str, places: Mapping[str | None, Place], heads: _Heads) -> RecordedRun:
    names: Sequence[str | None] = sorted(name for name in places if name is not None) or [None]
    whole = _Read.of(places.get(None), heads)
    parts = []
    for name in names:
        own = whole if name is None else _Read.of(places[name], heads)
        parts.append(_part(name, own, None if name is None else whole))
    return RecordedRun(run_id, f"{base}/{run_id}/", tuple(parts))


@dataclass(frozen=True)
class _Read:
    """The records of one place that could be read, and those that couldn't."""

    records: Mapping[str, Record]
    checkpoints: Sequence[Record]
    unreadable: tuple[UnreadableRecord, ...]

    @classmethod
    def of(cls, place: Place | None, heads: _Heads) -> _Read:
        place = place or Place()
        found = {kind: heads.get(item.uri) for kind, item in place.listed.items()}
        checkpoints = [heads.get(item.uri) for item in place.checkpoints.values()]
        return cls(
            {kind: head for kind, head in found.items() if isinstance(head, Record)},
            [head for head in checkpoints if isinstance(head, Record)],
            tuple(head for head in (*found.values(), *checkpoints) if isinstance(head, UnreadableRecord)),
        )

    def get(self, kind: str) -> Record | None:
        return self.records.get(kind)


def _part(name: str | None, own: _Read, whole: _Read | None) -> RecordedPart:
    """Return what the records of a part tell, and those of the whole run that are about all of its parts."""
    claim, manifest, failure = own.get("claim"), own.get("manifest"), own.get("failure")
    verify = _later(own.get("verify"), whole.get("verify") if whole else None)
    own_cleanup = own.get("cleanup")
    cleanup = _later(own_cleanup, whole.get("cleanup") if whole else None)
    deleting = _later(own.get("deleting"), whole.get("deleting") if whole else None)
    if manifest and failure and failure.at < manifest.at:
        failure = None
    unreadable = own.unreadable + (whole.unreadable if whole else ())
    last_try = manifest or failure or claim
    said = last_try.fields if last_try else {}
    by = _mapping(said.get("by"))
    plan = _mapping(manifest.fields.get("manifest") if manifest else claim.fields.get("plan") if claim else None)
    writer = by or _mapping(claim.fields.get("writer") if claim else None)
    counted = _mapping(manifest.fields.get("manifest")) if manifest else {}
    return RecordedPart(
        part=name,
        state=RunState.UNREADABLE if unreadable else _state(own, manifest, failure, verify, deleting, cleanup),
        fields={key: _word(plan.get(key)) for key in _PLAN},
        writer={key: _word(writer.get(key)) for key in _WRITER} | {"map_index": _count(writer.get("map_index"))},
        claimed_at=claim.at if claim else None,
        began_at=_moment(said.get("began_at")),
        staged_at=manifest.at if manifest else None,
        failed_at=failure.at if failure else None,
        verified_at=verify.at if verify else None,
        cleaned_at=cleanup.at if cleanup else None,
        try_number=_count(by.get("try_number")),
        host=_word(by.get("host")),
        engine=" ".join(filter(None, (_word(said.get("engine")), _word(said.get("engine_version"))))) or None,
        versions={key: text for key, value in _mapping(by.get("versions")).items() if (text := _word(value))},
        files=_count(counted.get("object_count")),
        size_bytes=_count(counted.get("total_size_bytes")),
        sent=_count(said.get("sent")),
        kept=_count(said.get("kept")),
        # What the cleanup of a whole run has deleted isn't told part by part.
        deleted_bytes=_count(cleanup.fields.get("deleted_bytes")) or 0 if cleanup and cleanup is own_cleanup else 0,
        failure=_failure(failure),
        verify=_outcome(verify),
        cleanup=_outcome(cleanup),
        claimed_policy=_word(_mapping(claim.fields.get("plan")).get("cleanup_policy")) if claim else None,
        manifest=manifest.uri if manifest else None,
        unreadable=unreadable,
    )


def _state(
    own: _Read,
    manifest: Record | None,
    failure: Record | None,
    verify: Record | None,
    deleting: Record | None,
    cleanup: Record | None,
) -> RunState:
    """Return what happened last. What came first of two that have the same time is overruled."""
    # While a manifest is there, what it says is staged: a try that changes that removes it first.
    if manifest:
        happened = [(manifest.at, RunState.STAGED)]
    else:
        happened = [(record.at, RunState.STAGING) for record in (own.get("claim"), *own.checkpoints) if record]
        happened += [(failure.at, RunState.FAILED)] if failure else []
    if verify:
        good = verify.fields.get("outcome") == "verified"
        happened.append((verify.at, RunState.VERIFIED if good else RunState.VERIFY_FAILED))
    if deleting:
        happened.append((deleting.at, RunState.CLEANUP_INCOMPLETE))
    if cleanup:
        clean = cleanup.fields.get("outcome") in ("deleted", "hidden")
        happened.append((cleanup.at, RunState.CLEANED if clean else RunState.CLEANUP_INCOMPLETE))
    state = RunState.STAGING
    latest = datetime.min.replace(tzinfo=UTC)
    for at, became in happened:
        if at >= latest:
            latest, state = at, became
    return state


def _outcome(record: Record | None) -> dict[str, Any] | None:
    """Return what a verify or a cleanup says of itself: figures and words, and of what it lists the first names."""
    if record is None:
        return None
    found: dict[str, Any] = {"at": _text(record.at)}
    for name in ("outcome", "mode", "cleanup_policy"):
        if name in record.fields:
            found[name] = _word(record.fields[name])
    for name in ("object_count", "read_bytes", "deleted_objects", "deleted_bytes", "hidden_objects", "hidden_bytes"):
        if name in record.fields:
            found[name] = _count(record.fields[name])
    for name in ("missing", "extra", "changed", "left"):
        listed = record.fields.get(name)
        if isinstance(listed, (list, dict)):
            found[name] = len(listed)
            if listed:
                found.setdefault("named", []).extend(_lines(name, listed))
        if record.cut_at == name or (record.cut_at is not None and name not in record.fields):
            _count_beyond(name, record, found)
    return found


def _count_beyond(name: str, record: Record, found: dict[str, Any]) -> None:
    """Put how many a list has that wasn't read to its end, by the record; else say that there are at least so many."""
    counted = _count(record.fields.get(f"{name}_objects"))
    if counted is not None and counted >= found.get(name, 0):
        found[name] = counted
    elif name in found:
        found.setdefault("at_least", []).append(name)


def _lines(name: str, listed: list[Any] | dict[str, Any]) -> list[str]:
    """Return what is told of the first that are listed."""
    if isinstance(listed, dict):
        told = [f"{uri} ({_word(why) or 'it is not said why'})" for uri, why in islice(listed.items(), NAMED)]
    else:
        told = [_word(uri) or "something without a name" for uri in islice(listed, NAMED)]
    return [redact(f"{name}: {text}") for text in told]


def _failure(record: Record | None) -> str | None:
    if record is None:
        return None
    texts = [text for key in ("error", "message") if (text := _word(record.fields.get(key)))]
    return redact(": ".join(texts)) or "it isn't known why"


def _later(own: Record | None, of_whole_run: Record | None) -> Record | None:
    return max((record for record in (own, of_whole_run) if record), key=lambda record: record.at, default=None)


def _times(part: RecordedPart) -> dict[str, str | None]:
    return {name: _text(getattr(part, name)) for name in _TIMES}


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _known(parts: Iterable[RecordedPart], name: str) -> list[datetime]:
    return [at for part in parts if (at := getattr(part, name)) is not None]


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value), None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


# A record may hold anything: what isn't of the kind that belongs there is as good as not there.


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if is_count(value) else None


def _moment(value: Any) -> datetime | None:
    try:
        return moment(value)
    except (ValueError, TypeError):
        return None
