"""Stage in mapped instances: one part each below one run prefix, one cleanup for all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_mapped", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write one directory a region; each becomes one instance's files."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for region in ("emea", "apac", "amer"):
            (folder / region).mkdir()
            (folder / region / "orders.csv").write_text(f"id,region\n1,{region}\n")
        return sorted(str(region) for region in folder.iterdir())

    @task
    def load(manifests: list[dict[str, Any]]) -> list[str]:
        """Take the manifests of all instances at once."""
        return [item["uri"] for manifest in manifests for item in manifest["objects"]]

    # [START howto_mapped]
    stage = ObjectStorageStageOperator.partial(
        task_id="stage",
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
        conn_id="dpone_local_default",
    ).expand(files=export())

    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(stage.output) >> cleanup
    # [END howto_mapped]
