"""A sweep in a running DAG: what it deletes, what its log says, and when it fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from local_servers.in_process_airflow import run_dag
from tests.dags.conftest import BASE, RunDag

EXAMPLE = Path(__file__).parent.parent.parent / "example_dags" / "example_sweep.py"
SWEEP = "StagingSweepOperator(task_id='sweep', base_uri='s3://landing/orders', conn_id='emulator', {})"


@pytest.fixture
def stage(files: Path, emulator: LocalObjectStorageClient) -> Callable[..., None]:
    """Stage three files; let it have been so many days ago."""

    def stage_run(run_id: str, days: float, policy: str = "delete_on_success") -> None:
        plan = ObjectStorageStagingPlan(BASE, run_id, "shop", "orders", "csv", cleanup_policy=policy)
        ObjectStorageStagingService(client=emulator).stage_files(plan, str(files))
        at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        for prefix in (f"{BASE}/{run_id}", f"{BASE}/_manifests/{run_id}"):
            for uri in emulator.list_prefix(ObjectStorageUri.parse(prefix)):
                os.utime(emulator.path_of(uri), (at, at))

    return stage_run


def run_ids(emulator: LocalObjectStorageClient) -> list[str]:
    return [name for name in emulator.list_folders(ObjectStorageUri.parse(BASE)) if name != "_manifests"]


def test_the_example_deletes_what_is_due_and_names_it(
    stage: Callable[..., None],
    emulator: LocalObjectStorageClient,
    dag_file: Callable[[str], Any],
    task_log: Callable[[], str],
) -> None:
    stage("old", 31)
    stage("young", 29)
    stage("kept", 400, "retain")
    stage("overdue", 2, "delete_always")
    emulator.put_bytes(b"live", ObjectStorageUri.parse(f"{BASE}/live/a.csv"))
    task_log()
    dag = dag_file(EXAMPLE.read_text()).dag
    result = run_dag(dag)
    assert result.state == "success"
    assert run_ids(emulator) == ["kept", "live", "young"]
    report = result.xcoms["sweep"]
    assert {run["run_id"]: run["reason"] for run in report["swept"]} == {"old": "older_than", "overdue": "overdue"}
    assert report["kept"] == {"retained": 1, "young": 1}
    assert report["totals"]["objects"] == 6
    assert f"No claim names these, so they were left: {BASE}/live/" in task_log()
    record = json.loads(emulator.get_bytes(ObjectStorageUri.parse(f"{BASE}/_manifests/old/_run/cleanup.json")))
    assert (record["reason"], record["by"]["dag_id"], record["by"]["task_id"]) == ("swept", "example_sweep", "sweep")
    again = run_dag(dag, conf={"older_than": "28d"}).xcoms["sweep"]
    assert [run["run_id"] for run in again["swept"]] == ["young"]


def test_unless_told_otherwise_it_only_says_what_would_go(
    stage: Callable[..., None], run: RunDag, emulator: LocalObjectStorageClient
) -> None:
    stage("old", 31)
    result = run(SWEEP.format("older_than=2592000"))
    assert (result.state, run_ids(emulator)) == ("success", ["old"])
    assert result.xcoms["sweep"]["dry_run"] is True
    assert result.xcoms["sweep"]["totals"]["runs"] == 1


def test_a_run_that_fails_is_named_and_fails_the_task_when_the_others_are_gone(
    stage: Callable[..., None],
    run: RunDag,
    emulator: LocalObjectStorageClient,
    task_log: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        stage(f"run-{number}", 31)
    delete = LocalObjectStorageClient._delete_batch

    def refuse_some(self: Any, anywhere: Any, keys: list[str]) -> Any:
        refused = [key for key in keys if "/run-1/" in key]
        return delete(self, anywhere, [key for key in keys if key not in refused]) | dict.fromkeys(
            refused, "Locked: no"
        )

    monkeypatch.setattr(LocalObjectStorageClient, "_delete_batch", refuse_some)
    task_log()
    result = run(SWEEP.format("older_than='30d', dry_run=False"))
    assert (result.state, run_ids(emulator)) == ("failed", ["run-1"])
    output = task_log()
    assert "Could not sweep run-1: 3 objects could not be deleted" in output
    assert "SweepIncompleteError: 1 of the 3 runs" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("older_than='{{ \"\" }}'", "older_than is ''"),
        ("older_than='a month'", "older_than is 'a month'"),
        ("older_than='5m'", "give at least 1h"),
        ("older_than='30d', overdue_after='{{ none }}'", "overdue_after is 'None'"),
        ("older_than='30d', storage_options={'secret_key': 'x'}", "can't be given for s3"),
    ],
)
def test_what_a_template_came_to_is_checked_before_anything_is_deleted(
    run: RunDag,
    emulator: LocalObjectStorageClient,
    task_log: Callable[[], str],
    arguments: str,
    message: str,
) -> None:
    emulator.put_bytes(b"x", ObjectStorageUri.parse(f"{BASE}/old/a.csv"))
    assert run(SWEEP.format(f"{arguments}, dry_run=False")).state == "failed"
    assert message in task_log()
    assert run_ids(emulator) == ["old"]


def test_a_whole_bucket_is_refused(run: RunDag, task_log: Callable[[], str]) -> None:
    assert run(SWEEP.replace("/orders", "").format("older_than='30d'")).state == "failed"
    assert "s3://landing is a whole bucket" in task_log()


def test_the_xcom_is_bounded_and_its_counts_are_whole(run: RunDag, emulator: LocalObjectStorageClient) -> None:
    for number in range(120):
        emulator.put_bytes(b"x", ObjectStorageUri.parse(f"{BASE}/unclaimed-{number:03d}/a.csv"))
    report = run(SWEEP.format("older_than='30d'")).xcoms["sweep"]
    assert (len(report["unclaimed"]), report["counts"]["unclaimed"]) == (100, 120)
    assert len(json.dumps(report)) < 20_000


def test_several_bases_are_swept_by_one_mapped_task(
    stage: Callable[..., None], run: RunDag, emulator: LocalObjectStorageClient
) -> None:
    stage("old", 31)
    result = run(
        """
        StagingSweepOperator.partial(task_id="sweep", conn_id="emulator", older_than="30d").expand(
            base_uri=["s3://landing/orders", "s3://landing/customers"]
        )
        """
    )
    assert [result.xcoms[f"sweep[{index}]"]["totals"]["runs"] for index in range(2)] == [1, 0]
