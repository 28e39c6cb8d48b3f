"""What the two operators do in a running DAG, beyond states and graphs."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.uploader import UploadTarget
from local_servers import Azurite
from tests.dags.conftest import BASE, RunDag

Staged = Callable[[], list[str]]


def test_the_stage_says_where_it_stages(run: RunDag) -> None:
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="delete_always", run_id="{{ run_id }}")

        @task
        def tell(ti=None):
            return ti.xcom_pull(task_ids="stage", key="dpone_staging")
        stage >> tell()
        """
    )
    said = result.xcoms["tell"]
    assert said == {
        "base_uri": BASE,
        "run_id": result.xcoms["stage"]["run_id"],
        "part": None,
        "conn_id": "emulator",
        "policy": "delete_always",
    }
    assert ":" not in said["run_id"]
    assert "+" not in said["run_id"]
    assert said["run_id"].startswith("manual__")


@pytest.mark.parametrize(
    "files_argument",
    [
        "FILES",
        "FILES + '/*.csv'",
        "[Path(FILES) / name for name in ('a.csv', 'b.csv', 'c.csv')]",
        "\"{{ ti.xcom_pull(task_ids='listing') }}\"",
        "listing_output",
    ],
)
def test_files_in_every_form(run: RunDag, staged: Staged, files_argument: str) -> None:
    result = run(
        f"""
        @task
        def listing():
            return [f"{{FILES}}/{{name}}" for name in ("a.csv", "b.csv", "c.csv")]
        listing_output = listing()
        stage = stage_task(files={files_argument})
        listing_output >> stage
        """
    )
    assert result.state == "success"
    assert staged() == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize("nothing", ["[]", "FILES + '/*.parquet'", '"{{ [] }}"', "no_output"])
@pytest.mark.parametrize("on_empty", ["fail", "skip"])
def test_nothing_to_stage(run: RunDag, staged: Staged, nothing: str, on_empty: str) -> None:
    result = run(
        f"""
        @task
        def nothing():
            return None
        no_output = nothing()
        stage = stage_task(files={nothing}, on_empty={on_empty!r}, cleanup_policy="delete_always")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        no_output >> stage
        load(stage.output) >> cleanup
        """
    )
    assert result.tasks["stage"] == {"fail": "failed", "skip": "skipped"}[on_empty]
    assert result.tasks["cleanup"] == "success"
    assert result.xcoms["cleanup"]["deleted_objects"] == 0
    assert staged() == []


def test_a_missing_file_names_the_host(run: RunDag, task_log: Callable[[], str]) -> None:
    result = run("stage_task(files=FILES + '/absent.csv')")
    output = task_log()
    assert result.state == "failed"
    assert f"absent.csv isn't there on host '{socket.gethostname()}'" in output
    assert "Another worker's disk isn't this one's" in output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("base_uri='ftp://landing/orders'", "has no scheme that is known here"),
        ("base_uri='s3://user:hunter2@landing/orders'", "names no bucket|has a bucket"),
        ("base_uri='s3://landing/a/../b'", "as a segment"),
        ("base_uri='s3://landing//b'", "empty segment"),
        ("run_id=''", "is empty"),
        ("run_id='..'", "names a directory"),
        ('run_id=\'{{ dag_run.conf.get("nothing", "") }}\'', "is empty"),
        ("table=' '", "table is ' '"),
        ("storage_options={'secret_key': 'x'}", "can't be given for s3"),
        ("conn_id='not_defined_anywhere'", "not_defined_anywhere"),
    ],
)
def test_bad_input_uploads_nothing(
    run: RunDag,
    emulator: LocalObjectStorageClient,
    task_log: Callable[[], str],
    change: str,
    message: str,
) -> None:
    result = run(f"stage_task(files=FILES, {change})")
    output = task_log()
    assert result.state == "failed"
    assert re.search(message, output), output[-2000:]
    assert not (emulator.root_dir / "s3").exists()


def test_a_secret_in_a_uri_is_not_logged(run: RunDag, task_log: Callable[[], str]) -> None:
    run("stage_task(files=FILES, base_uri='s3://' + 'user:hunter2' + '@landing/orders')")
    errors = [line for line in task_log().splitlines() if "Error" in line]
    assert errors
    assert not any("hunter2" in line for line in errors)


