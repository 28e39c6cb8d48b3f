"""dpone-airflow as a worker runs it: an Airflow connection, the hook, the service, all defaults."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runners.timing import UNAVAILABLE, main
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging import ObjectStorageStagingManifest, ObjectStorageStagingPlan, ObjectStorageStagingService

_RUN_ID = "run"


def stage(job: dict[str, Any]) -> Callable[[], Any]:
    """Claim, upload, list, record: what the stage task does."""
    base_uri = job["uri"]
    service = _service(job)
    plan = ObjectStorageStagingPlan(
        base_uri=base_uri,
        run_id=_RUN_ID,
        dataset="bench",
        table="files",
        file_format="csv",
        cleanup_policy="delete_always",
    )

    def run() -> None:
        manifest = service.stage_files(plan, job["source"])
        if job.get("manifest"):
            Path(job["manifest"]).write_text(json.dumps(manifest.to_dict()), encoding="utf-8")

    return run


def cleanup(job: dict[str, Any]) -> Callable[[], Any]:
    """Delete what lies below a claimed run prefix and prove it by a listing."""
    service = _service(job)
    manifest = ObjectStorageStagingManifest.from_dict(json.loads(Path(job["manifest"]).read_text(encoding="utf-8")))

    def run() -> None:
        deleted = service.cleanup(manifest)
        if deleted < job["count"]:
            raise RuntimeError(f"{deleted} objects were deleted, and {job['count']} were there.")

    return run


def _service(job: dict[str, Any]) -> ObjectStorageStagingService:
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(job["connection"])
    options = job.get("options") or {}
    if not options.keys() <= inspect.signature(ObjectStorageHook).parameters.keys():
        sys.exit(UNAVAILABLE)
    client = ObjectStorageHook("bench", **options).get_client(job["uri"])
    return ObjectStorageStagingService(client=client)


if __name__ == "__main__":
    main({"stage": stage, "cleanup": cleanup})
