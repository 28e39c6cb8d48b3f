"""Stage files that lie elsewhere: they are streamed from there and never land on the worker's disk."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_remote", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:
    # [START howto_remote]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files="sftp:///exports/orders/*.csv",
        source_conn_id="partner_sftp",
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="retain",
        conn_id="dpone_local_default",
    )
    # [END howto_remote]

    stage >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
