"""A DAG run that is cleared and runs again, and one that is killed: as Airflow itself does it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient
from tests.dags.conftest import RunDag
from tests.dags.same_run import in_the_same_run

MAPPED = """
import json
from airflow.providers.common.compat.sdk import DAG, task
from dpone_airflow.operators import ObjectStorageStageOperator

with DAG("cleared_mapped_stage", schedule=None, catchup=False) as dag:
    @task
    def export():
        with open({inputs!r}) as file:
            return json.load(file)

    ObjectStorageStageOperator.partial(
        task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv", conn_id="emulator",
    ).expand(files=export())
"""


@pytest.fixture
def run_and_clear(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, str]]:
    """Run a DAG for one date; the second time, clear that run as the UI does and let it run again."""
    run_again = in_the_same_run(monkeypatch, cleared=True)

    def run(dag: Any) -> dict[str, str]:
        return {
            f"{ti.task_id}[{ti.map_index}]": str(getattr(ti.state, "value", ti.state))
            for ti in run_again(dag).get_task_instances()
        }

    return run


def test_a_cleared_mapped_stage_with_fewer_inputs_leaves_no_old_part(
    tmp_path: Path,
    files: Path,
    dag_file: Callable[[str], Any],
    emulator: LocalObjectStorageClient,
    staged: Callable[[], list[str]],
    records: Callable[[], dict[str, Any]],
    run_and_clear: Callable[[Any], dict[str, str]],
) -> None:
    inputs = tmp_path / "inputs.json"
    inputs.write_text(json.dumps([str(files / name) for name in ("a.csv", "b.csv", "c.csv")]))
    dag = dag_file(MAPPED.format(inputs=str(inputs))).dag
    run_and_clear(dag)
    assert staged() == ["map-00000/a.csv", "map-00001/b.csv", "map-00002/c.csv"]

    inputs.write_text(json.dumps([str(files / name) for name in ("a.csv", "b.csv")]))
    states = run_and_clear(dag)
    assert states == {"export[-1]": "success", "stage[0]": "success", "stage[1]": "success", "stage[2]": "removed"}
    assert staged() == ["map-00000/a.csv", "map-00001/b.csv"]
    assert records()["map-00002/cleanup.json"]["reason"] == "the run no longer has this part"


def test_a_clear_after_success_writes_no_object_again(
    run: RunDag,
    files: Path,
    emulator: LocalObjectStorageClient,
    dag_file: Callable[[str], Any],
    run_and_clear: Callable[[Any], dict[str, str]],
) -> None:
    dag = dag_file(
        f"""
from airflow.providers.common.compat.sdk import DAG
from dpone_airflow.operators import ObjectStorageStageOperator

with DAG("cleared_stage", schedule=None, catchup=False) as dag:
    ObjectStorageStageOperator(
        task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
        conn_id="emulator", files={str(files)!r},
    )
"""
    ).dag

    def written() -> dict[str, int]:
        root = emulator.root_dir / "s3" / "landing" / "orders"
        return {path.name: path.stat().st_mtime_ns for path in root.rglob("*.csv")}

    assert run_and_clear(dag) == {"stage[-1]": "success"}
    first = written()
    assert sorted(first) == ["a.csv", "b.csv", "c.csv"]
    assert run_and_clear(dag) == {"stage[-1]": "success"}
    assert written() == first


def test_a_task_that_is_killed_stops_at_the_next_part_and_leaves_nothing_half_done(
    run: RunDag,
    files: Path,
    tmp_path: Path,
    emulator: LocalObjectStorageClient,
    staged: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``on_kill`` is what Airflow calls on SIGTERM: when a task is marked as failed, or its worker stops."""
    from dpone_airflow.operators import ObjectStorageStageOperator
    from dpone_airflow.storage.hashing import HashingReader

    with (files / "large.bin").open("wb") as file:
        file.truncate(400 * 1024 * 1024)
    read = HashingReader.read
    parts_read = []
    operators = []
    stage = ObjectStorageStageOperator._stage

    def slowly(self: HashingReader, size: int = -1) -> bytes:
        if self.path.name == "large.bin":
            parts_read.append(time.monotonic())
            if len(parts_read) == 3:
                operators[0].on_kill()
            time.sleep(0.1)
        return read(self, size)

    def remembered(self: ObjectStorageStageOperator, *args: Any) -> Any:
        operators.append(self)
        return stage(self, *args)

    monkeypatch.setattr(HashingReader, "read", slowly)
    monkeypatch.setattr(ObjectStorageStageOperator, "_stage", remembered)
    result = run("stage = stage_task(files=FILES)")
    assert result.tasks["stage"] == "failed"
    assert len(parts_read) <= 4, "it went on reading after it was killed"
    assert not any("large.bin" in name for name in staged())
    assert list((emulator.root_dir / ".dpone" / "unfinished").iterdir()) == []
