"""The operators of Airflow's own providers: one LocalFilesystemToS3Operator for each file, in a loop."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.operators.s3 import S3DeleteObjectsOperator
from airflow.providers.amazon.aws.transfers.local_to_s3 import LocalFilesystemToS3Operator

from benchmarks.runners.timing import files_of, main


def stage(job: dict[str, Any]) -> Callable[[], Any]:
    """Upload each file by a task of its own, without the scheduler's part.

    The first task of a process imports much. That happens before the time is taken, since the time of some files
    may have to stand for that of all.
    """
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(job["connection"])
    files = files_of(job)

    def upload(path: Path, key: str) -> None:
        LocalFilesystemToS3Operator(
            task_id="upload",
            filename=str(path),
            dest_bucket=job["bucket"],
            dest_key=key,
            aws_conn_id="bench",
            replace=True,
        ).execute(context={})

    upload(Path(__file__), f"{job['prefix']}/first")

    def run() -> None:
        for path in files:
            upload(path, f"{job['prefix']}/run/{path.name}")

    return run


def cleanup(job: dict[str, Any]) -> Callable[[], Any]:
    """Delete by prefix."""
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(job["connection"])
    delete = S3DeleteObjectsOperator(
        task_id="delete", bucket=job["bucket"], prefix=f"{job['prefix']}/run/", aws_conn_id="bench"
    )
    return lambda: delete.execute(context={})


if __name__ == "__main__":
    main({"stage": stage, "cleanup": cleanup})