def test_a_prefix_of_somebody_else_survives_even_delete_always(
    run: RunDag, emulator: LocalObjectStorageClient, staged: Staged, task_log: Callable[[], str]
) -> None:
    live = ObjectStorageUri.parse(f"{BASE}/shared-run/live.parquet")
    emulator.put_bytes(b"live", live)
    result = run(
        """
        stage = stage_task(files=FILES, run_id="shared-run", cleanup_policy="delete_always")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(stage.output) >> cleanup
        """
    )
    assert result.tasks["stage"] == "failed"
    assert "holds objects that no stage has claimed" in task_log()
    assert staged() == ["live.parquet"]


def test_of_two_tasks_with_one_run_id_the_second_is_refused_and_the_first_is_kept(
    run: RunDag, staged: Staged, task_log: Callable[[], str]
) -> None:
    result = run(
        """
        first = stage_task(task_id="first", files=FILES, run_id="{{ run_id }}")
        second = stage_task(task_id="second", files=FILES, run_id="{{ run_id }}", cleanup_policy="delete_always")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=second.output)
        first >> second
        load(second.output) >> cleanup
        """
    )
    assert (result.tasks["first"], result.tasks["second"], result.tasks["cleanup"]) == ("success", "failed", "failed")
    assert "is claimed by another writer" in task_log()
    assert staged() == ["a.csv", "b.csv", "c.csv"]


def test_a_manifest_of_another_run_deletes_nothing(run: RunDag, staged: Staged, task_log: Callable[[], str]) -> None:
    result = run(
        """
        stage = stage_task(files=FILES, run_id="run-1")
        other = stage_task(task_id="other", files=FILES + "/a.csv", run_id="run-10")
        cleanup = StagingCleanupOperator(
            task_id="cleanup", manifest=stage.output, base_uri="s3://landing/orders", run_id="run-10",
            cleanup_policy="delete_on_success",
        )
        other >> cleanup
        """
    )
    assert result.tasks["cleanup"] == "failed"
    assert f"base_uri and run_id name {BASE}/run-10/, and the stage staged to {BASE}/run-1/." in task_log()
    assert staged() == ["a.csv", "b.csv", "c.csv", "a.csv"]


def test_another_dags_run_is_deleted_by_name_and_must_be_claimed(
    run: RunDag, staged: Staged, emulator: LocalObjectStorageClient, task_log: Callable[[], str]
) -> None:
    run("stage_task(files=FILES, run_id='run-1')")
    run("stage_task(files=FILES, run_id='run-10')")
    body = """
        StagingCleanupOperator(
            task_id="cleanup", base_uri="s3://landing/orders/", run_id={run_id!r}, conn_id="emulator",
            cleanup_policy="delete_on_success", dry_run={dry_run},
        )
        """
    would = run(body.format(run_id="run-1", dry_run=True))
    assert would.xcoms["cleanup"] == {
        "cleanup_policy": "delete_on_success",
        "prefix": f"{BASE}/run-1/",
        "deleted_objects": 3,
        "deleted_bytes": 27,
        "hidden_objects": 0,
        "hidden_bytes": 0,
        "dry_run": True,
    }
    assert len(staged()) == 6
    did = run(body.format(run_id="run-1", dry_run=False))
    assert did.xcoms["cleanup"]["deleted_objects"] == 3
    assert emulator.list_prefix(ObjectStorageUri.parse(f"{BASE}/run-1")) == []
    assert len(emulator.list_prefix(ObjectStorageUri.parse(f"{BASE}/run-10"))) == 3

    never = run(body.format(run_id="run-100", dry_run=False))
    assert never.state == "failed"
    assert "No stage has claimed" in task_log()


