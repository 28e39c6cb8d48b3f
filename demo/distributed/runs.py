"""One run of the DAG: started, watched, a worker killed in the middle of it, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from demo.distributed.store import Store
from local_servers.airflow_api import AirflowApi
from local_servers.celery_airflow import CeleryAirflow

DAG_ID = "example_distributed"
STAGE = "extract"
BASE_URI = "s3://landing/measurements"
RUN_SECONDS = 3600.0
LOOK_EVERY_SECONDS = 1.0
TELL_EVERY_SECONDS = 15.0
UNFINISHED = ("queued", "running")

Tell = Callable[[str], None]


class RunError(RuntimeError):
    """A run that can't be told about: it doesn't end, or never came to the point that was waited for."""


@dataclass(frozen=True)
class Size:
    """How much a run stages."""

    instances: int
    files_each: int
    rows_each: int = 10
    seconds_a_file: float = 0.0

    @property
    def files(self) -> int:
        """All files."""
        return self.instances * self.files_each

    @property
    def rows(self) -> int:
        """All rows, which are numbered from 0."""
        return self.files * self.rows_each

    def params(self) -> dict[str, Any]:
        """What the DAG run is given."""
        return {
            "instances": self.instances,
            "files_each": self.files_each,
            "rows_each": self.rows_each,
            "seconds_a_file": self.seconds_a_file,
        }


@dataclass(frozen=True)
class Lost:
    """An instance whose worker was killed, and how it came back; all seconds are from the kill.

    None where that never was.

    :param found_after_seconds: when Airflow took the try for dead.
    :param queued_after_seconds: when it queued the next one; behind what was queued already.
    :param back_after_seconds: when that one began.
    :param back_on: the worker that ran it.
    :param sent_again: how many objects it sent.
    """

    map_index: int
    worker: str
    staged_before: int
    found_after_seconds: float | None
    queued_after_seconds: float | None
    back_after_seconds: float | None
    back_on: str | None
    sent_again: int | None


@dataclass
class Outcome:
    """What one run did, counted at several places."""

    size: Size
    state: str
    tasks: Counter[str]
    spread: Counter[str]
    stage_seconds: float
    total_seconds: float
    sent: int
    in_parts: int
    in_manifest: int
    verified: int
    loaded: dict[str, int]
    compared: dict[str, int]
    deleted: int
    left: int
    unfinished_uploads: int
    killed: str | None = None
    in_the_middle_of: dict[int, int] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)

    @property
    def objects_per_second(self) -> float:
        """Objects staged in a second, by all workers, from the first instance's start to the last one's end."""
        return self.in_manifest / self.stage_seconds if self.stage_seconds else 0.0

    def complaints(self) -> list[str]:
        """Return what isn't as it should be; nothing if all is well."""
        files, rows = self.size.files, self.size.rows
        total = rows * (rows - 1) // 2
        wanted: list[tuple[str, object, object]] = [
            ("state of the DAG run", self.state, "success"),
            ("instances that succeeded", self.tasks.get(f"{STAGE} success"), self.size.instances),
            ("objects in the parts' manifests", self.in_parts, files),
            ("objects in the run's manifest", self.in_manifest, files),
            ("objects verified", self.verified, files),
            ("objects listed before the cleanup", self.compared.get("listed"), files),
            ("strays listed before the cleanup", self.compared.get("strays"), 0),
            ("objects missing before the cleanup", self.compared.get("missing"), 0),
            ("objects loaded from", self.loaded.get("objects"), files),
            ("rows loaded", self.loaded.get("rows"), rows),
            ("distinct rows loaded", self.loaded.get("distinct"), rows),
            ("sum of the rows' numbers", self.loaded.get("total"), total),
            ("objects deleted", self.deleted, files),
            ("objects left", self.left, 0),
            ("unfinished uploads", self.unfinished_uploads, 0),
        ]
        if self.killed is None:
            wanted.append(("objects sent", self.sent, files))
        found = [f"{what}: {is_}, not {ought}" for what, is_, ought in wanted if is_ != ought]
        if len(self.spread) < 2:
            found.append(f"the instances ran on {len(self.spread)} worker only")
        if self.killed is not None and not self.lost:
            found.append(f"{self.killed} was killed, and no instance had to come back")
        for lost in self.lost:
            if lost.back_after_seconds is None:
                found.append(f"instance {lost.map_index}, which {lost.worker} had, never came back")
            elif lost.back_on == self.killed:
                found.append(f"instance {lost.map_index} came back on {lost.back_on}, which was killed")
        return found


