"""A DAG that the event of a stage's asset wakes: it loads each run that it was woken for, and cleans up after itself.

The stage keeps its files (``cleanup_policy="retain"``, ``outlets=[Asset("s3://landing/orders")]``): only
the DAG that loads them last knows when they may go.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task, task_group

from dpone_airflow.operators import StagingCleanupOperator, StagingVerifyOperator

CONN_ID = "dpone_local_default"

with DAG(
    "example_consumer",
    schedule=[Asset("s3://landing/orders")],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["dpone", "example"],
) as dag:

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_consumer]
    @task
    def staged_runs(**context: Any) -> list[str]:
        """Return the manifest of each run that woke this DAG; there may be several since it ran last."""
        # Airflow 3 has the first name, Airflow 2.11 the second.
        woken_by = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
        return list(dict.fromkeys(event.extra["manifest_uri"] for events in woken_by.values() for event in events))

    @task_group
    def one_run(manifest_uri: str) -> None:
        """Load one run, and delete it once it is loaded."""
        verify = StagingVerifyOperator(task_id="verify", manifest_uri=manifest_uri, conn_id=CONN_ID)
        cleanup = StagingCleanupOperator(
            task_id="cleanup",
            manifest_uri=manifest_uri,
            cleanup_policy="delete_on_success",
            conn_id=CONN_ID,
        )
        load(verify.output) >> cleanup

    one_run.expand(manifest_uri=staged_runs())
    # [END howto_consumer]
