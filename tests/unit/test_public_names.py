"""The names that others may rely on: adding one is a decision, losing one breaks their DAGs."""

from __future__ import annotations

from importlib import import_module

import pytest

PUBLIC = {
    "dpone_airflow.storage": [
        "AzureBlobObjectStorageClient",
        "GCSObjectStorageClient",
        "LocalObjectStorageClient",
        "ObjectStorageClient",
        "ObjectStorageObject",
        "ObjectStorageProvider",
        "ObjectStorageUri",
        "RemoteFile",
        "S3ObjectStorageClient",
    ],
    "dpone_airflow.staging": [
        "CleanupPolicy",
        "CleanupReport",
        "ObjectStorageStagingManifest",
        "ObjectStorageStagingObject",
        "ObjectStorageStagingPlan",
        "ObjectStorageStagingService",
        "StagedRun",
        "StagingWriter",
        "VerifyReport",
        "manifest_uri_of",
        "resolve_manifest",
    ],
    "dpone_airflow.hooks": ["LocalObjectStorageHook", "ObjectStorageHook"],
    "dpone_airflow.operators": [
        "ObjectStorageStageOperator",
        "StagingCleanupOperator",
        "StagingSweepOperator",
        "StagingVerifyOperator",
    ],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_offers_just_these_names(package: str) -> None:
    module = import_module(package)
    assert module.__all__ == PUBLIC[package]
    for name in PUBLIC[package]:
        assert getattr(module, name).__name__ == name
        assert getattr(module, name).__module__.startswith(f"{package}.")


@pytest.mark.parametrize("package", PUBLIC)
def test_an_unknown_name_is_an_attribute_error_as_ever(package: str) -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        import_module(package).Nonsense  # noqa: B018 - the look-up is what is tested


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_documented(package: str) -> None:
    module = import_module(package)
    assert module.__doc__
    for name in PUBLIC[package]:
        assert getattr(module, name).__doc__, f"{name} has no docstring"
