"""Read every staged byte back and compare it with the manifest, before the load takes it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator, StagingVerifyOperator

with DAG("example_verify", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> str:
        """Write three files; a directory is staged with its tree."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            (folder / f"orders-{number}.csv").write_text(f"id\n{number}\n")
        return str(folder)

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_verify]
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
    verify = StagingVerifyOperator(task_id="verify", manifest=stage.output, mode="sha256")
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(verify.output) >> cleanup
    # [END howto_verify]