def test_a_cleanup_that_can_not_find_the_claim_fails_and_does_not_say_zero_deleted(
    run: RunDag, staged: Staged, task_log: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(tmp_path / "other")}}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="delete_on_success")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, conn_id="other")
        load(stage.output) >> cleanup
        """
    )
    assert result.tasks["cleanup"] == "failed"
    assert result.state == "failed"
    assert "check base_uri, run_id and conn_id" in task_log()
    assert staged() == ["a.csv", "b.csv", "c.csv"]


def test_what_an_earlier_try_staged_is_found_when_the_last_one_died_before_it_could_say_where(
    run: RunDag, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow clears a task's XComs at each try."""
    write = LocalObjectStorageClient._write

    def put_all_but_c(self: Any, upload: UploadTarget, *how: Any) -> Any:
        if upload.uri.key.endswith("c.csv"):
            monkeypatch.setattr("dpone_airflow.operators.stage.check_graph", die)
            raise RuntimeError("the network went away")
        return write(self, upload, *how)

    def die(stage: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(LocalObjectStorageClient, "_write", put_all_but_c)
    result = run(
        """
        import datetime
        stage = stage_task(
            files=FILES, cleanup_policy="delete_always", retries=1, retry_delay=datetime.timedelta(0),
        )
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(stage.output) >> cleanup
        """
    )
    assert (result.tasks["stage"], result.tasks["cleanup"]) == ("failed", "success")
    assert result.xcoms["cleanup"]["deleted_objects"] == 2
    assert staged() == []


def test_of_some_parts_manifests_only_those_parts_are_deleted(run: RunDag, staged: Staged) -> None:
    result = run(
        """
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator",
        ).expand(files=[FILES + "/a.csv", FILES + "/b.csv", FILES + "/c.csv"])

        @task
        def some(manifests):
            return [manifests[0], manifests[2]]
        StagingCleanupOperator(
            task_id="cleanup", manifest=some(stage.output), conn_id="emulator", cleanup_policy="delete_on_success",
        )
        """
    )
    assert result.xcoms["cleanup"]["deleted_objects"] == 2
    assert staged() == ["map-00001/b.csv"]


@pytest.mark.parametrize("place", ["", "base_uri='s3://landing/orders', run_id='r1',"])
def test_in_a_mapped_group_no_instance_deletes_what_the_others_still_load(
    run: RunDag, staged: Staged, task_log: Callable[[], str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the graph looked otherwise when it was checked."""
    for module in ("stage", "cleanup"):
        monkeypatch.setattr(f"dpone_airflow.operators.{module}.check_graph", lambda stage: None)
    result = run(
        f"""
        stage = stage_task(files=FILES, run_id="r1", cleanup_policy="delete_on_success")

        @task
        def names():
            return ["a.csv", "b.csv", "c.csv"]

        @task_group
        def one_file(name):
            @task(task_id="load")
            def load_one(name, manifest):
                pass
            cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, {place})
            load_one(name, stage.output) >> cleanup

        one_file.expand(name=names())
        """
    )
    assert [result.tasks[f"one_file.cleanup[{index}]"] for index in range(3)] == ["failed"] * 3
    assert "put the cleanup behind the task group" in task_log()
    assert staged() == ["a.csv", "b.csv", "c.csv"]


def test_default_args_for_the_stage_do_not_lead_the_cleanup_elsewhere(run: RunDag, staged: Staged) -> None:
    result = run(
        """
        stage = ObjectStorageStageOperator(
            task_id="stage", files=FILES, dataset="d", table="t", file_format="csv", cleanup_policy="delete_on_success",
        )
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(stage.output) >> cleanup
        """,
        dag_arguments="default_args={'base_uri': 's3://landing/orders', 'conn_id': 'emulator'}",
    )
    assert result.xcoms["cleanup"]["deleted_objects"] == 3
    assert staged() == []


BOTH_NAMES = "default_args={'base_uri': 's3://landing/orders', 'run_id': 'fixed', 'conn_id': 'emulator'}"


def test_a_cleanup_that_is_told_the_run_as_well_still_deletes_by_what_the_stage_announced(
    run: RunDag, staged: Staged, connect: Callable[[str, Any], None], tmp_path: Path
) -> None:
    class Elsewhere:
        def airflow_connection(self) -> dict[str, Any]:
            return {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(tmp_path / "elsewhere")}}

        def environment(self) -> dict[str, str]:
            return {}

    connect("aws_default", Elsewhere())  # where it would look without the stage's own connection
    result = run(
        """
        class Dies(ObjectStorageStageOperator):
            def _stage(self, context, plan):
                super()._stage(context, plan)
                raise RuntimeError("it dies after its upload")
        stage = Dies(
            task_id="stage", files=FILES, dataset="d", table="t", file_format="csv", cleanup_policy="delete_always",
            conn_id="emulator",
        )
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(stage.output) >> cleanup
        """,
        dag_arguments="default_args={'base_uri': 's3://landing/orders', 'run_id': 'fixed'}",
    )
    assert result.tasks == {"stage": "failed", "load": "upstream_failed", "cleanup": "success"}
    assert result.xcoms["cleanup"]["deleted_objects"] == 3
    assert staged() == []


def test_in_a_mapped_group_a_cleanup_that_is_told_the_run_as_well_takes_its_own_part(
    run: RunDag, staged: Staged
) -> None:
    result = run(
        """
        @task_group
        def one_file(name):
            stage = ObjectStorageStageOperator(
                task_id="stage", files=name, dataset="d", table="t", file_format="csv",
                cleanup_policy="delete_on_success",
            )

            @task(task_id="load")
            def load(manifest):
                if manifest["objects"][0]["file_name"] == "b.csv":
                    raise RuntimeError("the warehouse is down")
            cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
            load(stage.output) >> cleanup

        one_file.expand(name=[FILES + "/a.csv", FILES + "/b.csv"])
        """,
        dag_arguments=BOTH_NAMES,
    )
    assert result.xcoms["one_file.cleanup[0]"]["prefix"] == f"{BASE}/fixed/map-00000/"
    assert staged() == ["map-00001/b.csv"]


@pytest.mark.parametrize("where", ["the DAG", "the task group"])
def test_default_args_count_for_a_mapped_stage_too(run: RunDag, staged: Staged, where: str) -> None:
    given = "{'base_uri': 's3://landing/orders', 'conn_id': 'emulator', 'cleanup_policy': 'delete_on_success'}"
    group = f"TaskGroup('group', default_args={given if where == 'the task group' else {}})"
    result = run(
        f"""
        with {group}:
            stage = ObjectStorageStageOperator.partial(
                task_id="stage", dataset="d", table="t", file_format="csv"
            ).expand(files=[FILES + "/a.csv", FILES + "/b.csv"])
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """,
        dag_arguments=f"default_args={given}" if where == "the DAG" else "",
    )
    assert result.xcoms["cleanup"]["cleanup_policy"] == "delete_on_success"
    assert result.xcoms["cleanup"]["deleted_objects"] == 2
    assert staged() == []


def test_a_stage_that_is_expanded_over_tables_stages_each_and_is_cleaned_up_as_one(
    run: RunDag, records: Callable[[], dict[str, Any]]
) -> None:
    result = run(
        """
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", file_format="csv",
            conn_id="emulator", cleanup_policy="delete_on_success",
        ).expand_kwargs([
            {"table": "orders", "files": FILES + "/a.csv"}, {"table": "customers", "files": FILES + "/b.csv"}
        ])

        @task
        def load_each(manifests):
            return {manifest["table"]: manifest["object_count"] for manifest in manifests}
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load_each(stage.output) >> cleanup
        """
    )
    assert result.xcoms["load_each"] == {"orders": 1, "customers": 1}
    assert result.xcoms["cleanup"]["deleted_objects"] == 2
    assert records()["map-00001.json"]["plan"]["table"] == "customers"


def test_a_part_that_can_not_be_deleted_does_not_keep_the_others(
    run: RunDag, staged: Staged, monkeypatch: pytest.MonkeyPatch, task_log: Callable[[], str]
) -> None:
    manifests = run(
        """
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv", run_id="run-1",
            conn_id="emulator",
        ).expand(files=[FILES + "/a.csv", FILES + "/b.csv", FILES + "/c.csv"])

        @task
        def collect(manifests):
            return list(manifests)
        collect(stage.output)
        """
    ).xcoms["collect"]
    delete = LocalObjectStorageClient.delete_objects

    def delete_all_but_one(client: LocalObjectStorageClient, uris: list[ObjectStorageUri]) -> None:
        held = {str(uri): "a lease" for uri in uris if str(uri).endswith("map-00000/a.csv")}
        delete(client, [uri for uri in uris if str(uri) not in held])
        if held:
            raise delete_incomplete(held)

    monkeypatch.setattr(LocalObjectStorageClient, "delete_objects", delete_all_but_one)
    result = run(
        """
        StagingCleanupOperator(
            task_id="cleanup", manifest="{{ dag_run.conf['manifests'] }}", cleanup_policy="delete_always",
            conn_id="emulator",
        )
        """,
        conf={"manifests": manifests},
    )
    assert result.tasks["cleanup"] == "failed"
    assert "1 objects could not be deleted: s3://landing/orders/run-1/map-00000/a.csv (a lease)" in task_log()
    assert staged() == ["map-00000/a.csv"]


def test_a_cleanup_that_retains_needs_no_store(run: RunDag, staged: Staged) -> None:
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="retain")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, conn_id="not_defined_anywhere")
        load(stage.output) >> cleanup
        """
    )
    assert result.state == "success"
    assert result.xcoms["cleanup"]["prefix"].startswith(BASE)
    assert len(staged()) == 3


