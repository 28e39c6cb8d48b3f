"""Which keys obstore writes to as they are, seen at a server beside what the SDKs send."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import boto3
import obstore
import pytest
from azure.storage.blob import BlobServiceClient
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import AzureStore, S3Store

from dpone_airflow.storage.obstore_keys import obstore_keeps_key
from tests.recorder import Recorder, recording

HTTP: Any = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
SAS = "sv=2022-11-02&sig=c2lnbmF0dXJl"


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def put(recorder: Recorder) -> Iterator[dict[str, Callable[[str, Any], Any]]]:
    """Put by each of the four, with nothing of what a developer or a CI has set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if re.match(r"(?i)AWS_|AZURE_|.*_proxy$", name):
                patch.delenv(name)
        yield _clients(recorder)


def _clients(recorder: Recorder) -> dict[str, Callable[[str, Any], Any]]:
    s3 = boto3.client(
        "s3",
        endpoint_url=recorder.url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    azure = BlobServiceClient(f"{recorder.url}/account", credential=SAS)

    def s3_key() -> Any:
        return {"access_key_id": "key", "secret_access_key": "secret", "token": None, "expires_at": None}

    def sas() -> Any:
        return {"sas_token": SAS, "expires_at": None}

    s3_store = S3Store("lake", endpoint=recorder.url, region="us-east-1", credential_provider=s3_key, **HTTP)
    azure_store = AzureStore(
        "lake", account_name="account", endpoint=f"{recorder.url}/account", credential_provider=sas, **HTTP
    )
    return {
        "boto3": lambda key, data: s3.put_object(Bucket="lake", Key=key, Body=data),
        "azure": lambda key, data: azure.get_blob_client("lake", key).upload_blob(data, overwrite=True),
        "obstore s3": lambda key, data: obstore.put(s3_store, key, data),
        "obstore azure": lambda key, data: obstore.put(azure_store, key, data),
    }


def sent(recorder: Recorder, put: Callable[[str, Any], Any], key: str, data: Any = b"x") -> str:
    recorder.seen.clear()
    put(key, data)
    return recorder.seen[0].path.partition("?")[0]


def one_of_each() -> Iterator[str]:
    for character in map(chr, [*range(0x180), 0x2028, 0xFEFF, 0xFFFD, 0xFFFF, 0x1F600]):
        if character != "/":
            yield f"run/a{character}b"


KEPT = [
    *(key for key in one_of_each() if obstore_keeps_key(key)),
    *("a", " a ", "a/ /b", "a/...", "a/..b", "%2e%2e/a", "a/%2e/b", "a%2Fb", "%", "%zz", "e\u0301", "x" * 1024),
]
NOT_KEPT = ["", "/", "//", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "\ud800"]
NOT_KEPT += [f"a{chr(code)}b" for code in (*range(0x20), 0x7F)]


@pytest.mark.parametrize("key", NOT_KEPT)
def test_what_is_not_kept_never_arrives_as_itself(
    recorder: Recorder, put: dict[str, Callable[[str, Any], Any]], key: str
) -> None:
    assert not obstore_keeps_key(key)
    for name in ("obstore s3", "obstore azure"):
        recorder.seen.clear()
        try:
            put[name](key, b"x")
        except ValueError:
            assert recorder.seen == []
        else:
            path = recorder.only.path.partition("?")[0].removeprefix("/account")
            # It went to another key, which is why such a key is left to the SDK.
            assert key in ("", "/", "/a", "a/")
            assert unquote_to_bytes(path) != f"/lake/{key}".encode() or not key.strip("/")


def test_a_key_that_is_kept_arrives_as_the_sdk_would_send_it(
    recorder: Recorder, put: dict[str, Callable[[str, Any], Any]]
) -> None:
    assert len(KEPT) > 350
    for key in KEPT:
        assert obstore_keeps_key(key)
        s3, azure = sent(recorder, put["obstore s3"], key), sent(recorder, put["obstore azure"], key)
        assert unquote_to_bytes(s3) == f"/lake/{key}".encode()
        assert unquote_to_bytes(azure) == f"/account/lake/{key}".encode()
        assert s3 == sent(recorder, put["boto3"], key)
        assert unquote_to_bytes(azure) == unquote_to_bytes(sent(recorder, put["azure"], key))
        assert sent(recorder, put["obstore s3"], key, iter([b"x"])) == s3


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_any_key_that_is_kept_arrives_as_itself(
    recorder: Recorder, put: dict[str, Callable[[str, Any], Any]], key: str
) -> None:
    if obstore_keeps_key(key):
        assert unquote_to_bytes(sent(recorder, put["obstore s3"], key)) == f"/lake/{key}".encode()
