"""Floor 2: the staging contract. Plan, files, manifest, service. Runs without Airflow and without an SDK.

Every name here is imported when it is asked for: a DAG file needs the policies only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpone_airflow.staging.cleanup import CleanupReport
    from dpone_airflow.staging.evidence import StagingWriter
    from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
    from dpone_airflow.staging.plan import ObjectStorageStagingPlan
    from dpone_airflow.staging.policy import CleanupPolicy
    from dpone_airflow.staging.service import ObjectStorageStagingService

__all__ = [
    "CleanupPolicy",
    "CleanupReport",
    "ObjectStorageStagingManifest",
    "ObjectStorageStagingObject",
    "ObjectStorageStagingPlan",
    "ObjectStorageStagingService",
    "StagingWriter",
]

_MODULES = {
    "CleanupPolicy": "policy",
    "CleanupReport": "cleanup",
    "ObjectStorageStagingManifest": "manifest",
    "ObjectStorageStagingObject": "manifest",
    "ObjectStorageStagingPlan": "plan",
    "ObjectStorageStagingService": "service",
    "StagingWriter": "evidence",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
