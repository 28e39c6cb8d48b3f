"""Redshift, BigQuery, Snowflake and Databricks: the files by name, no more of them at a time than each takes."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given

from dpone_airflow.staging.loaders import bigquery, databricks, redshift, snowflake
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import InvalidOptionError, InvalidUriError, NotLoadableError
from tests.unit.loader_manifests import ANY_NAMES, NAMES, parts, staged

MANY = [f"{number:05d}.csv" for number in range(2_500)]


# Redshift.


def test_a_copy_manifest_names_each_file_with_its_length_and_makes_it_mandatory() -> None:
    assert redshift.copy_manifest(staged()) == {
        "entries": [
            {
                "url": f"s3://landing/orders/run-1/{name}",
                "mandatory": True,
                "meta": {"content_length": number},
            }
            for number, name in enumerate(NAMES, start=1)
        ]
    }


@given(ANY_NAMES)
def test_a_copy_manifest_holds_any_name_as_it_is(names: list[str]) -> None:
    read = json.loads(json.dumps(redshift.copy_manifest(staged(names=names))))
    assert [entry["url"] for entry in read["entries"]] == [f"s3://landing/orders/run-1/{name}" for name in names]


@pytest.mark.parametrize(
    ("given_parts", "key"),
    [
        (staged(), "orders/_manifests/run-1/_run/redshift.json"),
        (staged(part="map-00003"), None),
        (parts(0, 1), "orders/_manifests/run-1/_run/redshift.json"),
    ],
    ids=["a run", "one part", "all parts"],
)
def test_it_is_written_beside_the_evidence(
    client: LocalObjectStorageClient, given_parts: object, key: str | None
) -> None:
    written = redshift.write_copy_manifest(given_parts, client)
    # One part alone is as good as merged: its files are then named below the run.
    key = key or "orders/_manifests/run-1/map-00003/redshift.json"
    assert (written["manifest_uri"], written["s3_bucket"], written["s3_key"]) == (f"s3://landing/{key}", "landing", key)
    stored = client.get_bytes(ObjectStorageUri.parse(written["manifest_uri"]))
    assert json.loads(stored) == redshift.copy_manifest(given_parts)


@pytest.mark.parametrize(
    ("file_format", "compression", "header", "options"),
    [
        ("csv", "none", True, ["FORMAT AS CSV", "IGNOREHEADER 1", "MANIFEST"]),
        ("csv", "gzip", False, ["FORMAT AS CSV", "GZIP", "MANIFEST"]),
        ("tsv", "zstd", True, ["FORMAT AS CSV", r"DELIMITER '\t'", "ZSTD", "IGNOREHEADER 1", "MANIFEST"]),
        ("jsonl", "bz2", True, ["FORMAT AS JSON 'auto'", "BZIP2", "MANIFEST"]),
        ("parquet", "snappy", True, ["FORMAT AS PARQUET", "MANIFEST"]),
        ("orc", "none", True, ["FORMAT AS ORC", "MANIFEST"]),
        ("avro", "none", True, ["FORMAT AS AVRO 'auto'", "MANIFEST"]),
    ],
)
def test_copy_options_say_format_compression_and_header(
    file_format: str, compression: str, header: bool, options: list[str]
) -> None:
    manifest = staged(file_format=file_format, compression=compression)
    assert redshift.copy_arguments(manifest, header=header)["copy_options"] == options
    own = redshift.copy_arguments(manifest, header=header, options=("TIMEFORMAT 'auto'",))
    assert own["copy_options"] == [*options, "TIMEFORMAT 'auto'"]


def test_one_text_is_no_list_of_options() -> None:
    with pytest.raises(InvalidOptionError, match="give a list of texts"):
        redshift.copy_arguments(staged(), options="GZIP")


def test_a_key_that_would_end_the_quotes_of_copy_is_refused_and_nothing_is_written(
    client: LocalObjectStorageClient,
) -> None:
    manifest = staged("s3://landing/o'orders")
    with pytest.raises(NotLoadableError, match="its key has a quote"):
        redshift.write_copy_manifest(manifest, client)
    assert client.list_prefix(ObjectStorageUri.parse("s3://landing/o'orders")) == []


# BigQuery.


def test_source_uris_and_source_objects() -> None:
    manifest = staged("gs://landing/orders")
    assert bigquery.source_uris(manifest) == [f"gs://landing/orders/run-1/{name}" for name in NAMES]
    assert bigquery.gcs_arguments(manifest) == {
        "bucket": "landing",
        "source_objects": [f"orders/run-1/{name}" for name in NAMES],
    }


def test_a_load_job_takes_10_000_uris_and_no_more() -> None:
    names = [f"{number}.csv" for number in range(10_001)]
    fits, too_many = staged("gs://landing", names[:-1]), staged("gs://landing", names)
    assert len(bigquery.source_uris(fits)) == 10_000
    for helper in (bigquery.source_uris, bigquery.gcs_arguments, lambda given: bigquery.load_job(given, "p.d.t")):
        with pytest.raises(NotLoadableError, match=r"takes 10000 files at a time and these are 10001: use source_uri_"):
            helper(too_many)
    assert [len(batch) for batch in bigquery.source_uri_batches(too_many)] == [10_000, 1]
    jobs = bigquery.load_jobs(too_many, "p.d.t")
    assert [uri for job in jobs for uri in job["load"]["sourceUris"]] == [item.uri for item in too_many.objects]


def test_a_load_jobs_configuration() -> None:
    job = bigquery.load_job(staged("gs://landing", ["a.csv"]), "p.d.t", options={"autodetect": True})
    assert job == {
        "load": {
            "sourceUris": ["gs://landing/run-1/a.csv"],
            "destinationTable": {"projectId": "p", "datasetId": "d", "tableId": "t"},
            "writeDisposition": "WRITE_APPEND",
            "sourceFormat": "CSV",
            "skipLeadingRows": 1,
            "autodetect": True,
        }
    }


@pytest.mark.parametrize(
    ("file_format", "header", "said"),
    [
        ("csv", False, {"sourceFormat": "CSV"}),
        ("tsv", True, {"sourceFormat": "CSV", "fieldDelimiter": "\t", "skipLeadingRows": 1}),
        ("jsonl", True, {"sourceFormat": "NEWLINE_DELIMITED_JSON"}),
        ("parquet", True, {"sourceFormat": "PARQUET"}),
        ("avro", True, {"sourceFormat": "AVRO"}),
        ("orc", True, {"sourceFormat": "ORC"}),
    ],
)
def test_a_load_jobs_format(file_format: str, header: bool, said: dict[str, object]) -> None:
    job = bigquery.load_job(staged("gs://landing", file_format=file_format), "p.d.t", header=header)
    assert {
        key: job["load"][key]
        for key in job["load"]
        if key not in ("sourceUris", "destinationTable", "writeDisposition")
    } == said


@pytest.mark.parametrize(
    ("table", "project"),
    [
        ("p-1.d.t", "p-1"),
        ("p-1:d.t", "p-1"),
        ("example.com:p-1.d.t", "example.com:p-1"),
        ("example.com:p-1:d.t", "example.com:p-1"),
        ("eu.example.co.uk:p-1.d.t", "eu.example.co.uk:p-1"),
    ],
)
def test_a_project_may_have_a_domain(table: str, project: str) -> None:
    job = bigquery.load_job(staged("gs://landing"), table)
    assert job["load"]["destinationTable"] == {"projectId": project, "datasetId": "d", "tableId": "t"}


def test_a_tables_own_name_may_have_blanks_hyphens_and_a_partition() -> None:
    job = bigquery.load_job(staged("gs://landing"), "p.d.the orders-ü$20261122")
    assert job["load"]["destinationTable"]["tableId"] == "the orders-ü$20261122"


@pytest.mark.parametrize(
    "table",
    ["d.t", "t", "", "p..t", None, "example.com:d.t", "example.com.p.d.t", "p:d:t", "a:b:c:d.t", "p.d.t.x", "p.d.t:x"],
)
def test_a_table_that_is_no_such_name_is_refused(table: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"write 'project\.dataset\.table', or 'example\.com:project\."):
        bigquery.load_job(staged("gs://landing"), table)


@pytest.mark.parametrize("disposition", ["WRITE_TRUNCATE", "WRITE_EMPTY"])
def test_several_jobs_only_append_for_each_sees_what_the_others_have_loaded(disposition: str) -> None:
    manifest = staged("gs://landing")
    assert len(bigquery.load_jobs(manifest, "p.d.t", write_disposition=disposition)) == 1
    with pytest.raises(InvalidOptionError, match=f"{disposition}.* need 2 load jobs"):
        bigquery.load_jobs(manifest, "p.d.t", write_disposition=disposition, size=2)


def test_options_cannot_change_what_is_loaded() -> None:
    with pytest.raises(InvalidOptionError, match="options has sourceUris,"):
        bigquery.load_job(staged("gs://landing"), "p.d.t", options={"sourceUris": ["gs://landing/*"]})


def test_a_name_with_a_star_would_be_a_wildcard() -> None:
    with pytest.raises(NotLoadableError, match=r"can't load exactly gs://landing/run-1/a\*\.csv"):
        bigquery.source_uris(staged("gs://landing", ["b.csv", "a*.csv"]))


# Snowflake.


@pytest.mark.parametrize(
    ("base_uri", "location", "start"),
    [
        ("s3://landing/orders", None, "run-1/"),
        ("s3://landing/orders", "s3://landing/", "orders/run-1/"),
        ("s3://landing/orders", "s3://landing", "orders/run-1/"),
        ("s3://landing/orders", "s3://landing/orders/run-1/", ""),
        ("gs://landing/orders", "gcs://landing/", "orders/run-1/"),
        ("azure://account/landing/orders", "azure://account.blob.core.windows.net/landing/orders/", "run-1/"),
        ("az://landing/orders", "azure://account.blob.core.windows.net/landing/", "orders/run-1/"),
    ],
)
def test_files_are_named_below_the_stages_location(base_uri: str, location: str | None, start: str) -> None:
    assert snowflake.files(staged(base_uri), location=location) == [f"{start}{name}" for name in NAMES]


@pytest.mark.parametrize(
    "location",
    [
        "s3://elsewhere/",
        "s3://landing/order",
        "s3://landing/orders/run-2/",
        "gcs://landing/",
        "s3://landing/orders/run-1/dt=2026-11-22/",
    ],
)
def test_a_location_that_does_not_hold_the_files_is_refused(location: str) -> None:
    with pytest.raises(NotLoadableError, match="Snowflake reads below .*, and the files lie below"):
        snowflake.files(staged(), location=location)


def test_another_azure_account_is_another_place() -> None:
    with pytest.raises(NotLoadableError, match="the files lie below"):
        snowflake.files(staged("azure://mine/landing"), location="azure://other.blob.core.windows.net/landing/")


def test_a_location_that_is_no_place_at_all_is_refused() -> None:
    with pytest.raises(InvalidUriError):
        snowflake.files(staged(), location="@shop.landing")


def test_the_parts_of_a_run_are_named_below_it() -> None:
    assert snowflake.files(parts(1, 0)) == ["run-1/map-00000/0.csv", "run-1/map-00001/1.csv"]


@pytest.mark.parametrize("module", [snowflake, databricks], ids=["snowflake", "databricks"])
def test_one_copy_into_takes_1_000_files(module: object) -> None:
    files, file_batches = module.files, module.file_batches  # type: ignore[attr-defined]
    assert len(files(staged(names=MANY[:1_000]))) == 1_000
    with pytest.raises(NotLoadableError, match=r"takes 1000 files at a time and these are 1001: use file_batches\(\)"):
        files(staged(names=MANY[:1_001]))
    batches = file_batches(staged(names=MANY))
    assert [len(batch) for batch in batches] == [1_000, 1_000, 500]
    assert [name.rpartition("/")[2] for batch in batches for name in batch] == MANY
    assert [len(batch) for batch in file_batches(staged(names=MANY[:5]), size=2)] == [2, 2, 1]
    for size in (0, 1_001, True, "10"):
        with pytest.raises(InvalidOptionError, match="takes 1 to 1000 files at a time"):
            file_batches(staged(), size=size)


@given(ANY_NAMES)
def test_a_files_clause_quotes_any_name(names: list[str]) -> None:
    clause = snowflake.files_clause(snowflake.files(staged(names=names)))
    inside = re.fullmatch(r"FILES = \((.*)\)", clause, re.S)
    assert inside
    literals = re.findall(r"'((?:[^']|'')*)'(?:, |$)", inside[1])
    assert [literal.replace("''", "'") for literal in literals] == [f"run-1/{name}" for name in names]


def test_a_backslash_in_a_name_of_the_authors_own_is_one_to_snowflake() -> None:
    assert snowflake.files_clause(["a\\'b"]) == "FILES = ('a\\\\''b')"


@pytest.mark.parametrize("names", [[], "a.csv", ["a"] * 1_001], ids=["none", "a text", "too many"])
def test_a_files_clause_is_of_1_to_1_000_names(names: list[str]) -> None:
    with pytest.raises(InvalidOptionError, match="takes a list of 1 to 1000 files"):
        snowflake.files_clause(names)


# Databricks.


@pytest.mark.parametrize(
    ("base_uri", "account", "location"),
    [
        ("s3://landing/orders", None, "s3://landing/orders/run-1/"),
        ("gs://landing", None, "gs://landing/run-1/"),
        ("azure://account/landing", None, "abfss://landing@account.dfs.core.windows.net/run-1/"),
        ("az://landing/orders", "given", "abfss://landing@given.dfs.core.windows.net/orders/run-1/"),
    ],
)
def test_the_location_is_the_run_prefix_and_names_are_below_it(
    base_uri: str, account: str | None, location: str
) -> None:
    arguments = databricks.copy_arguments(staged(base_uri), account=account)
    assert arguments == {"file_location": location, "files": list(NAMES)}


def test_one_part_is_below_its_own_folder() -> None:
    manifest = staged(part="map-00003", names=["a.csv"])
    assert databricks.copy_arguments(manifest) == {
        "file_location": "s3://landing/orders/run-1/map-00003/",
        "files": ["a.csv"],
    }


def test_an_azure_account_that_nobody_says_is_asked_for() -> None:
    with pytest.raises(NotLoadableError, match=r"needs the storage account of az://landing/run-1/: give account="):
        databricks.file_location(staged("az://landing"))


@pytest.mark.parametrize("name", ["a*.csv", "a[1].csv", "{a}.csv", "a^.csv"])
def test_a_name_that_may_be_a_pattern_is_refused(name: str) -> None:
    with pytest.raises(NotLoadableError, match="Databricks can't load exactly"):
        databricks.files(staged(names=[name]))


@pytest.mark.parametrize(
    ("compression", "name"),
    [
        ("none", "a.csv"),
        ("none", "a"),
        ("none", "a.gz.csv"),
        ("none", "b.gz/a.csv"),
        ("gzip", "a.csv.gz"),
        ("GZ", "b/a.gz"),
        ("bz2", "a.csv.bz2"),
        ("zstandard", "a.csv.zst"),
    ],
)
@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl"])
def test_databricks_takes_text_whose_name_ends_as_its_compression_asks(
    file_format: str, compression: str, name: str
) -> None:
    manifest = staged(names=[name], file_format=file_format, compression=compression)
    (sql,) = databricks.copy_statements(manifest, "orders")
    assert f"FILES = ('{name}')" in sql


@pytest.mark.parametrize(
    ("compression", "name", "message"),
    [
        ("gzip", "a.csv", "compression is 'gzip', and this name doesn't end with '.gz'. Rename the file, and"),
        ("gzip", "a.csv.gzip", "this name doesn't end with '.gz'"),
        ("gzip", "a.csv.GZ", "this name doesn't end with '.gz'"),
        ("gzip", "a.csv.bz2", "this name doesn't end with '.gz'"),
        ("bzip2", "a.csv", "this name doesn't end with '.bz2'"),
        ("zstd", "a.csv.zstd", "this name doesn't end with '.zst'"),
        ("none", "a.csv.gz", "compression is 'none', and this name ends like that of a compressed file"),
        *(
            ("none", f"a.csv{ending}", "Rename the file, or say its compression, and stage it anew.")
            for ending in (".GZ", ".gzip", ".bz2", ".zst", ".zstd", ".snappy", ".lz4", ".deflate")
        ),
    ],
)
@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl"])
def test_databricks_would_read_a_name_with_another_ending_as_other_bytes(
    file_format: str, compression: str, name: str, message: str
) -> None:
    fits = {"none": "fits", "gzip": "fits.gz", "bzip2": "fits.bz2", "zstd": "fits.zst"}[compression]
    manifest = staged(names=[fits, name], file_format=file_format, compression=compression)
    with pytest.raises(NotLoadableError, match=re.escape(message)) as refused:
        databricks.copy_statements(manifest, "orders")
    assert f"can't load exactly s3://landing/orders/run-1/{name}: it decompresses by the ending" in str(refused.value)


@pytest.mark.parametrize("compression", ["zip", "xz", "brotli", "snappy", "lz4", "deflate"])
def test_databricks_takes_no_compression_that_its_files_may_not_be_read_by(compression: str) -> None:
    manifest = staged(names=[f"a.csv.{compression}"], compression=compression)
    with pytest.raises(NotLoadableError, match="for Databricks this package knows 'none', 'gzip', 'bzip2' and 'zstd'"):
        databricks.copy_statements(manifest, "orders")


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro"])
@pytest.mark.parametrize(
    ("compression", "name"), [("snappy", "a.snappy"), ("gzip", "a"), ("zip", "a"), ("none", "a.gz")]
)
def test_databricks_takes_what_is_compressed_inside_by_any_name(file_format: str, compression: str, name: str) -> None:
    manifest = staged(names=[name], file_format=file_format, compression=compression)
    (sql,) = databricks.copy_statements(manifest, "orders")
    assert f"FILES = ('{name}')" in sql


def test_copy_arguments_for_the_operator_look_at_no_compression() -> None:
    assert databricks.copy_arguments(staged(names=["a.csv"], compression="gzip"))["files"] == ["a.csv"]
