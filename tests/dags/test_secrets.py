"""No key, token, signature or password in a log, an XCom, the evidence, an exception, or what a command prints.

Each secret is planted: in every form of a connection, in URIs that somebody wrote, in storage options, and in the
answers of a store that quotes what it was sent. What Airflow itself keeps of a template field isn't looked at.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dpone_airflow.cli.commands import COMMANDS
from dpone_airflow.cli.main import main
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.storage import ObjectStorageUri
from local_servers import Azurite, SeaweedFS
from tests.dags.conftest import RunDag
from tests.echo_store import Refuses, echoing, sent_secrets
from tests.recorder import Recorder

# In whatever way a secret is written (in a URL, a header, JSON), this is in it.
MARK = "hunter2"
SECRET = f"{MARK}/with+signs={MARK}"
ACCOUNT_KEY = f"{MARK * 6}AA=="
SAS = f"sv=2025-01-05&ss=b&srt=sco&sp=rwdlac&se=2030-01-01T00:00:00Z&sig={MARK}%2F{MARK}%3D"
MANIFEST = "_manifests/run-1/_run/manifest.json"


def _aws(url: str, extra: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    own = {"endpoint_url": url, "region_name": "us-east-1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    return {"conn_type": "aws", "extra": own | (extra or {}), **fields}


def _wasb(url: str, extra: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"conn_type": "wasb", "host": url, "extra": {"retry_total": 0} | (extra or {}), **fields}


def _google(url: str, private_key: str) -> dict[str, Any]:
    key = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "stage@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }
    return {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": json.dumps(key), "num_retries": 0}}


def _connection_string(url: str, key: str) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={key};BlobEndpoint={url}/account;"


# By the scheme that it is for: each way in which a connection may hold a secret.
CONNECTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "s3 login and password": lambda url: _aws(url, login="AKIA1", password=SECRET),
    "s3 session token": lambda url: _aws(url, {"aws_session_token": SECRET}, login="AKIA1", password=SECRET),
    "s3 keys in extra": lambda url: _aws(url, {"aws_access_key_id": "AKIA1", "aws_secret_access_key": SECRET}),
    "s3 user in endpoint": lambda url: _aws(url.replace("://", f"://me:{MARK}{MARK}@"), login="AKIA1", password=SECRET),
    "s3 broken endpoint": lambda url: _aws(f"http://me:{MARK}-{MARK}@no host", login="AKIA1", password=SECRET),
    "s3 proxy": lambda url: _aws(
        "http://store.invalid",
        {
            "config_kwargs": {
                "proxies": {"http": url.replace("://", f"://me:{MARK}{MARK}@")},
                "retries": {"max_attempts": 0},
            }
        },
        login="AKIA1",
        password=SECRET,
    ),
    "az account key": lambda url: _wasb(f"{url}/account", login="account", password=ACCOUNT_KEY),
    "az key in extra": lambda url: _wasb(f"{url}/account", {"shared_access_key": ACCOUNT_KEY}, login="account"),
    "az connection string": lambda url: _wasb("", {"connection_string": _connection_string(url, ACCOUNT_KEY)}),
    "az broken connection string": lambda url: _wasb("", {"connection_string": f"AccountKey={ACCOUNT_KEY};{SAS}"}),
    "az broken account key": lambda url: _wasb(f"{url}/account", login="account", password=f"{MARK}-no-base64!"),
    "az SAS token": lambda url: _wasb(f"{url}/account", {"sas_token": SAS}, login="account"),
    "az SAS URL": lambda url: _wasb(f"{url}/account", {"sas_token": f"{url}/account?{SAS}"}, login="account"),
    "az broken SAS in host": lambda url: _wasb(f"{url}/account?{SAS}", login="account"),
    "s3 broken line": lambda url: _aws("http://127.0.0.1:9", {"aws_session_token": SECRET}, login="A", password=SECRET),
    "az broken line": lambda url: _wasb("http://127.0.0.1:9/account", {"sas_token": SAS}, login="account"),
    "gs private key": lambda url: _google(url, _private_key()),
    "gs broken private key": lambda url: _google(url, f"-----BEGIN PRIVATE KEY-----\n{MARK}\n"),
}
_KEYS: list[str] = []


def _private_key() -> str:
    """Return a key of this test run's own."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    if not _KEYS:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _KEYS.append(key.private_bytes(*form).decode())
    return _KEYS[0]


@pytest.fixture
def said(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, dag_tables: Callable[[], str]
) -> Callable[[], str]:
    """Return all that was printed, logged (by our loggers from DEBUG on) and pushed to XCom since it was last asked."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="dpone_airflow")

    def everything() -> str:
        found = "".join(capsys.readouterr()) + caplog.text + dag_tables()
        caplog.clear()
        return found

    return everything


@pytest.fixture
def dag_tables() -> Callable[[], str]:
    """Return every XCom and the name of every mapped instance, as they lie in Airflow's database."""
    from airflow.utils.session import create_session

    def read() -> str:
        with create_session() as session:
            xcoms = session.execute(text("select key, value from xcom")).all()
            names = session.execute(text("select rendered_map_index from task_instance")).all()
        return "\n".join(str(row) for row in (*xcoms, *names))

    with create_session() as session:
        session.execute(text("delete from xcom"))
    return read


