"""Stage, load and clean up with the cleanup as a teardown around the load, in the context manager's form."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_teardown", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> str:
        """Write two files."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(2):
            (folder / f"orders-{number}.csv").write_text(f"id\n{number}\n")
        return str(folder)

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    @task
    def check(uris: list[str]) -> int:
        """Look at what was loaded, while the files are still there."""
        return len(uris)

    # [START howto_teardown]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_always",
        conn_id="dpone_local_default",
    )
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    with cleanup.as_teardown(setups=stage):
        check(load(stage.output))
    # [END howto_teardown]
