"""Load into Amazon Redshift: a COPY manifest beside the evidence, and S3ToRedshiftOperator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_load_redshift", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write three files of ten orders each."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            rows = "".join(f"{order},{order * 1.5}\n" for order in range(number * 10, number * 10 + 10))
            (folder / f"orders-{number}.csv").write_text(f"id,amount\n{rows}")
        return sorted(str(path) for path in folder.iterdir())

    # [START howto_load_redshift]
    @task
    def hand_over(manifest: dict[str, Any]) -> dict[str, Any]:
        """Write the COPY manifest; return what S3ToRedshiftOperator takes."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import redshift

        hook = ObjectStorageHook()
        staged = resolve_manifest(manifest, hook)
        return redshift.write_copy_manifest(staged, hook.get_client(staged.base_uri), options=["TIMEFORMAT 'auto'"])

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
    )
    arguments = hand_over(stage.output)
    load = S3ToRedshiftOperator(
        task_id="load",
        schema="shop",
        table="orders",
        s3_bucket=arguments["s3_bucket"],
        s3_key=arguments["s3_key"],
        copy_options=arguments["copy_options"],
    )
    load >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    # [END howto_load_redshift]
