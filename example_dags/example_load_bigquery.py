"""Load into BigQuery: one job by GCSToBigQueryOperator, or as many as the files need by BigQueryInsertJobOperator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_load_bigquery", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write three files of ten orders each."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            rows = "".join(f"{order},{order * 1.5}\n" for order in range(number * 10, number * 10 + 10))
            (folder / f"orders-{number}.csv").write_text(f"id,amount\n{rows}")
        return sorted(str(path) for path in folder.iterdir())

    # [START howto_load_bigquery]
    @task
    def source(manifest: dict[str, Any]) -> dict[str, Any]:
        """Return what GCSToBigQueryOperator takes."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import bigquery

        return bigquery.gcs_arguments(resolve_manifest(manifest, ObjectStorageHook()))

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="gs://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
    )
    staged = source(stage.output)
    load = GCSToBigQueryOperator(
        task_id="load",
        bucket=staged["bucket"],
        source_objects=staged["source_objects"],
        destination_project_dataset_table="warehouse.shop.orders",
        source_format="CSV",
        skip_leading_rows=1,
        write_disposition="WRITE_APPEND",
    )
    # [END howto_load_bigquery]

    # [START howto_load_bigquery_jobs]
    @task
    def jobs(manifest: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the configuration of each job: 10,000 files or fewer."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import bigquery

        return bigquery.load_jobs(
            resolve_manifest(manifest, ObjectStorageHook()),
            "warehouse.shop.orders_history",
            options={"autodetect": True},
        )

    load_history = BigQueryInsertJobOperator.partial(task_id="load_history", project_id="warehouse").expand(
        configuration=jobs(stage.output)
    )
    # [END howto_load_bigquery_jobs]

    [load, load_history] >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
