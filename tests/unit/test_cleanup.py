"""A cleanup deletes one exact prefix, under a claim, and proves it; anything else is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import CleanupReport, ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ClaimedByAnotherWriterError,
    ClaimError,
    ClaimNotFoundError,
    DeleteIncompleteError,
    InvalidPlanError,
    InvalidUriError,
    StorageAccessDeniedError,
    UnclaimedPrefixError,
)

MakePlan = Callable[..., ObjectStorageStagingPlan]
Stored = Callable[..., list[str]]
WriteFile = Callable[..., Path]
BASE, RUN = "s3://lake/staging", "s3://lake/staging/run-1"
CLEANUP_RECORD = ObjectStorageUri.parse(f"{BASE}/_manifests/run-1/_run/cleanup.json")


@pytest.fixture
def staged(service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile) -> list[str]:
    """Three files of run-1, and one of each neighbour that a careless prefix would reach."""
    write("b.csv", b"bb")
    write("dt=1/c.csv", b"ccc")
    manifest = service.stage_files(make_plan(), write("a.csv", b"a").parent)
    for run_id in ("run-10", "run-", "other"):
        service.stage_files(make_plan(run_id=run_id), write("a.csv", b"a"))
    return [item.uri for item in manifest.objects]


def objects(stored: Stored) -> list[str]:
    return [uri for uri in stored() if "/_manifests/" not in uri]


NEIGHBOURS = [f"{BASE}/other/a.csv", f"{BASE}/run-/a.csv", f"{BASE}/run-10/a.csv"]


@pytest.mark.parametrize("policy", ["delete_on_success", "delete_always"])
@pytest.mark.usefixtures("staged")
def test_a_deleting_policy_empties_the_runs_prefix_and_nothing_else(
    client: LocalObjectStorageClient, stored: Stored, writer: StagingWriter, policy: str
) -> None:
    report = clean_up_run(client, BASE, "run-1", policy=policy, staged_by=writer)
    assert report == CleanupReport(policy, f"{RUN}/", deleted_objects=3, deleted_bytes=6)
    assert objects(stored) == NEIGHBOURS


@pytest.mark.usefixtures("staged")
def test_the_evidence_outlives_the_objects_and_says_what_was_done(
    client: LocalObjectStorageClient, stored: Stored
) -> None:
    before = [uri for uri in stored() if "/_manifests/" in uri]
    clean_up_run(client, BASE, "run-1", policy="delete_always")
    assert {uri for uri in stored() if "/_manifests/" in uri} == {*before, str(CLEANUP_RECORD)}
    record = json.loads(client.get_bytes(CLEANUP_RECORD))
    assert (record["kind"], record["outcome"], record["deleted_objects"]) == ("cleanup", "deleted", 3)


@pytest.mark.parametrize("policy", ["delete_always", None])
@pytest.mark.usefixtures("staged")
def test_under_a_claim_of_a_later_version_nothing_is_deleted_or_written(
    client: LocalObjectStorageClient, stored: Stored, writer: StagingWriter, policy: str | None
) -> None:
    claim_uri = StagingEvidence(client, BASE, "run-1").claim_uri
    client.put_bytes(json.dumps(json.loads(client.get_bytes(claim_uri)) | {"version": 99}).encode(), claim_uri)
    before = stored()
    with pytest.raises(ClaimError, match="reads up to 1: upgrade it"):
        clean_up_run(client, BASE, "run-1", policy=policy, include_retained=True, staged_by=writer)
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_retain_deletes_and_writes_nothing(client: LocalObjectStorageClient, stored: Stored) -> None:
    before = stored()
    report = clean_up_run(client, BASE, "run-1", policy="retain")
    assert (report.deleted_objects, report.deleted_bytes) == (0, 0)
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_a_dry_run_says_what_would_go_and_deletes_nothing(client: LocalObjectStorageClient, stored: Stored) -> None:
    before = stored()
    report = clean_up_run(client, BASE, "run-1", policy="delete_always", dry_run=True)
    assert report.to_dict() == {
        "cleanup_policy": "delete_always",
        "prefix": f"{RUN}/",
        "deleted_objects": 3,
        "deleted_bytes": 6,
        "hidden_objects": 0,
        "hidden_bytes": 0,
        "dry_run": True,
    }
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_a_second_cleanup_finds_nothing_left(client: LocalObjectStorageClient) -> None:
    clean_up_run(client, BASE, "run-1", policy="delete_always")
    assert clean_up_run(client, BASE, "run-1", policy="delete_always").deleted_objects == 0


def test_a_report_is_plain_json(client: LocalObjectStorageClient) -> None:
    report = clean_up_run(client, BASE, "run-1", policy="retain").to_dict()
    assert json.loads(json.dumps(report)) == report
    assert type(report["cleanup_policy"]) is str


@pytest.mark.usefixtures("staged")
def test_a_stages_whole_run_goes_with_what_its_manifest_never_heard_of(
    client: LocalObjectStorageClient, stored: Stored, writer: StagingWriter
) -> None:
    """A try that failed half-way has uploads and no manifest."""
    client.put_bytes(b"half", ObjectStorageUri.parse(f"{RUN}/half-way.csv"))
    assert clean_up_run(client, BASE, "run-1", policy="delete_always", staged_by=writer).deleted_objects == 4
    assert objects(stored) == NEIGHBOURS


def test_a_part_is_cleaned_up_alone(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, stored: Stored, writer: StagingWriter
) -> None:
    instances = [replace(writer, map_index=index) for index in (1, 10)]
    for one in instances:
        service = ObjectStorageStagingService(client=client, writer=one)
        service.stage_files(make_plan(part=f"map-{one.map_index}"), write("a.csv"))
    report = clean_up_run(client, BASE, "run-1", policy="delete_always", part="map-1", staged_by=instances[0])
    assert (report.prefix, report.deleted_objects) == (f"{RUN}/map-1/", 1)
    assert objects(stored) == [f"{RUN}/map-10/a.csv"]
    assert f"{BASE}/_manifests/run-1/map-1/cleanup.json" in stored()

    whole = clean_up_run(client, BASE, "run-1", policy="delete_always", staged_by=writer)
    assert (whole.prefix, whole.deleted_objects) == (f"{RUN}/", 1)


# What is refused: nothing is deleted.


@pytest.mark.usefixtures("staged")
@pytest.mark.parametrize("run_id", ["run", "run-2", "run-100", "RUN-1"])
def test_a_run_that_nobody_claimed_is_an_error_and_never_zero_deleted(
    client: LocalObjectStorageClient, stored: Stored, run_id: str
) -> None:
    client.put_bytes(b"live", ObjectStorageUri.parse(f"{BASE}/run/live.csv"))
    before = stored()
    with pytest.raises(
        ClaimNotFoundError, match=rf"No stage has claimed {BASE}/{run_id}/ .*check base_uri, run_id and conn_id"
    ):
        clean_up_run(client, BASE, run_id, policy="delete_always")
    assert stored() == before


def test_a_stage_that_never_began_has_nothing_to_clean_up(
    client: LocalObjectStorageClient, stored: Stored, writer: StagingWriter
) -> None:
    assert clean_up_run(client, BASE, "run-1", policy="delete_always", staged_by=writer).deleted_objects == 0
    with pytest.raises(ClaimNotFoundError):
        clean_up_run(client, BASE, "run-1", policy="delete_always", staged_by=writer, must_be_claimed=True)
    assert stored() == []


def test_what_a_stage_never_claimed_is_not_deleted_and_never_called_nothing(
    client: LocalObjectStorageClient, stored: Stored, writer: StagingWriter
) -> None:
    client.put_bytes(b"live", ObjectStorageUri.parse(f"{RUN}/live.csv"))
    with pytest.raises(UnclaimedPrefixError, match=r"live\.csv, that this stage never claimed"):
        clean_up_run(client, BASE, "run-1", policy="delete_always", staged_by=writer)
    assert stored() == [f"{RUN}/live.csv"]


@pytest.mark.usefixtures("staged")
def test_another_writers_run_is_refused(
    client: LocalObjectStorageClient, stored: Stored, writer: StagingWriter
) -> None:
    before = stored()
    with pytest.raises(ClaimedByAnotherWriterError, match="dag_id='weekly'"):
        clean_up_run(client, BASE, "run-1", policy="delete_always", staged_by=replace(writer, dag_id="weekly"))
    assert stored() == before


@pytest.mark.usefixtures("staged")
def test_a_claim_that_can_not_be_read_protects_the_run(client: LocalObjectStorageClient, stored: Stored) -> None:
    client.put_bytes(b"{}", ObjectStorageUri.parse(f"{BASE}/_manifests/run-1/_run.json"))
    before = stored()
    with pytest.raises(ClaimError, match="nothing is touched"):
        clean_up_run(client, BASE, "run-1", policy="delete_always")
    assert stored() == before


def test_a_run_that_is_the_base_of_other_runs_is_refused(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    service.stage_files(make_plan(base_uri=RUN, run_id="inner"), write("b.csv"))
    before = stored()
    with pytest.raises(UnclaimedPrefixError, match="is also the base of other runs .*run-1/_manifests/inner/"):
        clean_up_run(client, BASE, "run-1", policy="delete_always")
    assert stored() == before
    assert clean_up_run(client, RUN, "inner", policy="delete_always").deleted_objects == 1


@pytest.mark.usefixtures("staged")
@pytest.mark.parametrize(
    ("base_uri", "run_id", "part", "policy", "kind"),
    [
        (BASE, "", None, "delete_always", InvalidPlanError),
        (BASE, "..", None, "delete_always", InvalidPlanError),
        (BASE, "_manifests", None, "delete_always", InvalidPlanError),
        (BASE, "run-1/dt=1", None, "delete_always", InvalidPlanError),
        (BASE, "run-1", "", "delete_always", InvalidPlanError),
        (BASE, "run-1", "..", "delete_always", InvalidPlanError),
        (BASE, "run-1", None, "delete", InvalidPlanError),
        (BASE, "run-1", None, "", InvalidPlanError),
        (f"{BASE}/..", "run-1", None, "delete_always", InvalidUriError),
        (f"{BASE}//", "run-1", None, "delete_always", InvalidUriError),
        ("s3://", "run-1", None, "delete_always", InvalidUriError),
        ("", "run-1", None, "delete_always", InvalidUriError),
        ("file:///lake", "run-1", None, "delete_always", InvalidUriError),
        (f"{BASE}/_manifests", "run-1", None, "delete_always", InvalidPlanError),
    ],
)
def test_what_can_not_name_a_run_is_refused(
    client: LocalObjectStorageClient,
    stored: Stored,
    base_uri: str,
    run_id: str,
    part: str | None,
    policy: str,
    kind: type[Exception],
) -> None:
    before = stored()
    with pytest.raises(kind):
        clean_up_run(client, base_uri, run_id, part=part, policy=policy)
    assert stored() == before


# Deletes that fail.


class Refusing(LocalObjectStorageClient):
    """Doesn't delete what is called b.csv, and says why."""

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        refused = [key for key in keys if key.endswith("b.csv")]
        super()._delete_batch(anywhere, [key for key in keys if key not in refused])
        return dict.fromkeys(refused, "AccessDenied: no right to delete")


