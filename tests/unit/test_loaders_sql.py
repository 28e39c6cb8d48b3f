"""ClickHouse and DuckDB: the text that stands after FROM. What it loads is proven in ``tests/conformance``."""

from __future__ import annotations

import re
from typing import Any

import duckdb as duckdb_engine
import pytest
from hypothesis import given, settings

from dpone_airflow.staging.loaders import clickhouse, duckdb
from dpone_airflow.storage.errors import InvalidOptionError, NotLoadableError
from tests.unit.loader_manifests import ANY_NAME, ANY_NAMES, parts, staged

S3 = "https://landing.s3.amazonaws.com/orders/run-1"


# ClickHouse.


@pytest.mark.parametrize(
    ("manifest", "arguments", "text"),
    [
        (staged(names=["a.csv"]), {}, f"s3('{S3}/a.csv', 'CSVWithNames', 'auto', 'none')"),
        (staged(names=["a.csv", "x/b.csv"]), {}, f"s3('{S3}/{{a.csv,x/b.csv}}', 'CSVWithNames', 'auto', 'none')"),
        (
            parts(1, 0),
            {"header": False},
            f"s3('{S3}/{{map-00000/0.csv,map-00001/1.csv}}', 'CSV', 'auto', 'none')",
        ),
        (
            staged(names=["a.tsv"], file_format="tsv", compression="gz"),
            {"region": "eu-west-1", "credentials": "anonymous"},
            (
                "s3('https://landing.s3.eu-west-1.amazonaws.com/orders/run-1/a.tsv', NOSIGN, "
                "'TabSeparatedWithNames', 'auto', 'gzip')"
            ),
        ),
        (
            staged("s3://my.landing", names=["a.csv"]),
            {},
            "s3('https://s3.amazonaws.com/my.landing/run-1/a.csv', 'CSVWithNames', 'auto', 'none')",
        ),
        (
            staged(names=["a.csv"]),
            {"endpoint": "http://127.0.0.1:9000/", "credentials": "parameters"},
            (
                "s3('http://127.0.0.1:9000/landing/orders/run-1/a.csv', {dpone_access_key:String}, "
                "{dpone_secret_key:String}, 'CSVWithNames', 'auto', 'none')"
            ),
        ),
        (
            staged(names=["a.csv", "b.csv"]),
            {"named_collection": "landing", "structure": "id UInt64"},
            (
                "s3(landing, filename = 'orders/run-1/{a.csv,b.csv}', format = 'CSVWithNames', "
                "compression_method = 'none', structure = 'id UInt64')"
            ),
        ),
        (
            staged("gs://landing", ["a.jsonl"], file_format="jsonl"),
            {},
            "gcs('https://storage.googleapis.com/landing/run-1/a.jsonl', 'JSONEachRow', 'auto', 'none')",
        ),
        (
            staged("azure://account/landing", ["a.csv"]),
            {},
            (
                "azureBlobStorage('https://account.blob.core.windows.net', 'landing', 'run-1/a.csv', 'CSVWithNames', "
                "'none', 'auto')"
            ),
        ),
        (
            staged("az://landing", ["a.csv"]),
            {"account": "given"},
            (
                "azureBlobStorage('https://given.blob.core.windows.net', 'landing', 'run-1/a.csv', 'CSVWithNames', "
                "'none', 'auto')"
            ),
        ),
        (
            staged("az://landing", ["a.csv"]),
            {"credentials": "parameters"},
            (
                "azureBlobStorage({dpone_connection_string:String}, 'landing', 'run-1/a.csv', 'CSVWithNames', "
                "'none', 'auto')"
            ),
        ),
        (
            staged("az://landing", ["a.csv"]),
            {"named_collection": "landing"},
            (
                "azureBlobStorage(landing, container = 'landing', blob_path = 'run-1/a.csv', format = 'CSVWithNames', "
                "compression = 'none', structure = 'auto')"
            ),
        ),
    ],
)
def test_the_table_function_names_just_these_files(manifest: Any, arguments: dict[str, Any], text: str) -> None:
    assert clickhouse.table(manifest, **arguments) == text
    assert clickhouse.tables(manifest, **arguments) == [text]


