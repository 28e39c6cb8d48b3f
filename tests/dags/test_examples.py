"""Every example DAG runs to its end, on the emulator and on the server of its cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging import ObjectStorageStagingManifest
from local_servers import Azurite, FakeGcsServer, SeaweedFS
from local_servers.in_process_airflow import run_dag
from tests.manifest_schema import assert_as_the_schema_says

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"


def test_every_example_is_run_by_a_test_in_this_folder() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    examples = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {name for name in examples if f'"{name}' in tests} == examples


@pytest.mark.usefixtures("emulator")
def test_local(dag_file: Callable[[str], Any]) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_local.py").read_text()).dag)
    assert result.state == "success"
    assert_as_the_schema_says(result.xcoms["stage"])
    manifest = ObjectStorageStagingManifest.from_dict(result.xcoms["stage"])
    assert [item.file_name for item in manifest.objects] == ["dt=2026-11-21/part-0.csv", "dt=2026-11-22/part-0.csv"]
    assert result.xcoms["load"] == manifest.total_size_bytes == 40
    assert result.xcoms["cleanup"]["deleted_objects"] == 2


@pytest.mark.usefixtures("emulator")
def test_mapped(dag_file: Callable[[str], Any]) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_mapped.py").read_text()).dag)
    assert result.state == "success"
    parts = [result.xcoms[f"stage[{index}]"] for index in range(3)]
    assert [part["part"] for part in parts] == ["map-00000", "map-00001", "map-00002"]
    assert len({(part["base_uri"], part["run_id"]) for part in parts}) == 1
    assert len(set(result.xcoms["load"])) == 3
    assert result.xcoms["cleanup"]["deleted_objects"] == 3


@pytest.mark.parametrize(
    ("example", "conn_id", "kind", "kept"),
    [
        ("example_s3", "aws_default", SeaweedFS, False),
        ("example_gcs", "google_cloud_default", FakeGcsServer, True),
        ("example_azure", "wasb_default", Azurite, False),
    ],
)
def test_cloud(
    dag_file: Callable[[str], Any],
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    example: str,
    conn_id: str,
    kind: type,
    kept: bool,
) -> None:
    connect(conn_id, server(kind))
    result = run_dag(dag_file((EXAMPLES / f"{example}.py").read_text()).dag)
    assert result.state == "success"
    assert_as_the_schema_says(result.xcoms["stage"])
    manifest = ObjectStorageStagingManifest.from_dict(result.xcoms["stage"])
    assert result.xcoms["load"] == [item.uri for item in manifest.objects]
    client = ObjectStorageHook().get_client(manifest.base_uri)
    left = [str(uri) for uri in client.list_prefix(manifest.prefix)]
    assert left == (sorted(item.uri for item in manifest.objects) if kept else [])


@pytest.mark.parametrize("store", ["emulator", "seaweedfs"])
def test_flights(
    dag_file: Callable[[str], Any],
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if store == "emulator":
        connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(tmp_path / "buckets")}}
        monkeypatch.setenv("AIRFLOW_CONN_OBJECT_STORAGE", json.dumps(connection))
    else:
        server(SeaweedFS).create_bucket("flights")
        connect("object_storage", server(SeaweedFS))
    result = run_dag(dag_file((EXAMPLES / "example_flights.py").read_text()).dag)
    assert result.state == "success"
    assert result.xcoms["stage"]["object_count"] == 12
    assert (result.xcoms["load"]["rows"], result.xcoms["load"]["distance"]) == (336_776, 350_217_607)
    assert result.xcoms["cleanup"]["deleted_objects"] == 12
