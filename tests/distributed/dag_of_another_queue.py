"""A stage whose queue has a worker of its own."""

from __future__ import annotations

from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

with DAG("another_queue", schedule=None, catchup=False) as dag:

    @task.stage_files(
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        conn_id="aws_default",
        queue="bare",
    )
    def extract(staging_dir: str) -> Path:
        path = Path(staging_dir) / "orders.csv"
        path.write_text("id\n1\n")
        return path

    extract()
