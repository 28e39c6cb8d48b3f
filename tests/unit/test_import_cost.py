"""Parsing a DAG pays for no cloud SDK, and the core does without Airflow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SDKS = ("boto3", "botocore", "google.cloud", "google.api_core", "google.auth", "azure", "obstore")

# Airflow gives out its names when they are asked for: these are what a DAG file has loaded anyhow.
AIRFLOW = (
    "from airflow.providers.common.compat.sdk import (\n"
    "    DAG, AirflowSkipException, BaseOperator, BaseOperatorLink, Context, XComArg,\n"
    ")\n"
    "from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS\n"
)
# All that a DAG file which names our operators loads besides. Each takes a millisecond or two of every parse,
# so one more is a decision; what only execute needs is imported when it runs.
LOADED_AT_PARSE = {
    "dpone_airflow",
    "dpone_airflow.links",
    "dpone_airflow.links.staged_files",
    "dpone_airflow.operators",
    "dpone_airflow.operators.cleanup",
    "dpone_airflow.operators.graph",
    "dpone_airflow.operators.stage",
    "dpone_airflow.operators.sweep",
    "dpone_airflow.operators.task_arguments",
    "dpone_airflow.operators.verify",
    "dpone_airflow.staging",
    "dpone_airflow.staging.choices",
    "dpone_airflow.staging.policy",
    "dpone_airflow.storage",
    "dpone_airflow.storage.concurrency",
    "dpone_airflow.storage.errors",
    "dpone_airflow.storage.redaction",
}


def loaded_by(code: str, *, after: str = "") -> set[str]:
    """Return the modules that ``code`` loads into a fresh Python, beyond what Python itself and ``after`` load."""
    script = (
        "import json, sys\n"
        f"{after}"
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


def test_parsing_a_dag_loads_just_these_modules() -> None:
    """Modules are counted and not milliseconds, which depend on what else the machine does."""
    loaded = loaded_by("import dpone_airflow.operators", after=AIRFLOW)
    # Where Airflow has read what the package provides, its root is loaded already.
    assert loaded | {"dpone_airflow"} == LOADED_AT_PARSE


def test_a_dag_with_both_operators_loads_nothing_more() -> None:
    dag = (
        "from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator\n"
        "with DAG('parsed', schedule=None):\n"
        "    stage = ObjectStorageStageOperator(task_id='stage', files='a.csv', base_uri='s3://landing/orders',\n"
        "        dataset='shop', table='orders', file_format='csv', cleanup_policy='delete_on_success')\n"
        "    StagingCleanupOperator(task_id='cleanup', manifest=stage.output)\n"
    )
    loaded = loaded_by(dag, after=AIRFLOW)
    assert set(below(loaded, ("dpone_airflow",))) | {"dpone_airflow"} == LOADED_AT_PARSE
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
