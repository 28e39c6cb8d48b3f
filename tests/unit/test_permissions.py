"""A refusal names the right that is missing, by its provider's name: on GCS nothing that runs here refuses any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpone_airflow.staging.plan import ObjectStorageStagingPlan
from dpone_airflow.staging.rights import check_may_delete
from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.answers import key_reason, store_error
from dpone_airflow.storage.deletes import Deleter
from dpone_airflow.storage.errors import DeleteIncompleteError, StorageAccessDeniedError, StorageError
from dpone_airflow.storage.permissions import missing_permission
from dpone_airflow.storage.uri import ObjectStorageProvider

STORAGE = Path(__file__).resolve().parents[2] / "dpone_airflow" / "storage"
S3 = ObjectStorageUri.parse("s3://landing/orders/run-1/a.csv")
GCS = ObjectStorageUri.parse("gs://landing/orders/run-1/a.csv")
AZURE = ObjectStorageUri.parse("az://landing/orders/run-1/a.csv")
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


@pytest.mark.parametrize(
    ("action", "s3", "gcs", "azure"),
    [
        ("list", "s3:ListBucket", "storage.objects.list", f"{BLOBS}/read (in a SAS: l)"),
        ("read", "s3:GetObject", "storage.objects.get", f"{BLOBS}/read (in a SAS: r)"),
        ("look up", "s3:GetObject", "storage.objects.get", f"{BLOBS}/read (in a SAS: r)"),
        ("write", "s3:PutObject", "storage.objects.create", f"{BLOBS}/write (in a SAS: w)"),
        ("delete", "s3:DeleteObject", "storage.objects.delete", f"{BLOBS}/delete (in a SAS: d)"),
        ("delete 3 objects, the first of them", "s3:DeleteObject", "storage.objects.delete", f"{BLOBS}/delete"),
        ("write part 7 of", "s3:PutObject", "storage.objects.create", f"{BLOBS}/write"),
        ("begin a multipart upload to", "s3:PutObject", "", ""),
        ("commit the blocks of", "", "", f"{BLOBS}/write (in a SAS: w)"),
        ("list the unfinished uploads below", "s3:ListBucketMultipartUploads", "", ""),
        ("abort an upload of", "s3:AbortMultipartUpload", "", ""),
    ],
)
def test_a_refused_call_names_the_right_the_object_and_what_to_do(action: str, s3: str, gcs: str, azure: str) -> None:
    for uri, code, right in (
        (S3, "AccessDenied", s3),
        (GCS, "Forbidden", gcs),
        (AZURE, "AuthorizationPermissionMismatch", azure),
    ):
        if not right:
            continue
        error = store_error(action, uri, 403, code, "no")
        assert isinstance(error, StorageAccessDeniedError)
        assert error.permission.startswith(right)
        assert str(error).startswith(f"Could not {action} {uri}: {code}: no. ")
        assert f"needs {error.permission}" in str(error)
        assert "grant" in str(error)


def test_a_read_that_s3_refuses_may_be_of_what_is_not_there() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: without s3:ListBucket it is a 403."""
    assert "s3:ListBucket on the bucket" in str(store_error("read", S3, 403, "AccessDenied", "Access Denied"))
    assert "ListBucket" not in str(store_error("read", GCS, 403, "Forbidden", "no"))


@pytest.mark.parametrize(
    ("uri", "message", "right"),
    [
        (
            S3,
            "User: arn:aws:iam::123456789012:user/etl is not authorized to perform: s3:PutObjectTagging on resource: x",
            "s3:PutObjectTagging",
        ),
        (
            S3,
            "User: arn:aws:sts::123456789012:assumed-role/etl/x is not authorized to perform: kms:GenerateDataKey on x",
            "kms:GenerateDataKey",
        ),
        (
            GCS,
            "etl@p.iam does not have storage.objects.delete access to the Google Cloud Storage object.",
            "storage.objects.delete",
        ),
        (
            GCS,
            "etl@p.iam.gserviceaccount.com does not have serviceusage.services.use access to the Google Cloud project.",
            "serviceusage.services.use",
        ),
    ],
)
def test_the_store_knows_best_which_right_it_wanted(uri: ObjectStorageUri, message: str, right: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html has the form of S3's words."""
    error = store_error("write", uri, 403, "AccessDenied" if uri is S3 else "Forbidden", message)
    assert isinstance(error, StorageAccessDeniedError)
    assert error.permission == right
    assert f"needs {right} on it" in str(error)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "AuthenticationFailed"),
        (403, "AuthorizationFailure"),
        (400, "ExpiredToken"),
        (401, "Unauthorized"),
        (None, "NoCredentials"),
    ],
)
def test_an_identity_that_is_not_known_is_not_said_to_lack_a_right(status: int | None, code: str) -> None:
    error = store_error("list", S3, status, code, "no")
    assert isinstance(error, StorageAccessDeniedError)
    assert error.permission == ""
    assert "Check the credentials" in str(error)
    assert "s3:" not in str(error).replace(str(S3), "")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (GCS, "Object 'landing/orders/run-1/a.csv' is subject to bucket's retention policy or object retention"),
        (GCS, "Object 'landing/orders/run-1/a.csv' is under active Temporary hold and cannot be deleted"),
        (S3, "Access Denied because object protected by object lock."),
    ],
)
def test_what_is_held_is_not_said_to_lack_a_right(uri: ObjectStorageUri, message: str) -> None:
    error = store_error("delete", uri, 403, "AccessDenied", message)
    assert isinstance(error, StorageAccessDeniedError)
    assert error.permission == ""
    assert "Take away the hold, the lock or the retention rule" in str(error)
    assert key_reason(f"403: {message}", uri.provider) == f"403: {message}"


