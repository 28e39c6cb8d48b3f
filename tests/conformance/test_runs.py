"""The runs of a base are told from the evidence on every store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.actor import described
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.run_records import HEAD_BYTES, read_objects
from dpone_airflow.staging.runs import RunState, read_runs
from dpone_airflow.staging.verify import verify_staged
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri

WRITER = StagingWriter(dag_id="daily", dag_run_id="manual__1", task_id="stage")


def test_what_became_of_each_run_and_part_is_told(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")

    def stage(run_id: str, part: str | None = None, map_index: int = -1) -> ObjectStorageStagingManifest:
        plan = ObjectStorageStagingPlan(str(base), run_id, "shop", "orders", "csv", part=part)
        writer = replace(WRITER, map_index=map_index)
        service = ObjectStorageStagingService(client=client, writer=writer, by=described(writer, 1))
        return service.stage_files(plan, str(tmp_path / "a.csv"))

    verify_staged(client, stage("verified"))
    stage("cleaned")
    clean_up_run(client, str(base), "cleaned", policy="delete_always")
    for index in range(2):
        stage("mapped", f"map-0000{index}", index)
    clean_up_run(client, str(base), "mapped", part="map-00001", policy="delete_always")

    runs = {run.run_id: run for run in read_runs(client, str(base)).runs}
    assert {name: run.state for name, run in runs.items()} == {
        "verified": RunState.VERIFIED,
        "cleaned": RunState.CLEANED,
        "mapped": RunState.STAGED,
    }
    assert [part.state for part in runs["mapped"].parts] == [RunState.STAGED, RunState.CLEANED]
    assert {run.files for run in runs.values()} == {1, 2}
    assert {run.writer["dag_run_id"] for run in runs.values()} == {"manual__1"}
    assert read_runs(client, str(base.child("elsewhere"))).runs == ()


def test_of_a_manifest_that_is_long_the_header_comes_alone_and_then_every_object(
    client: ObjectStorageClient, base: ObjectStorageUri
) -> None:
    plan = ObjectStorageStagingPlan(str(base), "run-1", "shop", "orders", "csv")
    objects = [
        ObjectStorageStagingObject(str(plan.uri_of(f"{number:04d}.csv")), f"{number:04d}.csv", number, f"{number:064x}")
        for number in range(500)
    ]
    evidence = StagingEvidence(client, str(base), "run-1", by=described(WRITER))
    record = evidence.write_manifest(ObjectStorageStagingManifest.of(plan, objects))
    assert record.size_bytes > HEAD_BYTES

    (run,) = read_runs(client, str(base)).runs
    assert (run.state, run.files, run.writer["task_id"]) == (RunState.STAGED, 500, "stage")
    found = list(read_objects(client, evidence.manifest_uri, 500))
    assert found == [item.to_dict() for item in objects]
