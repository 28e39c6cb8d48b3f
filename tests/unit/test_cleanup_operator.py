"""A cleanup of another DAG's run, executed: all that it needs is a connection, a place and a claim."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from dpone_airflow.operators import StagingCleanupOperator
from dpone_airflow.staging import ObjectStorageStagingManifest, ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.staging.run_id import safe_run_id
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ClaimNotFoundError,
    ConnectionMismatchError,
    DeleteIncompleteError,
    DeletionLimitError,
    InvalidInputError,
    InvalidManifestError,
    InvalidOptionError,
    InvalidPlanError,
    InvalidUriError,
)

MakePlan = Callable[..., ObjectStorageStagingPlan]
Stored = Callable[..., list[str]]
WriteFile = Callable[..., Path]
RUN = {"base_uri": "s3://lake/staging", "run_id": "run-1"}


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch, client: LocalObjectStorageClient) -> None:
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(client.root_dir)}}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))


@pytest.fixture
def staged(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> dict[str, ObjectStorageStagingManifest]:
    """Two runs, by their ids."""
    files = [write("a.csv", b"a"), write("b.csv", b"bb")]
    return {run_id: service.stage_files(make_plan(run_id=run_id), files) for run_id in ("run-1", "run-10")}


@pytest.fixture
def clean_up() -> Callable[..., dict[str, Any]]:
    """Make a cleanup and execute it."""

    def make_and_execute(**arguments: Any) -> dict[str, Any]:
        defaults: dict[str, Any] = {"task_id": "cleanup", "conn_id": "store", "cleanup_policy": "delete_always"}
        with DAG("other", schedule=None):
            cleanup = StagingCleanupOperator(**(defaults | arguments))
        ti = SimpleNamespace(dag_id="other", run_id="manual__1", task_id="cleanup", map_index=-1, try_number=1)
        report: dict[str, Any] = cleanup.execute({"ti": ti})
        return report

    return make_and_execute


def objects(stored: Stored) -> list[str]:
    return [uri for uri in stored() if "/_manifests/" not in uri]


@pytest.mark.usefixtures("staged")
@pytest.mark.parametrize("base_uri", ["s3://lake/staging", "s3://lake/staging/"])
def test_another_dags_run_is_deleted_by_its_place(clean_up: Any, stored: Stored, base_uri: str) -> None:
    assert clean_up(base_uri=base_uri, run_id="run-1") == {
        "cleanup_policy": "delete_always",
        "prefix": "s3://lake/staging/run-1/",
        "deleted_objects": 2,
        "deleted_bytes": 3,
        "hidden_objects": 0,
        "hidden_bytes": 0,
        "dry_run": False,
    }
    assert objects(stored) == ["s3://lake/staging/run-10/a.csv", "s3://lake/staging/run-10/b.csv"]


def test_another_dags_run_is_deleted_by_its_manifest(
    clean_up: Any, staged: dict[str, ObjectStorageStagingManifest], stored: Stored
) -> None:
    manifest = staged["run-1"].to_dict()
    for value in (manifest, json.dumps(manifest), [manifest]):
        assert clean_up(manifest=value)["prefix"] == "s3://lake/staging/run-1/"
    assert objects(stored) == ["s3://lake/staging/run-10/a.csv", "s3://lake/staging/run-10/b.csv"]


def test_the_manifests_of_a_mapped_stage_are_one_run(
    clean_up: Any, service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    manifests = [
        service.stage_files(make_plan(part=part), write("a.csv")).to_dict() for part in ("map-00000", "map-00001")
    ]
    assert clean_up(manifest=manifests[:1])["prefix"] == "s3://lake/staging/run-1/map-00000/"
    assert clean_up(manifest=manifests)["prefix"] == "s3://lake/staging/run-1/"
    assert objects(stored) == []


def test_manifests_of_two_runs_are_refused(
    clean_up: Any, staged: dict[str, ObjectStorageStagingManifest], stored: Stored
) -> None:
    before = stored()
    with pytest.raises(InvalidManifestError, match="Nothing was deleted"):
        clean_up(manifest=[manifest.to_dict() for manifest in staged.values()])
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_a_dry_run_deletes_nothing(clean_up: Any, stored: Stored) -> None:
    before = stored()
    report = clean_up(**RUN, dry_run=True)
    assert (report["deleted_objects"], report["dry_run"]) == (2, True)
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_retain_deletes_nothing(clean_up: Any, stored: Stored) -> None:
    before = stored()
    assert clean_up(**RUN, cleanup_policy="retain")["deleted_objects"] == 0
    assert stored() == before


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"run_id": "run-2"}, ClaimNotFoundError, "No stage has claimed s3://lake/staging/run-2/"),
        ({"run_id": "run"}, ClaimNotFoundError, "No stage has claimed"),
        ({"base_uri": "s3://lake/stagin"}, ClaimNotFoundError, "No stage has claimed"),
        ({"base_uri": "s3://other/staging"}, ClaimNotFoundError, "No stage has claimed"),
        ({"base_uri": "gs://lake/staging"}, ClaimNotFoundError, "No stage has claimed"),
        ({"run_id": ""}, InvalidPlanError, "run_id"),
        ({"run_id": "_manifests"}, InvalidPlanError, "run_id"),
        ({"base_uri": ""}, InvalidUriError, "no scheme"),
        ({"base_uri": "s3://lake/../staging"}, InvalidUriError, "'..'"),
        ({"base_uri": "s3://lake/staging//"}, InvalidUriError, "empty segment"),
        ({"base_uri": "s3://lake/staging/_manifests"}, InvalidPlanError, "_manifests"),
    ],
)
@pytest.mark.usefixtures("staged")
def test_a_place_that_is_none_deletes_nothing(
    clean_up: Any, stored: Stored, changes: dict[str, str], kind: type[Exception], said: str
) -> None:
    before = stored()
    with pytest.raises(kind) as refused:
        clean_up(**(RUN | changes))
    assert said in str(refused.value)
    assert stored() == before


@pytest.mark.parametrize(
    "changes",
    [{"run_id": "run-10"}, {"base_uri": "s3://lake/other"}, {"base_uri": "s3://other/staging"}],
    ids=["another run", "another base", "another bucket"],
)
def test_a_manifest_of_another_place_deletes_nothing(
    clean_up: Any, staged: dict[str, ObjectStorageStagingManifest], stored: Stored, changes: dict[str, str]
) -> None:
    before = stored()
    with pytest.raises(InvalidManifestError, match="Nothing was deleted: give it the manifest of its own stage"):
        clean_up(manifest=staged["run-1"].to_dict(), **(RUN | changes))
    assert stored() == before


@pytest.mark.parametrize("manifest", ["None", "[]", [], "{{ never rendered }}", {"provider": "s3"}])
@pytest.mark.usefixtures("staged")
def test_no_manifest_is_an_error_and_never_zero_deleted(clean_up: Any, stored: Stored, manifest: Any) -> None:
    before = stored()
    with pytest.raises(InvalidManifestError):
        clean_up(manifest=manifest)
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_a_tampered_manifest_deletes_nothing(
    clean_up: Any, staged: dict[str, ObjectStorageStagingManifest], stored: Stored
) -> None:
    before = stored()
    tampered = staged["run-1"].to_dict()
    tampered["objects"][0]["uri"] = "s3://lake/live/table.parquet"
    with pytest.raises(InvalidManifestError, match=r"objects\[0\]\.uri"):
        clean_up(manifest=tampered)
    assert stored() == before


def test_the_run_id_is_made_safe_as_the_stage_makes_it(
    clean_up: Any, service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> None:
    dag_run_id = "manual__2026-11-22T08:00:00+00:00"
    service.stage_files(make_plan(run_id=safe_run_id(dag_run_id)), write("a.csv"))
    assert clean_up(base_uri="s3://lake/staging", run_id=dag_run_id)["deleted_objects"] == 1


@pytest.mark.usefixtures("staged")
def test_a_connection_of_another_kind_deletes_nothing(
    clean_up: Any, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps({"conn_type": "http"}))
    with pytest.raises(ConnectionMismatchError):
        clean_up(**RUN)
    assert len(objects(stored)) == 4


@pytest.mark.usefixtures("staged")
def test_what_is_left_is_named_in_the_log(
    clean_up: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    stored: Stored,
) -> None:
    def refuse(_client: Any, _anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        return dict.fromkeys(keys, "a lease is held")

    monkeypatch.setattr(LocalObjectStorageClient, "_delete_batch", refuse)
    with pytest.raises(DeleteIncompleteError):
        clean_up(**RUN)
    logged = caplog.text + capfd.readouterr().out  # Airflow 3 logs past Python's logging
    for name in ("a.csv", "b.csv"):
        assert f"Not deleted: s3://lake/staging/run-1/{name} (a lease is held)" in logged
    assert len(objects(stored)) == 4


@pytest.mark.parametrize("value", [7, {"a": 1}])
def test_a_place_of_a_wrong_type_is_an_error_of_ours(clean_up: Any, value: Any) -> None:
    """A template with native types can render to anything."""
    for name in RUN:
        with pytest.raises(InvalidInputError):
            clean_up(**(RUN | {name: value}))


# Limits, and trying it first.


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the task logs; outside of a task Airflow drops what isn't a warning."""
    monkeypatch.setattr(StagingCleanupOperator, "log", logging.getLogger("a cleanup task"))
    caplog.set_level("INFO")
    return caplog