def arguments_of(command: str, base: str, folder: Path) -> list[str]:
    """Return a command line of each command; one that isn't here has to be added."""
    manifest = f"{base}/{MANIFEST}"
    page = str(folder / "report.html")
    return {
        "report": ["report", base, "-o", page],
        "runs": ["runs", base],
        "show": ["show", manifest],
        "verify": ["verify", manifest],
        "cleanup": ["cleanup", base, "run-1", "--yes"],
        "sweep": ["sweep", base, "--older-than", "1d", "--yes"],
        "doctor": ["doctor", "--base-uri", base],
        "lifecycle": ["lifecycle", "verify", base, "--version-days", "7"],
    }[command]


def call_every_command(base: str, folder: Path, *options: str) -> str:
    """Call each command in this process, as text and as JSON; return what they wrote to files."""
    for command in COMMANDS:
        given = arguments_of(command, base, folder)
        for more in ([], ["--json"]):
            if command == "report" and more:
                given = given[:2]
            # What argparse itself says of an argument it doesn't take ends the program.
            with suppress(SystemExit):
                main([*given, *more, *options])
    page = folder / "report.html"
    return page.read_text() if page.exists() else ""


def printed_failures(base: str, conn_id: str) -> str:
    """Return what Python prints of each error that a client and its hook raise, with all that led to it."""
    printed = []

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            printed.extend((*traceback.format_exception(error), repr(error)))
            return None

    hook = ObjectStorageHook(conn_id)
    client = attempt(lambda: hook.get_client(base))
    uri = ObjectStorageUri.parse(base).child("a.csv")
    if client is not None:
        for call in (
            lambda: client.stat(uri),
            lambda: client.get_bytes(uri),
            lambda: client.put_bytes(b"x", uri),
            lambda: client.list_prefix(uri),
            lambda: client.delete_objects([uri]),
            lambda: client.list_uploads(uri),
        ):
            attempt(call)
    printed.append(str(hook.test_connection(base)))
    return "".join(printed)


def dag_body(base: str, files: Any, *, suffix: str = "", store_check: bool = True) -> str:
    """Return a DAG with each operator, one after the other whatever comes."""
    manifest = f"{base}/{MANIFEST}"
    whatever_comes = 'conn_id="store", trigger_rule="all_done"'
    deletes = f'cleanup_policy="delete_on_success", {whatever_comes}'
    return f"""
tasks = [
    stage_task(
        task_id="stage{suffix}", files={files!r}, base_uri={base!r}, conn_id="store", run_id="run-1",
        store_check={store_check},
    ),
    StagingVerifyOperator(task_id="verify{suffix}", manifest={manifest!r}, {whatever_comes}),
    StagingCleanupOperator(task_id="cleanup{suffix}", base_uri={base!r}, run_id="run-1", {deletes}),
    StagingCleanupOperator(task_id="by_uri{suffix}", manifest_uri={manifest!r}, {deletes}),
    StagingSweepOperator(
        task_id="sweep{suffix}", base_uri={base!r}, older_than="1d", dry_run=False, {whatever_comes}
    ),
]
for above, below in zip(tasks, tasks[1:]):
    above >> below
"""


@pytest.fixture
def connect_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    return lambda connection: monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))


def check(text_of_all: str, recorder: Recorder | None = None) -> None:
    """Look for every secret in all that was said."""
    found = [line for line in text_of_all.splitlines() if MARK in line]
    assert not found, found[:3]
    for key in _KEYS:
        for line in key.splitlines()[1:-1]:
            assert line not in text_of_all
    for secret in sent_secrets(recorder) if recorder else ():
        assert secret not in text_of_all, secret


@pytest.fixture
def bucket_server(server: Callable[[type], Any]) -> Callable[[str], tuple[dict[str, Any], str]]:
    """Return a connection to a real server, and the secret in it."""

    def start(form: str) -> tuple[dict[str, Any], str]:
        started = server(SeaweedFS if form == "s3" else Azurite)
        if form == "az with SAS":
            return _sas_connection(started)
        connection = started.airflow_connection()
        return connection, connection["password"]

    return start


