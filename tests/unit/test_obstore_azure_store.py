"""An obstore store uploads as its BlobServiceClient would, seen at a server; what it can't honour is refused."""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import obstore
import pytest
import requests
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, StandardBlobTier

from dpone_airflow.hooks.obstore_azure import azure_store
from dpone_airflow.hooks.obstore_settings import NotHonouredError, ObstoreUpload
from tests.recorder import Recorded, Recorder, recording, self_signed

STUBS = Path(obstore.__file__).parent / "_store"
KEY = base64.b64encode(b"the key of the connection, 32 b.").decode()
OTHER_KEY = base64.b64encode(b"the key of the worker's account.").decode()
SAS = "sv=2022-11-02&ss=b&srt=sco&sp=rwdlac&se=2030-01-01T00%3A00%3A00Z&sig=a%2Bb%2Fc%3D"


pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


@pytest.fixture(autouse=True)
def _only_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a developer or a CI has set out of the tests."""
    for name in list(os.environ):
        if re.match(r"(?i)AZURE_|MSI_|IDENTITY_|SSL_CERT_|(REQUESTS|CURL)_CA_BUNDLE$|.*_proxy$", name):
            monkeypatch.delenv(name)


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


def client_of(recorder: Recorder, credential: Any = KEY, **more: Any) -> Any:
    return BlobServiceClient(f"{recorder.url}/account", credential=credential, **more)


def put(upload: ObstoreUpload, data: Any = b"bytes") -> None:
    obstore.put(
        upload.store,
        "run/a file",
        data,
        attributes=dict(upload.attributes),
        tags=dict(upload.tags) if upload.tags else None,
    )


def put_by_sdk(client: Any, **options: Any) -> None:
    client.get_blob_client("lake", "run/a file").upload_blob(b"bytes", overwrite=True, **options)


class Tokens:
    """A credential whose tokens are numbered and last so long."""

    def __init__(self, lifetime: int = 3600) -> None:
        self.lifetime = lifetime
        self.asked: list[tuple[str, ...]] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked.append(scopes)
        return AccessToken(f"token-{len(self.asked)}", int(time.time()) + self.lifetime)


# Who.


@pytest.mark.parametrize("kind", ["key", "key by name", "connection string"])
def test_an_account_key_signs(recorder: Recorder, kind: str) -> None:
    if kind == "connection string":
        client = BlobServiceClient.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={KEY};BlobEndpoint={recorder.url}/account;"
        )
    else:
        client = client_of(recorder, KEY if kind == "key" else {"account_name": "account", "account_key": KEY})
    upload = azure_store(client, "lake", {})
    assert recorder.seen == []  # a rehearsal is not sent
    put(upload)
    put(upload, iter([b"in parts"]))
    put_by_sdk(client)
    assert {request.path.partition("?")[0] for request in recorder.seen} == {"/account/lake/run/a%20file"}
    for request in recorder.seen:
        assert request.headers["authorization"].startswith("SharedKey account:")
    assert recorder.seen[0].headers["x-ms-blob-type"] == "BlockBlob"


@pytest.mark.parametrize("kind", ["credential", "question mark", "text", "in the URL", "connection string"])
def test_a_sas_goes_with_every_request(recorder: Recorder, kind: str) -> None:
    if kind == "connection string":
        client = BlobServiceClient.from_connection_string(
            f"BlobEndpoint={recorder.url}/account;SharedAccessSignature={SAS}"
        )
    elif kind == "in the URL":
        client = BlobServiceClient(f"{recorder.url}/account?{SAS}")
    else:
        client = client_of(
            recorder,
            {"credential": AzureSasCredential(SAS), "question mark": AzureSasCredential(f"?{SAS}"), "text": SAS}[kind],
        )
    upload = azure_store(client, "lake", {})
    put(upload)
    put(upload, iter([b"in parts"]))
    put_by_sdk(client)
    assert len(recorder.seen) == 4
    for request in recorder.seen:
        path, _, query = request.path.partition("?")
        assert path == "/account/lake/run/a%20file"
        assert set(parse_qsl(SAS)) <= set(parse_qsl(query))
        assert "authorization" not in request.headers


def test_tokens_are_asked_for_as_the_sdk_would(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    tokens = Tokens()
    client = client_of(recorder, tokens, connection_verify=False)
    upload = azure_store(client, "lake", {})
    for _ in range(3):
        put(upload)
    assert {request.headers["authorization"] for request in recorder.seen} == {"Bearer token-1"}
    assert tokens.asked == [("https://storage.azure.com/.default",)]
    put_by_sdk(client)
    assert tokens.asked[1] == tokens.asked[0]


def test_a_token_that_ends_soon_is_asked_for_again(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    upload = azure_store(client_of(recorder, Tokens(lifetime=60), connection_verify=False), "lake", {})
    for _ in range(3):
        put(upload)
        time.sleep(0.15)  # obstore asks at most every 100 ms
    assert [request.headers["authorization"] for request in recorder.seen] == [
        "Bearer token-1",
        "Bearer token-2",
        "Bearer token-3",
    ]


def test_an_audience_is_kept(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    tokens = Tokens()
    audience = "https://account.blob.core.windows.net"
    put(azure_store(client_of(recorder, tokens, connection_verify=False, audience=audience), "lake", {}))
    assert tokens.asked == [(f"{audience}/.default",)]


def test_nobody_stays_nobody_whatever_the_worker_has(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", OTHER_KEY)
    monkeypatch.setenv("AZURE_STORAGE_TOKEN", "token-of-the-worker")
    put(azure_store(client_of(recorder, None), "lake", {}))
    assert "authorization" not in recorder.only.headers
    assert recorder.only.path == "/account/lake/run/a%20file"


@pytest.mark.parametrize(
    "sas", [SAS.replace("%2B", "+"), SAS + "&sig=twice"], ids=["a plus that means a space", "a name twice"]
)
def test_a_sas_that_could_be_read_in_two_ways_is_refused(recorder: Recorder, sas: str) -> None:
    with pytest.raises(NotHonouredError) as refused:
        azure_store(client_of(recorder, AzureSasCredential(sas)), "lake", {})
    assert "sig" not in str(refused.value)


# Where to.


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://account.blob.core.windows.net", "http://account.blob.core.windows.net/lake/run/a%20file"),
        ("http://account.blob.core.windows.net/", "http://account.blob.core.windows.net/lake/run/a%20file"),
        ("http://storage.example.test:10000/account", "http://storage.example.test:10000/account/lake/run/a%20file"),
        ("http://lake.example.test", "http://lake.example.test/lake/run/a%20file"),
    ],
)
def test_the_container_stands_where_the_sdk_writes_it(recorder: Recorder, url: str, seen: str) -> None:
    client = BlobServiceClient(
        url, credential={"account_name": "account", "account_key": KEY}, proxies={"http": recorder.url}
    )
    upload = azure_store(client, "lake", {})
    put(upload)
    put(upload, iter([b"in parts"]))
    put_by_sdk(client)
    assert {request.path.partition("?")[0] for request in recorder.seen} == {seen}
    assert len({request.headers["host"] for request in recorder.seen}) == 1


@pytest.mark.parametrize("host", ["bücher.example.test", "2130706433", "0177.0.0.1"])
def test_hosts_that_could_be_read_in_two_ways_are_refused(host: str) -> None:
    client = BlobServiceClient(f"http://{host}:9", credential={"account_name": "account", "account_key": KEY})
    with pytest.raises(NotHonouredError, match="host"):
        azure_store(client, "lake", {})


@pytest.mark.parametrize("container", ["$web", "$root", "Lake", "a/b"])
def test_other_containers_are_refused(recorder: Recorder, container: str) -> None:
    with pytest.raises(NotHonouredError, match="container"):
        azure_store(client_of(recorder), container, {})


# Storage options.


def test_options_go_with_every_blob_as_the_sdk_sends_them(recorder: Recorder) -> None:
    client = client_of(recorder)
    tags = {"team": "däta&=+", "stage": "landing-1_2.3"}
    upload = azure_store(client, "lake", {"standard_blob_tier": "Cool", "tags": tags})
    put(upload)
    put(upload, iter([b"in parts"]))
    put_by_sdk(client, standard_blob_tier=StandardBlobTier.COOL, tags=tags)
    single, block, commit, by_sdk = recorder.seen
    assert ("comp=block&" in block.path, commit.path.endswith("comp=blocklist")) == (True, True)
    for request in (single, commit, by_sdk):
        assert request.headers["x-ms-access-tier"] == "Cool"
        assert dict(parse_qsl(request.headers["x-ms-tags"])) == tags


@pytest.mark.parametrize(
    "options",
    [{"encryption_scope": "scope"}, {"tags": {"team": "a b"}}, {"tags": {"a b": "x"}}, {"standard_blob_tier": "Warm"}],
    ids=str,
)
def test_an_option_that_obstore_has_not_is_refused(recorder: Recorder, options: dict[str, Any]) -> None:
    with pytest.raises(NotHonouredError, match=next(iter(options))):
        azure_store(client_of(recorder), "lake", options)
    assert recorder.seen == []


# How: TLS, proxies, and what a client may carry.


def test_an_unknown_certificate_is_refused(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    store = azure_store(client_of(recorder), "lake", {}).store
    impatient = type(store)(
        config=store.config,
        client_options=store.client_options,
        credential_provider=store.credential_provider,
        retry_config={"max_retries": 0},
    )
    with pytest.raises(obstore.exceptions.BaseError):
        obstore.put(impatient, "run/a file", b"bytes")
    assert recorder.seen == []


def test_verify_false_takes_any_certificate(secure: tuple[Recorder, Path]) -> None:
    recorder, _ = secure
    put(azure_store(client_of(recorder, connection_verify=False), "lake", {}))
    assert recorder.only.body == b"bytes"


def test_a_ca_bundle_is_refused(secure: tuple[Recorder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, certificate = secure
    with pytest.raises(NotHonouredError, match="CA bundle"):
        azure_store(client_of(recorder, connection_verify=str(certificate)), "lake", {})
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(certificate))
            with pytest.raises(NotHonouredError, match="CA bundle"):
                azure_store(client_of(recorder), "lake", {})
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(NotHonouredError, match="SSL_CERT_FILE"):
        azure_store(client_of(recorder), "lake", {})


@pytest.mark.parametrize("variable", [None, "HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_proxy_that_the_sdk_uses_is_used(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    with recording() as proxy:
        if variable:
            monkeypatch.setenv(variable, proxy.url)
        client = client_of(recorder, **({} if variable else {"proxies": {"http": proxy.url}}))
        put(azure_store(client, "lake", {}))
        put_by_sdk(client)
        assert (len(recorder.seen), len(proxy.seen)) == (0, 2)
        if variable:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            put(azure_store(client, "lake", {}))
            assert (len(recorder.seen), len(proxy.seen)) == (1, 2)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY"])
def test_a_proxy_that_the_sdk_does_not_use_is_not_used(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with recording() as proxy:
        monkeypatch.setenv(name, proxy.url)
        client = client_of(recorder, **({"use_env_settings": False} if name == "HTTP_PROXY" else {}))
        put(azure_store(client, "lake", {}))
        put_by_sdk(client)
        assert (len(recorder.seen), len(proxy.seen)) == (2, 0)


class OwnTransport(RequestsTransport):  # type: ignore[misc]
    pass


class OwnPolicy(SansIOHTTPPolicy):  # type: ignore[misc]
    pass


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ({"transport": OwnTransport()}, "transport"),
        ({"transport": RequestsTransport(session=requests.Session())}, "transport"),
        ({"_additional_pipeline_policies": [OwnPolicy()]}, "OwnPolicy"),
        ({"headers": {"x-ms-encryption-scope": "scope"}}, "x-ms-encryption-scope"),
        ({"connection_cert": "client.pem"}, "connection_cert"),
        ({"proxies": {"http": "https://proxy.example.test"}}, "proxy"),
        ({"proxies": {"http": "socks5://proxy.example.test"}}, "proxy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_else_a_client_may_carry_is_refused(recorder: Recorder, more: dict[str, Any], setting: str) -> None:
    with pytest.raises(NotHonouredError, match=setting):
        azure_store(client_of(recorder, **more), "lake", {})


def test_a_client_that_was_used_is_no_other(recorder: Recorder) -> None:
    client = client_of(recorder)
    put_by_sdk(client)
    put(azure_store(client, "lake", {}))
    assert len(recorder.seen) == 2


# The worker's variables.


def variables() -> list[str]:
    documented = re.findall(r"AZURE_[A-Z0-9_]+", (STUBS / "_azure.pyi").read_text())
    of_the_line = re.findall(r"^    (\w+):", (STUBS / "_client.pyi").read_text(), re.MULTILINE)
    others = [
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ENCRYPTION_KEY",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "MSI_ENDPOINT",
        "MSI_SECRET",
    ]
    return sorted({*documented, *others, *(f"AZURE_{name.upper()}" for name in of_the_line)})


# What can't be given explicitly.
REFUSED = {"AZURE_STORAGE_ENCRYPTION_KEY"}


@pytest.mark.parametrize("name", variables())
@pytest.mark.parametrize("credential", [KEY, AzureSasCredential(SAS), None], ids=["key", "sas", "nobody"])
def test_a_variable_of_the_worker_changes_nothing_or_is_refused(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str, credential: Any
) -> None:
    with recording() as elsewhere:
        client = client_of(recorder, credential)
        options = {"standard_blob_tier": "Cool", "tags": {"team": "data"}}

        def wire() -> list[Any] | NotHonouredError:
            recorder.seen.clear()
            try:
                upload = azure_store(client, "lake", options)
            except NotHonouredError as error:
                return error
            put(upload)
            put(upload, iter([b"in parts"]))
            return sorted(map(_comparable, recorder.seen))

        plain = wire()
        assert isinstance(plain, list)
        refused = False
        for value in ("evil", "true", elsewhere.url, OTHER_KEY):
            monkeypatch.setenv(name, value)
            found = wire()
            if isinstance(found, NotHonouredError):
                refused = True
                assert found.setting == f"the variable {name}"
            else:
                assert found == plain
        if name.removeprefix("AZURE_").lower() not in (STUBS / "_client.pyi").read_text():
            assert refused == (name in REFUSED)
        assert elsewhere.seen == []


def _comparable(request: Recorded) -> Any:
    """Leave out what differs between any two requests."""
    skipped = {"date", "x-ms-date", "authorization", "content-length"}
    headers = {name: value for name, value in request.headers.items() if name not in skipped}
    authorization = request.headers.get("authorization", "").partition(":")[0]
    body = "" if "comp=blocklist" in request.path else sha256(request.body).hexdigest()
    return request.method, re.sub(r"blockid=[^&]*", "", request.path), sorted(headers.items()), authorization, body


def test_the_key_that_signs_is_the_connections(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", OTHER_KEY)
    put(azure_store(client_of(recorder), "lake", {}))
    headers = recorder.only.headers
    # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
    plain = ["PUT", "", "", "5", "", headers.get("content-type", ""), headers["date"], "", "", "", "", ""]
    text = "\n".join(plain) + f"\n{canonical}/account/account/lake/run/a%20file"
    signature = hmac.new(base64.b64decode(KEY), text.encode(), sha256).digest()
    assert headers["authorization"] == f"SharedKey account:{base64.b64encode(signature).decode()}"
