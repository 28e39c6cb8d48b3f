"""What only a process of its own shows of a stage: what OpenLineage's listener writes, and the task's whole log."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient

# In a process of its own: Airflow reads its listeners once, when it starts.
SCRIPT = """
import json
import os
import sys
from pathlib import Path

from local_servers.in_process_airflow import configure, load_dags, make_database, run_dag

home, dags = Path({home!r}), Path({dags!r})
configure(home, dags, quiet=False)
os.environ["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(
    {{"type": "file", "log_file_path": {events!r}, "append": True}}
)
os.environ["AIRFLOW__OPENLINEAGE__NAMESPACE"] = "tests"
make_database()
result = run_dag(load_dags(dags / "lineage.py").dag)
print(json.dumps([result.state, result.tasks]))
"""

DAG = """
from airflow.providers.common.compat.sdk import DAG
from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("lineage", schedule=None, catchup=False) as dag:
    common = dict(dataset="shop", table="orders", file_format="csv", conn_id="emulator")
    stage = ObjectStorageStageOperator(
        task_id="stage", base_uri="s3://landing/orders", run_id="run-1", files={files!r}, **common
    )
    StagingCleanupOperator(task_id="tidy", manifest=stage.output)
    ObjectStorageStageOperator.partial(
        task_id="mapped", base_uri="azure://account/landing/orders", run_id="run-1", **common
    ).expand(files=[{files!r} + "/a.csv"])
    ObjectStorageStageOperator(
        task_id="broken", base_uri="gs://landing/orders", files={files!r} + "/absent.csv", **common
    )
"""


@dataclass(frozen=True)
class Seen:
    """What the process wrote."""

    output: str
    events: list[dict[str, Any]]

    def of(self, task_id: str, kind: str) -> list[dict[str, Any]]:
        """Return the events of a task and of a type."""
        return [
            event for event in self.events if (event["job"]["name"], event["eventType"]) == (f"lineage.{task_id}", kind)
        ]


@pytest.fixture
def seen(tmp_path: Path, files: Path, emulator: LocalObjectStorageClient) -> Seen:
    """Run the DAG with the listener on."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "lineage.py").write_text(DAG.format(files=str(files)))
    written = tmp_path / "events.jsonl"
    script = SCRIPT.format(home=str(tmp_path / "airflow"), dags=str(dags), events=str(written))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2]
    )
    assert written.exists(), done.stdout[-2000:] + done.stderr[-4000:]
    said = [json.loads(line) for line in written.read_text().splitlines()]
    return Seen(done.stdout + done.stderr, said)


def named(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_the_listener_and_the_log(seen: Seen, files: Path) -> None:
    """One test, because the process takes its time."""
    (stage,) = seen.of("stage", "COMPLETE")
    assert named(stage["inputs"]) == [("file", str(files))]
    (output,) = stage["outputs"]
    assert (output["namespace"], output["name"]) == ("s3://landing", "orders/run-1")
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["size"], statistics["fileCount"]) == (27, 3)
    assert "rowCount" not in statistics

    (mapped,) = seen.of("mapped", "COMPLETE")
    assert named(mapped["inputs"]) == [("file", str(files))]
    assert named(mapped["outputs"]) == [("wasbs://landing@account", "orders/run-1/map-00000")]

    (broken,) = seen.of("broken", "FAIL")
    assert broken["outputs"] == []

    for line in (
        "Staged shop, orders:",
        "  files     3 (3 new, 0 kept from an earlier try)",
        "  bytes     27 B (27)",
        "  prefix    s3://landing/orders/run-1/",
        "  manifest  s3://landing/orders/_manifests/run-1/_run/manifest.json",
        "  next      'tidy' keeps them",
    ):
        assert line in seen.output
