"""An obstore store uploads as its boto3 client would, seen at a server; what it can't honour is refused."""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import obstore
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials

from dpone_airflow.hooks.obstore_s3 import BotocoreCredentialProvider, s3_store
from dpone_airflow.hooks.obstore_settings import NotHonouredError, ObstoreUpload
from tests.recorder import Recorded, Recorder, recording, self_signed

# One for all, since it reads botocore's models once.
SESSION = boto3.session.Session()
PART = 5 * 1024 * 1024
STUBS = Path(obstore.__file__).parent / "_store"
ENCRYPTED = {
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "arn:aws:kms:eu-north-1:123456789012:key/a-key",
    "BucketKeyEnabled": True,
}
ENCRYPTED_HEADERS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-north-1:123456789012:key/a-key",
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


@pytest.fixture(autouse=True)
def _only_its_own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what a developer or a CI has set out of the tests."""
    for name in list(os.environ):
        if re.match(r"(?i)AWS_|BOTO_|SSL_CERT_|REQUESTS_CA_BUNDLE$|.*_proxy$", name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Recorder, Path]]:
    """A recorder that speaks HTTPS with a certificate that nobody trusts, and the certificate."""
    context, certificate = self_signed(tmp_path)
    with recording(tls=context) as recorder:
        yield recorder, certificate


def client_of(url: str | None, *, region: str | None = "eu-north-1", verify: Any = None, **config: Any) -> Any:
    return SESSION.client(
        "s3",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="AKIDCONNECTION",
        aws_secret_access_key="secret-of-the-connection",
        verify=verify,
        config=Config(**config),
    )


def store_of(client: Any, options: dict[str, Any] | None = None, *, bucket: str = "lake", **more: Any) -> ObstoreUpload:
    credentials = more.pop("credentials", client._request_signer._credentials)
    return s3_store(client, credentials, bucket, options or {}, **{"store_check": True} | more)


def put(upload: ObstoreUpload, data: Any = b"bytes", key: str = "run/a file") -> None:
    obstore.put(upload.store, key, data, attributes=dict(upload.attributes), tags=dict(upload.tags or {}))


def in_parts() -> Iterator[bytes]:
    yield b"x" * PART
    yield b"the last, odd bytes"


def signed_headers(request: Recorded) -> set[str]:
    found = re.search(r"SignedHeaders=([^,]+)", request.headers["authorization"])
    assert found
    return set(found[1].split(";"))


# Storage options.


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"ServerSideEncryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (ENCRYPTED, ENCRYPTED_HEADERS),
        (
            ENCRYPTED | {"ServerSideEncryption": "aws:kms:dsse", "BucketKeyEnabled": False},
            ENCRYPTED_HEADERS
            | {
                "x-amz-server-side-encryption": "aws:kms:dsse",
                "x-amz-server-side-encryption-bucket-key-enabled": "false",
            },
        ),
        ({"StorageClass": "STANDARD_IA"}, {"x-amz-storage-class": "STANDARD_IA"}),
        ({"Tagging": "team=d%C3%A4ta%26%3D"}, {"x-amz-tagging": "team=d%C3%A4ta%26%3D"}),
    ],
    ids=["AES256", "kms", "dsse", "StorageClass", "Tagging"],
)
@pytest.mark.parametrize("store_check", [True, False])
def test_options_go_with_every_object_as_boto3_sends_them(
    recorder: Recorder, options: dict[str, Any], headers: dict[str, str], store_check: bool
) -> None:
    client = client_of(recorder.url)
    upload = store_of(client, options, store_check=store_check)
    assert recorder.seen == []  # a rehearsal is not sent

    put(upload)
    single = recorder.only
    assert single.path == "/lake/run/a%20file"
    assert {name: single.headers[name] for name in headers} == headers
    assert set(headers) <= signed_headers(single)

    recorder.seen.clear()
    put(upload, in_parts())
    begin, _, _ = recorder.multipart()
    assert {name: begin.headers[name] for name in headers} == headers
    assert set(headers) <= signed_headers(begin)

    recorder.seen.clear()
    client.put_object(Bucket="lake", Key="run/a file", Body=b"bytes", **options)
    assert {name: recorder.only.headers[name] for name in headers} == headers


def test_the_requester_pays_for_every_request(recorder: Recorder) -> None:
    upload = store_of(client_of(recorder.url), {"RequestPayer": "requester"})
    put(upload)
    put(upload, in_parts())
    assert len(recorder.seen) == 5
    for request in recorder.seen:
        assert request.headers["x-amz-request-payer"] == "requester"
        assert "x-amz-request-payer" in signed_headers(request)


@pytest.mark.parametrize(
    "options",
    [
        {"ACL": "private"},
        {"ExpectedBucketOwner": "123456789012"},
        {"SSEKMSEncryptionContext": "e30="},
        {"ServerSideEncryption": "aws:fsx"},
        {"SSEKMSKeyId": "a-key"},
        {"BucketKeyEnabled": True},
        {"BucketKeyEnabled": True, "ServerSideEncryption": "AES256"},
        {"RequestPayer": "somebody"},
        {"Tagging": "team"},
        {"Tagging": "a=1&a=2"},
        {"Tagging": "team=a+b"},
        {"Tagging": "team=a%20b"},
        {"Tagging": "team=%ff"},
        {"StorageClass": "STANDARD\nx-amz-acl: public-read"},
        {"StorageClass": "STÄNDARD"},
    ],
    ids=str,
)
def test_an_option_that_obstore_has_not_is_refused(recorder: Recorder, options: dict[str, Any]) -> None:
    with pytest.raises(NotHonouredError) as refused:
        store_of(client_of(recorder.url), options)
    assert next(iter(options)) in refused.value.setting
    assert str(refused.value) == f"obstore can't honour {refused.value.setting}"
    assert recorder.seen == []


# Checksums.


def test_with_store_check_every_byte_carries_a_sha256(recorder: Recorder) -> None:
    upload = store_of(client_of(recorder.url))
    put(upload)
    single = recorder.only
    digest = sha256(b"bytes")
    assert single.headers["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
    assert single.headers["x-amz-content-sha256"] == digest.hexdigest()
    recorder.seen.clear()
    put(upload, in_parts())
    begin, parts, _ = recorder.multipart()
    assert begin.headers["x-amz-checksum-algorithm"] == "SHA256"
    for part in parts:
        digest = sha256(part.body)
        assert part.headers["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
        assert part.headers["x-amz-content-sha256"] == digest.hexdigest()


def test_without_store_check_nothing_is_hashed_for_the_store(recorder: Recorder) -> None:
    upload = store_of(client_of(recorder.url), store_check=False)
    put(upload)
    put(upload, in_parts())
    for request in recorder.seen:
        assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        assert not [name for name in request.headers if "checksum" in name]


def test_a_signed_payload_that_the_connection_asks_for_stays_signed(recorder: Recorder) -> None:
    put(store_of(client_of(recorder.url, s3={"payload_signing_enabled": True}), store_check=False))
    assert recorder.only.headers["x-amz-content-sha256"] == sha256(b"bytes").hexdigest()


# Where to.


def proxied(recorder: Recorder, url: str, **config: Any) -> Any:
    """A client of any host, whose requests the recorder sees as its proxy."""
    return client_of(url, proxies={"http": recorder.url, "https": recorder.url}, **config)


@pytest.mark.parametrize(
    ("style", "bucket", "url"),
    [
        ("path", "lake", "http://s3.example.test:8000/lake/run/a%20file"),
        ("virtual", "lake", "http://lake.s3.example.test:8000/run/a%20file"),
        ("auto", "lake.with.dots", "http://s3.example.test:8000/lake.with.dots/run/a%20file"),
        ("auto", "Lake_With_Underscores", "http://s3.example.test:8000/Lake_With_Underscores/run/a%20file"),
    ],
)
def test_the_bucket_stands_where_boto3_writes_it(recorder: Recorder, style: str, bucket: str, url: str) -> None:
    client = proxied(recorder, "http://s3.example.test:8000", s3={"addressing_style": style})
    upload = store_of(client, bucket=bucket)
    put(upload)
    put(upload, in_parts())
    assert recorder.seen[0].path == url
    assert {request.path.partition("?")[0] for request in recorder.seen} == {url}
    client.put_object(Bucket=bucket, Key="run/a file", Body=b"bytes")
    assert recorder.seen[-1].path == url
    assert recorder.seen[-1].headers["host"] == recorder.seen[0].headers["host"]


@pytest.mark.parametrize(
    ("region", "config", "bucket", "host"),
    [
        ("eu-north-1", {}, "lake", "lake.s3.eu-north-1.amazonaws.com"),
        ("us-east-1", {}, "lake", "lake.s3.amazonaws.com"),
        ("us-east-1", {"s3": {"us_east_1_regional_endpoint": "regional"}}, "lake", "lake.s3.us-east-1.amazonaws.com"),
        ("eu-west-1", {}, "my.lake", "s3.eu-west-1.amazonaws.com"),
        ("cn-north-1", {}, "lake", "lake.s3.cn-north-1.amazonaws.com.cn"),
        ("eu-west-1", {"use_dualstack_endpoint": True}, "lake", "lake.s3.dualstack.eu-west-1.amazonaws.com"),
        ("us-east-2", {"use_fips_endpoint": True}, "lake", "lake.s3-fips.us-east-2.amazonaws.com"),
        ("eu-west-1", {"s3": {"use_accelerate_endpoint": True}}, "lake", "lake.s3-accelerate.amazonaws.com"),
    ],
)
def test_amazons_own_endpoints(tmp_path: Path, region: str, config: dict[str, Any], bucket: str, host: str) -> None:
    context, _ = self_signed(tmp_path)
    with recording(tunnel_tls=context) as proxy:
        client = client_of(None, region=region, verify=False, proxies={"https": proxy.url}, **config)
        put(store_of(client, bucket=bucket))
        assert proxy.only.tunnel == f"{host}:443"
        assert proxy.only.headers["host"] == host
        assert f"/{region}/s3/aws4_request" in proxy.only.headers["authorization"]
        client.put_object(Bucket=bucket, Key="run/a file", Body=b"bytes")
        assert (proxy.seen[1].tunnel, proxy.seen[1].path) == (f"{host}:443", proxy.seen[0].path)


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("http://127.0.0.1:8333/s3", "lake"),
        ("http://0177.0.0.1:8333", "lake"),
        ("http://2130706433:8333", "lake"),
        (None, "lake--eun1-az1--x-s3"),
        (None, "arn:aws:s3:eu-north-1:123456789012:accesspoint/lake"),
        (None, "arn:aws:s3-outposts:eu-north-1:123456789012:outpost/op-01/accesspoint/lake"),
    ],
)
def test_other_places_are_refused(url: str | None, bucket: str) -> None:
    with pytest.raises(NotHonouredError):
        store_of(client_of(url), bucket=bucket)


def test_a_redirect_never_takes_bytes_elsewhere(recorder: Recorder) -> None:
    with recording() as elsewhere:
        recorder.answer = lambda request: (307, {"Location": elsewhere.url + request.path}, b"")
        upload = store_of(client_of(recorder.url))
        for data in (b"bytes", in_parts()):
            with pytest.raises(obstore.exceptions.BaseError):
                put(upload, data)
        # The call that begins an upload in parts has no body and is followed, as curl -L would.
        assert {request.body for request in elsewhere.seen} <= {b""}
        assert not any("authorization" in request.headers for request in elsewhere.seen)


# Who.


def test_a_session_token_goes_with_every_request(recorder: Recorder) -> None:
    client = SESSION.client(
        "s3",
        endpoint_url=recorder.url,
        region_name="eu-north-1",
        aws_access_key_id="ASIATEMPORARY",
        aws_secret_access_key="secret",
        aws_session_token="the-session-token",
    )
    upload = store_of(client)
    put(upload)
    put(upload, in_parts())
    for request in recorder.seen:
        assert request.headers["x-amz-security-token"] == "the-session-token"
        assert "x-amz-security-token" in signed_headers(request)
        assert "Credential=ASIATEMPORARY/" in request.headers["authorization"]


class _Sts:
    """Hands out numbered keys that last for so long."""

    def __init__(self, lifetime: timedelta) -> None:
        self.lifetime = lifetime
        self.handed_out = 0

    def __call__(self) -> dict[str, str]:
        self.handed_out += 1
        return {
            "access_key": f"ASIA{self.handed_out}",
            "secret_key": "secret",
            "token": f"token-{self.handed_out}",
            "expiry_time": (datetime.now(UTC) + self.lifetime).isoformat(),
        }

    def credentials(self) -> RefreshableCredentials:
        return RefreshableCredentials.create_from_metadata(self(), self, method="sts-assume-role")


def test_keys_that_expire_are_asked_for_again(recorder: Recorder) -> None:
    sts = _Sts(timedelta(seconds=30))
    upload = store_of(client_of(recorder.url), credentials=sts.credentials())
    for _ in range(3):
        put(upload)
        time.sleep(0.15)  # obstore asks at most every 100 ms
    tokens = [request.headers["x-amz-security-token"] for request in recorder.seen]
    assert len(set(tokens)) == 3
    for request, token in zip(recorder.seen, tokens, strict=True):
        # Keys and token are of one set.
        assert f"Credential=ASIA{token.removeprefix('token-')}/" in request.headers["authorization"]


def test_keys_that_last_are_not_asked_for_again(recorder: Recorder) -> None:
    sts = _Sts(timedelta(hours=1))
    upload = store_of(client_of(recorder.url), credentials=sts.credentials())
    for _ in range(3):
        put(upload)
    assert {request.headers["x-amz-security-token"] for request in recorder.seen} == {"token-1"}
    assert sts.handed_out == 1


def test_keys_that_were_renewed_meanwhile_are_used_once_the_old_ones_near_their_end(recorder: Recorder) -> None:
    sts = _Sts(timedelta(minutes=16))
    credentials = sts.credentials()
    provider = BotocoreCredentialProvider(credentials)
    first = provider()
    assert first["token"] == "token-1"
    assert first["expires_at"] == credentials._expiry_time
    assert first["expires_at"].tzinfo
    # As if two minutes had passed: botocore renews keys 15 minutes before their end.
    credentials._expiry_time -= timedelta(minutes=2)
    second = provider()
    assert second["token"] == "token-2"
    assert second["expires_at"] == credentials._expiry_time > first["expires_at"] - timedelta(seconds=1)


def test_the_stated_expiry_is_never_later_than_that_of_the_keys() -> None:
    sts = _Sts(timedelta(minutes=5))  # botocore renews these at every call
    ends: dict[str, datetime] = {}

    def refresh() -> dict[str, str]:
        metadata = sts()
        ends[metadata["token"]] = datetime.fromisoformat(metadata["expiry_time"])
        return metadata

    provider = BotocoreCredentialProvider(RefreshableCredentials.create_from_metadata(refresh(), refresh, "sts"))
    for _ in range(5):
        answer = provider()
        assert answer["expires_at"] <= ends[answer["token"]]


def test_lasting_keys_never_expire_and_unknown_ones_always_do() -> None:
    class Custom(Credentials):  # type: ignore[misc]
        pass

    assert BotocoreCredentialProvider(Credentials("key", "secret"))()["expires_at"] is None
    assert BotocoreCredentialProvider(Custom("key", "secret"))()["expires_at"] < datetime.now(UTC)


def test_unsigned_stays_unsigned_whatever_the_worker_has(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDWORKER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-worker")
    client = client_of(recorder.url, signature_version=UNSIGNED)
    for credentials in (None, client._request_signer._credentials):
        put(store_of(client, credentials=credentials))
        assert "authorization" not in recorder.seen[-1].headers


@pytest.mark.parametrize("version", ["s3", "s3v4a", "v4a"])
def test_other_signatures_are_refused(recorder: Recorder, version: str) -> None:
    with pytest.raises(NotHonouredError):
        store_of(client_of(recorder.url, signature_version=version))


def test_missing_or_other_credentials_are_refused(recorder: Recorder) -> None:
    for credentials in (None, Credentials("AKIDOTHER", "secret")):
        with pytest.raises(NotHonouredError, match="credentials"):
            store_of(client_of(recorder.url), credentials=credentials)


@pytest.mark.parametrize("field", ["access_key", "token"])
def test_keys_that_no_header_takes_are_refused_and_not_shown(recorder: Recorder, field: str) -> None:
    keys = {"access_key": "AKIDCONNECTION", "secret_key": "secret", "token": "token"}
    credentials = Credentials(**keys | {field: f"{keys[field]}\n"})
    with pytest.raises(NotHonouredError, match="credentials") as refused:
        store_of(client_of(recorder.url), credentials=credentials)
    assert keys[field] not in str(refused.value)


def test_keys_that_can_not_be_fetched_are_left_to_boto3(recorder: Recorder) -> None:
    sts = _Sts(timedelta(hours=1))
    credentials = sts.credentials()
    credentials._expiry_time = datetime.now(UTC) - timedelta(minutes=1)
    sts.lifetime = timedelta(hours=-1)  # what it hands out now has ended already
    with pytest.raises(NotHonouredError, match="credentials"):
        store_of(client_of(recorder.url), credentials=credentials)


# How: TLS, proxies, headers.


def test_an_unknown_certificate_is_refused(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    upload = store_of(client_of(recorder.url, verify=True))
    with pytest.raises(obstore.exceptions.BaseError):
        put(_without_retries(upload))
    assert recorder.seen == []


def _without_retries(upload: ObstoreUpload) -> ObstoreUpload:
    store = upload.store
    again = type(store)(
        config=store.config,
        client_options=store.client_options,
        credential_provider=store.credential_provider,
        retry_config={"max_retries": 0},
    )
    return ObstoreUpload(again, upload.attributes, upload.tags)


def test_verify_false_takes_any_certificate(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    put(store_of(client_of(recorder.url, verify=False)))
    assert recorder.only.body == b"bytes"


def test_a_ca_bundle_is_refused(secure: tuple[Recorder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, certificate = secure
    with pytest.raises(NotHonouredError, match="CA bundle"):
        store_of(client_of(recorder.url, verify=str(certificate)))
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(certificate))
            with pytest.raises(NotHonouredError, match="CA bundle"):
                store_of(client_of(recorder.url))


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_that_changes_whom_obstore_trusts_is_refused(
    secure: tuple[Recorder, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recorder, certificate = secure
    client = client_of(recorder.url, verify=True)
    monkeypatch.setenv(name, str(certificate if name == "SSL_CERT_FILE" else certificate.parent))
    with pytest.raises(NotHonouredError, match=name):
        store_of(client)


def test_plain_http_needs_no_certificate(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    put(store_of(client_of(recorder.url)))
    assert recorder.only


def test_the_connections_proxy_is_used(recorder: Recorder) -> None:
    with recording() as proxy:
        address = proxy.url.replace("http://", "http://us%40er:p%3Ass@")
        client = client_of(recorder.url, proxies={"http": address})
        upload = store_of(client)
        put(upload)
        put(upload, in_parts())
        client.put_object(Bucket="lake", Key="run/a file", Body=b"bytes")
        assert recorder.seen == []
        assert proxy.seen[0].path == proxy.seen[-1].path == f"{recorder.url}/lake/run/a%20file"
        for request in proxy.seen:
            assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"us@er:p:ss").decode()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_the_workers_proxy_is_used_as_botocore_would(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with recording() as proxy:
        monkeypatch.setenv(name, proxy.url)
        put(store_of(client_of(recorder.url)))
        assert (len(recorder.seen), len(proxy.seen)) == (0, 1)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        put(store_of(client_of(recorder.url)))
        assert (len(recorder.seen), len(proxy.seen)) == (1, 1)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY"])
def test_a_proxy_that_botocore_does_not_use_is_not_used(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with recording() as proxy:
        client = client_of(recorder.url, proxies={}) if name == "HTTP_PROXY" else None
        monkeypatch.setenv(name, proxy.url)
        put(store_of(client or client_of(recorder.url)))
        assert (len(recorder.seen), len(proxy.seen)) == (1, 0)


@pytest.mark.parametrize(
    "host",
    ["minio", "MINIO", "host.", "s3.eu-north-1.amazonaws.com", "127.0.0.1", "[::1]", "xn--bcher-kva.test"],
)
def test_no_proxy_means_no_proxy_for_any_host(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("dpone_airflow.hooks.obstore_settings._NOBODY", recorder.url)
    upload = store_of(client_of(f"http://{host}:9", s3={"addressing_style": "path"}))
    with pytest.raises(obstore.exceptions.BaseError):
        put(_without_retries(upload))
    assert recorder.seen == []


def test_no_proxy_of_the_worker_does_not_keep_a_connection_from_its_own(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with recording() as proxy:
        put(store_of(client_of(recorder.url, proxies={"http": proxy.url})))
        assert (len(recorder.seen), len(proxy.seen)) == (0, 1)


@pytest.mark.parametrize(
    "config",
    [
        {"proxies": {"http": "https://proxy.example.test"}},
        {"proxies": {"http": "http://us er:pass@proxy.example.test"}},
        {"proxies": {"http": "http://[proxy"}},
        {"proxies": {"http": "http://proxy.example.test"}, "proxies_config": {"proxy_ca_bundle": "ca.pem"}},
        {"proxies": {"http": "http://proxy.example.test"}, "proxies_config": {"proxy_use_forwarding_for_https": True}},
        {"client_cert": "client.pem"},
    ],
    ids=["https proxy", "a space", "no address", "proxy_ca_bundle", "forwarding", "client_cert"],
)
def test_other_settings_of_the_line_are_refused(recorder: Recorder, config: dict[str, Any]) -> None:
    with pytest.raises(NotHonouredError):
        store_of(client_of(recorder.url, **config))


def test_a_header_of_somebody_elses_is_refused(recorder: Recorder) -> None:
    client = client_of(recorder.url)

    def add(request: Any, **_: Any) -> None:
        request.headers["x-amz-acl"] = "bucket-owner-full-control"

    client.meta.events.register("before-sign.s3.PutObject", add)
    with pytest.raises(NotHonouredError, match="x-amz-acl"):
        store_of(client)


def test_a_rehearsal_leaves_the_client_as_it_was(recorder: Recorder) -> None:
    client = client_of(recorder.url)
    store_of(client)
    client.put_object(Bucket="lake", Key="real", Body=b"bytes")
    assert recorder.only.path == "/lake/real"


# The worker's variables.


def variables() -> list[str]:
    documented = re.findall(r"AWS_[A-Z0-9_]+", (STUBS / "_aws.pyi").read_text())
    of_the_line = re.findall(r"^    (\w+):", (STUBS / "_client.pyi").read_text(), re.MULTILINE)
    return sorted({*documented, "AWS_ENDPOINT_URL_STS", *(f"AWS_{name.upper()}" for name in of_the_line)})


# Values that would show, or break something, if obstore took them.
VALUES = {
    "AWS_CHECKSUM_ALGORITHM": "CRC64NVME",
    "AWS_CONDITIONAL_PUT": "disabled",
    "AWS_COPY_IF_NOT_EXISTS": "header: x-evil: yes",
    "AWS_REQUEST_PAYER": "requester",
    "AWS_SERVER_SIDE_ENCRYPTION": "AES256",
    "AWS_TIMEOUT": "1ms",
}
# What can't be given explicitly, or not always.
REFUSED = {
    "AWS_CHECKSUM_ALGORITHM",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AWS_SSE_KMS_KEY_ID",
}


@pytest.mark.parametrize("name", variables())
@pytest.mark.parametrize("store_check", [True, False])
def test_a_variable_of_the_worker_changes_nothing_or_is_refused(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str, store_check: bool
) -> None:
    with recording() as elsewhere:
        client = client_of(recorder.url)  # what boto3 makes of the variable is another matter
        credentials = Credentials("AKIDCONNECTION", "secret-of-the-connection")
        options = {"Tagging": "team=data", "StorageClass": "STANDARD_IA"}

        def wire() -> list[Any] | NotHonouredError:
            recorder.seen.clear()
            try:
                upload = store_of(client, options, credentials=credentials, store_check=store_check)
            except NotHonouredError as error:
                return error
            put(upload)
            put(upload, iter([b"in parts"]))
            return sorted(map(_comparable, recorder.seen))

        plain = wire()
        assert isinstance(plain, list)
        refused = False
        for value in (VALUES.get(name, "evil"), "true", elsewhere.url):
            monkeypatch.setenv(name, value)
            found = wire()
            if isinstance(found, NotHonouredError):
                refused = True
                assert found.setting == f"the variable {name}"
            else:
                assert found == plain
        of_the_line = name.removeprefix("AWS_").lower() in (STUBS / "_client.pyi").read_text()
        if not of_the_line:
            given = {"AWS_CHECKSUM_ALGORITHM"} if store_check else set()
            assert refused == (name in REFUSED - given)
        assert elsewhere.seen == []


def _comparable(request: Recorded) -> Any:
    """Leave out what differs between any two requests."""
    skipped = {"x-amz-date", "authorization"}
    headers = {name: value for name, value in request.headers.items() if name not in skipped}
    authorization = re.sub(r"/\d{8}/|Signature=.*", "", request.headers.get("authorization", ""))
    return request.method, request.path, sorted(headers.items()), authorization, sha256(request.body).hexdigest()


def test_a_variable_is_found_in_any_case(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_Server_Side_Encryption", "AES256")
    with pytest.raises(NotHonouredError, match="AWS_Server_Side_Encryption"):
        store_of(client_of(recorder.url))


def test_given_explicitly_a_variable_is_no_matter(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "AES256")
    monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "another-key")
    monkeypatch.setenv("AWS_SSE_BUCKET_KEY_ENABLED", "false")
    put(store_of(client_of(recorder.url), ENCRYPTED))
    assert {name: recorder.only.headers[name] for name in ENCRYPTED_HEADERS} == ENCRYPTED_HEADERS
    with pytest.raises(NotHonouredError, match="AWS_SSE_"):
        store_of(client_of(recorder.url), {"ServerSideEncryption": "aws:kms"})


def test_variables_that_obstore_does_not_know_are_no_matter(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(recorder.url)
    for name in ("AWS_PROFILE", "AWS_EXECUTION_ENV", "AWS_SDK_LOAD_CONFIG", "AWS_MAX_ATTEMPTS", "AWS_FOO"):
        monkeypatch.setenv(name, "evil")
    put(store_of(client))
    assert recorder.only


def test_a_pod_with_a_role_of_its_own_is_not_refused(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(recorder.url)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/worker")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")
    put(store_of(client))
    assert "Credential=AKIDCONNECTION/" in recorder.only.headers["authorization"]