LEFT = {f"{RUN}/b.csv": "AccessDenied: no right to delete; it needs s3:DeleteObject"}


@pytest.mark.usefixtures("staged")
def test_what_is_left_is_named_in_the_error_and_in_the_evidence(
    client: LocalObjectStorageClient, stored: Stored
) -> None:
    with pytest.raises(DeleteIncompleteError, match=r"run-1/b\.csv \(AccessDenied: .*s3:DeleteObject\)") as failed:
        clean_up_run(Refusing(root_dir=client.root_dir), BASE, "run-1", policy="delete_always")
    assert failed.value.left == LEFT
    assert objects(stored) == sorted([*NEIGHBOURS, f"{RUN}/b.csv"])
    record = json.loads(client.get_bytes(CLEANUP_RECORD))
    assert (record["outcome"], record["left"]) == ("incomplete", LEFT)
    assert (record["deleted_objects"], record["deleted_bytes"]) == (2, 4)


@pytest.mark.usefixtures("staged")
def test_a_cleanup_can_be_run_again_when_what_held_the_objects_is_gone(client: LocalObjectStorageClient) -> None:
    with pytest.raises(DeleteIncompleteError):
        clean_up_run(Refusing(root_dir=client.root_dir), BASE, "run-1", policy="delete_always")
    assert clean_up_run(client, BASE, "run-1", policy="delete_always").deleted_objects == 1
    assert json.loads(client.get_bytes(CLEANUP_RECORD))["outcome"] == "deleted"


