"""Whatever an SDK raises becomes an error of ours that says what was done with what, and what to do."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.storage import (
    GCSObjectStorageClient,
    LocalObjectStorageClient,
    ObjectStorageObject,
    ObjectStorageUri,
    S3ObjectStorageClient,
)
from dpone_airflow.storage.answers import may_pass, store_error
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    InvalidUriError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageError,
)
from dpone_airflow.storage.redaction import redact
from dpone_airflow.storage.uploader import UploadTarget

URI = ObjectStorageUri.parse("s3://lake/a.csv")


class SdkError(Exception):
    """What some SDK raises."""


class SomeClient(LocalObjectStorageClient):
    """A client of a store that answers every read and every write with one error."""

    def __init__(self, root: Path, status: int | None, code: str, message: str = "the store's own words") -> None:
        super().__init__(root_dir=root)
        self.answer = (status, code, message)

    def get_bytes(self, uri: ObjectStorageUri) -> bytes:
        with self._calling("read", uri, on_404=ObjectNotFoundError):
            raise SdkError(self.answer[2])

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        with self._calling("look up", uri, on_404=ObjectNotFoundError):
            raise SdkError(self.answer[2])

    def _put_small(self, target: UploadTarget, *_: Any) -> str:
        with self._calling("write", target.uri):
            raise SdkError(self.answer[2])

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        return (SdkError,)

    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        return self.answer


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (403, "AccessDenied", StorageAccessDeniedError, "The connection's identity needs s3:"),
        (403, "RequestTimeTooSkewed", StorageAccessDeniedError, "Set this host's clock"),
        (403, "PermissionError", StorageAccessDeniedError, "the user that this process runs as"),
        (401, "", StorageAccessDeniedError, "Check the credentials"),
        (400, "ExpiredToken", StorageAccessDeniedError, "Check the credentials"),
        (None, "NoCredentials", StorageAccessDeniedError, "Check the credentials"),
        (404, "NoSuchBucket", BucketNotFoundError, "Create the bucket"),
        (404, "ContainerNotFound", BucketNotFoundError, "Create the bucket"),
        (404, "NoSuchKey", ObjectNotFoundError, "whether a cleanup has deleted it"),
        (412, "LeaseIdMissing", StorageError, "break the lease, or wait until it ends"),
        (400, "BadDigest", ChecksumMismatchError, "nothing was stored"),
        (400, "Md5Mismatch", ChecksumMismatchError, "nothing was stored"),
        (400, "XAmzContentChecksumMismatch", ChecksumMismatchError, "nothing was stored"),
        (503, "SlowDown", StorageError, "run it again"),
        (None, "ConnectTimeout", StorageError, "run it again"),
    ],
)
def test_an_answer_becomes_one_of_our_errors_with_an_advice(
    tmp_path: Path, status: int | None, code: str, kind: type[StorageError], advice: str
) -> None:
    client = SomeClient(tmp_path, status, code)
    for ask, said in [(client.get_bytes, "read"), (lambda uri: client.put_bytes(b"x", uri), "write")]:
        with pytest.raises(StorageError) as failed:
            ask(URI)
        assert type(failed.value) is kind
        assert str(failed.value).startswith(f"Could not {said} s3://lake/a.csv: ")
        assert "the store's own words" in str(failed.value)
        assert advice in str(failed.value)
        assert failed.value.uri == "s3://lake/a.csv"


@pytest.mark.parametrize(
    ("status", "code"),
    [(412, "PreconditionFailed"), (412, ""), (409, "BlobAlreadyExists"), (409, "ConditionalRequestConflict")],
)
def test_a_condition_that_fails_is_a_taken_key_to_a_write_alone(tmp_path: Path, status: int, code: str) -> None:
    client = SomeClient(tmp_path, status, code)
    with pytest.raises(ObjectAlreadyExistsError, match="Somebody else wrote it first"):
        client.put_bytes(b"x", URI)
    with pytest.raises(StorageError) as failed:
        client.get_bytes(URI)
    for error in (failed.value, store_error("delete", URI, status, code, "no")):
        assert type(error) is StorageError
        assert "wrote it first" not in str(error)


def test_what_changes_while_it_is_read_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"It changed while it was read: run it again\.$"):
        SomeClient(tmp_path, 412, "PreconditionFailed").get_bytes(URI)


def test_a_404_is_the_object_to_a_read_and_the_bucket_to_a_write(tmp_path: Path) -> None:
    client = SomeClient(tmp_path, 404, "NotFound")
    with pytest.raises(ObjectNotFoundError):
        client.get_bytes(URI)
    with pytest.raises(BucketNotFoundError):
        client.put_bytes(b"x", URI)


def test_an_error_that_is_no_answer_of_the_store_is_left_as_it_is(tmp_path: Path) -> None:
    class Broken(SomeClient):
        def get_bytes(self, uri: ObjectStorageUri) -> bytes:
            with self._calling("read", uri):
                raise ZeroDivisionError("a mistake in the program")

    with pytest.raises(ZeroDivisionError):
        Broken(tmp_path, 404, "").get_bytes(URI)


def test_the_cause_is_kept_when_it_holds_no_secret(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as failed:
        SomeClient(tmp_path, 503, "SlowDown").get_bytes(URI)
    assert isinstance(failed.value.__cause__, SdkError)


def test_neither_the_message_nor_the_traceback_repeats_a_signed_url(tmp_path: Path) -> None:
    client = SomeClient(tmp_path, 403, "AuthenticationFailed", "GET https://host/c?sv=2025&sig=hunter2 was refused")
    with pytest.raises(StorageAccessDeniedError) as failed:
        client.get_bytes(URI)
    assert "was refused" in str(failed.value)
    assert "hunter2" not in "".join(traceback.format_exception(failed.value))


def test_only_an_object_that_is_not_there_does_not_exist(client: LocalObjectStorageClient, tmp_path: Path) -> None:
    """A store that refuses the credentials has said nothing of the object."""

    class Refuses(SomeClient):
        def stat(self, uri: ObjectStorageUri) -> Any:
            return self.get_bytes(uri)

    assert not client.exists(URI)
    assert not Refuses(tmp_path, 404, "NoSuchKey").exists(URI)
    with pytest.raises(StorageAccessDeniedError):
        Refuses(tmp_path, 403, "AccessDenied").exists(URI)


def test_a_client_of_one_store_refuses_the_uris_of_another(tmp_path: Path) -> None:
    class OnlyGcs(LocalObjectStorageClient):
        provider = ObjectStorageUri.parse("gs://lake").provider  # type: ignore[assignment]

    client = OnlyGcs(root_dir=tmp_path)
    client.put_bytes(b"x", ObjectStorageUri.parse("gs://lake/a.csv"))
    (tmp_path / "file").write_bytes(b"x")
    for ask in (
        lambda: client.put_bytes(b"x", URI),
        lambda: client.put_file(tmp_path / "file", URI),
        lambda: client.get_file(URI, tmp_path / "copy"),
        lambda: client.delete_objects([URI]),
    ):
        with pytest.raises(InvalidUriError, match="no URI for OnlyGcs, which serves gcs only"):
            ask()


def test_five_of_many_leftovers_are_named_in_the_message_and_all_in_the_error() -> None:
    left = {f"s3://lake/{number}": "sig=hunter2 was refused" for number in range(8)}
    error = delete_incomplete(left)
    assert str(error).startswith("8 objects could not be deleted: s3://lake/0 (")
    assert "and 3 more" in str(error)
    assert "hunter2" not in f"{error} {error.left}", "what is left goes to the log and into the evidence"
    assert list(error.left) == list(left)
    assert error.uri == "s3://lake/0"


def test_google_giving_up_says_what_it_was_tried_again_for() -> None:
    from google.api_core.exceptions import RetryError, ServiceUnavailable

    client = GCSObjectStorageClient(object())
    error = RetryError("Timeout of 120.0s exceeded", cause=ServiceUnavailable("the service is busy"))
    status, code, message = client._describe(error)
    # It was sent again for two minutes: whoever asks for more would wait for two more.
    assert not may_pass(status, code)
    assert "ServiceUnavailable: the service is busy" in message
    assert "Timeout of 120.0s exceeded" in message


def test_an_upload_that_gcs_has_forgotten_is_no_missing_bucket() -> None:
    from google.api_core.exceptions import NotFound

    address = "https://storage.googleapis.com/upload/storage/v1/b/lake/o?uploadType=resumable&upload_id=AHmgxQ8"
    status, code, message = GCSObjectStorageClient(object())._describe(NotFound(f"PUT {address}: Not Found"))
    error = store_error("write", ObjectStorageUri.parse("gs://lake/a.csv"), status, code, message)
    assert type(error) is StorageError
    assert "no longer knows this upload" in str(error)
    assert redact(address).endswith("upload_id=***")


@pytest.mark.parametrize("headers", [{}, {"ContentLength": 3}, {"ETag": '"e"'}])
def test_an_answer_that_broke_off_in_its_headers_is_no_answer(headers: dict[str, Any]) -> None:
    client = S3ObjectStorageClient(SimpleNamespace(head_object=lambda **_: headers, put_object=lambda **_: {}))
    with pytest.raises(StorageError, match=r"Could not look up s3://lake/a.csv: .*the answer broke off before its"):
        client.stat(URI)
    with pytest.raises(StorageError, match=r"Could not write s3://lake/a.csv: .*the answer broke off before its ETag"):
        client.put_bytes(b"x", URI)
