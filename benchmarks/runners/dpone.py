"""dpone's own staging service and clients, of the release that is pinned; runs in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dpone.staging.object_storage import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone.storage.adapters import AzureBlobObjectStorageClient, GCSObjectStorageClient, S3ObjectStorageClient
from dpone.storage.models import ObjectStorageUri

from benchmarks.runners.timing import files_of, main


def stage(job: dict[str, Any]) -> Callable[[], Any]:
    """Upload the files and return dpone's manifest; it keeps no records in the store."""
    service = ObjectStorageStagingService(client=_client(job))
    plan = ObjectStorageStagingPlan(
        base_uri=job["uri"],
        run_id="run",
        dataset="bench",
        table="files",
        file_format="csv",
        cleanup_policy="eager",
    )
    files = files_of(job)
    return lambda: service.stage_files(plan, files)


def cleanup(job: dict[str, Any]) -> Callable[[], Any]:
    """Delete what lies below the run prefix."""
    client = _client(job)
    prefix = ObjectStorageUri.parse(f"{job['uri']}/run").prefix()

    def run() -> None:
        deleted = client.delete_prefix(prefix)
        if deleted < job["count"]:
            raise RuntimeError(f"{deleted} objects were deleted, and {job['count']} were there.")

    return run


def _client(job: dict[str, Any]) -> Any:
    server = job["server"]
    if server["provider"] == "gcs":
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        return GCSObjectStorageClient(client=Client(project="local", credentials=AnonymousCredentials()))
    if server["provider"] == "azure":
        return AzureBlobObjectStorageClient(account_url=server["endpoint"], credential=server["secret_key"])
    return S3ObjectStorageClient(
        endpoint_url=server["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=server["access_key"],
        aws_secret_access_key=server["secret_key"],
    )


if __name__ == "__main__":
    main({"stage": stage, "cleanup": cleanup})
