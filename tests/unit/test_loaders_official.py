"""The official operators, given what our functions return, ask their warehouse for just the manifest's files.

The operators' own classes make the request; only the one call of a hook that would go over the network is replaced.
What the functions return comes out of an XCom, so each argument must be one that the operator takes from there.
"""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.staging.loaders import bigquery, databricks, redshift, snowflake
from dpone_airflow.storage.errors import InvalidOptionError
from tests.official_snowflake import make_snowflake_importable
from tests.unit.loader_manifests import staged

NAMES = ["plain.csv", "dt=2026-11-22/part-0.csv", "it's.csv", 'a "b" (c), d.csv', "naïve ü 日本.csv", "100%.csv"]


def test_s3_to_redshift_copies_by_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook
    from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator

    connection = {"conn_type": "aws", "login": "AKIDEXAMPLE", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    statements: list[str] = []
    monkeypatch.setattr(RedshiftSQLHook, "run", lambda hook, sql, **_: statements.append(sql))
    arguments = redshift.copy_arguments(staged(names=NAMES, compression="gzip"))
    assert set(arguments) <= set(S3ToRedshiftOperator.template_fields)
    S3ToRedshiftOperator(task_id="load", schema="shop", table="orders", **arguments).execute({})
    (sql,) = statements
    words = sql.split()
    assert words[:2] == ["COPY", "shop.orders"]
    assert words[3] == "'s3://landing/orders/_manifests/run-1/_run/redshift.json'"
    assert words[-7:] == ["FORMAT", "AS", "CSV", "GZIP", "IGNOREHEADER", "1", "MANIFEST;"]


def test_gcs_to_bigquery_loads_the_source_uris(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

    manifest = staged("gs://landing/orders", NAMES)
    arguments = bigquery.gcs_arguments(manifest)
    assert set(arguments) <= set(GCSToBigQueryOperator.template_fields)
    operator = GCSToBigQueryOperator(
        task_id="load", destination_project_dataset_table="p.d.t", write_disposition="WRITE_APPEND", **arguments
    )
    job = executed_by_bigquery(operator, monkeypatch)
    assert job["load"]["sourceUris"] == [item.uri for item in manifest.objects]


@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl", "parquet", "avro", "orc"])
def test_a_load_job_of_ours_is_one_that_google_understands(file_format: str) -> None:
    from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
    from google.cloud.bigquery import LoadJobConfig

    manifest = staged("gs://landing/orders", NAMES, file_format=file_format)
    configuration = bigquery.load_job(manifest, "p.d.t")
    assert "configuration" in BigQueryInsertJobOperator.template_fields
    # That it submits its configuration as it is, the example's DAG run shows.
    job = BigQueryInsertJobOperator(task_id="load", configuration=configuration).configuration
    assert job["load"]["sourceUris"] == [item.uri for item in manifest.objects]
    read = LoadJobConfig.from_api_repr({"load": job["load"]})
    assert read.source_format == job["load"]["sourceFormat"]
    assert read.write_disposition == "WRITE_APPEND"
    assert read.skip_leading_rows == (1 if file_format in ("csv", "tsv") else None)
    assert read.field_delimiter == ("\t" if file_format == "tsv" else None)


def executed_by_bigquery(operator: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the configuration of the job that an operator submits."""
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    jobs: list[dict[str, Any]] = []

    def insert_job(hook: Any, *, configuration: dict[str, Any], **_: Any) -> Any:
        jobs.append(configuration)
        return SimpleNamespace(
            job_id="job-1",
            location="EU",
            project_id="p",
            state="DONE",
            error_result=None,
            errors=None,
            to_api_repr=lambda: {"configuration": {}},
            result=lambda **_: None,
        )

    connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "p"}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(BigQueryHook, "insert_job", insert_job)
    monkeypatch.setattr(BigQueryHook, "generate_job_id", lambda *_, **__: "job-1")
    monkeypatch.setattr(BigQueryHook, "get_run_after_or_logical_date", lambda *_: None, raising=False)
    operator.execute({"ti": SimpleNamespace(xcom_push=lambda **_: None), "logical_date": None})
    (job,) = jobs
    return job


def test_snowflake_copies_the_files_of_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    make_snowflake_importable(monkeypatch)
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
    from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator

    statements: list[str] = []
    monkeypatch.setattr(SnowflakeHook, "run", lambda hook, sql, **_: statements.append(sql))
    assert "files" in CopyFromExternalStageToSnowflakeOperator.template_fields
    names = snowflake.files(staged(names=NAMES))
    CopyFromExternalStageToSnowflakeOperator(
        task_id="load", table="ORDERS", stage="LANDING", file_format="CSV", files=names
    ).execute({})
    (sql,) = statements
    listed = re.search(r"FILES=\((.*)\)\n", sql)
    assert listed
    literals = re.findall(r"'((?:[^']|'')*)'(?:,|$)", listed[1])
    assert [literal.replace("''", "'") for literal in literals] == [f"run-1/{name}" for name in NAMES]
    assert snowflake.files_clause(names).replace(" ", "") == f"FILES=({listed[1]})".replace(" ", "")


def test_databricks_copies_the_files_of_its_location() -> None:
    from airflow.providers.databricks.operators.databricks_sql import DatabricksCopyIntoOperator

    manifest = staged(names=NAMES)
    arguments = databricks.copy_arguments(manifest)
    assert set(arguments) <= set(DatabricksCopyIntoOperator.template_fields)
    sql = DatabricksCopyIntoOperator(
        task_id="load", table_name="shop.orders", file_format="CSV", **arguments
    )._create_sql_query()
    assert "FROM 's3://landing/orders/run-1/'\n" in sql
    listed = re.search(r"^FILES = (?:ARRAY)?\((.*)\)$", sql, re.M)
    assert listed
    assert spark_strings(listed[1]) == NAMES
    (ours,) = databricks.copy_statements(manifest, "shop.orders")
    assert spark_strings(ours[ours.index("FILES = (") + 9 : ours.index(") FORMAT_OPTIONS")]) == NAMES


def spark_strings(text: str) -> list[str]:
    """Return the values of a list of Spark's string literals."""
    return [re.sub(r"\\(.)", r"\1", literal) for literal in re.findall(r"'((?:[^'\\]|\\.)*)'(?:, ?|$)", text)]


@pytest.mark.parametrize(
    ("file_format", "header", "ending"),
    [
        ("csv", False, "FORMAT_OPTIONS ('header' = 'false')"),
        ("tsv", True, "FORMAT_OPTIONS ('header' = 'true', 'sep' = '\t')"),
        ("jsonl", True, ""),
        ("parquet", True, ""),
    ],
)
def test_a_copy_into_says_its_format(file_format: str, header: bool, ending: str) -> None:
    (sql,) = databricks.copy_statements(staged(names=["a"], file_format=file_format), "orders", header=header)
    name = {"csv": "CSV", "tsv": "CSV", "jsonl": "JSON", "parquet": "PARQUET"}[file_format]
    assert (
        sql == f"COPY INTO orders FROM 's3://landing/orders/run-1/' FILEFORMAT = {name} FILES = ('a') {ending}".rstrip()
    )


def test_a_copy_intos_own_options_win() -> None:
    (sql,) = databricks.copy_statements(
        staged(names=["a"]), "c.s.t", format_options={"header": "false"}, copy_options={"force": "true"}
    )
    assert sql.endswith("FILES = ('a') FORMAT_OPTIONS ('header' = 'false') COPY_OPTIONS ('force' = 'true')")


def test_a_copy_into_for_each_1_000_files() -> None:
    statements = databricks.copy_statements(staged(names=[f"{number}.csv" for number in range(1_001)]), "orders")
    assert [statement.count(".csv'") for statement in statements] == [1_000, 1]


@pytest.mark.parametrize("table", ["", "a.b.c.d", "orders; DROP TABLE x", "`a`", None])
def test_a_copy_intos_table_is_a_name(table: Any) -> None:
    with pytest.raises(InvalidOptionError, match="write 'table', 'schema.table'"):
        databricks.copy_statements(staged(), table)
