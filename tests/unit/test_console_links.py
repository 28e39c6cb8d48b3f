"""Where a console shows a prefix, and that a server without one gets no link."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.get_provider_info import get_provider_info
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.links.console import console_url
from dpone_airflow.links.staged_files import STAGED_FILES_XCOM_KEY, StagedFilesLink, browsable_url
from dpone_airflow.operators import ObjectStorageStageOperator
from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.uri import key_problem

Connect = Callable[..., None]
KEY = "a2V5IG9mIG5vYm9keQ=="
ACCOUNT_ID = "/subscriptions/0a/resourceGroups/lake rg/providers/Microsoft.Storage/storageAccounts/account"
ALL_ACCOUNTS = "#view/HubsExtension/BrowseResource/resourceType/Microsoft.Storage%2FStorageAccounts"

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(lambda name: not key_problem(name))


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define the Airflow connection ``mine``."""

    def define(conn_type: str, **fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": conn_type, "port": 0} | fields))

    return define


def link_through(connection: ObjectStorageHook, uri: str) -> str | None:
    return browsable_url(connection, connection.get_client(uri), ObjectStorageUri.parse(uri))


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("eu-west-1", "console.aws.amazon.com"),
        ("us-east-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_amazon(connect: Connect, region: str, console: str) -> None:
    connect("aws", login="key", password="secret", extra={"region_name": region})
    assert link_through(ObjectStorageHook("mine"), "s3://lake/staging/run-1/map-00003") == (
        f"https://{console}/s3/buckets/lake?prefix=staging/run-1/map-00003/&showversions=false"
    )


def test_google(connect: Connect) -> None:
    connect("google_cloud_platform", extra={"project": "p", "is_anonymous": True})
    assert link_through(ObjectStorageHook("mine"), "gs://lake/staging/run-1") == (
        "https://console.cloud.google.com/storage/browser/lake/staging/run-1/"
    )


@pytest.mark.parametrize("uri", ["az://lake/staging/run-1", "azure://account/lake/staging/run-1"])
def test_azure_opens_the_container_if_the_connection_says_which_resource_its_account_is(
    connect: Connect, uri: str
) -> None:
    connect("wasb", login="account", password=KEY, extra={"storage_account_id": ACCOUNT_ID})
    assert link_through(ObjectStorageHook("mine"), uri) == (
        "https://portal.azure.com/#view/Microsoft_Azure_Storage/ContainerMenuBlade/~/overview/storageAccountId/"
        "%2Fsubscriptions%2F0a%2FresourceGroups%2Flake%20rg%2Fproviders%2FMicrosoft.Storage%2FstorageAccounts%2Faccount"
        "/path/lake"
    )


def test_azure_lists_the_accounts_otherwise(connect: Connect) -> None:
    connect("wasb", login="account", password=KEY)
    assert link_through(ObjectStorageHook("mine"), "az://lake/x") == f"https://portal.azure.com/{ALL_ACCOUNTS}"


@pytest.mark.parametrize(
    ("endpoint", "portal"),
    [
        ("https://account.blob.core.usgovcloudapi.net/", "portal.azure.us"),
        ("https://account.blob.core.chinacloudapi.cn/", "portal.azure.cn"),
        ("https://account.z12.blob.storage.azure.net/", "portal.azure.com"),
    ],
)
def test_azure_in_other_clouds(endpoint: str, portal: str) -> None:
    found = console_url(ObjectStorageUri.parse("az://lake/x"), endpoint)
    assert found == f"https://{portal}/{ALL_ACCOUNTS}"


def test_no_link_has_a_token_in_it(connect: Connect) -> None:
    url = "https://account.blob.core.windows.net"
    connect("wasb", host=url, extra={"sas_token": f"{url}?sv=2026&sig=hunter2", "storage_account_id": ACCOUNT_ID})
    hook = ObjectStorageHook("mine")
    client = hook.get_client("az://lake/x")
    assert client.endpoint_url == f"{url}/"
    assert "hunter2" not in str(link_through(hook, "az://lake/x"))


@pytest.mark.parametrize(
    ("conn_type", "fields", "uri"),
    [
        ("aws", {"extra": {"endpoint_url": "http://127.0.0.1:8333", "region_name": "us-east-1"}}, "s3://lake/x"),
        ("aws", {"extra": {"endpoint_url": "https://amazonaws.com.example.org"}}, "s3://lake/x"),
        ("wasb", {"login": "account", "password": KEY, "host": "http://127.0.0.1:10000/account"}, "az://lake/x"),
    ],
)
def test_a_server_that_only_speaks_a_clouds_protocol_gets_no_link(
    connect: Connect, conn_type: str, fields: dict[str, Any], uri: str
) -> None:
    connect(conn_type, **({"login": "key", "password": "secret"} | fields))
    assert link_through(ObjectStorageHook("mine"), uri) is None


def test_a_server_in_googles_place_gets_no_link(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:4443")
    connect("google_cloud_platform", extra={"project": "p", "is_anonymous": True})
    assert link_through(ObjectStorageHook("mine"), "gs://lake/x") is None


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("s3://lake/staging/run-1", "s3/lake/staging/run-1"),
        ("gs://lake/50%/run 1", "gs/lake/50%25/run 1"),
        ("azure://account/lake/run-1", "azure/account/lake/run-1"),
    ],
)
def test_the_emulators_folder(connect: Connect, tmp_path: Path, uri: str, folder: str) -> None:
    connect("dpone_local_object_storage", extra={"root_dir": str(tmp_path / "the store")})
    client = ObjectStorageHook("mine").get_client(uri)
    client.put_bytes(b"id", ObjectStorageUri.parse(uri).child("a.csv"))
    link = link_through(ObjectStorageHook("mine"), uri)
    assert link is not None
    shown = Path(unquote(urlsplit(link).path))
    assert shown == tmp_path / "the store" / folder
    assert [path.name for path in shown.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("s3://lake/staging/run-1", "s3/lake/staging/run-1/"),
        ("gs://lake/50%/run 1", "gs/lake/50%2525/run%201/"),
    ],
)
@pytest.mark.parametrize("address", ["https://files.example.org/store", "http://127.0.0.1:8000/"])
def test_the_emulators_folder_on_a_web_server(
    connect: Connect, tmp_path: Path, uri: str, folder: str, address: str
) -> None:
    connect("dpone_local_object_storage", extra={"root_dir": str(tmp_path), "browse_url": address})
    assert link_through(ObjectStorageHook("mine"), uri) == f"{address.rstrip('/')}/{folder}"


