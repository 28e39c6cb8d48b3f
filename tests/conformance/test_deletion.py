"""Every deletion keeps to its limits, and says what became of the objects: gone, hidden or refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.deletion import DeletionLimits
from dpone_airflow.staging.runs import RunState, read_runs
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import DeletionLimitError
from local_servers import FakeGcsServer
from tests.conformance.stores import Store
from tests.conformance.test_staging import plan, service


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    for number in range(3):
        (folder / "sub" / f"{number}.csv").write_text(f"row {number}\n")
    return folder


def clean_up(client: ObjectStorageClient, manifest: ObjectStorageStagingManifest, **options: Any) -> Any:
    return clean_up_run(client, manifest.base_uri, manifest.run_id, policy=manifest.cleanup_policy, **options)


@pytest.mark.parametrize("limits", [DeletionLimits(max_objects=2), DeletionLimits(max_bytes=17)])
def test_more_than_the_limit_is_refused_before_the_first_delete(
    client: ObjectStorageClient, base: ObjectStorageUri, files: Path, limits: DeletionLimits
) -> None:
    manifest = service(client).stage_files(plan(base), files)
    before = client.list_prefix(base)
    with pytest.raises(
        DeletionLimitError, match=r"holds 3 objects of 18 bytes, and max_\w+ is \d+. Nothing was deleted"
    ):
        clean_up(client, manifest, limits=limits)
    assert client.list_prefix(base) == before
    enough = DeletionLimits(max_objects=3, max_bytes=18)
    assert clean_up(client, manifest, limits=enough).deleted_objects == 3


def test_a_dry_run_names_what_then_goes(client: ObjectStorageClient, base: ObjectStorageUri, files: Path) -> None:
    manifest = service(client).stage_files(plan(base), files)
    planned = clean_up(client, manifest, dry_run=True)
    assert sorted(str(item.uri) for item in planned.objects) == sorted(item.uri for item in manifest.objects)
    done = clean_up(client, manifest)
    assert planned.to_dict() | {"dry_run": False} == done.to_dict()
    assert [item.uri for item in planned.objects] == [item.uri for item in done.objects]


def test_a_listing_and_a_look_up_tell_when_an_object_was_written(
    client: ObjectStorageClient, base: ObjectStorageUri
) -> None:
    uri = base.child("object")
    before = datetime.now(UTC) - timedelta(seconds=2)  # of some stores in whole seconds
    client.put_bytes(b"now", uri)
    (listed,) = client.list_objects(base)
    for found in (listed, client.stat(uri)):
        assert found.modified_at is not None
        assert before < found.modified_at < datetime.now(UTC) + timedelta(seconds=1)
        assert found.modified_at.utcoffset() == timedelta(0)


def test_folders_are_what_holds_objects_directly_below(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    for key in ("run-2/a", "run-1/deep/er/b", "run-1/c", "file"):
        client.put_bytes(b"x", base.child(key))
    assert client.list_folders(base) == ["run-1", "run-2"]
    assert client.list_folders(base.child("run-1")) == ["deep"]
    assert client.list_folders(base.child("run")) == []
    assert client.list_folders(base.child("nothing")) == []


def test_a_bucket_without_versions_says_so(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    client.put_bytes(b"x", base.child("object"))
    client.get_bytes(base.child("object"))
    assert client.keeps_versions(base) is False


@pytest.fixture(params=["seaweedfs", "fake-gcs-server"])
def versioned(request: pytest.FixtureRequest, started: Any, tmp_path: Path) -> Any:
    """A client of a bucket that keeps versions, its URI, and what reads an older version of an object."""
    bucket = f"versioned-{uuid4().hex[:8]}"
    if request.param == "seaweedfs":
        client = Store(f"s3://{bucket}", started("seaweedfs").connection).client()
        s3 = client._s3  # type: ignore[attr-defined]
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

        def read_from_s3(key: str, _: str) -> bytes:
            (version,) = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
            body: bytes = s3.get_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])["Body"].read()
            return body

        yield client, f"s3://{bucket}", read_from_s3
        return
    with FakeGcsServer.start(tmp_path, in_memory=True) as server:
        client = Store(f"gs://{bucket}", server.airflow_connection(), server.environment()).client()
        gcs = client._gcs  # type: ignore[attr-defined]
        new = gcs.bucket(bucket)
        new.versioning_enabled = True
        gcs.create_bucket(new)

        def read_from_gcs(key: str, generation: str) -> bytes:
            # Its listings have no older versions, but it reads them.
            content: bytes = gcs.bucket(bucket).blob(key, generation=int(generation)).download_as_bytes()
            return content

        yield client, f"gs://{bucket}", read_from_gcs


def test_what_a_versioned_bucket_keeps_is_called_hidden_and_not_deleted(
    versioned: Any, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client, root, read_older = versioned
    manifest = service(client).stage_files(plan(ObjectStorageUri.parse(root).child("base")), files)
    planned = clean_up(client, manifest, dry_run=True)
    report = clean_up(client, manifest)
    figures = {"deleted_objects": 0, "deleted_bytes": 0, "hidden_objects": 3, "hidden_bytes": 18}
    assert planned.to_dict() == figures | {
        "cleanup_policy": "delete_always",
        "prefix": f"{manifest.prefix}/",
        "dry_run": True,
    }
    assert report.to_dict() == planned.to_dict() | {"dry_run": False}
    assert client.list_prefix(manifest.prefix) == []
    for item in manifest.objects:
        older = read_older(ObjectStorageUri.parse(item.uri).key, item.etag)
        assert sha256(older).hexdigest() == item.sha256
    assert "3 objects below" in caplog.text
    assert "billed until a lifecycle rule removes their older versions" in caplog.text
    record = json.loads(
        client.get_bytes(ObjectStorageUri.parse(f"{root}/base/_manifests/run-1/_run/cleanup.json")).decode()
    )
    assert record["outcome"] == "hidden"
    assert {name: record[name] for name in figures} == figures
    (run,) = read_runs(client, f"{root}/base").runs
    assert run.state is RunState.CLEANED
    assert run.parts[0].cleanup is not None
    assert run.parts[0].cleanup["hidden_objects"] == 3


def test_only_uploads_of_the_age_are_aborted(started: Any) -> None:
    client = started("seaweedfs").client()
    base = ObjectStorageUri.parse(started("seaweedfs").root).child(f"test-{uuid4().hex[:12]}")
    for name in ("a", "b"):
        client._s3.create_multipart_upload(Bucket=base.bucket, Key=base.child(name).key)
    uploads = client.list_uploads(base)
    assert {upload.uri for upload in uploads} == {base.child("a"), base.child("b")}
    began = [upload.began_at for upload in uploads]
    assert all(abs(datetime.now(UTC) - at) < timedelta(minutes=1) for at in began)
    assert client.abort_uploads(base, begun_before=min(began)) == 0
    assert client.abort_uploads(base, begun_before=max(began) + timedelta(seconds=1)) == 2
    assert client.list_uploads(base) == []


def test_a_bucket_that_came_to_keep_versions_after_the_claim_was_written_is_asked(started: Any, files: Path) -> None:
    bucket = f"later-{uuid4().hex[:8]}"
    client = Store(f"s3://{bucket}", started("seaweedfs").connection).client()
    client._s3.create_bucket(Bucket=bucket)  # type: ignore[attr-defined]
    manifest = service(client).stage_files(plan(ObjectStorageUri.parse(f"s3://{bucket}/base")), files)
    client._s3.put_bucket_versioning(  # type: ignore[attr-defined]
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    report = clean_up(client, manifest)
    assert (report.deleted_objects, report.hidden_objects) == (0, 3)


def test_what_a_killed_try_left_of_its_records_is_aborted_by_the_retry_and_by_the_cleanup(
    started: Any, files: Path
) -> None:
    store = started("seaweedfs")
    client = store.client()
    base = ObjectStorageUri.parse(store.root).child(f"test-{uuid4().hex[:12]}")
    manifest = service(client).stage_files(plan(base), files)
    record = base.child("_manifests/run-1/_run/manifest.json")
    for again in (lambda: service(client).stage_files(plan(base), files), lambda: clean_up(client, manifest)):
        client._s3.create_multipart_upload(Bucket=record.bucket, Key=record.key)
        assert [upload.uri for upload in client.list_uploads(base)] == [record]
        again()
        assert client.list_uploads(base) == []
