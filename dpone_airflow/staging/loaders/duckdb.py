"""DuckDB: ``read_csv([...])``, ``read_parquet([...])`` or ``read_json([...])`` over just the manifest's files.

Needs DuckDB's ``httpfs`` extension for ``s3://`` and ``gs://``, ``azure`` for ``az://``, and a secret in the
connection (``CREATE SECRET``): none is in the text.
https://duckdb.org/docs/stable/core_extensions/httpfs/s3api
https://duckdb.org/docs/stable/core_extensions/azure

Of a file in a folder ``dt=2026-11-22/`` DuckDB makes a column ``dt``, in place of the file's own. ``source`` says
``hive_partitioning = false`` for such files: they are loaded as they are.
https://duckdb.org/docs/stable/data/partitioning/hive_partitioning
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dpone_airflow.staging.loaders.formats import COMPRESSED_INSIDE, WITH_HEADER, compression_of, format_of
from dpone_airflow.staging.loaders.given import chosen, has_hive_folders, loadable
from dpone_airflow.staging.loaders.sql_text import quoted
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.uri import ObjectStorageUri

__all__ = ["source", "uris"]

_TARGET = "DuckDB"
_AZURE_HOST = "blob.core.windows.net"
_READERS = {"csv": "read_csv", "tsv": "read_csv", "jsonl": "read_json", "parquet": "read_parquet"}
_COMPRESSIONS = {"none": "uncompressed", "gzip": "gzip", "zstd": "zstd"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Between brackets, a character of a pattern is itself.
_GLOB = re.compile(r"[*?\[]")


def source(
    manifest: Any,
    *,
    header: bool = True,
    azure_host: str | None = _AZURE_HOST,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Return what stands after FROM: ``CREATE TABLE orders AS SELECT * FROM <this>``.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :param header: whether the first line of each CSV or TSV file is a header.
    :param azure_host: what follows the account in ``azure://account.<this>/container/...``; None writes
        ``az://container/...`` and leaves the account to the secret, as an emulator needs it.
    :param options: options of the reader of your own, by name, e.g. ``{"union_by_name": True}``; they win over ours.
        None for none. ``{"hive_partitioning": True}`` takes columns from folders like ``dt=2026-11-22/``; DuckDB wants
        it beside ``hive_types`` too.
    :raises InvalidOptionError: for an option whose name is none, or whose value isn't text, a number, a
        boolean, None, or a list or mapping of them.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, or a format or compression that DuckDB doesn't read.
    """
    found = loadable(manifest, _TARGET)
    file_format = format_of(found)
    reader = chosen(_READERS, file_format, what="file_format", target=_TARGET)
    settings: dict[str, Any] = {}
    if file_format not in COMPRESSED_INSIDE:
        settings["compression"] = chosen(_COMPRESSIONS, compression_of(found), what="compression", target=_TARGET)
    if file_format in WITH_HEADER:
        settings |= {"header": header, "delim": "\t" if file_format == "tsv" else ","}
    if file_format == "jsonl":
        settings["format"] = "newline_delimited"
    if has_hive_folders(found):
        settings["hive_partitioning"] = False
    settings |= options or {}
    for name in settings:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidOptionError(f"options has {name!r}: an option's name has letters, digits and _.")
    files = f"[{', '.join(quoted(uri) for uri in uris(found, azure_host=azure_host))}]"
    return f"{reader}({', '.join([files, *(f'{name} = {_value(value)}' for name, value in settings.items())])})"


def uris(manifest: Any, *, azure_host: str | None = _AZURE_HOST) -> list[str]:
    """Return each file as DuckDB writes it, unquoted; names that would be patterns are escaped.

    :param manifest: as for ``source``.
    :param azure_host: as for ``source``.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects.
    """
    found = loadable(manifest, _TARGET)
    start = _start(found, azure_host)
    return [start + _GLOB.sub(r"[\g<0>]", ObjectStorageUri.parse(item.uri).key) for item in found.objects]


def _start(manifest: ObjectStorageStagingManifest, azure_host: str | None) -> str:
    prefix = manifest.prefix
    if prefix.account and azure_host:
        return f"azure://{prefix.account}.{azure_host}/{prefix.bucket}/"
    scheme = "az" if prefix.account else prefix.scheme
    return f"{scheme}://{prefix.bucket}/"


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_value(str(key))}: {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    raise InvalidOptionError(
        f"options has a {type(value).__name__}: a value is text, a number, a boolean, or a list of them."
    )
