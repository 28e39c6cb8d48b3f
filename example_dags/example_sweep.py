"""Once a day, delete what old runs have left behind below a base; what no claim names is only reported."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from dpone_airflow.operators import StagingSweepOperator

with DAG(
    "example_sweep",
    schedule=None,  # write "@daily", with max_active_runs=1
    catchup=False,
    max_active_runs=1,
    params={"older_than": Param("30d", type="string", description="The age from which a run goes")},
    tags=["dpone", "example"],
) as dag:
    # [START howto_sweep]
    sweep = StagingSweepOperator(
        task_id="sweep",
        base_uri="s3://landing/orders",
        older_than="{{ params.older_than }}",
        overdue_after=timedelta(days=1),
        evidence_older_than="365d",
        max_runs=500,
        conn_id="dpone_local_default",
        dry_run=False,  # leave it out at first, and read the log
    )
    # [END howto_sweep]
