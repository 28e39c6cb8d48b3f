"""Parsing a DAG pays for no cloud SDK, and the core does without Airflow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SDKS = ("boto3", "botocore", "google.cloud", "google.api_core", "google.auth", "azure", "obstore")


def loaded_by(code: str) -> set[str]:
    """Return the modules that ``code`` loads into a fresh Python, beyond what Python itself starts with."""
    script = (
        "import json, sys\n"
        "before = set(sys.modules)  # some installed packages load a stub of theirs at every start\n"
        f"{code}\n"
        "print('\\n' + json.dumps(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(result.stdout.splitlines()[-1]))


def below(names: set[str], roots: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if any(name == root or name.startswith(f"{root}.") for root in roots))


@pytest.mark.parametrize(
    "code",
    [
        "import dpone_airflow.operators; from dpone_airflow.hooks import LocalObjectStorageHook, ObjectStorageHook",
        "from dpone_airflow.storage import S3ObjectStorageClient, GCSObjectStorageClient, AzureBlobObjectStorageClient",
        "from dpone_airflow.get_provider_info import get_provider_info; get_provider_info()",
    ],
    ids=["operators and hooks", "clients", "provider info"],
)
def test_no_cloud_sdk_is_loaded(code: str) -> None:
    loaded = loaded_by(code)
    assert below(loaded, ("dpone_airflow",))
    assert below(loaded, SDKS) == []


def test_the_core_runs_without_airflow() -> None:
    code = (
        "sys.modules['airflow'] = None  # any import of it fails\n"
        "import dpone_airflow.staging, dpone_airflow.storage\n"
        "from dpone_airflow.staging import *\n"
        "from dpone_airflow.storage import *\n"
        "from dpone_airflow.staging import cleanup, evidence, exact_prefix, service, sources\n"
        "del sys.modules['airflow']"
    )
    loaded = loaded_by(code)
    assert "dpone_airflow.storage.s3" in loaded
    assert below(loaded, ("airflow", *SDKS)) == []


def test_the_provider_info_is_read_without_a_hook_or_airflow() -> None:
    """Airflow reads it of every installed provider, on every start."""
    loaded = loaded_by("from dpone_airflow.get_provider_info import get_provider_info; get_provider_info()")
    assert below(loaded, ("airflow", "dpone_airflow.storage", "dpone_airflow.staging", "flask_appbuilder")) == []
