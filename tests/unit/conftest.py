"""What the unit tests share: a store in a directory, a plan, and files to stage."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri

settings.register_profile("unit", deadline=None, database=None, max_examples=150)
settings.load_profile("unit")

WriteFile = Callable[..., Path]
CallCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _only_its_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own Airflow connections out of the tests."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def client(tmp_path: Path) -> LocalObjectStorageClient:
    return LocalObjectStorageClient(root_dir=tmp_path / "store")


@pytest.fixture
def writer() -> StagingWriter:
    return StagingWriter(dag_id="daily", dag_run_id="manual__1", task_id="stage")


@pytest.fixture
def service(client: LocalObjectStorageClient, writer: StagingWriter) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(client=client, writer=writer)


@pytest.fixture
def make_plan() -> Callable[..., ObjectStorageStagingPlan]:
    """A plan, with whatever a test wants to be different."""

    def make(**changes: str | None) -> ObjectStorageStagingPlan:
        fields: dict[str, str | None] = {
            "base_uri": "s3://lake/staging",
            "run_id": "run-1",
            "dataset": "sales",
            "table": "orders",
            "file_format": "csv",
            "cleanup_policy": "delete_on_success",
        }
        return ObjectStorageStagingPlan(**(fields | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a file below a fresh directory, ``in``; return its path."""

    def write_file(name: str, content: bytes = b"id,name\n1,Ada\n") -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write_file


@pytest.fixture
def stored(client: LocalObjectStorageClient) -> Callable[..., list[str]]:
    """List the URIs of everything in the bucket ``lake``, evidence included."""

    def listed(bucket: str = "s3://lake") -> list[str]:
        return sorted(str(uri) for uri in client.list_prefix(ObjectStorageUri.parse(bucket)))

    return listed


@pytest.fixture
def emulator_connection(client: LocalObjectStorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator of the test as the connection ``emulator``, with a password that nothing may show."""
    connection = {
        "conn_type": "dpone_local_object_storage",
        "password": "verysecret",
        "extra": {"root_dir": str(client.root_dir)},
    }
    monkeypatch.setenv("AIRFLOW_CONN_EMULATOR", json.dumps(connection))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")


@pytest.fixture
def call(emulator_connection: None, capsys: pytest.CaptureFixture[str]) -> CallCommand:
    """Call a command with the emulator's connection; return exit code, stdout, and what is told of an error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        from dpone_airflow.cli.main import main

        capsys.readouterr()
        code = main([*map(str, arguments), "--conn-id", "emulator"])
        captured = capsys.readouterr()
        assert "verysecret" not in captured.out + captured.err
        assert "Traceback" not in captured.err
        # Airflow 2.11 may log there what it thinks of its settings.
        (*_, told) = ["", *captured.err.splitlines()]
        return code, captured.out, told if told.startswith("dpone-airflow ") else ""

    return run