@pytest.mark.usefixtures("staged")
def test_what_is_still_listed_after_its_delete_is_left(client: LocalObjectStorageClient) -> None:
    class Forgetful(LocalObjectStorageClient):
        """Says that it deleted, and didn't."""

        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            return {}

    with pytest.raises(DeleteIncompleteError, match="3 objects could not be deleted") as failed:
        clean_up_run(Forgetful(root_dir=client.root_dir), BASE, "run-1", policy="delete_always")
    assert set(failed.value.left) == {f"{RUN}/a.csv", f"{RUN}/b.csv", f"{RUN}/dt=1/c.csv"}
    record = json.loads(client.get_bytes(CLEANUP_RECORD))
    assert (record["outcome"], record["deleted_objects"], record["deleted_bytes"]) == ("incomplete", 0, 0)


@pytest.mark.usefixtures("staged")
def test_what_is_left_is_named_even_when_the_evidence_can_not_be_written(client: LocalObjectStorageClient) -> None:
    class ReadOnly(Refusing):
        def put_bytes(self, data: bytes, uri: ObjectStorageUri, **options: Any) -> ObjectStorageObject:
            if uri != CLEANUP_RECORD:
                return super().put_bytes(data, uri, **options)
            raise StorageAccessDeniedError(f"Could not write {uri}", uri=str(uri))

    with pytest.raises(DeleteIncompleteError) as failed:
        clean_up_run(ReadOnly(root_dir=client.root_dir), BASE, "run-1", policy="delete_always")
    assert failed.value.left == LEFT
    assert any(str(CLEANUP_RECORD) in note for note in failed.value.__notes__)


@pytest.mark.usefixtures("staged")
def test_a_request_that_is_refused_as_a_whole_names_its_keys_too(client: LocalObjectStorageClient) -> None:
    """Azure and GCS can refuse a whole batch; half of the objects may be gone by then."""

    class RefusesBatches(LocalObjectStorageClient):
        delete_batch_size = 1

        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            if any(key.endswith("b.csv") for key in keys):
                raise StorageAccessDeniedError(f"Could not delete {keys}: no right to delete", uri=keys[0])
            return super()._delete_batch(anywhere, keys)

    with pytest.raises(DeleteIncompleteError, match="no right to delete") as failed:
        clean_up_run(RefusesBatches(root_dir=client.root_dir), BASE, "run-1", policy="delete_always")
    assert set(failed.value.left) == {f"{RUN}/b.csv"}
    record = json.loads(client.get_bytes(CLEANUP_RECORD))
    assert (record["outcome"], set(record["left"])) == ("incomplete", {f"{RUN}/b.csv"})
