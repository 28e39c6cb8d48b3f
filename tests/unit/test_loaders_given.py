"""Whatever a loader is given: a manifest, its dict, parts; and what none of them takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dpone_airflow.staging.loaders import bigquery, clickhouse, databricks, duckdb, redshift, snowflake
from dpone_airflow.staging.resolve import ManifestPointer, manifest_uri_of
from dpone_airflow.storage.errors import InvalidManifestError, NotLoadableError
from tests.unit.loader_manifests import parts, staged

Helper = Callable[[Any], Any]

#: Every function that takes a manifest and nothing else that it needs, and a store that it loads from.
HELPERS: dict[str, tuple[Helper, str]] = {
    "redshift.copy_manifest": (redshift.copy_manifest, "s3://landing/orders"),
    "redshift.copy_manifest_uri": (redshift.copy_manifest_uri, "s3://landing/orders"),
    "redshift.copy_arguments": (redshift.copy_arguments, "s3://landing/orders"),
    "bigquery.source_uris": (bigquery.source_uris, "gs://landing/orders"),
    "bigquery.source_uri_batches": (bigquery.source_uri_batches, "gs://landing/orders"),
    "bigquery.gcs_arguments": (bigquery.gcs_arguments, "gs://landing/orders"),
    "bigquery.load_job": (lambda given: bigquery.load_job(given, "p.d.t"), "gs://landing/orders"),
    "bigquery.load_jobs": (lambda given: bigquery.load_jobs(given, "p.d.t"), "gs://landing/orders"),
    "snowflake.files": (snowflake.files, "azure://account/landing/orders"),
    "snowflake.file_batches": (snowflake.file_batches, "s3://landing/orders"),
    "databricks.file_location": (databricks.file_location, "azure://account/landing/orders"),
    "databricks.files": (databricks.files, "s3://landing/orders"),
    "databricks.file_batches": (databricks.file_batches, "gs://landing/orders"),
    "databricks.copy_arguments": (databricks.copy_arguments, "s3://landing/orders"),
    "databricks.copy_statements": (lambda given: databricks.copy_statements(given, "t"), "s3://landing/orders"),
    "clickhouse.table": (clickhouse.table, "gs://landing/orders"),
    "clickhouse.tables": (clickhouse.tables, "s3://landing/orders"),
    "duckdb.source": (duckdb.source, "s3://landing/orders"),
    "duckdb.uris": (duckdb.uris, "az://landing/orders"),
}

every_helper = pytest.mark.parametrize(("helper", "base_uri"), HELPERS.values(), ids=HELPERS)


@every_helper
def test_a_manifest_its_dict_its_text_and_a_list_of_it_are_one(helper: Helper, base_uri: str) -> None:
    manifest = staged(base_uri)
    wanted = helper(manifest)
    assert wanted
    for given in (manifest.to_dict(), json.dumps(manifest.to_dict()), str(manifest.to_dict()), [manifest], (manifest,)):
        assert helper(given) == wanted


@every_helper
def test_the_parts_of_a_run_are_merged_in_their_order(helper: Helper, base_uri: str) -> None:
    merged = staged(base_uri, ["map-00000/0.csv", "map-00001/1.csv"])
    given = parts(1, 0, base_uri=base_uri)
    # Each part's file has one byte, and the second file of a manifest made at once has two.
    assert str(helper(given)) == str(helper(merged)).replace("'content_length': 2", "'content_length': 1")


@every_helper
def test_a_part_of_another_run_is_refused(helper: Helper, base_uri: str) -> None:
    strangers = parts(2, base_uri=base_uri, run_id="run-2")
    with pytest.raises(InvalidManifestError, match="their run_id differs: 'run-1' and 'run-2'"):
        helper(parts(0, 1, base_uri=base_uri) + strangers)


@every_helper
def test_a_part_that_is_there_twice_is_refused(helper: Helper, base_uri: str) -> None:
    with pytest.raises(InvalidManifestError, match="map-00001 .* is there twice"):
        helper(parts(0, 1, 1, base_uri=base_uri))


@every_helper
def test_a_part_of_another_table_is_refused(helper: Helper, base_uri: str) -> None:
    with pytest.raises(InvalidManifestError, match="their table differs"):
        helper(parts(0, base_uri=base_uri) + parts(1, base_uri=base_uri, table="refunds"))


@every_helper
def test_an_object_outside_the_run_is_refused(helper: Helper, base_uri: str) -> None:
    given = staged(base_uri).to_dict()
    given["objects"][1]["uri"] = given["objects"][1]["uri"].replace("run-1", "run-2")
    with pytest.raises(InvalidManifestError, match="nothing outside the run prefix can be in it"):
        helper(given)


@every_helper
def test_an_empty_manifest_is_refused(helper: Helper, base_uri: str) -> None:
    with pytest.raises(NotLoadableError, match="has no objects, so .* has nothing to load"):
        helper(staged(base_uri, []))


@every_helper
@pytest.mark.parametrize("nothing", [None, [], "None"])
def test_no_manifest_at_all_is_refused(helper: Helper, base_uri: str, nothing: Any) -> None:
    with pytest.raises(InvalidManifestError, match="no manifest"):
        helper(nothing)


@every_helper
def test_a_pointer_is_to_be_resolved_first(helper: Helper, base_uri: str) -> None:
    manifest = staged(base_uri)
    pointer = ManifestPointer.to(manifest, str(manifest_uri_of(manifest)), "0" * 64).to_dict()
    for given in (pointer, str(manifest_uri_of(manifest))):
        with pytest.raises(InvalidManifestError, match="resolve_manifest"):
            helper(given)


@pytest.mark.parametrize(
    ("helper", "base_uri", "message"),
    [
        (redshift.copy_manifest, "gs://landing/orders", "Redshift loads from 's3', and .* is 'gcs'"),
        (redshift.copy_arguments, "az://landing/orders", "Redshift loads from 's3', and .* is 'azure_blob'"),
        (bigquery.source_uris, "s3://landing/orders", "BigQuery loads from 'gcs', and .* is 's3'"),
    ],
)
def test_a_store_that_the_warehouse_does_not_read_is_refused(helper: Helper, base_uri: str, message: str) -> None:
    with pytest.raises(NotLoadableError, match=message):
        helper(staged(base_uri))


@pytest.mark.parametrize(
    "name",
    ["redshift.copy_arguments", "bigquery.load_job", "databricks.copy_statements", "clickhouse.table", "duckdb.source"],
)
def test_an_unknown_format_or_compression_is_named_with_those_that_are_known(name: str) -> None:
    helper, base_uri = HELPERS[name]
    with pytest.raises(NotLoadableError, match=r"file_format is 'xlsx': .* knows 'csv', .* and '\w+'\."):
        helper(staged(base_uri, file_format="xlsx"))
    with pytest.raises(NotLoadableError, match=r"compression is 'rar': .* knows 'none'.* 'gzip'"):
        helper(staged(base_uri, compression="rar"))


@pytest.mark.parametrize("word", ["GZ", "gzip", " Gzip ", ".gz"])
def test_an_authors_word_for_a_compression_is_understood(word: str) -> None:
    assert "compression = 'gzip'" in duckdb.source(staged(compression=word))


@pytest.mark.parametrize("word", ["ndjson", "JSON", "json-lines", ".jsonl"])
def test_an_authors_word_for_a_format_is_understood(word: str) -> None:
    assert "'JSONEachRow'" in clickhouse.table(staged(file_format=word))


@pytest.mark.parametrize("codec", ["snappy", "gzip", "none", "whatever"])
def test_what_is_compressed_inside_is_not_compressed_outside(codec: str) -> None:
    manifest = staged(names=["a.parquet"], file_format="parquet", compression=codec)
    assert redshift.copy_arguments(manifest)["copy_options"] == ["FORMAT AS PARQUET", "MANIFEST"]
    assert "compression" not in duckdb.source(manifest)
    assert clickhouse.table(manifest).endswith(", 'Parquet', 'auto', 'none')")
