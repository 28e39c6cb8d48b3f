"""Stage to the local emulator: the same URIs and tasks as with a cloud, and a directory behind them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_local", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> str:
        """Write a small extract; a directory is staged with its tree."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for day in ("2026-11-21", "2026-11-22"):
            partition = folder / f"dt={day}"
            partition.mkdir()
            (partition / "part-0.csv").write_text(f"id,day\n1,{day}\n")
        return str(folder)

    @task
    def load(manifest: dict[str, Any]) -> int:
        """Read the staged files as a loader would, and count their bytes."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.storage import ObjectStorageUri

        client = ObjectStorageHook("dpone_local_default").get_client(manifest["base_uri"])
        return sum(len(client.get_bytes(ObjectStorageUri.parse(item["uri"]))) for item in manifest["objects"])

    # [START howto_local]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
        conn_id="dpone_local_default",
    )
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(stage.output) >> cleanup
    # [END howto_local]
