"""Stage to Amazon S3 through the connection ``aws_default``, with a storage class; clean up whatever happens."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_s3", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> str:
        """Write two files and name them by a glob."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(2):
            (folder / f"orders-{number}.csv").write_text(f"id\n{number}\n")
        return f"{folder}/orders-*.csv"

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_s3]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_always",
        storage_options={"StorageClass": "STANDARD_IA"},
    )
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(stage.output) >> cleanup
    # [END howto_s3]