@pytest.mark.usefixtures("staged")
@pytest.mark.parametrize("limit", [{"max_objects": 1}, {"max_bytes": 2}])
def test_more_than_a_limit_is_refused_and_nothing_goes(clean_up: Any, stored: Stored, limit: dict[str, int]) -> None:
    before = stored()
    with pytest.raises(DeletionLimitError, match=r"s3://lake/staging/run-1/ holds 2 objects of 3 bytes"):
        clean_up(**RUN, **limit)
    assert stored() == before
    assert clean_up(**RUN, max_objects=2, max_bytes=3)["deleted_objects"] == 2


def test_a_limit_is_that_of_all_parts_together(
    clean_up: Any, service: Any, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    parts = [service.stage_files(make_plan(part=f"map-0000{n}"), write(f"{n}.csv", b"x")) for n in range(3)]
    given = [part.to_dict() for part in parts]
    before = stored()
    with pytest.raises(DeletionLimitError, match="holds 3 objects of 3 bytes, and max_objects is 2"):
        clean_up(manifest=given, max_objects=2)
    assert stored() == before
    assert clean_up(manifest=given, max_objects=3)["deleted_objects"] == 3


@pytest.mark.parametrize("name", ["max_objects", "max_bytes"])
@pytest.mark.parametrize("wrong", [-1, 1.5, True, "10"])
def test_a_limit_that_is_no_number_is_refused_when_the_dag_is_parsed(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidOptionError, match=f"{name} is .*: give a whole number from 0"):
        StagingCleanupOperator(task_id="cleanup", cleanup_policy="delete_always", **RUN, **{name: wrong})


@pytest.mark.usefixtures("staged")
def test_a_dry_run_logs_what_would_go(clean_up: Any, stored: Stored, logged: pytest.LogCaptureFixture) -> None:
    before = stored()
    report = clean_up(**RUN, dry_run=True)
    assert stored() == before
    assert (report["deleted_objects"], report["dry_run"]) == (2, True)
    text = logged.text
    for line in ("Would delete s3://lake/staging/run-1/a.csv (1 bytes)", "would delete 2 objects, 3 bytes, below"):
        assert line in text
    assert "run-10" not in text


def test_a_dry_run_logs_the_first_hundred(
    clean_up: Any, service: Any, make_plan: MakePlan, write: WriteFile, logged: pytest.LogCaptureFixture
) -> None:
    service.stage_files(make_plan(), [write(f"{number:03d}.csv", b"x") for number in range(102)])
    clean_up(**RUN, dry_run=True)
    text = logged.text
    assert text.count("Would delete s3://") == 100
    assert "Would delete 2 more" in text
