"""Floor 1: URIs, errors, and a client for each store behind one port. Runs without Airflow.

Every name here is imported when it is asked for: a DAG file that imports this package loads no
cloud SDK, and nothing of a client that it doesn't use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpone_airflow.storage.azure import AzureBlobObjectStorageClient
    from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
    from dpone_airflow.storage.gcs import GCSObjectStorageClient
    from dpone_airflow.storage.local import LocalObjectStorageClient
    from dpone_airflow.storage.remote_file import RemoteFile
    from dpone_airflow.storage.s3 import S3ObjectStorageClient
    from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

__all__ = [
    "AzureBlobObjectStorageClient",
    "GCSObjectStorageClient",
    "LocalObjectStorageClient",
    "ObjectStorageClient",
    "ObjectStorageObject",
    "ObjectStorageProvider",
    "ObjectStorageUri",
    "RemoteFile",
    "S3ObjectStorageClient",
]

_MODULES = {
    "AzureBlobObjectStorageClient": "azure",
    "GCSObjectStorageClient": "gcs",
    "LocalObjectStorageClient": "local",
    "ObjectStorageClient": "client",
    "ObjectStorageObject": "client",
    "ObjectStorageProvider": "uri",
    "ObjectStorageUri": "uri",
    "RemoteFile": "remote_file",
    "S3ObjectStorageClient": "s3",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
