"""Load into DuckDB, straight from the store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

with DAG("example_load_duckdb", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> list[str]:
        """Write three files of ten orders each."""
        folder = Path(tempfile.mkdtemp(prefix="orders-"))
        for number in range(3):
            rows = "".join(f"{order},{order * 1.5}\n" for order in range(number * 10, number * 10 + 10))
            (folder / f"orders-{number}.csv").write_text(f"id,amount\n{rows}")
        return sorted(str(path) for path in folder.iterdir())

    # [START howto_load_duckdb]
    @task
    def load(manifest: dict[str, Any]) -> dict[str, Any]:
        """Fill a table from exactly the staged files."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import duckdb

        source = duckdb.source(resolve_manifest(manifest, ObjectStorageHook()))
        with duckdb_with_s3("aws_default") as db:
            db.execute(f"CREATE TABLE orders AS SELECT * FROM {source}")
            rows, amount = db.execute("SELECT count(*), sum(amount) FROM orders").fetchone()
        return {"rows": rows, "amount": amount}

    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=export(),
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_on_success",
    )
    load(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    # [END howto_load_duckdb]


# [START howto_load_duckdb_secret]
def duckdb_with_s3(conn_id: str) -> Any:
    """Return a DuckDB whose secret is that of an Airflow connection."""
    import duckdb
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from duckdb_extensions import import_extension

    hook = S3Hook(conn_id)
    keys = hook.get_credentials()
    secret = {"KEY_ID": keys.access_key, "SECRET": keys.secret_key, "REGION": hook.region_name}
    if keys.token:
        secret["SESSION_TOKEN"] = keys.token
    if hook.conn_config.endpoint_url:
        scheme, _, host = hook.conn_config.endpoint_url.partition("://")
        secret |= {"ENDPOINT": host, "URL_STYLE": "path", "USE_SSL": str(scheme == "https").lower()}
    db = duckdb.connect()
    import_extension("httpfs", con=db)
    values = ", ".join(f"{name} '{value}'" for name, value in secret.items())
    db.execute(f"LOAD httpfs; CREATE SECRET (TYPE s3, {values})")
    return db


# [END howto_load_duckdb_secret]
