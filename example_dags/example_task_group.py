"""Stage, load and clean up inside a mapped task group: each instance has its own part, and cleans up just that."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task, task_group

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_task_group", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write one directory a region; each becomes one instance of the group."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for region in ("emea", "apac", "amer"):
            (folder / region).mkdir()
            (folder / region / "orders.csv").write_text(f"id,region\n1,{region}\n")
        return sorted(str(region) for region in folder.iterdir())

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs of one region to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_task_group]
    @task_group
    def one_region(path: str) -> None:
        """Stage, load and clean up one region, whatever becomes of the others."""
        stage = ObjectStorageStageOperator(
            task_id="stage",
            files=path,
            base_uri="s3://landing/orders",
            dataset="shop",
            table="orders",
            file_format="csv",
            cleanup_policy="delete_on_success",
            conn_id="dpone_local_default",
        )
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        with cleanup.as_teardown(setups=stage):
            load(stage.output)

    one_region.expand(path=export())
    # [END howto_task_group]
