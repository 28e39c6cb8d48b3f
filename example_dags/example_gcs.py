"""Stage to Google Cloud Storage through ``google_cloud_default``; keep the files for replay."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_gcs", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write one file a region; a list keeps its order."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        files = [folder / "emea.csv", folder / "apac.csv"]
        for file in files:
            file.write_text("id\n1\n")
        return [str(file) for file in files]

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_gcs]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="gs://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="retain",
    )
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(stage.output) >> cleanup
    # [END howto_gcs]
