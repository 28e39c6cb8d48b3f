"""Load into Databricks: the files by name below the run prefix, 1,000 a COPY INTO."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.databricks.operators.databricks_sql import DatabricksCopyIntoOperator, DatabricksSqlOperator

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_load_databricks", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write three files of ten orders each."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            rows = "".join(f"{order},{order * 1.5}\n" for order in range(number * 10, number * 10 + 10))
            (folder / f"orders-{number}.csv").write_text(f"id,amount\n{rows}")
        return sorted(str(path) for path in folder.iterdir())

    # [START howto_load_databricks]
    @task
    def statements(manifest: dict[str, Any]) -> list[str]:
        """Return a COPY INTO for each 1,000 files."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import databricks

        return databricks.copy_statements(resolve_manifest(manifest, ObjectStorageHook()), "shop.orders")

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
    )
    load = DatabricksSqlOperator(task_id="load", sql=statements(stage.output))
    # [END howto_load_databricks]

    # [START howto_load_databricks_copy_into]
    @task
    def location(manifest: dict[str, Any]) -> str:
        """Return the run prefix as Databricks writes it."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import databricks

        return databricks.file_location(resolve_manifest(manifest, ObjectStorageHook()))

    @task
    def batches(manifest: dict[str, Any]) -> list[list[str]]:
        """Return the names below it, 1,000 or fewer for each COPY INTO."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import databricks

        return databricks.file_batches(resolve_manifest(manifest, ObjectStorageHook()))

    load_history = DatabricksCopyIntoOperator.partial(
        task_id="load_history",
        table_name="shop.orders_history",
        file_location=location(stage.output),
        file_format="CSV",
        format_options={"header": "true"},
    ).expand(files=batches(stage.output))
    # [END howto_load_databricks_copy_into]

    [load, load_history] >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