def test_a_name_with_a_comma_stands_alone() -> None:
    assert clickhouse.table(staged(names=["a.csv", "b,c.csv", "d.csv"])) == (
        f"(SELECT * FROM s3('{S3}/{{a.csv,d.csv}}', 'CSVWithNames', 'auto', 'none')"
        f" UNION ALL SELECT * FROM s3('{S3}/b,c.csv', 'CSVWithNames', 'auto', 'none'))"
    )


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        (staged(names=["dt=2026-11-22/a.csv"]), "orders/run-1/dt=2026-11-22/a.csv"),
        (staged(names=["a.csv", "dt=2026-11-22/b.csv"]), "orders/run-1/{a.csv,dt=2026-11-22/b.csv}"),
        (staged(names=["a.csv"], run_id="run=1"), "orders/run=1/a.csv"),
        (staged("s3://landing/by=day/orders", names=["a.csv"]), "by=day/orders/run-1/a.csv"),
    ],
    ids=["in a name", "in one of two names", "in the run id", "in the base_uri"],
)
def test_clickhouse_takes_no_column_from_a_folder_unless_it_is_told_to(manifest: Any, path: str) -> None:
    call = f"s3('https://landing.s3.amazonaws.com/{path}', 'CSVWithNames', 'auto', 'none')"
    text = f"(SELECT * FROM {call} SETTINGS use_hive_partitioning = 0)"
    assert clickhouse.table(manifest) == text
    assert clickhouse.tables(manifest) == [text]
    assert clickhouse.table(manifest, hive_partitioning=True) == call
    assert clickhouse.tables(manifest, hive_partitioning=True) == [call]


def test_each_call_of_a_union_has_the_setting_in_a_query_of_its_own() -> None:
    assert clickhouse.table(staged(names=["dt=1/a.csv", "dt=1/b,c.csv"])) == (
        f"(SELECT * FROM (SELECT * FROM s3('{S3}/dt=1/a.csv', 'CSVWithNames', 'auto', 'none')"
        " SETTINGS use_hive_partitioning = 0)"
        f" UNION ALL SELECT * FROM (SELECT * FROM s3('{S3}/dt=1/b,c.csv', 'CSVWithNames', 'auto', 'none')"
        " SETTINGS use_hive_partitioning = 0))"
    )


def test_an_equals_sign_in_a_files_own_name_is_no_folder() -> None:
    manifest = staged(names=["dt=1.csv"])
    assert clickhouse.table(manifest) == f"s3('{S3}/dt=1.csv', 'CSVWithNames', 'auto', 'none')"
    assert "hive_partitioning" not in duckdb.source(manifest)


def test_a_name_cannot_leave_its_quotes() -> None:
    name = "a') UNION ALL SELECT 1 --.csv"
    assert clickhouse.table(staged("azure://account/landing", [name])) == (
        "azureBlobStorage('https://account.blob.core.windows.net', 'landing', "
        "'run-1/a\\') UNION ALL SELECT 1 --.csv', 'CSVWithNames', 'none', 'auto')"
    )
    structure = clickhouse.table(staged(names=["a.csv"]), structure="id String DEFAULT 'a\\b'")
    assert structure.endswith(", 'CSVWithNames', 'id String DEFAULT \\'a\\\\b\\'', 'none')")


def test_more_names_than_braces_take_are_several_calls() -> None:
    names = [f"{number}.csv" for number in range(2_001)]
    text = clickhouse.table(staged(names=names))
    assert text.count(" UNION ALL ") == 2
    assert re.findall(r"\d+\.csv", text) == names
    pieces = clickhouse.tables(staged(names=names))
    assert [len(re.findall(r"\d+\.csv", piece)) for piece in pieces] == [1_000, 1_000, 1]
    assert not any("UNION" in piece for piece in pieces)


@pytest.mark.parametrize("name", ["a*.csv", "{a}.csv", "a}.csv"])
def test_a_name_that_is_a_pattern_is_refused(name: str) -> None:
    with pytest.raises(NotLoadableError, match="ClickHouse can't load exactly"):
        clickhouse.table(staged(names=["b.csv", name]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"credentials": "AKIA"}, "write 'server', 'anonymous' or 'parameters'"),
        ({"named_collection": "landing, url = 'https://evil'"}, "a name of letters, digits and _"),
        ({"named_collection": ""}, "a name of letters, digits and _"),
    ],
)
def test_what_is_no_word_or_no_name_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        clickhouse.table(staged(), **arguments)


