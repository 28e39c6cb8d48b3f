"""Stage to Azure Blob Storage through ``wasb_default``; the cleanup is a teardown of the stage."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_azure", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> str:
        """Write one file."""
        file = Path(tempfile.mkdtemp(prefix="orders-"), "orders.csv")
        file.write_text("id\n1\n")
        return str(file)

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_azure]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="az://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_always",
    )
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(stage.output) >> cleanup.as_teardown(setups=stage)
    # [END howto_azure]
