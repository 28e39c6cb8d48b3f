"""What a loop of transfer operators becomes: one stage task, whatever the store and however many files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

BASE_URI = "s3://landing/orders"

with DAG("example_migrated", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> str:
        """Write a file for each region, and return their folder."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for region in ("emea", "apac", "amer"):
            (folder / f"{region}.csv").write_text(f"id,region\n1,{region}\n")
        return str(folder)

    # [START howto_migrated]
    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Load the files that the manifest names, and no others."""
        return [item["uri"] for item in manifest["objects"]]

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri=BASE_URI,
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
        conn_id="object_storage",
    )
    load(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    # [END howto_migrated]