def run(airflow: CeleryAirflow, store: Store, size: Size, *, tell: Tell, kill: str | None = None) -> Outcome:
    """Run the DAG to its end.

    :param kill: the worker to kill once a quarter of the instances is staged and one of its own is half done.
    :raises RunError: if the run doesn't end, or ends before the worker could be killed.
    """
    api = airflow.api
    run_id = api.trigger(DAG_ID, size.params())
    killed_at: datetime | None = None
    in_the_middle_of: dict[int, int] = {}
    told = began = time.monotonic()
    while (state := api.run_state(DAG_ID, run_id)) in UNFINISHED:
        instances = [one for one in api.task_instances(DAG_ID, run_id) if one["task_id"] == STAGE]
        done = Counter(one["hostname"] for one in instances if one["state"] == "success")
        if time.monotonic() - told > TELL_EVERY_SECONDS:
            told = time.monotonic()
            tell(f"{told - began:5.0f} s: {done.total()} of {size.instances} instances staged: {_spread(done)}")
        if kill and killed_at is None and done.total() >= size.instances // 4:
            in_the_middle_of = _half_done(api, store, run_id, instances, kill, size)
            # One that has staged nearly all may end before the signal comes.
            if min(in_the_middle_of.values(), default=size.files_each) <= size.files_each // 2:
                airflow.workers[kill].kill()
                killed_at = datetime.now().astimezone()
                parts = ", ".join(f"{index} with {count}" for index, count in in_the_middle_of.items())
                tell(
                    f"{time.monotonic() - began:5.0f} s: killed {kill}, which was at the instances {parts} files staged"
                )
        if time.monotonic() - began > RUN_SECONDS:
            raise RunError(f"The DAG run {run_id} hasn't ended after {RUN_SECONDS:.0f} seconds.")
        time.sleep(LOOK_EVERY_SECONDS)
    if kill and killed_at is None:
        raise RunError(f"The DAG run {run_id} ended with {state} before {kill} could be killed.")
    return _outcome(api, store, run_id, size, state, kill, killed_at, in_the_middle_of)


def _half_done(
    api: AirflowApi, store: Store, run_id: str, instances: list[dict[str, Any]], worker: str, size: Size
) -> dict[int, int]:
    """Return the worker's instances that have staged some files and not all, and how many."""
    found: dict[int, int] = {}
    for one in instances:
        if one["state"] == "running" and one["hostname"] == worker:
            index = int(one["map_index"])
            place = api.xcom(DAG_ID, run_id, STAGE, map_index=index, key="dpone_staging")
            staged = len(store.objects(place["base_uri"], place["run_id"], place["part"])) if place else 0
            if 0 < staged < size.files_each:
                found[index] = staged
    return found


def _outcome(
    api: AirflowApi,
    store: Store,
    run_id: str,
    size: Size,
    state: str,
    killed: str | None,
    killed_at: datetime | None,
    in_the_middle_of: dict[int, int],
) -> Outcome:
    tis = api.task_instances(DAG_ID, run_id)
    instances = [one for one in tis if one["task_id"] == STAGE]
    places = (api.xcom(DAG_ID, run_id, STAGE, map_index=index, key="dpone_staging") for index in range(size.instances))
    place = next((place for place in places if place is not None), None)
    if place is None:
        raise RunError(f"The DAG run {run_id} ended with {state}, and nothing was staged: see the workers' logs.")
    records = store.part_records(place["base_uri"], place["run_id"])
    sent = {str(record["manifest"]["part"]): int(record["sent"]) for record in records}
    lost = []
    if killed_at is not None:
        for one in instances:
            was_lost = int(one["map_index"]) in in_the_middle_of and one["state"] != "success"
            if int(one["try_number"]) > 1 or was_lost:
                lost.append(_lost(api, run_id, int(one["map_index"]), killed_at, in_the_middle_of, sent))
    verify = store.record(place["base_uri"], place["run_id"], "_run", "verify.json") or {}
    return Outcome(
        size=size,
        state=state,
        tasks=Counter(f"{one['task_id']} {one['state']}" for one in tis),
        spread=Counter(one["hostname"] for one in instances if one["state"] == "success"),
        stage_seconds=_seconds_of(instances),
        total_seconds=_seconds_of(tis),
        sent=sum(sent.values()),
        in_parts=sum(int(record["manifest"]["object_count"]) for record in records),
        in_manifest=int((api.xcom(DAG_ID, run_id, "verify") or {}).get("object_count", 0)),
        verified=int(verify.get("object_count", 0)),
        loaded=api.xcom(DAG_ID, run_id, "load") or {},
        compared=api.xcom(DAG_ID, run_id, "compare") or {},
        deleted=int((api.xcom(DAG_ID, run_id, "cleanup") or {}).get("deleted_objects", 0)),
        left=len(store.objects(place["base_uri"], place["run_id"])),
        unfinished_uploads=store.unfinished_uploads(place["base_uri"]),
        killed=killed,
        in_the_middle_of=in_the_middle_of,
        lost=lost,
    )


def _lost(
    api: AirflowApi,
    run_id: str,
    map_index: int,
    killed_at: datetime,
    in_the_middle_of: dict[int, int],
    sent: dict[str, int],
) -> Lost:
    first, *later = api.tries(DAG_ID, run_id, STAGE, map_index)
    last = later[-1] if later else {}

    def after(text: str | None) -> float | None:
        return (_time(text) - killed_at).total_seconds() if text else None

    return Lost(
        map_index=map_index,
        worker=str(first["hostname"]),
        staged_before=in_the_middle_of.get(map_index, 0),
        found_after_seconds=after(first["end_date"]),
        queued_after_seconds=after(last.get("queued_when")),
        back_after_seconds=after(last.get("start_date")),
        back_on=last.get("hostname") or None,
        sent_again=sent.get(f"map-{map_index:05d}"),
    )


def _seconds_of(tis: list[dict[str, Any]]) -> float:
    """Return how long task instances took, from the first one's start to the last one's end."""
    starts = [_time(one["start_date"]) for one in tis if one["start_date"]]
    ends = [_time(one["end_date"]) for one in tis if one["end_date"]]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else 0.0


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _spread(counts: Counter[str]) -> str:
    return ", ".join(f"{worker} {count}" for worker, count in sorted(counts.items())) or "none yet"
