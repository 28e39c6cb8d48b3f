"""Verifies and cleanups that start from a stored manifest, executed: all they need is a connection and a URI."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator, StagingVerifyOperator
from dpone_airflow.operators.graph import check_graph
from dpone_airflow.operators.verify import _LOGGED_DIFFERENCES
from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    manifest_uri_of,
    resolve_manifest,
)
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ClaimNotFoundError,
    InvalidManifestError,
    InvalidOptionError,
    InvalidUriError,
    ObjectNotFoundError,
    StagingGraphError,
    StagingVerifyError,
    StorageError,
)

MakePlan = Callable[..., ObjectStorageStagingPlan]
Stored = Callable[..., list[str]]
WriteFile = Callable[..., Path]
RECORD = "s3://lake/staging/_manifests/run-1/_run/manifest.json"


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch, client: LocalObjectStorageClient) -> None:
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(client.root_dir)}}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))


@pytest.fixture
def manifest(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> ObjectStorageStagingManifest:
    return service.stage_files(make_plan(), [write("a.csv", b"a"), write("b.csv", b"bb")])


@pytest.fixture
def parts(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> list[ObjectStorageStagingManifest]:
    return [service.stage_files(make_plan(part=f"map-{index:05d}"), write("a.csv", b"a")) for index in range(3)]


def context(map_index: int = -1) -> Any:
    ti = SimpleNamespace(
        dag_id="other",
        run_id="manual__1",
        task_id="task",
        map_index=map_index,
        try_number=1,
        xcom_push=lambda key, value: None,
    )
    return {"ti": ti}


def verify(*, map_index: int = -1, **arguments: Any) -> dict[str, Any]:
    with DAG("other", schedule=None):
        task = StagingVerifyOperator(task_id="task", **({"conn_id": "store"} | arguments))
    handed_on: dict[str, Any] = task.execute(context(map_index))
    return handed_on


def clean_up(**arguments: Any) -> dict[str, Any]:
    defaults = {"conn_id": "store", "cleanup_policy": "delete_on_success"}
    with DAG("other", schedule=None):
        task = StagingCleanupOperator(task_id="task", **(defaults | arguments))
    report: dict[str, Any] = task.execute(context())
    return report


class Hook:
    """What manifests are resolved with here."""

    def __init__(self, client: LocalObjectStorageClient) -> None:
        self.client = client

    def get_client(self, base_uri: str) -> LocalObjectStorageClient:
        return self.client


# Verify


def test_the_forms_of_a_manifest_all_lead_to_it(manifest: ObjectStorageStagingManifest) -> None:
    whole = manifest.to_dict()
    for value in (whole, json.dumps(whole), str(whole), RECORD, [whole], f"[{json.dumps(whole)}]"):
        assert verify(manifest=value) == whole
    assert verify(manifest_uri=RECORD) == whole
    assert str(manifest_uri_of(manifest)) == RECORD


@pytest.mark.parametrize("name", ["manifest", "manifest_uri"])
def test_past_so_many_objects_the_pointer_is_handed_on(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, name: str
) -> None:
    given = RECORD if name == "manifest_uri" else manifest.to_dict()
    assert verify(**{name: given}, xcom_max_objects=2) == manifest.to_dict()
    pointer = verify(**{name: given}, xcom_max_objects=1)
    assert "objects" not in pointer
    assert (pointer["manifest_uri"], pointer["object_count"]) == (RECORD, 2)
    assert resolve_manifest(json.loads(json.dumps(pointer)), Hook(client)) == manifest
    assert verify(manifest=pointer, xcom_max_objects=0) == pointer


def test_a_pointer_to_another_manifest_than_the_one_verified_is_never_handed_on(
    service: ObjectStorageStagingService, manifest: ObjectStorageStagingManifest, make_plan: MakePlan
) -> None:
    relabelled = manifest.to_dict() | {"table": "returns"}
    with pytest.raises(InvalidManifestError, match="isn't the manifest that this task was given"):
        verify(manifest=relabelled, xcom_max_objects=1)


def test_the_parts_of_a_mapped_stage_are_merged_and_a_replay_can_start_from_one_uri(
    client: LocalObjectStorageClient, parts: list[ObjectStorageStagingManifest]
) -> None:
    handed_on = verify(manifest=[part.to_dict() for part in parts])
    assert handed_on == ObjectStorageStagingManifest.merge(parts).to_dict()
    assert "part" not in handed_on
    assert [item["file_name"] for item in handed_on["objects"]][2] == "map-00002/a.csv"
    assert verify(manifest_uri=RECORD) == handed_on
    pointer = verify(manifest=[part.to_dict() for part in parts], xcom_max_objects=0)
    assert resolve_manifest(pointer, Hook(client)).to_dict() == handed_on


@pytest.mark.parametrize("left", [1, 2])
def test_a_part_outside_of_the_set_is_extra(parts: list[ObjectStorageStagingManifest], left: int) -> None:
    """A mapped stage of which some failed: also when there is just one manifest left."""
    with pytest.raises(StagingVerifyError) as error:
        verify(manifest=[part.to_dict() for part in parts[:left]])
    assert len(error.value.extra) == 3 - left
    assert error.value.extra[-1] == "s3://lake/staging/run-1/map-00002/a.csv"


def test_an_instance_of_a_mapped_group_compares_its_own_part_only(
    client: LocalObjectStorageClient, parts: list[ObjectStorageStagingManifest]
) -> None:
    client.put_bytes(b"x", ObjectStorageUri.parse("s3://lake/staging/run-1/map-00002/stray.csv"))
    assert verify(manifest=parts[1].to_dict(), map_index=1) == parts[1].to_dict()
    assert verify(manifest=[parts[1].to_dict()], map_index=1) == parts[1].to_dict()
    with pytest.raises(StagingVerifyError, match="1 extra"):
        verify(manifest=parts[2].to_dict(), map_index=2)


def test_a_difference_is_in_the_evidence_and_in_the_log(
    client: LocalObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.put_bytes(b"x", ObjectStorageUri.parse("s3://lake/staging/run-1/stray.csv"))
    client.delete_objects([ObjectStorageUri.parse(manifest.objects[0].uri)])
    client.put_bytes(b"other", ObjectStorageUri.parse(manifest.objects[1].uri))
    with pytest.raises(StagingVerifyError):
        verify(manifest=manifest.to_dict())
    logged = caplog.text + capfd.readouterr().out  # Airflow 3 logs past Python's logging
    for line in (
        "Missing: s3://lake/staging/run-1/a.csv",
        "Extra: s3://lake/staging/run-1/stray.csv",
        "Changed: s3://lake/staging/run-1/b.csv has 5 bytes, not 2",
    ):
        assert line in logged
    assert _LOGGED_DIFFERENCES >= 3
    record = json.loads(client.get_bytes(ObjectStorageUri.parse(RECORD.replace("manifest.json", "verify.json"))))
    assert (record["outcome"], record["by"]["task_id"], record["by"]["try_number"]) == ("different", "task", 1)


def test_a_task_that_is_killed_stops_reading(manifest: ObjectStorageStagingManifest) -> None:
    with DAG("other", schedule=None):
        task = StagingVerifyOperator(task_id="task", manifest=manifest.to_dict(), conn_id="store", mode="sha256")
    task.on_kill()  # before it began: nothing to stop
    task._stop = threading.Event()
    task.on_kill()
    assert task._stop.is_set()


# What is no manifest


def tampered(record: bytes, how: str) -> bytes:
    fields = json.loads(record)
    if how == "newer record":
        fields["version"] = 99
    elif how == "newer manifest":
        fields["manifest"]["schema_version"] = 99
    elif how == "broken writer":
        del fields["manifest"]["objects"][0]["sha256"]
    elif how == "cut off":
        return record[: len(record) // 2]
    elif how == "another kind":
        fields["kind"] = "checkpoint"
    elif how == "of another place":
        fields["manifest"]["run_id"] = "run-2"
        for item in fields["manifest"]["objects"]:
            item["uri"] = item["uri"].replace("run-1", "run-2")
    return json.dumps(fields).encode()


BROKEN = {
    "newer record": "upgrade it",
    "newer manifest": "upgrade it",
    "broken writer": "has no objects[0].sha256",
    "cut off": "is no record of a staged manifest",
    "another kind": "is a record of kind 'checkpoint'",
    "of another place": "holds the manifest of another place, s3://lake/staging/run-2/",
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("operator", [verify, clean_up])
def test_a_stored_manifest_that_can_not_be_trusted_is_refused_and_nothing_is_deleted(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    manifest: ObjectStorageStagingManifest,
    stored: Stored,
    operator: Callable[..., Any],
    how: str,
) -> None:
    service.stage_files(make_plan(run_id="run-2"), [write("a.csv", b"a"), write("b.csv", b"bb")])
    uri = ObjectStorageUri.parse(RECORD)
    client.put_bytes(tampered(client.get_bytes(uri), how), uri)
    before = stored()
    with pytest.raises(InvalidManifestError) as error:
        operator(manifest_uri=RECORD)
    assert BROKEN[how] in str(error.value)
    assert RECORD in str(error.value)
    assert stored() == before


@pytest.mark.parametrize(
    ("uri", "kind", "said"),
    [
        ("s3://lake/staging/run-1/a.csv", InvalidManifestError, "is no record of a staged manifest"),
        ("s3://lake/staging/run-1/manifest.json", InvalidManifestError, "is no record of a staged manifest"),
        ("s3://lake/staging/_manifests/run-1/_run.json", InvalidManifestError, "is no record of a staged manifest"),
        ("s3://lake/staging/_manifests/run-1/_run/verify.json", InvalidManifestError, "is no record"),
        ("s3://lake/staging/_manifests/run-9/_run/manifest.json", ObjectNotFoundError, "run-9"),
        ("s3://other/staging/_manifests/run-1/_run/manifest.json", ObjectNotFoundError, "s3://other"),
        ("", InvalidUriError, "no scheme"),
        ("None", InvalidUriError, "no scheme"),
        ("{{ never rendered }}", InvalidUriError, "no scheme"),
        ("s3://lake/staging/_manifests/../x/manifest.json", InvalidUriError, "'..'"),
    ],
)
@pytest.mark.parametrize("operator", [verify, clean_up])
def test_a_uri_of_no_stored_manifest_is_refused_and_nothing_is_deleted(
    manifest: ObjectStorageStagingManifest,
    stored: Stored,
    operator: Callable[..., Any],
    uri: str,
    kind: type[Exception],
    said: str,
) -> None:
    before = stored()
    with pytest.raises(kind) as error:
        operator(manifest_uri=uri)
    assert said in str(error.value)
    assert stored() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"manifest_sha256": "0" * 64}, "the pointer to it says 0000"),
        ({"manifest_uri": "s3://other/x/_manifests/run-1/_run/manifest.json"}, "never read from elsewhere"),
        ({"manifest_sha256": None}, "manifest_uri and manifest_sha256"),
    ],
)
def test_a_pointer_that_does_not_fit_is_refused(
    manifest: ObjectStorageStagingManifest, changes: dict[str, Any], said: str
) -> None:
    pointer = verify(manifest_uri=RECORD, xcom_max_objects=0)
    with pytest.raises(InvalidManifestError) as error:
        verify(manifest=pointer | changes)
    assert said in str(error.value)


@pytest.mark.parametrize("value", [None, "None", "[]", [], 7, {"provider": "s3"}, "{{ never rendered }}"])
def test_no_manifest_is_never_verified(manifest: ObjectStorageStagingManifest, value: Any) -> None:
    with DAG("other", schedule=None):
        task = StagingVerifyOperator(task_id="task", manifest="{{ rendered }}", conn_id="store")
    task.manifest = value
    with pytest.raises(InvalidManifestError):
        task.execute(context())


# Cleanup by manifest_uri


def test_a_run_is_deleted_by_the_uri_of_its_manifest_and_its_evidence_stays(
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    manifest: ObjectStorageStagingManifest,
    stored: Stored,
) -> None:
    service.stage_files(make_plan(run_id="run-10"), write("a.csv"))
    would = clean_up(manifest_uri=RECORD, dry_run=True)
    assert (would["deleted_objects"], would["dry_run"]) == (2, True)
    assert clean_up(manifest_uri=RECORD, cleanup_policy="retain")["deleted_objects"] == 0
    assert clean_up(manifest_uri=RECORD) == {
        "cleanup_policy": "delete_on_success",
        "prefix": "s3://lake/staging/run-1/",
        "deleted_objects": 2,
        "deleted_bytes": 3,
        "hidden_objects": 0,
        "hidden_bytes": 0,
        "dry_run": False,
    }
    left = stored()
    assert [uri for uri in left if "_manifests" not in uri] == ["s3://lake/staging/run-10/a.csv"]
    assert RECORD in left


def test_by_the_uri_of_a_part_just_that_part_goes(parts: list[ObjectStorageStagingManifest], stored: Stored) -> None:
    report = clean_up(manifest_uri=str(manifest_uri_of(parts[1])))
    assert report["prefix"] == "s3://lake/staging/run-1/map-00001/"
    assert [uri for uri in stored() if "_manifests" not in uri] == [
        "s3://lake/staging/run-1/map-00000/a.csv",
        "s3://lake/staging/run-1/map-00002/a.csv",
    ]
    verify(manifest=[parts[0].to_dict(), parts[2].to_dict()])
    assert clean_up(manifest_uri=RECORD)["deleted_objects"] == 2


def test_a_uri_will_do_where_a_template_gives_the_manifest(manifest: ObjectStorageStagingManifest) -> None:
    assert clean_up(manifest=RECORD)["deleted_objects"] == 2


def test_a_run_whose_claim_is_gone_is_not_deleted(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, stored: Stored
) -> None:
    client.delete_objects([ObjectStorageUri.parse("s3://lake/staging/_manifests/run-1/_run.json")])
    before = stored()
    with pytest.raises(ClaimNotFoundError, match="nothing was deleted"):
        clean_up(manifest_uri=RECORD)
    assert stored() == before


def test_a_record_that_may_not_be_read_deletes_nothing(
    manifest: ObjectStorageStagingManifest, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored()

    def denied(_client: Any, uri: ObjectStorageUri, **_: Any) -> bytes:
        raise StorageError(f"Could not read {uri}: AccessDenied.", uri=str(uri), status=403)

    monkeypatch.setattr(LocalObjectStorageClient, "get_bytes", denied)
    with pytest.raises(StorageError, match=RECORD):
        clean_up(manifest_uri=RECORD)
    assert stored() == before


# What is refused when a DAG is parsed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "give manifest=stage.output, or manifest_uri"),
        ({"manifest": {}, "manifest_uri": RECORD}, "A verify takes one run"),
        ({"manifest_uri": RECORD, "mode": "md5"}, "mode is 'md5': write 'listing' or 'sha256'"),
        ({"manifest_uri": RECORD, "max_concurrency": 0}, "max_concurrency is 0"),
        ({"manifest_uri": RECORD, "xcom_max_objects": -1}, "xcom_max_objects is -1"),
    ],
)
def test_a_verify_that_can_not_be_is_an_import_error(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOptionError) as error:
        StagingVerifyOperator(task_id="verify", **arguments)
    assert said in str(error.value)


@pytest.mark.parametrize("other", [{"manifest": {}}, {"base_uri": "s3://lake/staging", "run_id": "run-1"}])
def test_manifest_uri_names_a_run_by_itself(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="manifest_uri names a run by itself"):
        StagingCleanupOperator(task_id="cleanup", manifest_uri=RECORD, cleanup_policy="retain", **other)


def test_a_base_uri_of_the_default_arguments_does_not_stand_in_its_way() -> None:
    cleanup = StagingCleanupOperator(
        task_id="cleanup", manifest_uri=RECORD, cleanup_policy="retain", base_uri="s3://lake/staging"
    )
    assert (cleanup.base_uri, cleanup.manifest_uri) == (None, RECORD)


def test_the_policy_for_a_manifest_uri_must_be_written_for_it_sets_the_rule_at_parse() -> None:
    with pytest.raises(StagingGraphError, match="write cleanup_policy='retain', 'delete_on_success' or"):
        StagingCleanupOperator(task_id="cleanup", manifest_uri=RECORD)
    by_policy = {
        policy: StagingCleanupOperator(task_id=policy, manifest_uri=RECORD, cleanup_policy=policy)
        for policy in ("retain", "delete_on_success", "delete_always")
    }
    assert {policy: str(task.trigger_rule.value) for policy, task in by_policy.items()} == {
        "retain": "all_success",
        "delete_on_success": "all_success",
        "delete_always": "all_done",
    }
    assert [task.is_teardown for task in by_policy.values()] == [False, False, True]


# The graph


class Work(BaseOperator):
    """Any task that takes something."""

    template_fields: Sequence[str] = ("argument",)

    def __init__(self, argument: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.argument = argument

    def execute(self, context: Any) -> None:
        """Do nothing."""


def a_stage(policy: str = "delete_on_success", task_id: str = "stage") -> ObjectStorageStageOperator:
    return ObjectStorageStageOperator(
        task_id=task_id,
        files="/data/*.csv",
        base_uri="s3://lake/staging",
        dataset="sales",
        table="orders",
        file_format="csv",
        cleanup_policy=policy,
    )


def a_mapped_stage(policy: str = "delete_on_success") -> Any:
    return ObjectStorageStageOperator.partial(
        task_id="stage",
        base_uri="s3://lake/staging",
        dataset="sales",
        table="orders",
        file_format="csv",
        cleanup_policy=policy,
    ).expand(files=["/data/a.csv", "/data/b.csv"])


@pytest.mark.parametrize("policy", ["retain", "delete_on_success", "delete_always"])
@pytest.mark.parametrize("stage_of", [a_stage, a_mapped_stage])
def test_a_cleanup_finds_the_stage_behind_a_verify(stage_of: Callable[[str], Any], policy: str) -> None:
    with DAG("graph", schedule=None) as dag:
        stage = stage_of(policy)
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
        again = StagingVerifyOperator(task_id="verify_again", manifest=verify.output, mode="sha256")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=again.output)
        Work(task_id="load", argument=again.output) >> cleanup
    assert (cleanup.stage_task_id, cleanup.cleanup_policy) == ("stage", policy)
    check_graph(dag.task_dict["stage"])


def test_a_cleanup_finds_the_stage_behind_an_expanded_verify() -> None:
    with DAG("graph", schedule=None):
        verify = StagingVerifyOperator.partial(task_id="verify").expand(manifest=a_mapped_stage().output)
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=verify.output)
    assert (cleanup.stage_task_id, cleanup.cleanup_policy) == ("stage", "delete_on_success")


def test_a_verify_of_another_dags_run_leads_to_no_stage() -> None:
    with DAG("graph", schedule=None):
        verify = StagingVerifyOperator(task_id="verify", manifest_uri=RECORD)
        with pytest.raises(StagingGraphError, match="write cleanup_policy"):
            StagingCleanupOperator(task_id="cleanup", manifest=verify.output)
        cleanup = StagingCleanupOperator(task_id="clean_up", manifest=verify.output, cleanup_policy="retain")
    assert cleanup.stage_task_id is None


def test_outputs_of_two_stages_are_refused() -> None:
    with DAG("graph", schedule=None):
        outputs = [a_stage(task_id=name).output for name in ("one", "other")]
        with pytest.raises(StagingGraphError, match="was given one, other"):
            StagingVerifyOperator(task_id="verify", manifest=outputs)
        verifies = [
            StagingVerifyOperator(task_id=f"verify_{name}", manifest=a_stage(task_id=name).output) for name in "ab"
        ]
        with pytest.raises(StagingGraphError, match="was given a, b"):
            StagingCleanupOperator(task_id="cleanup", manifest=[verify.output for verify in verifies])


TEMPLATE = "{{ ti.xcom_pull(task_ids='verify') }}"


@pytest.mark.parametrize("takes", ["output", "template", "edge"])
@pytest.mark.parametrize("policy", ["delete_on_success", "delete_always"])
def test_a_load_behind_a_verify_must_come_before_the_cleanup(policy: str, takes: str) -> None:
    with DAG("graph", schedule=None) as dag:
        stage = a_stage(policy)
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
        load = Work(task_id="load", argument={"output": verify.output, "template": TEMPLATE}.get(takes))
        if takes == "edge":
            verify >> load
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    with pytest.raises(StagingGraphError) as error:
        check_graph(dag.task_dict["stage"])
    assert "Write: load >> cleanup" in str(error.value) or "Write: verify >> cleanup" in str(error.value)
    verify >> cleanup
    with pytest.raises(StagingGraphError, match="Write: load >> cleanup"):
        check_graph(dag.task_dict["stage"])
    load >> cleanup
    check_graph(dag.task_dict["stage"])


def test_a_verify_behind_a_verify_is_seen_through() -> None:
    with DAG("graph", schedule=None) as dag:
        stage = a_stage()
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
        again = StagingVerifyOperator(task_id="again", manifest=verify.output, mode="sha256")
        Work(task_id="load", argument=again.output)
        again >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    with pytest.raises(StagingGraphError, match="Write: load >> cleanup"):
        check_graph(dag.task_dict["stage"])


def test_a_verify_that_takes_the_manifest_by_a_template_is_seen_through() -> None:
    with DAG("graph", schedule=None) as dag:
        stage = a_stage()
        verify = StagingVerifyOperator(task_id="verify", manifest="{{ ti.xcom_pull(task_ids='stage') }}")
        Work(task_id="load", argument=verify.output)
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        verify >> cleanup
    with pytest.raises(StagingGraphError, match="Write: load >> cleanup"):
        check_graph(dag.task_dict["stage"])


def test_a_cleanup_that_pulls_what_a_verify_hands_on_is_looked_at_too() -> None:
    with DAG("graph", schedule=None) as dag:
        stage = a_stage("retain")
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
        Work(task_id="load", argument=verify.output)
        StagingCleanupOperator(task_id="cleanup", manifest=TEMPLATE, cleanup_policy="delete_always")
    with pytest.raises(StagingGraphError, match=">> cleanup"):
        check_graph(dag.task_dict["stage"])


def test_a_verify_beside_the_cleanup_is_refused() -> None:
    with DAG("graph", schedule=None) as dag:
        stage = a_stage()
        StagingVerifyOperator(task_id="verify", manifest=stage.output)
        StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    with pytest.raises(StagingGraphError, match="Write: verify >> cleanup"):
        check_graph(dag.task_dict["stage"])
