"""The examples of a verify run to their ends: before a load, at the start of a replay, in a DAG that an event woke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from dpone_airflow.staging import ObjectStorageStagingManifest, manifest_uri_of
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from local_servers.in_process_airflow import RunResult, run_dag
from tests.dags.conftest import BASE, RunDag
from tests.dags.same_run import run_maker

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"
Staged = Callable[[], list[str]]


@pytest.fixture
def example(dag_file: Callable[[str], Any], emulator: LocalObjectStorageClient) -> Callable[..., RunResult]:
    """Run an example against the emulator."""
    loaded: dict[str, Any] = {}

    def run_example(name: str, **conf: Any) -> RunResult:
        if name not in loaded:
            loaded[name] = dag_file((EXAMPLES / f"{name}.py").read_text()).dag
        return run_dag(loaded[name], conf=conf or None)

    return run_example


def test_verify(example: Callable[..., RunResult], staged: Staged, records: Callable[[], dict[str, Any]]) -> None:
    result = example("example_verify")
    assert result.state == "success"
    assert result.xcoms["verify"] == result.xcoms["stage"]
    assert [uri.rpartition("/")[2] for uri in result.xcoms["load"]] == ["orders-0.csv", "orders-1.csv", "orders-2.csv"]
    assert result.xcoms["cleanup"]["deleted_objects"] == 3
    assert records()["_run/verify.json"]["read_bytes"] == result.xcoms["stage"]["total_size_bytes"]
    assert staged() == []


def test_replay(example: Callable[..., RunResult], run: RunDag, staged: Staged) -> None:
    manifest = run("stage_task(files=FILES)").xcoms["stage"]
    record = str(manifest_uri_of(ObjectStorageStagingManifest.from_dict(manifest)))
    for _ in range(2):
        result = example("example_replay", manifest_uri=record)
        assert result.state == "success"
        assert result.xcoms["verify"] == manifest
        assert result.xcoms["load"] == [item["uri"] for item in manifest["objects"]]
    assert staged() == ["a.csv", "b.csv", "c.csv"]


def test_replay_of_a_mapped_stage_starts_from_one_uri_once_it_was_verified(
    example: Callable[..., RunResult], run: RunDag
) -> None:
    merged = run(
        """
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator", run_id="run-1",
        ).expand(files=[FILES + "/a.csv", FILES + "/b.csv"])
        StagingVerifyOperator(task_id="verify", manifest=stage.output)
        """
    ).xcoms["verify"]
    result = example("example_replay", manifest_uri=f"{BASE}/_manifests/run-1/_run/manifest.json")
    assert result.xcoms["load"] == [item["uri"] for item in merged["objects"]]
    assert len(result.xcoms["load"]) == 2


def test_replay_of_a_run_that_changed_loads_nothing(
    example: Callable[..., RunResult], run: RunDag, emulator: LocalObjectStorageClient, task_log: Callable[[], str]
) -> None:
    manifest = ObjectStorageStagingManifest.from_dict(run("stage_task(files=FILES)").xcoms["stage"])
    emulator.put_bytes(b"id\nb.csV\n", ObjectStorageUri.parse(manifest.objects[1].uri))
    result = example("example_replay", manifest_uri=str(manifest_uri_of(manifest)))
    assert result.tasks == {"verify": "failed", "load": "upstream_failed"}
    assert f"Changed: {manifest.objects[1].uri} has the ETag " in task_log()


@contextmanager
def woken_by(run_ids: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the DAG runs that begin now the events of other runs, as Airflow's scheduler does."""
    if AIRFLOW_V_3_0_PLUS:
        from airflow.models.asset import AssetEvent as Event

        consumed = "consumed_asset_events"
    else:
        from airflow.models.dataset import DatasetEvent as Event

        consumed = "consumed_dataset_events"
    module, name = run_maker()
    create = getattr(module, name)

    def create_woken(*positional: Any, **arguments: Any) -> Any:
        dag_run, session = create(*positional, **arguments), arguments["session"]
        events = session.query(Event).filter(Event.source_run_id.in_(run_ids)).order_by(Event.id).all()
        assert len(events) == len(run_ids), "each stage has left one event"
        getattr(dag_run, consumed).extend(events)
        session.commit()
        return dag_run

    with monkeypatch.context() as patched:
        patched.setattr(module, name, create_woken)
        yield


def instance_of(result: RunResult, run_id: str) -> int:
    """Return the map index of the instance that a run was for; Airflow gives the events in no order."""
    found: int = result.xcoms["staged_runs"].index(f"{BASE}/_manifests/{run_id}/_run/manifest.json")
    return found


STAGE = "stage_task(files=FILES, run_id={!r}, cleanup_policy='retain', outlets=[Asset('s3://landing/orders')])"


def test_consumer(
    example: Callable[..., RunResult], run: RunDag, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs were staged since it ran last, a third one wakes it later."""
    producers = [run(STAGE.format(f"run-{number}")) for number in range(3)]
    assert [producer.state for producer in producers] == ["success"] * 3
    with woken_by([producer.run_id for producer in producers[:2]], monkeypatch):
        result = example("example_consumer")
    assert result.state == "success"
    for number in range(2):
        index = instance_of(result, f"run-{number}")
        manifest = producers[number].xcoms["stage"]
        assert result.xcoms[f"one_run.load[{index}]"] == [item["uri"] for item in manifest["objects"]]
        assert result.xcoms[f"one_run.cleanup[{index}]"]["prefix"] == f"{BASE}/run-{number}/"
        assert result.xcoms[f"one_run.cleanup[{index}]"]["deleted_objects"] == 3
    assert len(staged()) == 3


def test_a_consumer_loads_and_deletes_nothing_of_a_run_that_changed(
    example: Callable[..., RunResult],
    run: RunDag,
    staged: Staged,
    emulator: LocalObjectStorageClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producers = [run(STAGE.format(f"run-{number}")) for number in range(2)]
    emulator.put_bytes(b"x", ObjectStorageUri.parse(f"{BASE}/run-0/stray.csv"))
    with woken_by([producer.run_id for producer in producers], monkeypatch):
        result = example("example_consumer")
    assert result.state == "failed"
    spoilt, sound = (instance_of(result, f"run-{number}") for number in range(2))
    for task_id in ("one_run.load", "one_run.cleanup"):
        assert (result.tasks[f"{task_id}[{spoilt}]"], result.tasks[f"{task_id}[{sound}]"]) == (
            "upstream_failed",
            "success",
        )
    assert staged() == ["a.csv", "b.csv", "c.csv", "stray.csv"]


def test_a_consumer_that_nothing_woke_has_nothing_to_do(example: Callable[..., RunResult]) -> None:
    result = example("example_consumer")
    assert result.state == "success"
    assert result.tasks["one_run.cleanup"] == "skipped"
