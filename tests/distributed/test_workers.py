"""A mapped stage on two workers that share no disk, one of which is killed; a worker without the extra."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from demo.distributed.runs import BASE_URI, DAG_ID, STAGE, UNFINISHED, Outcome, Size, run
from demo.distributed.store import Store
from local_servers import leftovers
from local_servers.celery_airflow import ROOT, CeleryAirflow

INSTANCES, FILES_EACH = 20, 10
KILLED = "worker-2"
WITHOUT_S3 = Path(__file__).parent / "without_s3"

# Whichever test comes first starts Airflow and waits for the run: a minute or two, and more on a busy machine.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def outcome(airflow: CeleryAirflow, store: Store, told: list[str]) -> Outcome:
    """A run of 20 instances in the middle of which one of the two workers is killed."""
    return run(airflow, store, Size(INSTANCES, FILES_EACH, seconds_a_file=0.2), kill=KILLED, tell=told.append)


def test_every_file_is_staged_verified_loaded_and_deleted_once_though_a_worker_was_killed(outcome: Outcome) -> None:
    assert outcome.complaints() == []
    assert outcome.in_parts == outcome.in_manifest == outcome.verified == outcome.deleted == INSTANCES * FILES_EACH
    assert outcome.compared == {"listed": 200, "named": 200, "strays": 0, "missing": 0}
    assert outcome.loaded == {"objects": 200, "rows": 2000, "distinct": 2000, "total": 1999 * 1000}
    assert (outcome.left, outcome.unfinished_uploads) == (0, 0)


def test_the_instances_ran_on_both_workers(outcome: Outcome) -> None:
    assert set(outcome.spread) == {"worker-1", "worker-2"}
    assert outcome.spread.total() == INSTANCES


def test_the_killed_worker_was_in_the_middle_of_an_instance_and_the_other_one_did_it_again(outcome: Outcome) -> None:
    assert outcome.in_the_middle_of
    assert all(0 < staged < FILES_EACH for staged in outcome.in_the_middle_of.values())
    assert {lost.map_index for lost in outcome.lost} >= set(outcome.in_the_middle_of)
    for lost in outcome.lost:
        assert (lost.worker, lost.back_on) == (KILLED, "worker-1")
        assert lost.found_after_seconds > 10, "Airflow waits for the heartbeats that are missing"


def test_nothing_of_the_killed_worker_runs_on(airflow: CeleryAirflow, outcome: Outcome) -> None:
    home = str(airflow.workers[KILLED].home)
    assert [process for process in psutil.process_iter() if _works_in(process, home)] == []
    assert [process for process in psutil.process_iter() if _works_in(process, str(airflow.workers["worker-1"].home))]


def test_each_worker_had_files_logs_and_dags_of_its_own(airflow: CeleryAirflow, outcome: Outcome) -> None:
    for name, worker in airflow.workers.items():
        logs = list((worker.home / "airflow" / "logs").rglob("attempt=*.log"))
        assert any(f"task_id={STAGE}" in str(log) for log in logs), name
        assert (worker.home / "dags" / f"{DAG_ID}.py").is_file()
    left = (airflow.workers["worker-1"].home / "tmp").rglob("*.csv")
    assert list(left) == [], "staged files are removed on the worker that wrote them"


def test_the_evidence_outlives_the_cleanup_and_says_who_wrote(store: Store, outcome: Outcome) -> None:
    records = [uri for uri in store.objects(BASE_URI, "_manifests") if uri.key.endswith("/manifest.json")]
    assert len([uri for uri in records if "/map-" in uri.key]) == INSTANCES


def test_a_worker_without_the_extra_fails_the_stage_with_what_to_install(airflow: CeleryAirflow) -> None:
    hiding = {"PYTHONPATH": os.pathsep.join([str(WITHOUT_S3), str(ROOT)])}
    with airflow.worker("bare", queue="bare", environment=hiding) as worker:
        run_id = airflow.api.trigger("another_queue", {})
        while (state := airflow.api.run_state("another_queue", run_id)) in UNFINISHED:
            time.sleep(0.5)
        (stage,) = airflow.api.task_instances("another_queue", run_id)
        mark = psutil.Process(worker.process_group).environ()[leftovers.VARIABLE]
        assert len(leftovers.marked(mark)) > 2
    assert leftovers.marked(mark) == [], "it ended, and what it had started"
    assert (state, stage["state"], stage["hostname"]) == ("failed", "failed", "bare")
    (log,) = (worker.home / "airflow" / "logs").rglob("attempt=1.log")
    said = log.read_text().replace('\\"', '"')
    assert 's3:// URIs need an extra that isn\'t installed here: run pip install "dpone-airflow[s3]".' in said
    assert "MissingExtraError" in said


def _works_in(process: psutil.Process, home: str) -> bool:
    try:
        return process.environ().get("HOME") == home
    except psutil.Error:
        return False
