"""What docs/migration.md says: each "before" is read by the real operators, each "after" runs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
)
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import ClaimNotFoundError, InvalidManifestError, UnclaimedPrefixError
from local_servers.in_process_airflow import run_dag

REPOSITORY = Path(__file__).parent.parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs" / "migration.md").read_text(), re.M | re.S)

#: What dpone 0.88 writes for two files, of which one was given a content type.
WRITTEN_BY_DPONE = {
    "provider": "s3",
    "base_uri": "s3://landing/orders",
    "run_id": "2026-11-22",
    "dataset": "shop",
    "table": "orders",
    "file_format": "csv",
    "compression": "none",
    "cleanup_policy": "delete_on_success",
    "object_count": 2,
    "total_size_bytes": 18,
    "objects": [
        {
            "uri": "s3://landing/orders/2026-11-22/a.csv",
            "file_name": "a.csv",
            "size_bytes": 9,
            "sha256": "299ebedbe8c7589ee18b3ca30dc5e8e373765d6a48d43780d489d1aaa5071f95",
            "content_type": "text/csv",
        },
        {
            "uri": "s3://landing/orders/2026-11-22/b.csv",
            "file_name": "b.csv",
            "size_bytes": 9,
            "sha256": "b9d2ecbbd526987594d46512081f39bf9cba701cf1052d4c995f65b72886b90a",
            "content_type": "text/csv",
        },
    ],
}


def block(with_text: str) -> str:
    """Return the page's one block that has a text in it."""
    (found,) = (code for code in BLOCKS if with_text in code)
    return found


@pytest.mark.parametrize(
    ("operator", "tasks", "target"),
    [
        ("LocalFilesystemToS3Operator", ["upload_amer", "upload_apac", "upload_emea"], "dest_key"),
        ("LocalFilesystemToGCSOperator", ["upload"], "dst"),
        ("LocalFilesystemToWasbOperator", ["upload_amer", "upload_apac", "upload_emea"], "blob_name"),
    ],
)
def test_the_loop_before_is_one_that_its_provider_takes(operator: str, tasks: list[str], target: str) -> None:
    with DAG("before", schedule=None) as dag:
        exec(block(f"import {operator}"), {})
    assert sorted(dag.task_ids) == tasks
    for task in dag.tasks:
        assert type(task).__name__ == operator
        assert "orders/{{ ds }}/" in getattr(task, target)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_the_stage_after_is_the_same_on_every_store(
    dag_file: Callable[[str], Any],
    emulator: LocalObjectStorageClient,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(emulator.root_dir)}}
    monkeypatch.setenv("AIRFLOW_CONN_OBJECT_STORAGE", json.dumps(connection))
    source = (REPOSITORY / "example_dags" / "example_migrated.py").read_text()
    result = run_dag(
        dag_file(source.replace("s3://", f"{scheme}://").replace('"example_migrated"', f'"on_{scheme}"')).dag
    )
    assert result.state == "success"
    manifest = ObjectStorageStagingManifest.from_dict(result.xcoms["stage"])
    assert [item.file_name for item in manifest.objects] == ["amer.csv", "apac.csv", "emea.csv"]
    assert result.xcoms["load"] == [item.uri for item in manifest.objects]
    assert manifest.base_uri == f"{scheme}://landing/orders"
    assert result.xcoms["cleanup"]["deleted_objects"] == 3


def test_dpones_calls_with_other_imports_stage_and_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("export").mkdir()
    for name in ("emea.csv", "apac.csv"):
        Path("export", name).write_text(f"id\n{name}\n")
    names: dict[str, Any] = {}
    exec(block("writer=StagingWriter("), names)
    assert [item.content_type for item in names["manifest"].objects] == ["text/csv", "text/csv"]
    assert names["deleted"] == 2


def test_dpones_calls_differ_by_their_imports_and_the_writer() -> None:
    def calls(code: str) -> list[str]:
        return [line for line in code.splitlines() if "import" not in line and "writer=" not in line]

    before, after = "\n".join(calls(block("from dpone.staging"))), "\n".join(calls(block("writer=StagingWriter(")))
    assert re.sub(r"\s|,(?=\s*\))", "", before) == re.sub(r"\s|,(?=\s*\))", "", after)


def test_a_manifest_of_dpones_is_read_with_its_content_types() -> None:
    manifest = ObjectStorageStagingManifest.from_dict(WRITTEN_BY_DPONE)
    assert manifest.to_dict() == WRITTEN_BY_DPONE


@pytest.mark.parametrize(
    ("change", "key"),
    [({"content_type": None}, "content_type"), ({"cleanup_policy": "eager"}, "cleanup_policy")],
)
def test_what_of_dpones_manifests_is_refused_becomes_readable(change: dict[str, Any], key: str) -> None:
    old = copy.deepcopy(WRITTEN_BY_DPONE)
    (old["objects"][0] if key == "content_type" else old).update(change)
    with pytest.raises(InvalidManifestError, match=key):
        ObjectStorageStagingManifest.from_dict(old)
    names: dict[str, Any] = {}
    exec(block("def read_old"), names)
    manifest = names["read_old"](old)
    assert [item.uri for item in manifest.objects] == [item["uri"] for item in WRITTEN_BY_DPONE["objects"]]
    assert manifest.cleanup_policy in ("delete_on_success", "delete_always")


def test_a_run_of_dpones_can_be_verified_and_neither_deleted_nor_staged_over(tmp_path: Path) -> None:
    client = LocalObjectStorageClient(tmp_path / "buckets")
    manifest = ObjectStorageStagingManifest.from_dict(WRITTEN_BY_DPONE)
    for item in manifest.objects:
        client.put_bytes(f"id\n{item.file_name}\n".encode(), ObjectStorageUri.parse(item.uri))
    service = ObjectStorageStagingService(client=client)
    assert service.verify(manifest, mode="sha256").object_count == 2
    with pytest.raises(ClaimNotFoundError):
        service.cleanup(manifest)
    plan = ObjectStorageStagingPlan(
        base_uri=manifest.base_uri, run_id=manifest.run_id, dataset="shop", table="orders", file_format="csv"
    )
    (tmp_path / "c.csv").write_text("id\n")
    with pytest.raises(UnclaimedPrefixError):
        service.stage_files(plan, tmp_path / "c.csv")
    assert [str(uri) for uri in client.list_prefix(manifest.prefix)] == [item.uri for item in manifest.objects]
