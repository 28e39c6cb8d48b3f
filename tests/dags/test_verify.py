"""A verify between a stage and its load: what runs, what is kept, and what the evidence says, plain and mapped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from tests.dags.conftest import BASE, RunDag
from tests.manifest_schema import assert_as_the_schema_says

Staged = Callable[[], list[str]]
Records = Callable[[], dict[str, dict[str, Any]]]

# What happens to the files between the stage and the verify.
HARM = {
    "nothing": "",
    "one is gone": "client.delete_objects([run.child('b.csv')])",
    "one is another": "client.put_bytes(b'other', run.child('b.csv'))",
    "one more": "client.put_bytes(b'x', run.child('stray.csv'))",
}


def between(harm: str) -> str:
    return f"""
        @task
        def harm(manifest):
            from dpone_airflow.hooks import ObjectStorageHook
            from dpone_airflow.storage import ObjectStorageUri
            client = ObjectStorageHook("emulator").get_client(manifest["base_uri"])
            run = ObjectStorageUri.parse(manifest["base_uri"] + "/" + manifest["run_id"])
            {HARM[harm] or "pass"}
        """


@pytest.mark.parametrize("takes", ["stage.output", "verify.output"])
@pytest.mark.parametrize("policy", ["retain", "delete_on_success", "delete_always"])
@pytest.mark.parametrize("harm", HARM)
def test_nothing_is_loaded_and_the_policy_decides_what_becomes_of_the_files(
    run: RunDag, staged: Staged, records: Records, harm: str, policy: str, takes: str
) -> None:
    result = run(
        between(harm),
        f"""
        stage = stage_task(files=FILES, cleanup_policy={policy!r})
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, mode="sha256")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest={takes})
        harm(stage.output) >> verify
        dag.task_dict["harm"] >> cleanup
        load(verify.output) >> cleanup
        """,
    )
    outcome = records()["_run/verify.json"]
    assert outcome["by"]["task_id"] == "verify"
    if harm == "nothing":
        assert outcome["outcome"] == "verified"
        assert set(result.tasks.values()) == {"success"}
        assert result.xcoms["verify"] == result.xcoms["stage"]
        assert result.xcoms["load"] == 3
        assert (staged() == []) == (policy != "retain")
        return
    assert outcome["outcome"] == "different"
    assert (result.tasks["verify"], result.tasks["load"], result.state) == ("failed", "upstream_failed", "failed")
    assert result.tasks["cleanup"] == ("success" if policy == "delete_always" else "upstream_failed")
    assert (staged() == []) == (policy == "delete_always")


def test_the_connection_is_the_one_that_the_stage_announced(run: RunDag) -> None:
    """``aws_default``, the scheme's own, isn't defined here."""
    result = run(
        """
        stage = stage_task(files=FILES)
        StagingVerifyOperator(task_id="plain", manifest=stage.output)
        mapped = ObjectStorageStageOperator.partial(
            task_id="mapped_stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator",
        ).expand(files=[FILES + "/a.csv", FILES + "/b.csv"])
        merged = StagingVerifyOperator(task_id="merged", manifest=mapped.output)
        StagingVerifyOperator(task_id="again", manifest=merged.output)
        StagingVerifyOperator.partial(task_id="one_by_one").expand(manifest=mapped.output)
        """
    )
    assert set(result.tasks.values()) == {"success"}
    assert result.xcoms["merged"]["object_count"] == 2
    assert result.xcoms["again"] == result.xcoms["merged"]
    assert [result.xcoms[f"one_by_one[{index}]"]["part"] for index in range(2)] == ["map-00000", "map-00001"]


def test_a_mapped_stage_is_verified_as_a_whole_and_cleaned_up_by_the_verifys_output(
    run: RunDag, staged: Staged, records: Records
) -> None:
    result = run(
        """
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator", cleanup_policy="delete_on_success",
        ).expand(files=[FILES + "/a.csv", FILES + "/b.csv", FILES + "/c.csv"])
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, mode="sha256")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=verify.output)
        load(verify.output) >> cleanup
        """
    )
    assert set(result.tasks.values()) == {"success"}
    for index in range(3):
        assert_as_the_schema_says(result.xcoms[f"stage[{index}]"])
    assert_as_the_schema_says(result.xcoms["verify"])
    merged = ObjectStorageStagingManifest.from_dict(result.xcoms["verify"])
    assert [item.file_name for item in merged.objects] == [
        "map-00000/a.csv",
        "map-00001/b.csv",
        "map-00002/c.csv",
    ]
    assert result.xcoms["cleanup"]["deleted_objects"] == 3
    assert staged() == []
    assert records()["_run/verify.json"]["object_count"] == 3
    assert records()["_run/manifest.json"]["by"]["task_id"] == "verify"


def test_what_a_failed_instance_has_left_behind_is_extra(
    run: RunDag, staged: Staged, records: Records, emulator: LocalObjectStorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpone_airflow.storage.errors import StorageError
    from dpone_airflow.storage.uploader import UploadTarget

    write = LocalObjectStorageClient._write

    def put_all_but_z(self: Any, upload: UploadTarget, *how: Any) -> Any:
        if upload.uri.key.endswith("z.csv"):
            raise StorageError(f"Could not write {upload.uri}: the store is full.", uri=str(upload.uri))
        return write(self, upload, *how)

    monkeypatch.setattr(LocalObjectStorageClient, "_write", put_all_but_z)
    result = run(
        """
        (Path(FILES) / "z.csv").write_text("z")
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator", cleanup_policy="delete_always", max_concurrency=1,
        ).expand(files=[[FILES + "/a.csv"], [FILES + "/b.csv", FILES + "/z.csv"]])
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, trigger_rule="all_done")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(verify.output) >> cleanup
        """
    )
    assert (result.tasks["stage[0]"], result.tasks["stage[1]"]) == ("success", "failed")
    assert (result.tasks["verify"], result.tasks["load"]) == ("failed", "upstream_failed")
    extra = records()["_run/verify.json"]["extra"]
    assert [uri.partition("/map-")[2] for uri in extra] == ["00001/b.csv"]
    assert staged() == []


@pytest.mark.parametrize("names", [["a.csv"], ["a.csv", "b.csv"]])
def test_a_verify_behind_a_mapped_group_is_of_the_whole_run_however_many_instances_there_are(
    run: RunDag, records: Records, names: list[str]
) -> None:
    result = run(
        f"""
        @task_group
        def one_file(name):
            return stage_task(files=name).output

        verify = StagingVerifyOperator(
            task_id="verify", manifest=one_file.expand(name=[FILES + "/" + name for name in {names}])
        )
        load(verify.output)
        """
    )
    assert result.tasks["verify"] == "success"
    assert "part" not in result.xcoms["verify"]
    assert result.xcoms["verify"]["object_count"] == len(names)
    assert "_run/manifest.json" in records()


@pytest.mark.parametrize("takes", ["stage.output", "verify.output"])
def test_in_a_mapped_task_group_each_instance_verifies_and_cleans_its_own_part(
    run: RunDag, staged: Staged, records: Records, takes: str
) -> None:
    result = run(
        between("one more").replace("run.child('stray.csv')", "run.child('map-00001/stray.csv')"),
        f"""
        @task_group
        def one_file(name):
            stage = stage_task(files=name, cleanup_policy="delete_on_success")
            spoilt = harm(stage.output)
            verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, mode="sha256")
            cleanup = StagingCleanupOperator(task_id="cleanup", manifest={takes})
            spoilt >> verify
            spoilt >> cleanup
            load(verify.output) >> cleanup

        one_file.expand(name=[FILES + "/a.csv", FILES + "/b.csv", FILES + "/c.csv"])
        """,
    )
    assert [result.tasks[f"one_file.verify[{index}]"] for index in range(3)] == ["success", "failed", "success"]
    assert [result.tasks[f"one_file.load[{index}]"] for index in range(3)] == ["success", "upstream_failed", "success"]
    assert [result.tasks[f"one_file.cleanup[{index}]"] for index in range(3)] == [
        "success",
        "upstream_failed",
        "success",
    ]
    assert staged() == ["map-00001/b.csv", "map-00001/stray.csv"]
    outcomes = {name: record["outcome"] for name, record in records().items() if name.endswith("/verify.json")}
    assert outcomes == {
        "map-00000/verify.json": "verified",
        "map-00001/verify.json": "different",
        "map-00002/verify.json": "verified",
    }


def test_past_so_many_objects_the_pointer_goes_through_the_verify(run: RunDag, staged: Staged) -> None:
    result = run(
        """
        @task
        def load_all(pointer):
            from dpone_airflow.hooks import ObjectStorageHook
            from dpone_airflow.staging import resolve_manifest
            return [item.file_name for item in resolve_manifest(pointer, ObjectStorageHook("emulator")).objects]

        stage = stage_task(files=FILES, cleanup_policy="delete_on_success", xcom_max_objects=2)
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, xcom_max_objects=2)
        load_all(verify.output) >> StagingCleanupOperator(task_id="cleanup", manifest=verify.output)
        """
    )
    assert result.xcoms["verify"] == result.xcoms["stage"]
    assert "objects" not in result.xcoms["verify"]
    assert result.xcoms["load_all"] == ["a.csv", "b.csv", "c.csv"]
    assert result.xcoms["cleanup"]["deleted_objects"] == 3
    assert staged() == []


def test_a_pointer_whose_record_was_changed_is_refused_and_nothing_is_loaded_or_deleted(
    run: RunDag, staged: Staged, task_log: Callable[[], str]
) -> None:
    result = run(
        """
        @task
        def spoil(pointer):
            from dpone_airflow.hooks import ObjectStorageHook
            from dpone_airflow.storage import ObjectStorageUri
            client = ObjectStorageHook("emulator").get_client(pointer["base_uri"])
            uri = ObjectStorageUri.parse(pointer["manifest_uri"])
            client.put_bytes(client.get_bytes(uri).replace(b'"orders"', b'"others"'), uri)

        stage = stage_task(files=FILES, cleanup_policy="delete_on_success", xcom_max_objects=0)
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=verify.output)
        spoil(stage.output) >> [verify, cleanup]
        load(verify.output) >> cleanup
        """
    )
    assert (result.tasks["verify"], result.tasks["load"]) == ("failed", "upstream_failed")
    assert "the pointer to it says" in task_log()
    assert staged() == ["a.csv", "b.csv", "c.csv"]


def test_a_forgotten_edge_behind_a_verify_is_refused_before_the_first_byte(
    run: RunDag, staged: Staged, task_log: Callable[[], str]
) -> None:
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="delete_on_success")
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
        load(verify.output)
        verify >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """
    )
    assert result.tasks["stage"] == "failed"
    assert "Write: load >> cleanup" in task_log()
    assert staged() == []


def test_a_template_gives_the_verify_its_manifest_and_takes_the_verifys(
    run: RunDag, emulator: LocalObjectStorageClient
) -> None:
    result = run(
        """
        stage = stage_task(files=FILES)
        verify = StagingVerifyOperator(
            task_id="verify", manifest="{{ ti.xcom_pull(task_ids='stage') }}", conn_id="emulator",
        )
        stage >> verify
        again = StagingVerifyOperator(
            task_id="again", manifest="{{ ti.xcom_pull(task_ids='verify') | tojson }}", conn_id="emulator",
        )
        verify >> again
        """
    )
    assert set(result.tasks.values()) == {"success"}
    assert result.xcoms["again"] == result.xcoms["stage"]
    record = ObjectStorageUri.parse(f"{BASE}/_manifests/{result.xcoms['stage']['run_id']}/_run/verify.json")
    assert json.loads(emulator.get_bytes(record))["by"]["task_id"] == "again"
