"""Extract and stage in one task: each file is uploaded while the next one is being written."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import StagingCleanupOperator

with DAG("example_taskflow", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:
    # [START howto_stage_files]
    @task.stage_files(
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
        conn_id="dpone_local_default",
        delete_local=True,
    )
    def extract(regions: list[str], staging_dir: str) -> Iterator[Path]:
        """Write one file a region; each is uploaded while the next one is written, and then removed here."""
        for region in regions:
            path = Path(staging_dir) / f"region={region}.csv"
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([("id", "region"), (1, region), (2, region)])
            yield path

    # [END howto_stage_files]

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Take the manifest, as any task would."""
        return [item["uri"] for item in manifest["objects"]]

    staged = extract(["emea", "apac", "amer"])
    load(staged) >> StagingCleanupOperator(task_id="cleanup", manifest=staged)
