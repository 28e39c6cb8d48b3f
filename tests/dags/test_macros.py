"""``macros.dpone`` in the templates of tasks, as Airflow loads it by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dpone_airflow.plugins import macros
from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.staging.loaders import clickhouse, databricks, duckdb, snowflake
from tests.dags.conftest import RunDag

SHOW = """
    @task
    def show(*rendered):
        return list(rendered)
    """


ONE = "stage = stage_task(files=FILES)"
MAPPED = """
    stage = ObjectStorageStageOperator.partial(
        task_id="stage", base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
        conn_id="emulator",
    ).expand(files=[f"{FILES}/{name}.csv" for name in "abc"])
    """


@pytest.mark.parametrize("stage", [ONE, MAPPED], ids=["one stage", "a mapped stage"])
def test_macros_take_what_a_stage_pushed(run: RunDag, stage: str) -> None:
    result = run(
        SHOW,
        stage,
        """
        stage >> show(
            "{{ macros.dpone.clickhouse_table(ti.xcom_pull('stage')) }}",
            "{{ macros.dpone.duckdb_source(ti.xcom_pull('stage'), header=False) }}",
            "{{ macros.dpone.snowflake_files_clause(ti.xcom_pull('stage'), location='s3://landing/') }}",
            "{{ macros.dpone.databricks_file_location(ti.xcom_pull('stage')) }}",
            "{{ macros.dpone.redshift_arguments(ti.xcom_pull('stage'))['s3_key'] }}",
        )
        """,
    )
    assert result.state == "success"
    staged = [value for name, value in result.xcoms.items() if name.startswith("stage")]
    manifest = ObjectStorageStagingManifest.merge(map(ObjectStorageStagingManifest.from_dict, staged))
    assert manifest.object_count == 3
    assert result.xcoms["show"] == [
        clickhouse.table(manifest),
        duckdb.source(manifest, header=False),
        snowflake.files_clause(snowflake.files(manifest, location="s3://landing/")),
        databricks.file_location(manifest),
        f"orders/_manifests/{manifest.run_id}/_run/redshift.json",
    ]


def test_a_native_template_gives_the_list_itself(run: RunDag) -> None:
    result = run(
        SHOW,
        """
        stage = stage_task(files=FILES)
        stage >> show("{{ macros.dpone.snowflake_files(ti.xcom_pull('stage')) }}")
        """,
        dag_arguments="render_template_as_native_obj=True",
    )
    assert result.state == "success"
    manifest = ObjectStorageStagingManifest.from_dict(result.xcoms["stage"])
    assert result.xcoms["show"] == [snowflake.files(manifest)]


def test_a_macro_follows_the_pointer_of_a_large_stage(run: RunDag) -> None:
    result = run(
        SHOW,
        """
        stage = stage_task(files=FILES, xcom_max_objects=2)
        stage >> show("{{ macros.dpone.duckdb_source(ti.xcom_pull('stage'), conn_id='emulator') }}")
        """,
    )
    assert result.state == "success"
    pointer = result.xcoms["stage"]
    assert "objects" not in pointer
    (source,) = result.xcoms["show"]
    start = f"s3://landing/orders/{pointer['run_id']}"
    assert source.startswith(f"read_csv(['{start}/a.csv', '{start}/b.csv', '{start}/c.csv'], ")


def test_a_macro_that_cannot_load_fails_the_task(run: RunDag) -> None:
    result = run(
        SHOW,
        """
        stage = stage_task(files=FILES)
        stage >> show("{{ macros.dpone.bigquery_source_uris(ti.xcom_pull('stage')) }}")
        """,
    )
    assert (result.tasks["stage"], result.tasks["show"]) == ("success", "failed")


@pytest.mark.parametrize("lazily", ["True", "False"])
def test_airflow_lists_the_plugin_however_it_discovers_providers(lazily: str, tmp_path: Path) -> None:
    airflow = Path(sys.executable).with_name("airflow")
    environment = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LAZY_DISCOVER_PROVIDERS": lazily,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    listed = subprocess.run(
        [airflow, "plugins", "-o", "json"], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    rows = json.loads(listed.stdout[listed.stdout.index("[{") :])
    (row,) = [row for row in rows if row["name"] == "dpone"]
    assert all(f"macros.{name}" in str(row["macros"]) for name in macros.__all__)
