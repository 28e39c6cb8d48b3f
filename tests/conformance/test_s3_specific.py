"""What is S3's own: checksums that the server checks, multipart uploads, refused keys of a batch delete."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence, claim_run
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ChecksumMismatchError,
    DeleteIncompleteError,
    OvertakenError,
    SourceFileChangedError,
    StorageAccessDeniedError,
    StorageError,
)
from dpone_airflow.storage.s3 import S3ObjectStorageClient
from dpone_airflow.storage.uploader import UploadTarget
from tests.conformance.stores import BUCKET, Store


@pytest.fixture
def store(started: Callable[[str], Store]) -> Store:
    return started("seaweedfs")


@pytest.fixture
def s3(store: Store) -> Any:
    import boto3

    extra = store.connection["extra"]
    return boto3.client(
        "s3",
        endpoint_url=extra["endpoint_url"],
        region_name=extra["region_name"],
        aws_access_key_id=store.connection["login"],
        aws_secret_access_key=store.connection["password"],
    )


def test_the_server_refuses_bytes_that_are_not_those_that_were_hashed(
    client: ObjectStorageClient, base: ObjectStorageUri
) -> None:
    assert isinstance(client, S3ObjectStorageClient)
    uri = base.child("object")
    with pytest.raises(ChecksumMismatchError, match=str(uri)):
        client._put_small(UploadTarget(uri, None, {}), b"the bytes", sha256(b"other bytes").hexdigest(), False)
    assert not client.exists(uri)


def test_the_server_refuses_a_wrong_part_and_the_upload_is_aborted(s3: Any, base: ObjectStorageUri, file: Path) -> None:
    class Corrupting:
        """Changes the second part on its way, after its checksum was taken."""

        meta = s3.meta

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def upload_part(self, **arguments: Any) -> Any:
            if arguments["PartNumber"] == 2:
                arguments["Body"] = b"?" + arguments["Body"][1:]
            return s3.upload_part(**arguments)

    uri = base.child("large")
    with pytest.raises(ChecksumMismatchError, match="part 2"):
        S3ObjectStorageClient(Corrupting()).put_file(file, uri)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix=base.prefix)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET, Prefix=base.prefix)


def test_a_file_that_changes_leaves_no_multipart_upload_open(
    client: ObjectStorageClient, s3: Any, base: ObjectStorageUri, file: Path
) -> None:
    from tests.conformance.test_client import _Growing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpone_airflow.storage.readers.HashingReader", _Growing)
        with pytest.raises(SourceFileChangedError):
            client.put_file(file, base.child("large"))
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET, Prefix=base.prefix)


def _begin(s3: Any, uri: ObjectStorageUri) -> str:
    """Begin an upload in parts, send one part, and leave it as a killed worker would; return its id."""
    place = {"Bucket": uri.bucket, "Key": uri.key}
    upload_id: str = s3.create_multipart_upload(**place)["UploadId"]
    s3.upload_part(**place, UploadId=upload_id, PartNumber=1, Body=b"x" * 5 * 1024 * 1024)
    return upload_id


def _unfinished(s3: Any, prefix: ObjectStorageUri) -> list[str]:
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
    return sorted(upload["Key"] for page in pages for upload in page.get("Uploads", ()))


def test_unfinished_uploads_below_a_prefix_are_aborted_and_no_others(
    client: ObjectStorageClient, s3: Any, base: ObjectStorageUri
) -> None:
    run = base.child("run-1")
    ours = {uri: _begin(s3, uri) for uri in (run.child("a"), run.child("dt=1/b"), run.child("c"))}
    ours[run.child("again")] = _begin(s3, run.child("again"))
    _begin(s3, run.child("again"))  # two tries, two uploads of one key
    others = [base.child("run-10/a"), base.child("run-1"), base.child("run-2/a")]
    for uri in others:
        _begin(s3, uri)
    client.put_bytes(b"x", run.child("a"))

    assert client.abort_uploads(run) == 5
    assert _unfinished(s3, base) == sorted(uri.key for uri in others)
    assert client.get_bytes(run.child("a")) == b"x"
    for uri, upload_id in ours.items():
        with pytest.raises(s3.exceptions.NoSuchUpload):
            s3.list_parts(Bucket=uri.bucket, Key=uri.key, UploadId=upload_id)
    assert client.abort_uploads(run) == 0
    assert client.abort_uploads(base) == 3


def test_unfinished_uploads_past_one_page_are_aborted(
    client: ObjectStorageClient, s3: Any, base: ObjectStorageUri
) -> None:
    def begin(number: int) -> None:
        s3.create_multipart_upload(Bucket=BUCKET, Key=base.child(f"{number:05d}").key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(1_050)))
    assert client.abort_uploads(base) == 1_050
    assert _unfinished(s3, base) == []


ENGINES = pytest.mark.parametrize("engine", ["obstore", "sdk"])


@ENGINES
def test_an_upload_that_a_later_try_has_aborted_fails_and_leaves_the_later_ones_alone(
    store: Store, s3: Any, base: ObjectStorageUri, file: Path, engine: str
) -> None:
    uri = base.child("large")
    client = store.client(engine=engine)
    theirs: list[str] = []

    def later_try(_: int) -> None:
        if not theirs and _unfinished(s3, base):
            assert store.client().abort_uploads(base) == 1
            theirs.append(_begin(s3, uri))

    with pytest.raises(StorageError, match="Somebody has aborted this upload") as failed:
        client.put_file(file, uri, on_read=later_try)
    assert (type(failed.value), failed.value.code) == (StorageError, "NoSuchUpload")
    assert [upload.upload_id for upload in client.list_uploads(base)] == theirs


@ENGINES
def test_an_upload_that_fails_aborts_what_it_began_itself_and_no_later_one(
    store: Store, s3: Any, base: ObjectStorageUri, file: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    uri = base.child("large")
    client = store.client(engine=engine)
    refused = StorageError("the store is busy", uri=str(uri))
    reads = 0

    def fail(_: int) -> None:
        nonlocal reads
        reads += 1
        if reads == 1:
            _begin(s3, uri)  # as a request does whose answer gets lost
        if reads == 3:
            raise refused

    with pytest.raises(StorageError, match="the store is busy"):
        client.put_file(file, uri, on_read=fail)
    assert _unfinished(s3, base) == [], "what began with it is its own"

    # The same, but that it began a minute ago: what begins now is another try's.
    monkeypatch.setattr("dpone_airflow.storage.readers.monotonic", lambda: time.monotonic() - 60)
    reads = 0
    with pytest.raises(StorageError, match="the store is busy"):
        client.put_file(file, uri, on_read=fail)
    assert _unfinished(s3, base) == [uri.key]


def test_a_begin_that_is_asked_for_again_aborts_its_own_first_upload_and_no_other_tries(
    s3: Any, base: ObjectStorageUri, file: Path
) -> None:
    uri = base.child("large")

    class LosesAnAnswer:
        """Has begun an upload before, as boto3 does when the first answer got lost."""

        meta = s3.meta

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def create_multipart_upload(self, **arguments: Any) -> Any:
            s3.create_multipart_upload(Bucket=uri.bucket, Key=uri.key)
            answer = s3.create_multipart_upload(**arguments)
            answer["ResponseMetadata"]["RetryAttempts"] = 1
            return answer

    earlier = _begin(s3, uri)
    (begun,) = S3ObjectStorageClient(s3).list_uploads(base)
    while (datetime.now(UTC) - begun.began_at).total_seconds() < 3:  # its age is told in seconds
        time.sleep(0.05)
    S3ObjectStorageClient(LosesAnAnswer()).put_file(file, uri)
    assert [upload.upload_id for upload in S3ObjectStorageClient(s3).list_uploads(base)] == [earlier]


def test_a_stage_that_is_overtaken_at_its_end_aborts_nobodys_upload(
    client: ObjectStorageClient, s3: Any, base: ObjectStorageUri, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ObjectStorageStagingPlan(str(base), "run-1", "d", "t", "csv")
    put_file = client.put_file

    def put(content: Any, uri: ObjectStorageUri, **options: Any) -> Any:
        put = put_file(content, uri, **options)
        StagingEvidence(client, str(base), "run-1").write_alive()
        _begin(s3, plan.prefix.child("theirs"))
        return put

    monkeypatch.setattr(client, "put_file", put)
    with pytest.raises(OvertakenError):
        ObjectStorageStagingService(client=client).stage_files(plan, file)
    assert _unfinished(s3, base) == [plan.prefix.child("theirs").key]


def test_an_upload_that_somebody_else_aborted_meanwhile_is_no_error(s3: Any, base: ObjectStorageUri) -> None:
    class Faster:
        """Aborts each upload just before the client does."""

        meta = s3.meta

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def abort_multipart_upload(self, **arguments: Any) -> Any:
            s3.abort_multipart_upload(**arguments)
            return s3.abort_multipart_upload(**arguments)

    _begin(s3, base.child("a"))
    assert S3ObjectStorageClient(Faster()).abort_uploads(base) == 1
    assert _unfinished(s3, base) == []


def test_a_cleanup_aborts_the_upload_of_a_killed_try(s3: Any, store: Store, base: ObjectStorageUri) -> None:
    client = store.client()
    plan = ObjectStorageStagingPlan(str(base), "run-1", "d", "t", "csv", cleanup_policy="delete_always")
    claim_run(client, plan, StagingWriter(task_id="stage"))
    _begin(s3, base.child("run-1/large.csv"))
    assert clean_up_run(client, str(base), "run-1", policy="delete_always").deleted_objects == 0
    assert _unfinished(s3, base) == []


def test_a_store_that_refuses_bulk_deletes_is_asked_for_one_key_at_a_time(s3: Any, base: ObjectStorageUri) -> None:
    """As Google's and some others' S3 endpoints do."""
    from botocore.exceptions import ClientError

    class NoBatches:
        meta = s3.meta

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def delete_objects(self, **_: Any) -> Any:
            answer = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise ClientError(answer, "DeleteObjects")

    client = S3ObjectStorageClient(NoBatches())
    for number in range(20):
        client.put_bytes(b"x", base.child(str(number)))
    assert client.delete_prefix(base) == 20


def test_the_store_knows_the_digest_of_a_single_put(
    client: ObjectStorageClient, s3: Any, base: ObjectStorageUri, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    put = client.put_file(tmp_path / "file", base.child("file"))
    head = s3.head_object(Bucket=BUCKET, Key=put.uri.key, ChecksumMode="ENABLED")
    assert head["Metadata"]["dpone-sha256"] == put.sha256
    assert base64.b64decode(head["ChecksumSHA256"]).hex() == put.sha256


def test_storage_options_go_with_every_call_that_knows_them(
    store: Store, s3: Any, base: ObjectStorageUri, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"small")
    client = store.client(storage_options={"StorageClass": "STANDARD_IA", "Tagging": "team=data"})
    for path in (tmp_path / "small", file):
        client.put_file(path, base.child(path.name))
        assert s3.head_object(Bucket=BUCKET, Key=base.child(path.name).key)["StorageClass"] == "STANDARD_IA"
        tags = s3.get_object_tagging(Bucket=BUCKET, Key=base.child(path.name).key)["TagSet"]
        assert tags == [{"Key": "team", "Value": "data"}]
    assert client.delete_prefix(base) == 2


@pytest.mark.parametrize("wrong", ["login", "password"])
def test_refused_credentials_say_so_and_show_no_secret(store: Store, base: ObjectStorageUri, wrong: str) -> None:
    connection = dict(store.connection) | {wrong: "N0TTHEKEYN0TTHEKEY"}
    client = Store(store.root, connection).client()
    with pytest.raises(StorageAccessDeniedError, match="Check the credentials") as refused:
        client.put_bytes(b"x", base.child("object"))
    assert store.connection["password"] not in str(refused.value)
    assert "N0TTHEKEYN0TTHEKEY" not in str(refused.value).replace(connection["login"], "")


class _Refusing:
    """The real server, but for keys with ``keep`` in a batch delete, which it answers as S3 does.

    SeaweedFS applies a bucket policy to single deletes only, so it never refuses a key of a batch.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    """

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.meta = s3.meta

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def delete_objects(self, **arguments: Any) -> Any:
        keys = [item["Key"] for item in arguments["Delete"]["Objects"]]
        allowed = [{"Key": key} for key in keys if "keep" not in key]
        if allowed:
            self._s3.delete_objects(Bucket=arguments["Bucket"], Delete={"Objects": allowed, "Quiet": True})
        refused = [{"Key": key, "Code": "AccessDenied", "Message": "Access Denied"} for key in keys if "keep" in key]
        return {"Errors": refused} if refused else {}


def test_refused_deletes_are_named_and_recorded_and_never_counted(
    s3: Any, base: ObjectStorageUri, tmp_path: Path
) -> None:
    client = S3ObjectStorageClient(_Refusing(s3))
    for name in ("go.csv", "keep-1.csv", "keep-2.csv"):
        (tmp_path / name).write_bytes(b"x")
    plan = ObjectStorageStagingPlan(str(base), "run-1", "d", "t", "csv", cleanup_policy="delete_always")
    writer = StagingWriter(task_id="stage")
    ObjectStorageStagingService(client=client, writer=writer).stage_files(plan, tmp_path)

    kept = {f"{base}/run-1/keep-1.csv", f"{base}/run-1/keep-2.csv"}
    with pytest.raises(DeleteIncompleteError, match="keep-1.csv") as refused:
        clean_up_run(client, str(base), "run-1", policy="delete_always", staged_by=writer)
    assert set(refused.value.left) == kept
    assert {str(uri) for uri in client.list_prefix(base.child("run-1"))} == kept
    record = json.loads(client.get_bytes(base.child("_manifests/run-1/_run/cleanup.json")))
    assert (record["outcome"], record["deleted_objects"], set(record["left"])) == ("incomplete", 1, kept)
