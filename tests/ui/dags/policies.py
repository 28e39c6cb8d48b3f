"""A DAG for each cleanup policy, whose load fails when its run is asked for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

for policy in ("retain", "delete_on_success", "delete_always"):
    with DAG(policy, schedule=None, catchup=False, params={"load_fails": False}):

        @task
        def load(manifest: dict[str, Any], params: dict[str, Any] | None = None) -> int:
            if params and params["load_fails"]:
                raise AirflowFailException("This run was asked to fail.")
            return int(manifest["object_count"])

        stage = ObjectStorageStageOperator(
            task_id="stage",
            files=str(Path(__file__).with_name("orders.csv")),
            base_uri="s3://landing/orders",
            dataset="shop",
            table="orders",
            file_format="csv",
            cleanup_policy=policy,
            conn_id="policies",
        )
        load(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
