"""The content type follows from the name, the same on every worker, and says what the bytes are."""

from __future__ import annotations

import mimetypes

import pytest

from dpone_airflow.staging.content_type import guess_content_type


@pytest.mark.parametrize(
    ("file_name", "content_type"),
    [
        ("orders.csv", "text/csv"),
        ("ORDERS.CSV", "text/csv"),
        ("dt=2026-11-22/part-0.tsv", "text/tab-separated-values"),
        ("a.json", "application/json"),
        ("a.jsonl", "application/x-ndjson"),
        ("a.ndjson", "application/x-ndjson"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.avro", "application/vnd.apache.avro"),
        ("a.orc", "application/vnd.apache.orc"),
        ("a.txt", "text/plain"),
        ("a+b=c%25.tsv", "text/tab-separated-values"),
        ("with space.csv", "text/csv"),
        ("http://x.csv", "text/csv"),
    ],
)
def test_the_ending_says_the_type(file_name: str, content_type: str) -> None:
    assert guess_content_type(file_name) == content_type


@pytest.mark.parametrize(
    ("file_name", "content_type"),
    [
        ("orders.csv.gz", "application/gzip"),
        ("orders.CSV.GZ", "application/gzip"),
        ("a.tar.gz", "application/gzip"),
        ("a.csv.bz2", "application/x-bzip2"),
        ("a.csv.xz", "application/x-xz"),
        ("a.json.zst", "application/zstd"),
        ("a.csv.lz4", "application/x-lz4"),
        ("a.csv.snappy", "application/x-snappy"),
        ("a.zip", "application/zip"),
    ],
)
def test_a_compressed_file_is_what_its_bytes_are(file_name: str, content_type: str) -> None:
    assert guess_content_type(file_name) == content_type


@pytest.mark.parametrize(
    ("file_name", "not_this"), [("a.csv.br", "text/csv"), ("a.tgz", "application/x-tar"), ("a.svgz", "image/svg+xml")]
)
def test_a_compressed_file_is_never_called_what_is_inside(file_name: str, not_this: str) -> None:
    assert guess_content_type(file_name) != not_this


@pytest.mark.parametrize("file_name", ["README", "a.unknownending", "csv", "a.csv.", "dt=1.csv/part"])
def test_a_name_that_says_nothing_has_no_type(file_name: str) -> None:
    assert guess_content_type(file_name) is None


def test_what_one_worker_has_learnt_makes_no_difference() -> None:
    before = mimetypes.types_map[".csv"]
    mimetypes.add_type("application/vnd.ms-excel", ".csv")
    try:
        assert guess_content_type("orders.csv") == "text/csv"
    finally:
        mimetypes.add_type(before, ".csv")
