"""The decorator, mapped: each instance extracts and stages its own part on its own worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from dpone_airflow.operators import StagingCleanupOperator

with DAG("example_taskflow_mapped", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:
    # [START howto_stage_files_mapped]
    @task.stage_files(
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_always",
        conn_id="dpone_local_default",
    )
    def extract(region: str, staging_dir: str) -> Iterator[Path]:
        """Write the two files of a region."""
        for half in (1, 2):
            path = Path(staging_dir) / f"{region}-{half}.csv"
            path.write_text(f"id,region\n{half},{region}\n")
            yield path

    staged = extract.expand(region=["emea", "apac", "amer"])
    # [END howto_stage_files_mapped]

    # [START howto_merge]
    @task
    def load(manifests: list[dict[str, Any]]) -> list[str]:
        """Join the parts to the manifest of the whole run."""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest

        run = resolve_manifest(manifests, ObjectStorageHook("dpone_local_default"))
        return [item.file_name for item in run.objects]

    # [END howto_merge]

    load(staged) >> StagingCleanupOperator(task_id="cleanup", manifest=staged)
