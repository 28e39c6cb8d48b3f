"""One run of two parts' worth of valid records: what the fuzzers change."""

from __future__ import annotations

from typing import Any

from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.staging.resolve import ManifestPointer

BASE = "s3://landing/orders"
RUN_ID = "run-1"
FOLDER = f"{BASE}/_manifests/{RUN_ID}"
RECORD_URI = f"{FOLDER}/_run/manifest.json"
SHA256 = "0123456789abcdef" * 4
AT = "2026-11-22T08:00:00+00:00"


def _object(name: str, part: str = "") -> dict[str, Any]:
    return {
        "uri": f"{BASE}/{RUN_ID}/{part}{name}",
        "file_name": name,
        "size_bytes": 7,
        "sha256": SHA256,
        "content_type": "text/csv",
        "etag": "an-etag",
    }


def manifest(part: str | None = None) -> dict[str, Any]:
    """Return a manifest as an XCom holds it."""
    below = "" if part is None else f"{part}/"
    return {
        "provider": "s3",
        "base_uri": BASE,
        "run_id": RUN_ID,
        "dataset": "shop",
        "table": "orders",
        "file_format": "csv",
        "compression": "none",
        "cleanup_policy": "retain",
        "object_count": 2,
        "total_size_bytes": 14,
        "objects": [_object("a.csv", below), _object("dt=1/b.csv", below)],
    } | ({} if part is None else {"part": part})


def pointer() -> dict[str, Any]:
    """Return a pointer as an XCom holds it."""
    return ManifestPointer.to(ObjectStorageStagingManifest.from_dict(manifest()), RECORD_URI, SHA256).to_dict()


_WRITER = {"deployment": "prod", "dag_id": "daily", "dag_run_id": "r", "task_id": "stage", "map_index": -1}
_BY = _WRITER | {"try_number": 1, "host": "worker-1", "versions": {"python": "3.11.2", "dpone-airflow": "0.1.0"}}
_PLAN = {key: manifest()[key] for key in list(manifest())[1:8]}


def _stamped(kind: str, **fields: Any) -> dict[str, Any]:
    return {"version": 1, "at": AT, "by": _BY, "kind": kind, **fields}


#: A valid record of each kind, by the name of its file below the folder of the run's evidence.
RECORDS: dict[str, dict[str, Any]] = {
    "_run.json": _stamped("claim", writer=_WRITER, plan=_PLAN),
    "_run/manifest.json": _stamped(
        "manifest", began_at=AT, engine="boto3", sent=2, kept=0, storage_options={}, manifest=manifest()
    ),
    "_run/failed.json": _stamped("failure", began_at=AT, error="StorageError", message="no", sent=1, kept=0),
    "_run/verify.json": _stamped(
        "verify", outcome="differs", mode="listing", object_count=2, missing=["a"], changed={}
    ),
    "_run/cleanup.json": _stamped(
        "cleanup",
        outcome="incomplete",
        cleanup_policy="retain",
        deleted_objects=1,
        deleted_bytes=7,
        left={"s3://l/a": "no"},
    ),
    "_run/staged-0a1b2c3d-00001.json": _stamped(
        "checkpoint", storage_options={}, manifest={"objects": manifest()["objects"]}
    ),
}