def _sas_connection(server: Azurite) -> tuple[dict[str, Any], str]:
    """Return a connection that holds a SAS token, and the token's signature."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    token = generate_account_sas(
        server.account,
        server.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True, add=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    signature = dict(pair.split("=", 1) for pair in token.split("&"))["sig"]
    return {"conn_type": "wasb", "host": server.endpoint, "extra": {"sas_token": token}}, signature


@pytest.mark.parametrize("form", CONNECTIONS)
def test_no_secret_shows_in_an_exception_however_a_connection_holds_it(
    said: Callable[[], str],
    connect_store: Callable[[dict[str, Any]], None],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    scheme = form[:2]
    with echoing(scheme) as recorder:
        if scheme == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", recorder.url)
        connect_store(CONNECTIONS[form](recorder.url))
        printed = printed_failures(f"{scheme}://landing/orders", "store")
    assert len(printed) > 1000
    assert recorder.seen or "broken" in form
    check(printed + said(), recorder)


@pytest.mark.parametrize("refuses", ["all", "data"])
@pytest.mark.parametrize("form", ["s3 session token", "az SAS token", "gs private key"])
def test_no_secret_shows_in_what_operators_and_commands_say_of_a_store_that_quotes_it(
    run: RunDag,
    files: Path,
    said: Callable[[], str],
    connect_store: Callable[[dict[str, Any]], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    form: str,
    refuses: Refuses,
) -> None:
    scheme = form[:2]
    base = f"{scheme}://landing/orders"
    with echoing(scheme, refuses) as recorder:
        if scheme == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", recorder.url)
        connect_store(CONNECTIONS[form](recorder.url))
        # Azure without a check of the store's own is uploaded to by obstore.
        result = run(dag_body(base, str(files), store_check=scheme != "az"))
        written = call_every_command(base, tmp_path, "--conn-id", "store") if refuses == "all" else ""
    # What the evidence was to be.
    written += "".join(request.body.decode(errors="replace") for request in recorder.seen if request.method == "PUT")
    assert result.tasks["stage"] == "failed"
    everything = said() + written
    assert "Could not" in everything
    check(everything, recorder)


# What somebody may take for a URI, or paste with what belongs into a connection.
URIS = (
    f"s3://AKIA1:{SECRET}@landing/orders",
    f"az://landing/orders?{SAS}",
    f"https://account.blob.core.windows.net/landing/orders?{SAS}",
    f"https://landing.s3.amazonaws.com/orders?X-Amz-Security-Token={SECRET}&X-Amz-Signature={MARK}",
    f"gs://landing/orders#access_token=ya29.{MARK}{MARK}",
    _connection_string("https://account.blob.core.windows.net", ACCOUNT_KEY),
)
# As storage options: one that no list has, and one of the wrong kind.
OPTIONS = ({"SSECustomerKey": SECRET}, {"sas_token": SAS}, {"ACL": {"password": SECRET}})


def test_no_secret_in_a_uri_or_an_option_shows(
    run: RunDag, files: Path, said: Callable[[], str], connect_store: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    connect_store({"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(tmp_path / "buckets")}})
    bodies = [dag_body(uri, str(files), suffix=f"_{number}") for number, uri in enumerate(URIS)]
    bodies += [
        f'stage_task(task_id="option_{number}", files=FILES, conn_id="store", storage_options={options!r})'
        for number, options in enumerate(OPTIONS)
    ]
    sources = [f"sftp://me:{SECRET}@127.0.0.1:9/a.csv", f"az://landing/a.csv?{SAS}", f"/no/such/{URIS[0]}", URIS[-1]]
    bodies += [f'stage_task(task_id="all_sources", files={sources!r}, conn_id="store")']
    bodies += [
        f"""
        plain = dict(base_uri="s3://landing/mapped", dataset="shop", table="orders", file_format="csv", conn_id="store")
        ObjectStorageStageOperator.partial(task_id="each_source", **plain).expand(files={sources!r})
        """
    ]
    result = run(*bodies)
    written = "".join(call_every_command(uri, tmp_path, "--conn-id", "store") for uri in URIS)
    written += "".join(
        call_every_command(
            "s3://landing/orders", tmp_path, "--conn-id", "store", "--storage-options", json.dumps(options)
        )
        for options in OPTIONS
    )
    assert set(result.tasks.values()) <= {"failed", "upstream_failed"}
    assert len(result.tasks) == 5 * len(URIS) + len(OPTIONS) + 1 + len(sources)
    everything = said() + written
    assert "put them into the connection" in everything
    check(everything)


@pytest.mark.parametrize("form", ["s3", "az with SAS"])
def test_no_secret_shows_where_all_goes_well(
    run: RunDag,
    files: Path,
    said: Callable[[], str],
    bucket_server: Callable[[str], tuple[dict[str, Any], str]],
    connect_store: Callable[[dict[str, Any]], None],
    tmp_path: Path,
    form: str,
) -> None:
    connection, secret = bucket_server(form)
    connect_store(connection)
    base = f"{form[:2]}://landing/{tmp_path.name}"
    result = run(
        f"""
        stage = stage_task(
            files=FILES, base_uri="{base}", conn_id="store", run_id="run-1", cleanup_policy="delete_on_success"
        )
        verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, mode="sha256")
        sweep = StagingSweepOperator(task_id="sweep", base_uri="{base}", older_than="1d", conn_id="store")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=verify.output)
        verify >> sweep >> cleanup
        """
    )
    assert result.state == "success"
    written = call_every_command(base, tmp_path, "--conn-id", "store")
    client = ObjectStorageHook("store").get_client(base)
    evidence = client.list_prefix(ObjectStorageUri.parse(f"{base}/_manifests"))
    written += "".join(client.get_bytes(uri).decode() for uri in evidence)
    everything = said() + written
    for word in ("deleted_objects", "<!DOCTYPE html>", "dpone_staging"):
        assert word.lower() in everything.lower()
    assert secret not in everything
    assert "sig=" not in everything.replace("sig=***", "")