def test_expand_kwargs_from_a_task_may_not_bring_the_place(
    run: RunDag, staged: Staged, task_log: Callable[[], str]
) -> None:
    result = run(
        """
        @task
        def arguments():
            return [{"files": FILES, "base_uri": "s3://landing/orders"}]
        ObjectStorageStageOperator.partial(
            task_id="stage", dataset="d", table="t", file_format="csv", conn_id="emulator",
        ).expand_kwargs(arguments())
        """
    )
    assert result.state == "failed"
    assert "is expanded over base_uri" in task_log()
    assert staged() == []


def test_a_retry_of_the_same_try_stages_again_without_strays(
    run: RunDag, staged: Staged, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat.sdk import AirflowException

    write = LocalObjectStorageClient._write
    tries = []

    def fail_first(self: Any, upload: UploadTarget, *how: Any) -> Any:
        if upload.uri.key.endswith("c.csv") and not tries:
            tries.append(upload.uri)
            (files / "a.csv").unlink()
            raise AirflowException("the network went away")
        return write(self, upload, *how)

    monkeypatch.setattr(LocalObjectStorageClient, "_write", fail_first)
    result = run(
        """
        import datetime
        stage_task(files=FILES, retries=1, retry_delay=datetime.timedelta(0))
        """
    )
    assert result.state == "success"
    assert tries
    assert staged() == ["b.csv", "c.csv"]


def test_a_mapped_stage_has_one_run_and_one_cleanup(run: RunDag, records: Callable[[], dict[str, Any]]) -> None:
    result = run(
        """
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator", cleanup_policy="delete_always",
        ).expand(files=[FILES + "/a.csv", FILES + "/absent.csv", FILES + "/c.csv"])

        @task(trigger_rule="all_done")
        def load_what_is_there(manifests):
            return [manifest["objects"][0]["uri"].rpartition("/")[2] for manifest in manifests]
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load_what_is_there(stage.output) >> cleanup
        """
    )
    assert result.tasks["stage[1]"] == "failed"
    assert result.xcoms["load_what_is_there"] == ["a.csv", "c.csv"]
    assert result.xcoms["cleanup"]["deleted_objects"] == 2
    assert result.xcoms["cleanup"]["prefix"].count("map-") == 0
    assert {"_run.json", "map-00000.json", "map-00002/manifest.json", "_run/cleanup.json"} <= set(records())


def test_in_a_mapped_task_group_each_instance_cleans_its_own_part(run: RunDag, staged: Staged) -> None:
    result = run(
        """
        @task_group
        def one_file(name):
            stage = stage_task(files=name, cleanup_policy="delete_on_success")

            @task(task_id="load")
            def load(manifest):
                if manifest["objects"][0]["file_name"] == "b.csv":
                    raise RuntimeError("the warehouse is down")
            cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
            load(stage.output) >> cleanup

        one_file.expand(name=[FILES + "/a.csv", FILES + "/b.csv", FILES + "/c.csv"])
        """
    )
    assert [result.tasks[f"one_file.cleanup[{index}]"] for index in range(3)] == [
        "success",
        "upstream_failed",
        "success",
    ]
    assert result.xcoms["one_file.cleanup[0]"]["prefix"].endswith("/map-00000/")
    assert staged() == ["map-00001/b.csv"]


@pytest.mark.parametrize("names", [["a.csv"], ["a.csv", "b.csv"]])
def test_one_cleanup_outside_a_mapped_task_group_takes_all_its_instances(
    run: RunDag, staged: Staged, names: list[str]
) -> None:
    result = run(
        f"""
        @task_group
        def one_file(name):
            stage = stage_task(files=name, cleanup_policy="delete_always")
            load(stage.output)
            return stage.output

        outputs = one_file.expand(name=[f"{{FILES}}/{{name}}" for name in {names!r}])
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=outputs)
        dag.task_dict["one_file.load"] >> cleanup
        """
    )
    assert result.state == "success"
    assert result.xcoms["cleanup"]["deleted_objects"] == len(names)
    assert staged() == []


@pytest.mark.parametrize("name", ["base_uri", "run_id"])
def test_expanding_over_the_place_is_refused(
    run: RunDag, staged: Staged, task_log: Callable[[], str], name: str
) -> None:
    result = run(
        f"""
        arguments = dict(base_uri="s3://landing/orders", run_id="r")
        del arguments[{name!r}]
        ObjectStorageStageOperator.partial(
            task_id="stage", dataset="d", table="t", file_format="csv", conn_id="emulator", files=FILES, **arguments,
        ).expand({name}=["s3://landing/orders", "s3://landing/others"])
        """
    )
    assert result.state == "failed"
    assert f"is expanded over {name}" in task_log()
    assert staged() == []


def test_expanding_over_whole_sets_of_arguments_with_a_place_is_refused(
    run: RunDag, staged: Staged, task_log: Callable[[], str]
) -> None:
    result = run(
        """
        ObjectStorageStageOperator.partial(
            task_id="stage", dataset="d", table="t", file_format="csv", conn_id="emulator", run_id="r",
        ).expand_kwargs([{"files": FILES, "base_uri": "s3://landing/orders"}, {"files": FILES, "base_uri": "s3://b/c"}])
        """
    )
    assert result.state == "failed"
    assert "is expanded over base_uri" in task_log()
    assert staged() == []


def test_a_list_around_the_output_is_the_output(run: RunDag, staged: Staged) -> None:
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="delete_on_success")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=[stage.output])
        load(stage.output) >> cleanup
        """
    )
    assert result.xcoms["cleanup"]["deleted_objects"] == 3
    assert staged() == []


def test_in_a_dag_that_fails_fast_delete_always_still_deletes(run: RunDag, staged: Staged) -> None:
    import inspect

    from airflow.providers.common.compat.sdk import DAG

    argument = "fail_fast" if "fail_fast" in inspect.signature(DAG).parameters else "fail_stop"
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="delete_always")

        @task
        def broken(manifest):
            raise RuntimeError("the warehouse is down")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        broken(stage.output) >> cleanup
        """,
        dag_arguments=f"{argument}=True",
    )
    assert result.state == "failed"
    assert result.tasks["cleanup"] == "success"
    assert staged() == []


