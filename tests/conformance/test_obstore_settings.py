"""Real servers accept what obstore sends for what the official hooks resolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import obstore
import pytest

from dpone_airflow.hooks.obstore_azure import azure_store
from dpone_airflow.hooks.obstore_s3 import s3_store
from dpone_airflow.hooks.obstore_settings import ObstoreUpload
from dpone_airflow.storage.obstore_keys import obstore_keeps_key
from tests.conformance.stores import BUCKET, Store

CONN_ID = "obstore_settings"
PART = 5 * 1024 * 1024
KEYS = ["plain", "a b+c/%20", "ümläut/日本/e\u0301", "~!'()*#?{}[]^|`\"<>&=@:;,$", "...", "%2e%2e/x"]


def put(upload: ObstoreUpload, key: str, data: Any) -> None:
    obstore.put(
        upload.store,
        key,
        data,
        attributes=dict(upload.attributes) | {"Content-Type": "text/csv", "dpone_nonce": "a-nonce"},
        tags=dict(upload.tags) if upload.tags else None,
    )


def in_parts() -> Iterator[bytes]:
    yield b"x" * PART
    yield b"the last, odd bytes"


WHOLE = b"".join(in_parts())


@pytest.fixture
def base() -> str:
    """A prefix of this test's own."""
    return f"obstore-{uuid4().hex[:12]}"


# S3.


@pytest.fixture
def s3_hook(started: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    connection = dict(started("seaweedfs").connection)
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    return S3Hook(aws_conn_id=CONN_ID)


def s3_upload(hook: Any, *, store_check: bool = True, **options: Any) -> ObstoreUpload:
    return s3_store(hook.get_conn(), hook.get_session().get_credentials(), BUCKET, options, store_check=store_check)


@pytest.mark.parametrize("store_check", [True, False])
def test_s3_keeps_what_obstore_sends(s3_hook: Any, base: str, store_check: bool) -> None:
    upload = s3_upload(s3_hook, store_check=store_check, StorageClass="STANDARD_IA", Tagging="team=data%26more&stage=1")
    client = s3_hook.get_conn()
    for name, data, content in (("small", b"bytes", b"bytes"), ("large", in_parts(), WHOLE)):
        key = f"{base}/{name}"
        put(upload, key, data)
        found = client.get_object(Bucket=BUCKET, Key=key)
        assert found["Body"].read() == content
        assert (found["StorageClass"], found["ContentType"]) == ("STANDARD_IA", "text/csv")
        assert found["Metadata"] == {"dpone_nonce": "a-nonce"}
        tags = client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "data&more", "stage": "1"}
    head = client.head_object(Bucket=BUCKET, Key=f"{base}/small", ChecksumMode="ENABLED")
    assert ("ChecksumSHA256" in head) == store_check


def test_s3_encrypts_as_asked(s3_hook: Any, base: str) -> None:
    upload = s3_upload(s3_hook, ServerSideEncryption="AES256")
    client = s3_hook.get_conn()
    for name, data in (("small", b"bytes"), ("large", in_parts())):
        put(upload, f"{base}/{name}", data)
        assert client.head_object(Bucket=BUCKET, Key=f"{base}/{name}")["ServerSideEncryption"] == "AES256"


def test_s3_finds_every_key_that_is_kept(s3_hook: Any, base: str) -> None:
    upload = s3_upload(s3_hook)
    client = s3_hook.get_conn()
    for name in KEYS:
        key = f"{base}/{name}"
        assert obstore_keeps_key(key)
        put(upload, key, name.encode())
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == name.encode()
    listed = {item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{base}/")["Contents"]}
    assert listed == {f"{base}/{name}" for name in KEYS}


def test_s3_refuses_wrong_keys(started: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    connection = dict(started("seaweedfs").connection) | {"password": "another-secret"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        put(s3_upload(S3Hook(aws_conn_id=CONN_ID)), f"{base}/small", b"bytes")


# Azure.


def wasb(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any]) -> Any:
    from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "wasb", **connection}))
    return WasbHook(wasb_conn_id=CONN_ID).get_conn()


def sas(server: Any) -> str:
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    token: str = generate_account_sas(
        server.account,
        server.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True, tag=True, add=True, delete=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    return token


def azure_connections(server: Any) -> dict[str, dict[str, Any]]:
    host = {"host": server.endpoint, "login": server.account}
    return {
        "key": host | {"password": server.key},
        "shared access key": host | {"extra": {"shared_access_key": server.key}},
        "account key": host | {"extra": {"account_key": server.key}},
        "connection string": {"extra": {"connection_string": server.connection_string}},
        "sas": host | {"extra": {"sas_token": sas(server)}},
        "sas as password": host | {"password": sas(server)},
    }


@pytest.mark.parametrize(
    "kind", ["key", "shared access key", "account key", "connection string", "sas", "sas as password"]
)
def test_azure_keeps_what_obstore_sends(
    started: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, base: str, kind: str
) -> None:
    service = wasb(monkeypatch, azure_connections(started("azurite").server)[kind])
    tags = {"team": "a+b=c:d/e_f.g-h", "stage": "1"}
    upload = azure_store(service, BUCKET, {"standard_blob_tier": "Cool", "tags": tags})
    for name, data, content in (("small", b"bytes", b"bytes"), ("large", in_parts(), WHOLE)):
        put(upload, f"{base}/{name}", data)
        blob = service.get_blob_client(BUCKET, f"{base}/{name}")
        assert blob.download_blob().readall() == content
        properties = blob.get_blob_properties()
        assert (properties.blob_tier, properties.content_settings.content_type) == ("Cool", "text/csv")
        assert properties.metadata == {"dpone_nonce": "a-nonce"}
        assert blob.get_blob_tags() == tags


@pytest.mark.parametrize("kind", ["key", "sas"])
def test_azure_finds_every_key_that_is_kept(
    started: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, base: str, kind: str
) -> None:
    service = wasb(monkeypatch, azure_connections(started("azurite").server)[kind])
    upload = azure_store(service, BUCKET, {})
    for name in KEYS:
        put(upload, f"{base}/{name}", name.encode())
        assert service.get_blob_client(BUCKET, f"{base}/{name}").download_blob().readall() == name.encode()
    listed = {blob.name for blob in service.get_container_client(BUCKET).list_blobs(name_starts_with=f"{base}/")}
    assert listed == {f"{base}/{name}" for name in KEYS}


def test_azure_refuses_a_wrong_key(started: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    server = started("azurite").server
    service = wasb(monkeypatch, {"host": server.endpoint, "login": server.account, "password": "bm90IHRoZSBrZXk="})
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        put(azure_store(service, BUCKET, {}), f"{base}/small", b"bytes")
