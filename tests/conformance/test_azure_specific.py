"""What is Azure's own: accounts in URIs, leases that hold blobs, secrets in its messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import AzureBlobObjectStorageClient, ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ConnectionMismatchError,
    DeleteIncompleteError,
    InvalidOptionError,
    StorageAccessDeniedError,
    StorageError,
)
from tests.conformance.stores import BUCKET, Store


@pytest.fixture
def store(started: Callable[[str], Store]) -> Store:
    return started("azurite")


@pytest.fixture
def service(store: Store) -> Any:
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient.from_connection_string(store.server.connection_string)


def test_both_forms_of_a_uri_name_the_same_blobs(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    client.put_bytes(b"x", base.child("blob"))
    short = replace(base, account=None)
    assert str(short).startswith("az://")
    assert client.list_prefix(short) == [short.child("blob")]
    assert client.get_bytes(short.child("blob")) == b"x"


def test_a_uri_of_another_account_is_refused(store: Store, client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    elsewhere = replace(base, account="otheraccount")
    with pytest.raises(ConnectionMismatchError, match="otheraccount"):
        client.put_bytes(b"x", elsewhere.child("blob"))
    with pytest.raises(ConnectionMismatchError, match=store.server.account):
        Store(str(elsewhere), store.connection).client()


def test_a_leased_blob_is_named_and_the_others_go(
    client: ObjectStorageClient, service: Any, base: ObjectStorageUri
) -> None:
    for name in ("free", "held"):
        client.put_bytes(b"x", base.child(name))
    lease = service.get_blob_client(BUCKET, base.child("held").key).acquire_lease()
    with pytest.raises(DeleteIncompleteError, match="LeaseIdMissing") as refused:
        client.delete_prefix(base)
    assert list(refused.value.left) == [str(base.child("held"))]
    assert client.list_prefix(base) == [base.child("held")]
    lease.release()
    assert client.delete_prefix(base) == 1


def test_content_type_and_digest_are_kept_by_the_store(
    client: ObjectStorageClient, service: Any, base: ObjectStorageUri, file: Path
) -> None:
    put = client.put_file(file, base.child("large"), content_type="text/tab-separated-values")
    properties = service.get_blob_client(BUCKET, put.uri.key).get_blob_properties()
    assert properties.content_settings.content_type == "text/tab-separated-values"
    assert properties.metadata["dpone_sha256"] == put.sha256


def test_a_tier_goes_with_the_blob_and_an_unknown_one_is_refused(
    store: Store, service: Any, base: ObjectStorageUri
) -> None:
    store.client(storage_options={"standard_blob_tier": "Cool"}).put_bytes(b"x", base.child("blob"))
    assert service.get_blob_client(BUCKET, base.child("blob").key).get_blob_properties().blob_tier == "Cool"
    with pytest.raises(InvalidOptionError, match="'Cold!' is no tier"):
        store.client(storage_options={"standard_blob_tier": "Cold!"}).put_bytes(b"x", base.child("blob"))


def test_where_a_batch_is_refused_blobs_are_deleted_one_by_one(
    store: Store, base: ObjectStorageUri, caplog: pytest.LogCaptureFixture
) -> None:
    """Azurite answers a batch with an account SAS with a 500."""
    import datetime

    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    token = generate_account_sas(
        store.server.account,
        store.server.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True, add=True),
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )
    connection = {"conn_type": "wasb", "host": store.server.endpoint, "extra": {"sas_token": token}}
    client = Store(store.root, connection).client()
    for number in range(3):
        client.put_bytes(b"x", base.child(str(number)))
    with caplog.at_level("INFO", logger="dpone_airflow.storage.deletes"):
        assert client.delete_prefix(base) == 3
    assert "Deleting one by one" in caplog.text


def test_a_refused_key_says_so_and_shows_no_secret(store: Store, base: ObjectStorageUri) -> None:
    wrong = "AAAA" + store.connection["password"][4:]
    client = Store(store.root, dict(store.connection) | {"password": wrong}).client()
    with pytest.raises(StorageAccessDeniedError, match="Check the credentials") as refused:
        client.put_bytes(b"x", base.child("blob"))
    assert wrong not in str(refused.value)


def test_a_sas_token_appears_in_no_error_even_when_the_host_is_gone(store: Store) -> None:
    """The SDK's own message then quotes the URL, and with it the token."""
    import traceback

    from azure.storage.blob import BlobServiceClient

    token = "sv=2026-06-06&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
    gone = BlobServiceClient(f"http://127.0.0.1:9/devstoreaccount1?{token}", retry_total=0)
    client = AzureBlobObjectStorageClient(gone)
    with pytest.raises(StorageError, match="Could not write") as failed:
        client.put_bytes(b"x", ObjectStorageUri.parse("az://container/blob"))
    assert "c2VjcmV0" not in "".join(traceback.format_exception(failed.value))


def test_blocks_of_another_try_that_still_sends_take_no_place_of_ours(
    store: Store, base: ObjectStorageUri, tmp_path: Path
) -> None:
    """An earlier try, taken for dead, sends a block of the file as it was, while the later one sends its own."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"OLD!" * (5 * 2**20))
    new.write_bytes(b"NEW!" * (5 * 2**20))
    uri = base.child("file")
    earlier, later = store.client(), store.client()
    sent: list[int] = []

    def send_the_old_ones(size: int) -> None:
        sent.append(size)
        # Before the last block: those before it wait in the store, and nothing is committed.
        if len(sent) == 3:
            with pytest.raises(KilledError):
                earlier.put_file(old, uri, lanes=1, on_read=stop_after_the_second)

    def stop_after_the_second(_: int) -> None:
        stopped.append(True)
        if len(stopped) == 3:
            raise KilledError

    stopped: list[bool] = []
    put = later.put_file(new, uri, lanes=1, on_read=send_the_old_ones)
    assert len(stopped) == 3, "the earlier try sent nothing"
    assert later.hash_object(uri).sha256 == put.sha256 == sha256(new.read_bytes()).hexdigest()


class KilledError(Exception):
    """What ends the earlier try."""