def test_a_leased_blob_in_azure_fails_the_cleanup_and_is_named(
    dag_file: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: RunDag
) -> None:
    with Azurite.start(tmp_path) as server:
        server.create_bucket("landing")
        monkeypatch.setenv("AIRFLOW_CONN_WASB_DEFAULT", json.dumps(server.airflow_connection()))
        result = run(
            """
            stage = stage_task(
                files=FILES, base_uri="az://landing/orders", conn_id="wasb_default", cleanup_policy="delete_on_success",
            )

            @task
            def load_and_hold(manifest):
                from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
                blob = manifest["objects"][1]["uri"].removeprefix("az://landing/")
                WasbHook().get_conn().get_blob_client("landing", blob).acquire_lease()
                return manifest["objects"][1]["uri"]
            cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
            load_and_hold(stage.output) >> cleanup
            """
        )
        assert result.tasks["cleanup"] == "failed"
        assert result.state == "failed"
        from dpone_airflow.hooks import ObjectStorageHook

        client = ObjectStorageHook().get_client("az://landing/orders")
        manifest = result.xcoms["stage"]
        prefix = ObjectStorageUri.parse(f"az://landing/orders/{manifest['run_id']}")
        assert [str(uri) for uri in client.list_prefix(prefix)] == [result.xcoms["load_and_hold"]]
