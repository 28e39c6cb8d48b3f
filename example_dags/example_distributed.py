"""A mapped stage on several workers: each instance extracts and stages its part where it runs, and shares no disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import StagingCleanupOperator, StagingVerifyOperator

with DAG(
    "example_distributed",
    schedule=None,
    catchup=False,
    tags=["dpone", "example"],
    params={"instances": 20, "files_each": 10, "rows_each": 10, "seconds_a_file": 0.0},
    # A worker that dies takes its tasks with it: Airflow gives them to another one, as a retry.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=2)},
) as dag:

    @task
    def parts(params: dict[str, Any]) -> list[int]:
        """Name what each instance extracts."""
        return list(range(params["instances"]))

    # [START howto_distributed]
    @task.stage_files(
        base_uri="s3://landing/measurements",
        dataset="plant",
        table="measurements",
        file_format="csv",
        cleanup_policy="delete_on_success",
        conn_id="aws_default",
        delete_local=True,
    )
    def extract(part: int, staging_dir: str, params: dict[str, Any]) -> Iterator[Path]:
        """Write the files of a part, each of which is uploaded while the next one is written."""
        rows = params["rows_each"]
        for number in range(params["files_each"]):
            first = (part * params["files_each"] + number) * rows
            lines = "".join(f"{row},{row * 0.5}\n" for row in range(first, first + rows))
            path = Path(staging_dir) / f"measurements-{number:05d}.csv"
            path.write_text(f"id,value\n{lines}")
            time.sleep(params["seconds_a_file"])
            yield path

    staged = extract.expand(part=parts())
    verify = StagingVerifyOperator(task_id="verify", manifest=staged)
    # [END howto_distributed]

    @task
    def load(manifest: dict[str, Any]) -> dict[str, int]:
        """Fill a ClickHouse table from exactly the staged files."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from chdb.session import Session

        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest
        from dpone_airflow.staging.loaders import clickhouse

        whole = resolve_manifest(manifest, ObjectStorageHook())
        store = S3Hook("aws_default")
        keys = store.get_credentials()
        parameters = {"dpone_access_key": keys.access_key, "dpone_secret_key": keys.secret_key}
        endpoint, columns = store.conn_config.endpoint_url, "id UInt64, value Float64"
        with Session() as session:
            session.query(f"CREATE TABLE measurements ({columns}) ENGINE = MergeTree ORDER BY id")
            for source in clickhouse.tables(whole, credentials="parameters", endpoint=endpoint, structure=columns):
                session.query(f"INSERT INTO measurements SELECT * FROM {source}", params=parameters)
            found = session.query("SELECT count(), uniqExact(id), sum(id) FROM measurements").data()
        rows, distinct, total = found.strip().split(",")
        return {"objects": whole.object_count, "rows": int(rows), "distinct": int(distinct), "total": int(total)}

    @task
    def compare(manifest: dict[str, Any]) -> dict[str, int]:
        """List what lies below the run prefix, before the cleanup deletes it, and compare it with the manifest."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest

        hook = ObjectStorageHook()
        whole = resolve_manifest(manifest, hook)
        client = hook.get_client(whole.base_uri)
        listed = {str(uri) for uri in client.list_prefix(whole.prefix)}
        named = {item.uri for item in whole.objects}
        return {
            "listed": len(listed),
            "named": len(named),
            "strays": len(listed - named),
            "missing": len(named - listed),
        }

    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=staged)
    load(verify.output) >> cleanup
    compare(verify.output) >> cleanup
