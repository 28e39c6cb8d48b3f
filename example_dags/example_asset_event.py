"""Stage one directory a region under a name in the grid, and wake the DAGs that wait for the orders.

Each instance is called after its region. Its asset's event says where its manifest is; the DAG that
the event wakes is ``example_consumer``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Asset, task

from dpone_airflow.operators import ObjectStorageStageOperator

with DAG("example_asset_event", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write one directory a region."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for region in ("emea", "apac"):
            (folder / region).mkdir()
            (folder / region / "orders.csv").write_text(f"id,region\n1,{region}\n")
        return sorted(str(region) for region in folder.iterdir())

    # [START howto_asset_event]
    ObjectStorageStageOperator.partial(
        task_id="stage",
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="retain",
        conn_id="dpone_local_default",
        outlets=[Asset("s3://landing/orders")],
        map_index_template="{{ task.dag_id }}: {{ staged_source }}",
    ).expand(files=export())
    # [END howto_asset_event]
