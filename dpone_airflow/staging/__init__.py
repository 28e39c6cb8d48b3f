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
    from dpone_airflow.staging.resolve import manifest_uri_of, resolve_manifest
    from dpone_airflow.staging.schemas import manifest_schema
    from dpone_airflow.staging.service import ObjectStorageStagingService, StagedRun
    from dpone_airflow.staging.sweep import sweep_base
    from dpone_airflow.staging.sweep_report import SweepReport
    from dpone_airflow.staging.verify import VerifyReport

__all__ = [
    "CleanupPolicy",
    "CleanupReport",
    "ObjectStorageStagingManifest",
    "ObjectStorageStagingObject",
    "ObjectStorageStagingPlan",
    "ObjectStorageStagingService",
    "StagedRun",
    "StagingWriter",
    "SweepReport",
    "VerifyReport",
    "manifest_schema",
    "manifest_uri_of",
    "resolve_manifest",
    "sweep_base",
]

_MODULES = {
    "CleanupPolicy": "policy",
    "CleanupReport": "cleanup",
    "ObjectStorageStagingManifest": "manifest",
    "ObjectStorageStagingObject": "manifest",
    "ObjectStorageStagingPlan": "plan",
    "ObjectStorageStagingService": "service",
    "StagedRun": "service",
    "StagingWriter": "evidence",
    "SweepReport": "sweep_report",
    "VerifyReport": "verify",
    "manifest_schema": "schemas",
    "manifest_uri_of": "resolve",
    "resolve_manifest": "resolve",
    "sweep_base": "sweep",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
