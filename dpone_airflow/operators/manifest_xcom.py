"""The manifest as an XCom: whole, or past some thousand objects the pointer to where it is stored."""

from __future__ import annotations

from typing import Any

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.resolve import ManifestPointer
from dpone_airflow.storage.client import ObjectStorageObject


def manifest_xcom(
    manifest: ObjectStorageStagingManifest, record: ObjectStorageObject, max_objects: int
) -> dict[str, Any]:
    """Return what is pushed for a manifest.

    :param record: where it is stored, with the SHA-256 of the record's bytes.
    :param max_objects: up to so many objects it is pushed whole.
    """
    if manifest.object_count <= max_objects:
        return manifest.to_dict()
    assert record.sha256 is not None, "what is sent is hashed"
    return ManifestPointer.to(manifest, str(record.uri), record.sha256).to_dict()