def test_azure_needs_an_account_and_has_no_anonymous_reader() -> None:
    with pytest.raises(NotLoadableError, match="needs the storage account of az://landing/run-1/"):
        clickhouse.table(staged("az://landing"))
    with pytest.raises(InvalidOptionError, match="has no word for"):
        clickhouse.table(staged("azure://account/landing"), credentials="anonymous")


# DuckDB.


@pytest.mark.parametrize(
    ("manifest", "arguments", "text"),
    [
        (
            staged(names=["a.csv", "b.csv"]),
            {},
            (
                "read_csv(['s3://landing/orders/run-1/a.csv', 's3://landing/orders/run-1/b.csv'], "
                "compression = 'uncompressed', header = true, delim = ',')"
            ),
        ),
        (
            staged("gs://landing", ["a.tsv"], file_format="tsv", compression="gzip"),
            {"header": False},
            "read_csv(['gs://landing/run-1/a.tsv'], compression = 'gzip', header = false, delim = '\t')",
        ),
        (
            staged("az://landing", ["a.parquet"], file_format="parquet"),
            {"options": {"union_by_name": True, "hive_partitioning": None}},
            "read_parquet(['az://landing/run-1/a.parquet'], union_by_name = true, hive_partitioning = NULL)",
        ),
        (
            staged("azure://account/landing", ["a.jsonl"], file_format="jsonl", compression="zst"),
            {},
            (
                "read_json(['azure://account.blob.core.windows.net/landing/run-1/a.jsonl'], compression = 'zstd', "
                "format = 'newline_delimited')"
            ),
        ),
        (
            staged("azure://account/landing", ["a.csv"]),
            {
                "azure_host": None,
                "options": {"delim": "'", "types": {"id": "BIGINT"}, "nullstr": ["", "NA"], "skip": 2},
            },
            (
                "read_csv(['az://landing/run-1/a.csv'], compression = 'uncompressed', header = true, delim = '''', "
                "types = {'id': 'BIGINT'}, nullstr = ['', 'NA'], skip = 2)"
            ),
        ),
        (
            parts(1, 0),
            {},
            (
                "read_csv(['s3://landing/orders/run-1/map-00000/0.csv', 's3://landing/orders/run-1/map-00001/1.csv'], "
                "compression = 'uncompressed', header = true, delim = ',')"
            ),
        ),
    ],
)
def test_the_reader_names_just_these_files(manifest: Any, arguments: dict[str, Any], text: str) -> None:
    assert duckdb.source(manifest, **arguments) == text


@pytest.mark.parametrize(
    "manifest",
    [
        staged(names=["a.parquet", "dt=2026-11-22/b.parquet"], file_format="parquet"),
        staged(names=["a.parquet"], run_id="run=1", file_format="parquet"),
        staged("s3://landing/by=day/orders", names=["a.parquet"], file_format="parquet"),
    ],
    ids=["in a name", "in the run id", "in the base_uri"],
)
def test_duckdb_takes_no_column_from_a_folder_unless_it_is_told_to(manifest: Any) -> None:
    assert duckdb.source(manifest).endswith("], hive_partitioning = false)")
    assert duckdb.source(manifest, options={"hive_partitioning": True}).endswith("], hive_partitioning = true)")


@given(ANY_NAMES)
@settings(max_examples=50)
def test_duckdb_reads_the_list_as_just_these_names(names: list[str]) -> None:
    manifest = staged(names=names)
    source = duckdb.source(manifest)
    listed = source[len("read_csv(") : source.rindex(", compression = ")]
    with duckdb_engine.connect() as db:
        (read,) = db.execute(f"SELECT {listed}").fetchone()
    assert read == duckdb.uris(manifest)


@given(ANY_NAME)
def test_a_name_that_would_be_a_pattern_is_taken_literally(name: str) -> None:
    (uri,) = duckdb.uris(staged(names=[name]))
    assert re.sub(r"\[([*?\[])\]", r"\1", uri) == f"s3://landing/orders/run-1/{name}"
    assert not re.search(r"[*?]", re.sub(r"\[[*?\[]\]", "", uri))


@pytest.mark.parametrize("name", ["a b", "header, x", "", 1])
def test_an_option_that_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidOptionError, match="an option's name has letters"):
        duckdb.source(staged(), options={name: True})


def test_an_option_of_a_kind_that_sql_has_no_text_for_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="options has a object"):
        duckdb.source(staged(), options={"skip": object()})