@pytest.mark.parametrize(
    "address", ["javascript://alert", "files.example.org", "https://me:hunter2@files", "", 7, None]
)
def test_what_is_no_address_to_show_leaves_the_folder(connect: Connect, tmp_path: Path, address: Any) -> None:
    connect("dpone_local_object_storage", extra={"root_dir": str(tmp_path), "browse_url": address})
    assert link_through(ObjectStorageHook("mine"), "s3://lake/run-1") == (tmp_path / "s3/lake/run-1").as_uri()


@given(st.lists(names, min_size=1, max_size=4).map("/".join))
def test_whatever_a_name_has_in_it_the_console_is_asked_for_just_that(name: str) -> None:
    for scheme, endpoint in (("s3", "https://s3.amazonaws.com"), ("gs", "https://storage.googleapis.com")):
        prefix = ObjectStorageUri.parse(f"{scheme}://lake").child(name)
        url = console_url(prefix, endpoint)
        assert url is not None
        assert url.isascii()
        parts = urlsplit(url)
        assert parts.fragment == ""
        asked = (
            parse_qs(parts.query, strict_parsing=True)["prefix"][0]
            if scheme == "s3"
            else unquote(parts.path).removeprefix("/storage/browser/lake/")
        )
        assert asked == f"{name}/"


def test_airflow_is_told_of_the_link() -> None:
    link = StagedFilesLink()
    assert get_provider_info()["extra-links"] == [f"{StagedFilesLink.__module__}.{StagedFilesLink.__qualname__}"]
    assert [item.name for item in ObjectStorageStageOperator.operator_extra_links] == [link.name]
    assert link.xcom_key == STAGED_FILES_XCOM_KEY
