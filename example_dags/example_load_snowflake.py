"""Load into Snowflake: the files by name below an external stage, 1,000 a COPY INTO."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_load_snowflake", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write three files of ten orders each."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            rows = "".join(f"{order},{order * 1.5}\n" for order in range(number * 10, number * 10 + 10))
            (folder / f"orders-{number}.csv").write_text(f"id,amount\n{rows}")
        return sorted(str(path) for path in folder.iterdir())

    # [START howto_load_snowflake]
    @task
    def batches(manifest: dict[str, Any]) -> list[list[str]]:
        """Return the names below the stage's URL, 1,000 or fewer for each COPY INTO."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import snowflake

        # As in: CREATE STAGE landing URL = 's3://landing/' ...
        return snowflake.file_batches(resolve_manifest(manifest, ObjectStorageHook()), location="s3://landing/")

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
    )
    load = CopyFromExternalStageToSnowflakeOperator.partial(
        task_id="load",
        schema="SHOP",
        table="ORDERS",
        stage="SHOP.LANDING",
        file_format="(TYPE = CSV, SKIP_HEADER = 1)",
    ).expand(files=batches(stage.output))
    load >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    # [END howto_load_snowflake]
