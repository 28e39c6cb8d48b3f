"""boto3 as people write it by hand: one client, ``upload_file`` in eight threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3

from benchmarks.runners.timing import files_of, main

_THREADS = 8


def stage(job: dict[str, Any]) -> Callable[[], Any]:
    """Upload the files; nothing is hashed for us and nothing is recorded."""
    client = boto3.client("s3", **_access(job))
    files = files_of(job)

    def run() -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            sent = [
                pool.submit(client.upload_file, str(path), job["bucket"], f"{job['prefix']}/run/{path.name}")
                for path in files
            ]
            for one in sent:
                one.result()

    return run


def cleanup(job: dict[str, Any]) -> Callable[[], Any]:
    """Delete through a collection, a page at a time."""
    bucket = boto3.resource("s3", **_access(job)).Bucket(job["bucket"])
    return lambda: bucket.objects.filter(Prefix=f"{job['prefix']}/run/").delete()


def _access(job: dict[str, Any]) -> dict[str, str]:
    server = job["server"]
    return {
        "endpoint_url": server["endpoint"],
        "region_name": "us-east-1",
        "aws_access_key_id": server["access_key"],
        "aws_secret_access_key": server["secret_key"],
    }


if __name__ == "__main__":
    main({"stage": stage, "cleanup": cleanup})
