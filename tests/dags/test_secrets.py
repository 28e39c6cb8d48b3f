"""No key, token or password in a log, an XCom, a manifest or the evidence, on success and on failure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.storage import ObjectStorageUri
from local_servers import Azurite, SeaweedFS
from tests.dags.conftest import RunDag


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        running: dict[str, Any] = {}
        for scheme, kind in {"s3": SeaweedFS, "az": Azurite}.items():
            running[scheme] = stack.enter_context(kind.start(tmp_path_factory.mktemp(scheme)))
            running[scheme].create_bucket("landing")
        yield running


def _sas_connection(server: Azurite) -> tuple[dict[str, Any], str]:
    """Return a connection that holds a SAS token, and the token's signature."""
    import datetime

    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    token = generate_account_sas(
        server.account,
        server.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True, add=True),
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )
    signature = dict(pair.split("=", 1) for pair in token.split("&"))["sig"]
    return {"conn_type": "wasb", "host": server.endpoint, "extra": {"sas_token": token}}, signature


@pytest.mark.parametrize("outcome", ["success", "no such bucket", "store is gone"])
@pytest.mark.parametrize("scheme", ["s3", "az", "az with SAS"])
def test_no_secret_leaves_the_connection(
    run: RunDag,
    servers: dict[str, Any],
    task_log: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    outcome: str,
) -> None:
    server = servers[scheme[:2]]
    connection = server.airflow_connection()
    secret = connection["password"]
    if scheme == "az with SAS":
        connection, secret = _sas_connection(server)
    if outcome == "store is gone":
        text = json.dumps(connection).replace(server.endpoint.rpartition(":")[2].partition("/")[0], "9")
        connection = json.loads(text)
        if scheme == "s3":
            connection["extra"]["config_kwargs"] = {"retries": {"max_attempts": 0}}
        else:
            connection.setdefault("extra", {})["retry_total"] = 0
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
    bucket = "no-such-bucket" if outcome == "no such bucket" else "landing"
    result = run(
        f"""
        stage = stage_task(
            files=FILES, base_uri="{scheme[:2]}://{bucket}/orders", conn_id="store", cleanup_policy="delete_always",
        )
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(stage.output) >> cleanup
        """
    )
    assert result.state == ("success" if outcome == "success" else "failed")
    written = task_log() + json.dumps(result.xcoms)
    if outcome == "success":
        assert result.xcoms["cleanup"]["deleted_objects"] == 3
        client = ObjectStorageHook("store").get_client(f"{scheme[:2]}://{bucket}")
        evidence = client.list_prefix(ObjectStorageUri.parse(f"{scheme[:2]}://{bucket}/orders/_manifests"))
        written += "".join(client.get_bytes(uri).decode() for uri in evidence)
        assert "deleted_objects" in written
    else:
        assert "Could not list" in written
    assert secret not in written
    assert "sig=" not in written.replace("sig=***", "")
