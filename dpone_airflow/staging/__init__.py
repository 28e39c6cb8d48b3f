"""Floor 2: the staging contract. Plan, files, manifest, service. Runs without Airflow and without an SDK."""

from dpone_airflow.staging.cleanup import CleanupReport
from dpone_airflow.staging.evidence import StagingWriter
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.plan import CleanupPolicy, ObjectStorageStagingPlan
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
