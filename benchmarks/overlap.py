"""How much of the upload a generator hides: extraction and upload one after the other, and pipelined.

``python -m benchmarks.overlap`` stages the same files in both ways to the null sink with 30 ms a request,
one request at a time. The extractor waits 30 ms for each file, as for a database: both are of like speed.
It prints the seconds of each, in interleaved rounds, and the ratio of their medians.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.servers import BUCKET, LATENCY_MS, SERVERS, Server
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.storage import S3ObjectStorageClient

_FILE_BYTES = 256 * 1024


def one_after_the_other(service: ObjectStorageStagingService, plan: ObjectStorageStagingPlan, folder: Path) -> None:
    """Extract everything, then stage the directory."""
    for _ in extracted(folder):
        pass
    service.stage_files(plan, folder)


def pipelined(service: ObjectStorageStagingService, plan: ObjectStorageStagingPlan, folder: Path) -> None:
    """Stage what is extracted while the next is."""
    service.stage_files(plan, extracted(folder), delete_local=True)


WAYS: dict[str, Callable[[ObjectStorageStagingService, ObjectStorageStagingPlan, Path], None]] = {
    "one after the other": one_after_the_other,
    "pipelined": pipelined,
}
FILES = 100


def extracted(folder: Path) -> Iterator[Path]:
    """Write files as a database would give them."""
    for number in range(FILES):
        time.sleep(LATENCY_MS / 1000)
        path = folder / f"part-{number:05d}.csv"
        path.write_bytes(b"x" * _FILE_BYTES)
        yield path


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way, a figure a round."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as home, SERVERS["null-30ms"](Path(home)) as server:
        service = ObjectStorageStagingService(client=_client(server))
        for number in range(rounds):
            for name, stage in WAYS.items():
                plan = ObjectStorageStagingPlan(
                    f"s3://{BUCKET}/overlap", f"{name.replace(' ', '-')}-{number}", "bench", "files", "csv"
                )
                with tempfile.TemporaryDirectory() as folder:
                    begin = time.perf_counter()
                    stage(service, plan, Path(folder))
                    seconds[name].append(time.perf_counter() - begin)
    return seconds


def _client(server: Server) -> S3ObjectStorageClient:
    import boto3

    client: Any = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    with suppress(client.exceptions.ClientError):
        client.create_bucket(Bucket=BUCKET)
    return S3ObjectStorageClient(client, max_concurrency=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each way's seconds and the ratio."""
    parser = argparse.ArgumentParser(prog="overlap", description="Extraction and upload, pipelined and not.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default 3)")
    given = parser.parse_args(arguments)
    seconds = measure(given.rounds)
    for name, each in seconds.items():
        print(f"{name:20} {median(each):6.2f} s  ({', '.join(f'{one:.2f}' for one in each)})")
    ratio = median(seconds["pipelined"]) / median(seconds["one after the other"])
    print(f"{FILES} files of {_FILE_BYTES // 1024} KiB, {LATENCY_MS} ms each to extract and to send: {ratio:.2f} of it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
