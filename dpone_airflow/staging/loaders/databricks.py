"""Databricks: COPY INTO with the files by name, for ``DatabricksSqlOperator`` and ``DatabricksCopyIntoOperator``.

Names are relative to the location, which is the run prefix, and one COPY INTO takes 1,000 of them.
https://docs.databricks.com/sql/language-manual/delta-copy-into.html

With databricks-sql-connector from 4.0.4 on, ``DatabricksCopyIntoOperator`` writes ``FILES = ARRAY(...)``, which
isn't the syntax of COPY INTO; ``copy_statements`` writes ``FILES = (...)``.
https://github.com/databricks/databricks-sql-python/issues/629

Spark decompresses CSV and JSON by the ending of a file's name and by nothing else: gzip in an ``a.csv`` would be
read as text.
https://docs.databricks.com/aws/en/query/formats/
https://hadoop.apache.org/docs/current/api/org/apache/hadoop/io/compress/CompressionCodecFactory.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dpone_airflow.staging.loaders.formats import COMPRESSED_INSIDE, WITH_HEADER, compression_of, format_of
from dpone_airflow.staging.loaders.given import at_once, chosen, in_batches, loadable, refuse_names_with
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import InvalidOptionError, NotLoadableError
from dpone_airflow.storage.uri import ObjectStorageProvider

__all__ = ["MAX_FILES", "copy_arguments", "copy_statements", "file_batches", "file_location", "files"]

MAX_FILES = 1_000
_TARGET = "Databricks"
# What a path of Hadoop's file systems reads as a pattern.
_PATTERN = "*?[]{}^"
_FORMATS = {
    "csv": "CSV",
    "tsv": "CSV",
    "jsonl": "JSON",
    "parquet": "PARQUET",
    "orc": "ORC",
    "avro": "AVRO",
}
_ENDINGS = {"none": "", "gzip": ".gz", "bzip2": ".bz2", "zstd": ".zst"}
# Not above: Snappy and LZ4, which Hadoop frames in its own way, and Deflate, which may be zlib or raw.
# Only newer versions of Spark know .gzip and .zstd.
_ENDINGS_OF_CODECS = (".gz", ".gzip", ".bz2", ".zst", ".zstd", ".snappy", ".lz4", ".deflate")
_TABLE = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*\.){0,2}[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def file_location(manifest: Any, *, account: str | None = None) -> str:
    """Return the run prefix as Databricks writes it: ``s3://``, ``gs://`` or ``abfss://container@account...``.

    https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-introduction-abfs-uri

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :param account: the storage account, where the URI is ``az://container/...`` and doesn't say it; else None.
    :returns: the address with a trailing slash.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, a name that is a pattern, or no account that is known.
    """
    return _location(_loadable(manifest), account)


def files(manifest: Any) -> list[str]:
    """Return the name of each file relative to ``file_location``, unquoted as the official operator takes it.

    :param manifest: as for ``file_location``.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, over 1,000, or a name that is a pattern.
    """
    return at_once(_names(_loadable(manifest)), MAX_FILES, _TARGET, instead="file_batches()")


def file_batches(manifest: Any, *, size: int = MAX_FILES) -> list[list[str]]:
    """Return the names in lists that COPY INTO takes, for ``.expand(files=...)``; each COPY commits by itself.

    :param manifest: as for ``file_location``.
    :param size: how many names a list has at most, from 1 to 1,000.
    :raises InvalidOptionError: for a ``size`` below 1 or above 1,000.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, or a name that is a pattern.
    """
    return in_batches(_names(_loadable(manifest)), size, MAX_FILES, _TARGET)


def copy_arguments(manifest: Any, *, account: str | None = None) -> dict[str, Any]:
    """Return ``file_location`` (text) and ``files`` (a list of texts) for ``DatabricksCopyIntoOperator``.

    The operator has the format as an argument of its own. So nothing here checks that Databricks reads the format, nor
    that the names end as the compression asks, which ``copy_statements`` does.

    :param manifest: as for ``file_location``.
    :param account: as for ``file_location``.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: as ``file_location`` and ``files`` do.
    """
    found = _loadable(manifest)
    return {"file_location": _location(found, account), "files": files(found)}


def copy_statements(
    manifest: Any,
    table: str,
    *,
    header: bool = True,
    account: str | None = None,
    format_options: Mapping[str, str] | None = None,
    copy_options: Mapping[str, str] | None = None,
    size: int = MAX_FILES,
) -> list[str]:
    """Return COPY INTO statements for ``DatabricksSqlOperator(sql=...)``; each commits by itself.

    :param manifest: as for ``file_location``.
    :param table: ``table``, ``schema.table`` or ``catalog.schema.table``.
    :param header: whether the first line of each CSV or TSV file is a header.
    :param account: as for ``file_location``.
    :param format_options: FORMAT_OPTIONS of your own, texts by name, e.g. ``{"inferSchema": "true"}``; they win over
        ours. None for none.
    :param copy_options: COPY_OPTIONS of your own, texts by name, e.g. ``{"mergeSchema": "true"}``; None for none.
    :param size: how many files a statement has at most, from 1 to 1,000.
    :raises InvalidOptionError: for a ``size`` below 1 or above 1,000, or a ``table`` that is no name.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: as ``file_location`` does, for a format or compression that COPY INTO doesn't take, or
        for a CSV, TSV or JSON file whose name doesn't end as its compression asks: with ``.gz``, ``.bz2`` or ``.zst``,
        and without any such ending where the compression is ``none``.
    """
    found = _loadable(manifest)
    if not isinstance(table, str) or not _TABLE.fullmatch(table):
        raise InvalidOptionError(f"table is {table!r}: write 'table', 'schema.table' or 'catalog.schema.table'.")
    file_format = format_of(found)
    name = chosen(_FORMATS, file_format, what="file_format", target=_TARGET)
    if file_format not in COMPRESSED_INSIDE:
        _refuse_endings_of_another_compression(found)
    reading = {"header": str(header).lower()} if file_format in WITH_HEADER else {}
    if file_format == "tsv":
        reading["sep"] = "\t"
    start = f"COPY INTO {table} FROM {_literal(_location(found, account))} FILEFORMAT = {name}"
    end = _options("FORMAT_OPTIONS", reading | dict(format_options or {})) + _options(
        "COPY_OPTIONS", copy_options or {}
    )
    return [
        f"{start} FILES = ({', '.join(map(_literal, batch))}){end}"
        for batch in in_batches(_names(found), size, MAX_FILES, _TARGET)
    ]


def _options(word: str, options: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{_literal(name)} = {_literal(value)}" for name, value in options.items())
    return f" {word} ({pairs})" if pairs else ""


def _literal(text: str) -> str:
    # Two quotes in a row are nothing to Spark: it reads two strings and joins them.
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _location(manifest: ObjectStorageStagingManifest, account: str | None) -> str:
    prefix = manifest.prefix
    if prefix.provider is not ObjectStorageProvider.AZURE_BLOB:
        return f"{prefix}/"
    owner = prefix.account or account
    if not owner:
        raise NotLoadableError(
            f"{_TARGET} needs the storage account of {prefix}/: give account=..., or stage to azure://account/container/..."
        )
    return f"abfss://{prefix.bucket}@{owner}.dfs.core.windows.net/{prefix.prefix}"


def _refuse_endings_of_another_compression(manifest: ObjectStorageStagingManifest) -> None:
    compression = compression_of(manifest)
    ending = chosen(_ENDINGS, compression, what="compression", target=_TARGET)
    for item in manifest.objects:
        if ending and not item.file_name.endswith(ending):
            problem, instead = f"doesn't end with {ending!r}", "Rename the file"
        elif not ending and item.file_name.lower().endswith(_ENDINGS_OF_CODECS):
            problem, instead = "ends like that of a compressed file", "Rename the file, or say its compression"
        else:
            continue
        raise NotLoadableError(
            f"{_TARGET} can't load exactly {item.uri}: it decompresses by the ending of a name, compression is "
            f"{compression!r}, and this name {problem}. {instead}, and stage it anew."
        )


def _names(manifest: ObjectStorageStagingManifest) -> list[str]:
    return [item.file_name for item in manifest.objects]


def _loadable(manifest: Any) -> ObjectStorageStagingManifest:
    found = loadable(manifest, _TARGET)
    refuse_names_with(_PATTERN, found, _TARGET, because="it may read as a pattern the")
    return found
