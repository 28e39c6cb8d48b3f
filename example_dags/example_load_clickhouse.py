"""Load into ClickHouse by the macro ``clickhouse_table``: here into the one that chdb runs in the task.

A server of your own takes the same SQL, e.g. through SQLExecuteQueryOperator.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_load_clickhouse", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write three files of ten orders each."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            rows = "".join(f"{order},{order * 1.5}\n" for order in range(number * 10, number * 10 + 10))
            (folder / f"orders-{number}.csv").write_text(f"id,amount\n{rows}")
        return sorted(str(path) for path in folder.iterdir())

    # [START howto_load_clickhouse]
    @task
    def load(source: str) -> dict[str, Any]:
        """Fill a table from exactly the staged files; the keys go beside the SQL and not into it."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from chdb.session import Session

        keys = S3Hook("aws_default").get_credentials()
        parameters = {"dpone_access_key": keys.access_key, "dpone_secret_key": keys.secret_key}
        with Session() as session:
            session.query("CREATE TABLE orders (id UInt64, amount Float64) ENGINE = MergeTree ORDER BY id")
            session.query(f"INSERT INTO orders SELECT * FROM {source}", params=parameters)
            rows, amount = session.query("SELECT count(), sum(amount) FROM orders").data().strip().split(",")
        return {"rows": int(rows), "amount": float(amount)}

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
    )
    loaded = load(
        "{{ macros.dpone.clickhouse_table(ti.xcom_pull('stage'), credentials='parameters',"
        " endpoint=conn.aws_default.extra_dejson.get('endpoint_url')) }}"
    )
    stage >> loaded >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    # [END howto_load_clickhouse]
