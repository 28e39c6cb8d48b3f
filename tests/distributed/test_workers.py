"""The demo to its good end: a mapped stage on two workers that share no disk, and again while one of them is killed.

A third worker, without the extra, joins it meanwhile with what another machine's would be told.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from demo.distributed.runs import BASE_URI, DAG_ID, STAGE, UNFINISHED
from demo.distributed.store import Store
from local_servers import SeaweedFS, leftovers
from local_servers.airflow_api import AirflowApi
from local_servers.celery_airflow import ROOT, CeleryAirflow
from tests.distributed.command import Command, running, working_below

INSTANCES, FILES_EACH = 20, 10
FILES = INSTANCES * FILES_EACH
WORKERS, KILLED = ("worker-1", "worker-2"), "worker-2"
HERE = Path(__file__).parent
WITHOUT_S3 = HERE / "without_s3"

# Whichever test comes first waits for the whole of it: two minutes, and more on a busy machine.
pytestmark = pytest.mark.timeout(1200)


@dataclass
class Bare:
    """What became of the stage on the worker without the extra."""

    states: tuple[str, str, str]
    processes: int
    left: list[int]
    log: str


@dataclass
class Seen:
    """What the demo printed, and what could be seen only while it ran."""

    home: Path
    status: int = -1
    said: str = ""
    staged: dict[str, set[Path]] = field(default_factory=lambda: {name: set() for name in WORKERS})
    alive_after_the_kill: dict[str, int] | None = None
    bare: Bare | None = None

    def worker(self, name: str) -> Path:
        return self.home / "airflow" / name

    def runs(self) -> list[str]:
        """What was printed of each run: of the whole one, and of that in which a worker was killed."""
        return re.split(r"^200 files in 20 instances", self.said, flags=re.M)[1:]

    def killed(self) -> str:
        """What was printed of the second one, without the breaks of its lines."""
        return " ".join(self.runs()[1].split())


def counted(run: str, what: str) -> int:
    (count,) = re.findall(rf"│ {what}\s+│\s+([\d,]+) │", run)
    return int(count.replace(",", ""))


@pytest.fixture(scope="module")
def seen(reachable: Path) -> Seen:
    seen = Seen(reachable / "demo")
    with running(seen.home) as command:
        watch = threading.Thread(target=_watch, args=(command, seen))
        watch.start()
        seen.bare = _with_a_bare_worker(command)
        seen.status = command.process.wait()
        watch.join()
        seen.said = command.said()
    return seen


def test_the_demo_passes(seen: Seen) -> None:
    assert seen.status == 0, seen.said
    assert [run.count("All counts agree.") for run in seen.runs()] == [1, 1]
    assert "and worker-2 is killed in the middle" in seen.runs()[1]
    assert "The demo passed." in seen.said


@pytest.mark.parametrize("number", [0, 1], ids=["whole", "a worker killed"])
def test_every_file_is_staged_verified_loaded_and_deleted_once(seen: Seen, number: int) -> None:
    run = seen.runs()[number]
    for what in (
        "files extracted",
        "in the manifests of the parts",
        "in the manifest of the run",
        "verified",
        "listed before the cleanup",
        "loaded from",
        "deleted by the cleanup",
    ):
        assert counted(run, what) == FILES, what
    assert counted(run, "left after it") == 0
    assert "Rows: 2,000 written, 2,000 loaded, 2,000 distinct" in run


@pytest.mark.parametrize("number", [0, 1], ids=["whole", "a worker killed"])
def test_the_instances_ran_on_both_workers(seen: Seen, number: int) -> None:
    ((one, other),) = re.findall(r"Instances: worker-1 (\d+), worker-2 (\d+)", seen.runs()[number])
    assert int(one) > 0
    assert int(other) > 0
    assert int(one) + int(other) == INSTANCES


def test_the_killed_worker_was_in_the_middle_of_an_instance_and_the_other_one_did_it_again(seen: Seen) -> None:
    (middle,) = re.findall(r"killed worker-2, which was at the instances (.*?) files staged", seen.killed())
    half_done = {int(index): int(staged) for index, staged in re.findall(r"(\d+) with (\d+)", middle)}
    assert 0 < min(half_done.values()) <= FILES_EACH // 2
    lost = re.findall(
        r"Instance (\d+) was on (\S+) with \d+ files staged: taken for dead after (\d+) s, queued again after \d+ s, "
        r"begun again on (\S+) after \d+ s; sent \d+ of 10",
        seen.killed(),
    )
    # One that had nearly all may have come to its end before the signal came.
    assert {int(index) for index, *_ in lost} >= {i for i, staged in half_done.items() if staged <= FILES_EACH // 2}
    for _, was_on, found_after, back_on in lost:
        assert (was_on, back_on) == (KILLED, "worker-1")
        assert int(found_after) > 10, "Airflow waits for the heartbeats that are missing"


def test_nothing_of_the_killed_worker_runs_on(seen: Seen) -> None:
    assert seen.alive_after_the_kill is not None
    assert seen.alive_after_the_kill[KILLED] == 0
    assert seen.alive_after_the_kill["worker-1"] > 0


def test_each_worker_had_files_logs_and_dags_of_its_own(seen: Seen) -> None:
    for name in WORKERS:
        logs = list((seen.worker(name) / "airflow" / "logs").rglob("attempt=*.log"))
        assert any(f"task_id={STAGE}" in str(log) for log in logs), name
        assert (seen.worker(name) / "dags" / f"{DAG_ID}.py").is_file()
        assert seen.staged[name], f"{name} writes what it stages below its own temporary directory"


def test_staged_files_are_removed_on_the_worker_that_wrote_them(seen: Seen) -> None:
    of_the_dead = seen.worker(KILLED) / "tmp"
    assert [path for path in seen.home.rglob("measurements-*.csv") if not path.is_relative_to(of_the_dead)] == []


def test_the_evidence_outlives_the_cleanup_and_says_who_wrote(seen: Seen) -> None:
    with SeaweedFS.start(seen.home) as server:
        store = Store.of(server)
        run_ids = {uri.key.split("/")[2] for uri in store.objects(BASE_URI, "_manifests")}
        records = [record for run_id in run_ids for record in store.part_records(BASE_URI, run_id)]
    assert len(records) == 2 * INSTANCES
    said_by = [record["by"] for record in records]
    assert {(by["dag_id"], by["task_id"]) for by in said_by} == {(DAG_ID, STAGE)}
    assert sorted(by["map_index"] for by in said_by) == sorted(2 * list(range(INSTANCES)))
    assert {by["try_number"] for by in said_by} == {1, 2}, "a retry has staged what the killed worker had"
    assert {len(record["manifest"]["objects"]) for record in records} == {FILES_EACH}


def test_no_password_and_no_database_is_left(seen: Seen) -> None:
    assert not (seen.home / "redis" / "redis.conf").exists()
    assert list((seen.home / "postgresql").iterdir()) == []


def test_a_worker_without_the_extra_fails_the_stage_with_what_to_install(seen: Seen) -> None:
    assert seen.bare is not None
    assert seen.bare.states == ("failed", "failed", "bare")
    assert 's3:// URIs need an extra that isn\'t installed here: run pip install "dpone-airflow[s3]".' in seen.bare.log
    assert "MissingExtraError" in seen.bare.log


def test_a_worker_that_ends_leaves_nothing(seen: Seen) -> None:
    assert seen.bare is not None
    assert seen.bare.processes > 2
    assert seen.bare.left == []


def _watch(command: Command, seen: Seen) -> None:
    """Look at what the workers have on their disks, and at their processes once one of them has been killed."""
    while command.process.poll() is None:
        for name in WORKERS:
            with suppress(FileNotFoundError):  # a directory that goes meanwhile
                seen.staged[name].update((seen.worker(name) / "tmp").rglob("measurements-*.csv"))
        if seen.alive_after_the_kill is None and f"killed {KILLED}" in command.said():
            seen.alive_after_the_kill = {name: len(working_below(seen.worker(name))) for name in WORKERS}
        time.sleep(0.05)


def _with_a_bare_worker(command: Command) -> Bare:
    """Run a stage on a worker of its own, which finds no module of the extra."""
    dags = command.home / "dags"
    command.wait_for((dags / f"{DAG_ID}.py").exists)
    shutil.copy(HERE / "dag_of_another_queue.py", dags)
    command.wait_for(lambda: working_below(command.home / "airflow" / "worker-1") != [])
    airflow = _as_a_worker_knows_it(command)
    hiding = {"PYTHONPATH": os.pathsep.join([str(WITHOUT_S3), str(ROOT)])}
    with airflow.worker("bare", queue="bare", environment=hiding) as worker:
        command.wait_for(lambda: "Airflow runs after" in command.said())
        airflow.wait_for_dag("another_queue")
        run_id = airflow.api.trigger("another_queue", {})
        while (state := airflow.api.run_state("another_queue", run_id)) in UNFINISHED:
            time.sleep(0.5)
        (stage,) = airflow.api.task_instances("another_queue", run_id)
        mark = psutil.Process(worker.process_group).environ()[leftovers.VARIABLE]
        processes = len(leftovers.marked(mark))
    (log,) = (worker.home / "airflow" / "logs").rglob("attempt=1.log")
    return Bare(
        states=(state, stage["state"], stage["hostname"]),
        processes=processes,
        left=leftovers.marked(mark),
        log=log.read_text().replace('\\"', '"'),
    )


def _as_a_worker_knows_it(command: Command) -> CeleryAirflow:
    """Return the Airflow that a command runs, by the settings that its first worker was given."""
    home = command.home / "airflow"
    environment = working_below(home / "worker-1")[0].environ()
    its_own = {"AIRFLOW__CORE__DAGS_FOLDER"}
    shared = {key: value for key, value in environment.items() if key.startswith("AIRFLOW__") and key not in its_own}
    url = shared["AIRFLOW__API__BASE_URL"]
    return CeleryAirflow(home, command.home / "dags", AirflowApi(url), shared)
