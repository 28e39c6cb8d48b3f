"""What the processes that get killed do, and the files they do it with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    StagingWriter,
)
from dpone_airflow.staging.checkpoints import Checkpoints
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import DponeAirflowError

WRITER = StagingWriter("test", "dag", "run", "stage")
SMALL_FILES = 300
# The smallest part that S3 takes.
PART_BYTES = 5 * 1024 * 1024
LARGE = "large.bin"


def write_tree(folder: Path) -> Path:
    """Write 300 small files and one that goes in three parts."""
    folder.mkdir(parents=True)
    for number in range(SMALL_FILES):
        (folder / f"part-{number:03d}.csv").write_text(f"{number}\n" * 10)
    large = b"".join(number.to_bytes(4, "big") * (256 * 1024) for number in range(2 * PART_BYTES // 2**20 + 1))
    (folder / LARGE).write_bytes(large + b"the last, odd bytes")
    return folder


def in_small_parts(client: Any) -> Any:
    """Let a client send files in the smallest parts there are."""
    client.part_bytes, client.largest_put_bytes = PART_BYTES, 2 * PART_BYTES
    return client


def plan(base: ObjectStorageUri | str, run_id: str = "run-1", part: str | None = None) -> ObjectStorageStagingPlan:
    return ObjectStorageStagingPlan(str(base), run_id, "d", "t", "csv", cleanup_policy="delete_always", part=part)


def service(client: ObjectStorageClient, writer: StagingWriter = WRITER) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(client=client, writer=writer)


def stage(client: ObjectStorageClient, base: str, tree: str) -> None:
    service(client).stage_files(plan(base), tree)


def cleanup(client: ObjectStorageClient, base: str, tree: str) -> None:
    clean_up_run(client, base, "run-1", policy="delete_always", staged_by=WRITER)


def recorded(
    client: ObjectStorageClient, base: ObjectStorageUri, run_id: str = "run-1"
) -> ObjectStorageStagingManifest | None:
    """Return the manifest that the evidence has, if there is one."""
    uri = base.child(f"_manifests/{run_id}/_run/manifest.json")
    if not client.exists(uri):
        return None
    return ObjectStorageStagingManifest.from_dict(json.loads(client.get_bytes(uri))["manifest"])


def sweep(client: ObjectStorageClient, base: str, tree: str) -> None:
    report = sweep_base(client, base, older_than=timedelta(hours=1), dry_run=False, now=later())
    assert not report.failures, report.failures


WORK: Mapping[str, Callable[[ObjectStorageClient, str, str], None]] = {
    "stage": stage,
    "cleanup": cleanup,
    "sweep": sweep,
}


def open_upload(client: Any, uri: ObjectStorageUri) -> None:
    """Leave an upload in parts open, as a killed process does."""
    if isinstance(client, LocalObjectStorageClient):
        client.root_dir.joinpath(".dpone", "unfinished", uuid4().hex).touch()
    else:
        client._s3.create_multipart_upload(Bucket=uri.bucket, Key=uri.key)


def often(seconds: float) -> None:
    """Let stages of this process write their checkpoints that often."""
    defaults = Checkpoints.__init__.__kwdefaults__
    assert defaults is not None
    defaults["every_seconds"] = seconds


def told(error: BaseException) -> dict[str, Any]:
    """Return what a test wants to know of an error, as JSON."""
    return {
        "type": type(error).__name__,
        "ours": isinstance(error, DponeAirflowError),
        "message": str(error),
        "uri": getattr(error, "uri", ""),
    }


def later() -> datetime:
    """Return a time at which what is written now is old."""
    return datetime.now(UTC) + timedelta(days=2)
