"""The contract from files to manifest to cleanup, over every client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    StagingWriter,
)
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ClaimedByAnotherWriterError,
    ClaimNotFoundError,
    UnclaimedPrefixError,
)
from tests.conformance.stores import Store

WRITER = StagingWriter("test", "dag", "run", "stage")


def plan(base: ObjectStorageUri, **changes: str) -> ObjectStorageStagingPlan:
    fields = {"run_id": "run-1", "dataset": "d", "table": "t", "file_format": "csv", "cleanup_policy": "delete_always"}
    return ObjectStorageStagingPlan(str(base), **(fields | changes))


def service(client: ObjectStorageClient, writer: StagingWriter = WRITER) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(client=client, writer=writer)


@pytest.fixture
def odd_name(store: Store) -> str:
    return store.name("a+b=c%25 ü.csv")


@pytest.fixture
def tree(tmp_path: Path, file: Path, odd_name: str) -> Path:
    folder = tmp_path / "tree"
    (folder / "dt=2026-11-22").mkdir(parents=True)
    (folder / "dt=2026-11-22" / "part-0.csv").write_bytes(b"a,b\n1,2\n")
    (folder / "empty.csv").touch()
    (folder / odd_name).write_bytes(b"odd")
    file.rename(folder / "large.bin")
    return folder


def test_what_the_manifest_says_is_what_the_store_holds(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path, tmp_path: Path, odd_name: str
) -> None:
    manifest = service(client).stage_files(plan(base), tree)

    assert [item.file_name for item in manifest.objects] == [
        odd_name,
        "dt=2026-11-22/part-0.csv",
        "empty.csv",
        "large.bin",
    ]
    assert manifest.total_size_bytes == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    assert {item.uri: (item.size_bytes, item.etag) for item in manifest.objects} == {
        str(item.uri): (item.size_bytes, item.etag) for item in client.list_objects(base.child("run-1"))
    }
    for item in manifest.objects:
        got = client.get_file(ObjectStorageUri.parse(item.uri), tmp_path / "copy")
        assert got.sha256 == item.sha256
        assert (tmp_path / "copy").read_bytes() == (tree / item.file_name).read_bytes()
    assert ObjectStorageStagingManifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_cleanup_deletes_the_run_and_leaves_evidence_and_neighbours(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    other = service(client).stage_files(plan(base, run_id="run-10"), tree / "empty.csv")
    manifest = service(client).stage_files(plan(base), tree)

    assert service(client).cleanup(manifest) == 4
    assert client.list_prefix(base.child("run-1")) == []
    assert [str(uri) for uri in client.list_prefix(base.child("run-10"))] == [other.objects[0].uri]
    evidence = base.child("_manifests/run-1")
    records = [uri.key.removeprefix(evidence.prefix) for uri in client.list_prefix(evidence)]
    assert sorted(records) == ["_run.json", "_run/cleanup.json", "_run/manifest.json"]
    outcome = json.loads(client.get_bytes(base.child("_manifests/run-1/_run/cleanup.json")))
    assert (outcome["outcome"], outcome["deleted_objects"]) == ("deleted", 4)


def test_retain_keeps_everything(client: ObjectStorageClient, base: ObjectStorageUri, tree: Path) -> None:
    manifest = service(client).stage_files(plan(base, cleanup_policy="retain"), tree)
    assert service(client).cleanup(manifest) == 0
    assert len(client.list_prefix(base.child("run-1"))) == 4


def test_a_retry_with_fewer_files_leaves_no_stray(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    first = service(client).stage_files(plan(base), tree)
    again = service(client).stage_files(plan(base), tree)
    assert [item.sha256 for item in again.objects] == [item.sha256 for item in first.objects]

    (tree / "empty.csv").unlink()
    fewer = service(client).stage_files(plan(base), tree)
    assert {str(uri) for uri in client.list_prefix(base.child("run-1"))} == {item.uri for item in fewer.objects}


def test_live_data_under_the_prefix_is_not_touched(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    live = base.child("run-1/live-table.parquet")
    client.put_bytes(b"somebody's", live)

    with pytest.raises(UnclaimedPrefixError, match="live-table"):
        service(client).stage_files(plan(base), tree)
    with pytest.raises(ClaimNotFoundError):
        clean_up_run(client, str(base), "run-1", policy="delete_always")
    assert client.list_prefix(base) == [live]
    assert client.get_bytes(live) == b"somebody's"


def test_another_writer_is_refused(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    mine = service(client).stage_files(plan(base), tree)
    stranger = StagingWriter("test", "other_dag", "run", "stage")

    with pytest.raises(ClaimedByAnotherWriterError, match="other_dag"):
        service(client, stranger).stage_files(plan(base), tree / "empty.csv")
    with pytest.raises(ClaimedByAnotherWriterError):
        clean_up_run(client, str(base), "run-1", policy="delete_always", staged_by=stranger)
    assert len(client.list_prefix(base.child("run-1"))) == len(mine.objects)


def test_parts_share_a_run_and_are_cleaned_apart(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    parts = [
        service(client, StagingWriter("test", "dag", "run", "stage", index)).stage_files(
            plan(base, part=f"map-{index:05d}"), tree / "empty.csv"
        )
        for index in range(2)
    ]
    assert [part.objects[0].uri for part in parts] == [
        f"{base}/run-1/map-00000/empty.csv",
        f"{base}/run-1/map-00001/empty.csv",
    ]
    with pytest.raises(ClaimedByAnotherWriterError):
        service(client, StagingWriter("test", "dag", "run", "other", 2)).stage_files(plan(base, part="map-00002"), tree)

    assert service(client, StagingWriter("test", "dag", "run", "stage", 0)).cleanup(parts[0]) == 1
    assert [str(uri) for uri in client.list_prefix(base.child("run-1"))] == [parts[1].objects[0].uri]
    whole = clean_up_run(client, str(base), "run-1", policy="delete_always", staged_by=WRITER)
    assert whole.deleted_objects == 1