@pytest.mark.parametrize(
    ("provider", "reason", "right"),
    [
        (ObjectStorageProvider.S3, "AccessDenied: Access Denied", "s3:DeleteObject"),
        (ObjectStorageProvider.GCS, "403: no", "storage.objects.delete"),
        (ObjectStorageProvider.AZURE_BLOB, "AuthorizationPermissionMismatch: no", f"{BLOBS}/delete (in a SAS: d)"),
        (ObjectStorageProvider.AZURE_BLOB, "403: no", f"{BLOBS}/delete (in a SAS: d)"),
    ],
)
def test_a_refused_key_of_a_batch_names_the_right(provider: ObjectStorageProvider, reason: str, right: str) -> None:
    assert key_reason(f"{reason}.", provider) == f"{reason}; it needs {right}"


@pytest.mark.parametrize(
    "reason", ["SlowDown: Please reduce your request rate.", "LeaseIdMissing: no", "409: no", "no"]
)
def test_a_key_that_is_refused_for_another_reason_keeps_just_that(reason: str) -> None:
    assert key_reason(reason, ObjectStorageProvider.AZURE_BLOB) == reason


def calls() -> Iterator[tuple[str, str]]:
    """Yield the module and the words of every call that a cloud's client makes."""
    for module in ("s3", "gcs", "azure"):
        for node in ast.walk(ast.parse((STORAGE / f"{module}.py").read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_calling":
                words = node.args[0]
                if isinstance(words, ast.JoinedStr):
                    words = words.values[0]
                if isinstance(words, ast.Constant):
                    yield module, str(words.value)


def test_every_call_of_every_client_has_a_right_that_it_needs() -> None:
    providers = dict(zip(("s3", "gcs", "azure"), ObjectStorageProvider, strict=True))
    found = list(calls())
    assert len(found) > 25
    assert not [call for call in found if not missing_permission(call[1], providers[call[0]], "")]


class Client:
    """Deletes by batches, as GCS does, and answers each key with what it was given."""

    def __init__(self, *answers: str | StorageError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def delete_objects(self, uris: list[ObjectStorageUri]) -> None:
        Deleter(self._delete_batch, self._delete_one, batch_size=100, threads=1, sleep=lambda _: None).delete(uris)

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        self.asked += keys
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, StorageError):
            raise answer
        return dict.fromkeys(keys, answer) if answer else {}

    def _delete_one(self, uri: ObjectStorageUri) -> None:
        raise AssertionError("it takes batches")


def check(client: Client, base: str = "gs://landing/orders") -> None:
    check_may_delete(client, ObjectStorageStagingPlan(base, "run-1", "d", "t", "csv"))  # type: ignore[arg-type]


def test_who_may_delete_is_asked_once_and_for_nothing_that_is_there() -> None:
    clients = [Client(""), Client("")]
    for client in clients:
        check(client)
    keys = [key for client in clients for key in client.asked]
    assert len(keys) == len(set(keys)) == 2
    assert all(key.startswith("orders/run-1/dpone-may-it-be-deleted-") for key in keys)


@pytest.mark.parametrize(
    "answer",
    [
        "403: etl@p.iam.gserviceaccount.com does not have storage.objects.delete access to the object.",
        store_error("delete 1 objects, the first of them", GCS, 403, "Forbidden", "no"),
    ],
)
def test_who_may_not_delete_is_told_before_anything_is_sent(answer: str | StorageError) -> None:
    with pytest.raises(StorageAccessDeniedError, match=r"^No file was sent to gs://landing/orders/run-1/, ") as refused:
        check(Client(answer))
    assert refused.value.permission == "storage.objects.delete"
    assert "Grant storage.objects.delete to the connection's identity" in str(refused.value)
    assert "cleanup_policy='retain' and exact_prefix='check'" in str(refused.value)
    assert refused.value.uri.startswith("gs://landing/orders/run-1/dpone-may-it-be-deleted-")


def test_a_delete_that_is_refused_for_another_reason_is_told_as_it_is() -> None:
    with pytest.raises(DeleteIncompleteError, match="409: no"):
        check(Client("409: no"))


def test_a_store_that_is_busy_is_asked_again() -> None:
    client = Client("SlowDown: no", "")
    check(client, "s3://landing/orders")
    assert len(client.asked) == 2
