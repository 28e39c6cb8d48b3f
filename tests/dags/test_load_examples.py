"""Every example of a load runs to its end.

ClickHouse and DuckDB really load. A warehouse that isn't here has one call of its hook replaced, the one that would
go over the network; what that call was given is compared with what was staged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.storage import ObjectStorageUri
from local_servers import FakeGcsServer, SeaweedFS
from local_servers.in_process_airflow import RunResult, run_dag
from tests.official_snowflake import make_snowflake_importable

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"
ROWS, AMOUNT = 30, sum(order * 1.5 for order in range(30))


@pytest.fixture
def run_example(dag_file: Callable[[str], Any]) -> Callable[[str], tuple[RunResult, ObjectStorageStagingManifest]]:
    def run(name: str) -> tuple[RunResult, ObjectStorageStagingManifest]:
        result = run_dag(dag_file((EXAMPLES / f"{name}.py").read_text()).dag)
        assert result.state == "success"
        manifest = ObjectStorageStagingManifest.from_dict(result.xcoms["stage"])
        assert manifest.object_count == 3
        assert result.xcoms["cleanup"]["deleted_objects"] == 3
        return result, manifest

    return run


@pytest.mark.parametrize("name", ["example_load_clickhouse", "example_load_duckdb"])
def test_what_can_run_here_loads_every_row(
    name: str, run_example: Any, server: Callable[[type], Any], connect: Callable[[str, Any], None]
) -> None:
    connect("aws_default", server(SeaweedFS))
    result, _ = run_example(name)
    assert result.xcoms["load"] == {"rows": ROWS, "amount": AMOUNT}


def test_redshift_copies_by_the_manifest_that_lies_beside_the_evidence(
    run_example: Any,
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook

    connect("aws_default", server(SeaweedFS))
    statements: list[str] = []
    monkeypatch.setattr(RedshiftSQLHook, "run", lambda hook, sql, **_: statements.append(sql))
    _, manifest = run_example("example_load_redshift")

    (sql,) = statements
    assert re.search(r"COPY shop\.orders\s", sql)
    copied_from = re.search(r"FROM '(.*)'", sql)
    assert copied_from
    assert sql.rstrip().endswith("FORMAT AS CSV\n\t\t\tIGNOREHEADER 1\n\t\t\tMANIFEST\n\t\t\tTIMEFORMAT 'auto';")
    # What COPY would read there is still there after the cleanup, as all evidence is.
    assert copied_from[1] == f"{manifest.base_uri}/_manifests/{manifest.run_id}/_run/redshift.json"
    record = ObjectStorageHook().get_client(manifest.base_uri).get_bytes(ObjectStorageUri.parse(copied_from[1]))
    assert [(entry["url"], entry["meta"]["content_length"]) for entry in json.loads(record)["entries"]] == [
        (item.uri, item.size_bytes) for item in manifest.objects
    ]


def test_bigquery_loads_by_source_uris(
    run_example: Any,
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    jobs: list[dict[str, Any]] = []

    def insert_job(hook: Any, *, configuration: dict[str, Any], **_: Any) -> Any:
        jobs.append(configuration)
        return SimpleNamespace(
            job_id="job-1",
            location="EU",
            project_id="warehouse",
            state="DONE",
            error_result=None,
            errors=None,
            to_api_repr=lambda: {"configuration": configuration},
            result=lambda **_: None,
        )

    connect("google_cloud_default", server(FakeGcsServer))
    monkeypatch.setattr(BigQueryHook, "insert_job", insert_job)
    _, manifest = run_example("example_load_bigquery")

    by_table = {job["load"]["destinationTable"]["tableId"]: job["load"] for job in jobs}
    assert sorted(by_table) == ["orders", "orders_history"]
    for load in by_table.values():
        assert load["sourceUris"] == [item.uri for item in manifest.objects]
        assert load["destinationTable"] | {"tableId": ""} == {
            "projectId": "warehouse",
            "datasetId": "shop",
            "tableId": "",
        }
        assert (load["sourceFormat"], load["skipLeadingRows"], load["autodetect"]) == ("CSV", 1, True)


def test_snowflake_copies_the_files_below_its_stage(
    run_example: Any,
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_snowflake_importable(monkeypatch)
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    connect("aws_default", server(SeaweedFS))
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", json.dumps({"conn_type": "snowflake"}))
    statements: list[str] = []
    monkeypatch.setattr(SnowflakeHook, "run", lambda hook, sql, **_: statements.append(sql))
    _, manifest = run_example("example_load_snowflake")

    (sql,) = statements
    names = [ObjectStorageUri.parse(item.uri).key for item in manifest.objects]
    assert re.search(r"FILES=\((.*)\)", sql)[1] == ",".join(f"'{name}'" for name in names)
    assert re.search(r"COPY INTO SHOP\.ORDERS\s+FROM\s+@SHOP\.LANDING/\s", sql)
    assert "PATTERN" not in sql


def test_databricks_copies_the_files_below_the_run_prefix(
    run_example: Any,
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

    connect("aws_default", server(SeaweedFS))
    monkeypatch.setenv("AIRFLOW_CONN_DATABRICKS_DEFAULT", json.dumps({"conn_type": "databricks"}))
    statements: list[str] = []

    def run(hook: Any, sql: str | list[str], **_: Any) -> list[Any]:
        statements.extend([sql] if isinstance(sql, str) else sql)
        return []

    monkeypatch.setattr(DatabricksSqlHook, "run", run)
    _, manifest = run_example("example_load_databricks")

    ours, theirs = sorted(statements, key=lambda sql: "orders_history" in sql)
    names = [f"'{item.file_name}'" for item in manifest.objects]
    assert ours == (
        f"COPY INTO shop.orders FROM '{manifest.prefix}/' FILEFORMAT = CSV FILES = ({', '.join(names)}) "
        "FORMAT_OPTIONS ('header' = 'true')"
    )
    assert f"COPY INTO shop.orders_history\nFROM '{manifest.prefix}/'\n" in theirs
    # The connector writes ARRAY before the list from its version 4.0.4 on.
    assert re.search(r"^FILES = (?:ARRAY)?\((.*)\)$", theirs, re.M)[1] == ",".join(names)
    assert "PATTERN" not in theirs
