"""Runs DAGs in this process, on whichever Airflow is installed."""

from __future__ import annotations

import itertools
import json
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from local_servers.in_process_airflow import RunResult, load_dags, make_database, run_dag
from tests.conftest import DAGS_FOLDER

BASE = "s3://landing/orders"
LANDING = "landing"
RunDag = Callable[..., RunResult]

_HEADER = """
from pathlib import Path

from airflow.providers.common.compat.sdk import (
    DAG, AirflowSkipException, Asset, BaseOperator, TaskGroup, task, task_group,
)
from dpone_airflow.operators import (
    ObjectStorageStageOperator, StagingCleanupOperator, StagingSweepOperator, StagingVerifyOperator,
)

def stage_task(**changes):
    arguments = dict(
        task_id="stage", base_uri="s3://landing/orders", dataset="shop", table="orders",
        file_format="csv", conn_id="emulator", max_concurrency=1,
    )
    return ObjectStorageStageOperator(**(arguments | changes))

@task
def load(manifest):
    return len(manifest["objects"])
"""


@pytest.fixture(scope="session", autouse=True)
def _database() -> None:
    make_database()


@pytest.fixture(scope="session", autouse=True)
def _short_pauses() -> Iterator[None]:
    """``dag.test()`` sleeps a second whenever no task is ready yet, which is once in nearly every run."""
    sleep = time.sleep

    def sleep_less(seconds: float) -> None:
        caller = sys._getframe(1).f_globals["__name__"]
        sleep(0.02 if caller in {"airflow.sdk.definitions.dag", "airflow.models.dag"} else seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", sleep_less)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_api_server() -> Iterator[None]:
    """``dag.test()`` builds Airflow's whole task API anew for each task; here it is built once, as on a server."""
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:  # Airflow 2.11 has no such API
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "in_process_api_server", cache(supervisor.in_process_api_server))
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[type], Any]]:
    """Start a server when it is first asked for."""
    running: dict[type, Any] = {}
    with ExitStack() as stack:

        def start(kind: Any) -> Any:
            if kind not in running:
                running[kind] = stack.enter_context(kind.start(tmp_path_factory.mktemp("server")))
                running[kind].create_bucket(LANDING)
            return running[kind]

        yield start


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    def set_connection(conn_id: str, to: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(to.airflow_connection()))
        for name, value in to.environment().items():
            monkeypatch.setenv(name, value)

    return set_connection


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalObjectStorageClient:
    """The emulator behind the connection ``emulator``, empty for every test."""
    root_dir = tmp_path / "buckets"
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(root_dir)}}
    monkeypatch.setenv("AIRFLOW_CONN_EMULATOR", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_DPONE_LOCAL_DEFAULT", json.dumps(connection))
    return LocalObjectStorageClient(root_dir=root_dir)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three files to stage."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.csv", "b.csv", "c.csv"):
        (folder / name).write_text(f"id\n{name}\n")
    return folder


@pytest.fixture
def dag_file() -> Iterator[Callable[[str], Any]]:
    """Put one file into the DAGs folder, and return its module."""
    written: list[Path] = []

    def write(source: str) -> Any:
        path = DAGS_FOLDER / f"dags_{len(written)}.py"
        path.write_text(source)
        written.append(path)
        return load_dags(path)

    yield write
    for path in written:
        path.unlink()


@pytest.fixture
def run(
    request: pytest.FixtureRequest,
    dag_file: Callable[[str], Any],
    files: Path,
    emulator: LocalObjectStorageClient,
) -> RunDag:
    """Run a DAG written as the body of ``with DAG(...) as dag:``; ``FILES`` in it is the files' folder."""

    numbers = itertools.count()

    def run_body(*body: str, conf: dict[str, Any] | None = None, dag_arguments: str = "") -> RunResult:
        # Airflow keeps a DAG's earlier versions by its id: every run here is another DAG.
        dag_id = f"{re.sub('[^a-z0-9_]+', '_', request.node.name.lower())[:180]}_{next(numbers)}"
        source = (
            f"{_HEADER}\nFILES = {str(files)!r}\n"
            f"with DAG('{dag_id}', schedule=None, catchup=False, {dag_arguments}) as dag:\n"
            + "".join(textwrap.indent(textwrap.dedent(text).strip(), "    ") + "\n" for text in body)
        )
        return run_dag(dag_file(source).dag, conf=conf)

    return run_body


@pytest.fixture
def staged(emulator: LocalObjectStorageClient) -> Callable[[], list[str]]:
    """Return the keys below the base that aren't evidence, each after its run id."""

    def names() -> list[str]:
        base = ObjectStorageUri.parse(BASE)
        keys = [uri.key.removeprefix(base.prefix) for uri in emulator.list_prefix(base)]
        return [key.partition("/")[2] for key in keys if not key.startswith("_manifests/")]

    return names


@pytest.fixture
def records(emulator: LocalObjectStorageClient) -> Callable[[], dict[str, dict[str, Any]]]:
    """Return the evidence below the base by the name of each record."""

    def read() -> dict[str, dict[str, Any]]:
        folder = ObjectStorageUri.parse(f"{BASE}/_manifests")
        found = emulator.list_prefix(folder)
        return {
            uri.key.removeprefix(folder.prefix).partition("/")[2]: json.loads(emulator.get_bytes(uri)) for uri in found
        }

    return read


@pytest.fixture
def task_log(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return what the tasks logged: Airflow 3 prints it, Airflow 2.11 goes through logging."""

    return lambda: "".join(capsys.readouterr()) + caplog.text
