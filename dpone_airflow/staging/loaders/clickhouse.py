"""ClickHouse: the SQL of a table that is just the manifest's files: ``s3()``, ``gcs()`` or ``azureBlobStorage()``.

Names go into braces (``{a.csv,b.csv}``), 1,000 a call, and several calls into ``UNION ALL``.
https://clickhouse.com/docs/sql-reference/table-functions/s3
https://clickhouse.com/docs/sql-reference/table-functions/gcs
https://clickhouse.com/docs/sql-reference/table-functions/azureBlobStorage

Of a file in a folder ``dt=2026-11-22/`` ClickHouse makes a column ``dt``, in place of the file's own. For such files
each call stands in a query that has ``use_hive_partitioning = 0``: they are loaded as they are.
https://clickhouse.com/docs/operations/settings/settings#use_hive_partitioning

No secret is ever in the text. ``credentials`` says where the server has it from:

- ``"server"``: from its own configuration or its machine's role; nothing is written.
- ``"anonymous"``: a public bucket; ``NOSIGN`` is written.
- ``"parameters"``: from parameters of the query, which clients send beside the text: ``dpone_access_key`` and
  ``dpone_secret_key`` for S3 and GCS (its HMAC keys), ``dpone_connection_string`` for Azure.
- ``named_collection="..."``: from a named collection of the server. For S3 and GCS its ``url`` is that of the
  bucket; for Azure it has no blob path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from dpone_airflow.staging.loaders.formats import compression_of, format_of
from dpone_airflow.staging.loaders.given import chosen, has_hive_folders, in_batches, loadable, refuse_names_with
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import InvalidOptionError, NotLoadableError
from dpone_airflow.storage.uri import ObjectStorageProvider

__all__ = ["MAX_NAMES", "Credentials", "table", "tables"]

Credentials: TypeAlias = Literal["server", "anonymous", "parameters"]

#: What ``glob_expansion_max_elements`` is by default.
#: https://clickhouse.com/docs/operations/settings/settings#glob_expansion_max_elements
MAX_NAMES = 1_000
_TARGET = "ClickHouse"
_CREDENTIALS = ("server", "anonymous", "parameters")
_WITH_HEADER = {"csv": "CSVWithNames", "tsv": "TabSeparatedWithNames"}
_FORMATS = {
    "csv": "CSV",
    "tsv": "TabSeparated",
    "jsonl": "JSONEachRow",
    "parquet": "Parquet",
    "orc": "ORC",
    "avro": "Avro",
}
_COMPRESSIONS = {
    "none": "none",
    "gzip": "gzip",
    "zstd": "zstd",
    "xz": "xz",
    "brotli": "brotli",
}
_FUNCTIONS = {
    ObjectStorageProvider.S3: "s3",
    ObjectStorageProvider.GCS: "gcs",
    ObjectStorageProvider.AZURE_BLOB: "azureBlobStorage",
}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_KEYS = "{dpone_access_key:String}, {dpone_secret_key:String}"
_CONNECTION_STRING = "{dpone_connection_string:String}"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What the arguments of a table function are made of, besides the names."""

    manifest: ObjectStorageStagingManifest
    format: str
    compression: str
    structure: str
    endpoint: str | None
    credentials: Credentials
    named_collection: str | None
    ignores_hive_folders: bool

    def call(self, names: list[str]) -> str:
        function = _FUNCTIONS[self.manifest.provider]
        call = f"{function}({', '.join(self._arguments(names))})"
        if not self.ignores_hive_folders:
            return call
        # A query of its own for each call: on the branches of a UNION, ClickHouse doesn't take SETTINGS.
        return f"(SELECT * FROM {call} SETTINGS use_hive_partitioning = 0)"  # noqa: S608 - the names are quoted

    def _arguments(self, names: list[str]) -> list[str]:
        prefix = self.manifest.prefix
        path = prefix.prefix + (names[0] if len(names) == 1 else f"{{{','.join(names)}}}")
        azure = prefix.provider is ObjectStorageProvider.AZURE_BLOB
        how = (_literal(self.format), _literal(self.compression), _literal(self.structure))
        if self.named_collection is not None:
            place = [f"container = {_literal(prefix.bucket)}"] if azure else []
            return [
                self.named_collection,
                *place,
                f"blob_path = {_literal(path)}" if azure else f"filename = {_literal(_in_url(path))}",
                f"format = {how[0]}",
                f"{'compression' if azure else 'compression_method'} = {how[1]}",
                f"structure = {how[2]}",
            ]
        if azure:
            where = _CONNECTION_STRING if self.credentials == "parameters" else _literal(str(self.endpoint))
            return [where, _literal(prefix.bucket), _literal(path), *how]
        keys = {"server": [], "anonymous": ["NOSIGN"], "parameters": [_KEYS]}[self.credentials]
        return [_literal(f"{self.endpoint}/{_in_url(path)}"), *keys, how[0], how[2], how[1]]


def table(
    manifest: Any,
    *,
    header: bool = True,
    endpoint: str | None = None,
    region: str | None = None,
    account: str | None = None,
    credentials: Credentials = "server",
    named_collection: str | None = None,
    structure: str = "auto",
    hive_partitioning: bool = False,
) -> str:
    """Return what stands after FROM: ``INSERT INTO orders SELECT * FROM <this>``.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :param header: whether the first line of each CSV or TSV file is a header.
    :param endpoint: ``https://host``, for a store elsewhere than at its cloud; None for the cloud's own address.
    :param region: the region of an S3 bucket, if its address is to name it; else None.
    :param account: Azure's storage account, where the URI is ``az://container/...`` and doesn't say it; else None.
    :param credentials: ``server``, ``anonymous`` or ``parameters``: where the server has them from. No secret is ever
        in the text, see this module's beginning.
    :param named_collection: the name of one of the server's, which then has the credentials, and ``endpoint``,
        ``region`` and ``account`` too; else None.
    :param structure: ``'id UInt64, name String'``; ``auto`` lets ClickHouse find it out: an INSERT takes it from its
        table for one plain call, and from the files for a query in brackets, where ``007`` is a number.
    :param hive_partitioning: True leaves folders like ``dt=2026-11-22/`` to the server, which from 25.1 on makes
        columns of them by default; False loads the files as they are.
    :returns: one call of ``s3``, ``gcs`` or ``azureBlobStorage``. Where the files take several calls, a query in
        brackets that joins them by ``UNION ALL``. Where a folder has a ``=``, each call is a query in brackets, with a
        setting that servers from 24.8 on know.
    :raises InvalidOptionError: for an unknown word in ``credentials``, ``anonymous`` for files in Azure, or a
        ``named_collection`` that is no name.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, a format or compression that ClickHouse doesn't read, a
        name that is a pattern, or no account that is known.
    """
    source = _source(
        manifest, header, endpoint, region, account, credentials, named_collection, structure, hive_partitioning
    )
    return _joined(source, _names(source.manifest))


def tables(
    manifest: Any,
    *,
    size: int = MAX_NAMES,
    header: bool = True,
    endpoint: str | None = None,
    region: str | None = None,
    account: str | None = None,
    credentials: Credentials = "server",
    named_collection: str | None = None,
    structure: str = "auto",
    hive_partitioning: bool = False,
) -> list[str]:
    """Return the same in several pieces of ``size`` files, each for an INSERT of its own.

    A server takes queries of 256 KiB (``max_query_size``): some 2,000 to 5,000 names.
    https://clickhouse.com/docs/operations/settings/settings#max_query_size

    :param manifest: as for ``table``.
    :param size: how many files a piece has at most, from 1 to 1,000.
    :param header: as for ``table``.
    :param endpoint: as for ``table``.
    :param region: as for ``table``.
    :param account: as for ``table``.
    :param credentials: as for ``table``.
    :param named_collection: as for ``table``.
    :param structure: as for ``table``.
    :param hive_partitioning: as for ``table``.
    :raises InvalidOptionError: for a ``size`` below 1 or above 1,000. Else as ``table`` does.
    :raises InvalidManifestError: as ``table`` does.
    :raises NotLoadableError: as ``table`` does.
    """
    source = _source(
        manifest, header, endpoint, region, account, credentials, named_collection, structure, hive_partitioning
    )
    return [_joined(source, names) for names in in_batches(_names(source.manifest), size, MAX_NAMES, _TARGET)]


def _source(
    manifest: Any,
    header: bool,
    endpoint: str | None,
    region: str | None,
    account: str | None,
    credentials: Credentials,
    named_collection: str | None,
    structure: str,
    hive_partitioning: bool,
) -> _Source:
    found = loadable(manifest, _TARGET)
    refuse_names_with("*?{}", found, _TARGET, because="it reads as a pattern the")
    file_format = format_of(found)
    if credentials not in _CREDENTIALS:
        raise InvalidOptionError(f"credentials is {credentials!r}: write 'server', 'anonymous' or 'parameters'.")
    if named_collection is not None and not _IDENTIFIER.fullmatch(named_collection):
        raise InvalidOptionError(f"named_collection is {named_collection!r}: it is a name of letters, digits and _.")
    if named_collection is None:
        endpoint = _endpoint(found, endpoint, region, account, credentials)
    return _Source(
        manifest=found,
        format=chosen(_FORMATS | _WITH_HEADER if header else _FORMATS, file_format, what="file_format", target=_TARGET),
        compression=chosen(_COMPRESSIONS, compression_of(found), what="compression", target=_TARGET),
        structure=structure,
        endpoint=endpoint,
        credentials=credentials,
        named_collection=named_collection,
        ignores_hive_folders=not hive_partitioning and has_hive_folders(found),
    )


def _endpoint(
    manifest: ObjectStorageStagingManifest,
    endpoint: str | None,
    region: str | None,
    account: str | None,
    credentials: Credentials,
) -> str | None:
    """Return the address of the bucket, or of Azure's account; None where a connection string has it."""
    prefix = manifest.prefix
    if prefix.provider is ObjectStorageProvider.AZURE_BLOB:
        if credentials == "anonymous":
            raise InvalidOptionError("credentials is 'anonymous', which azureBlobStorage() has no word for.")
        if credentials == "parameters":
            return None
        owner = prefix.account or account
        if endpoint is None and not owner:
            raise NotLoadableError(
                f"{_TARGET} needs the storage account of {prefix}/: give account=..., endpoint=..., "
                "credentials='parameters', or stage to azure://account/container/..."
            )
        return (endpoint or f"https://{owner}.blob.core.windows.net").rstrip("/")
    if endpoint is not None:
        return f"{endpoint.rstrip('/')}/{prefix.bucket}"
    if prefix.provider is ObjectStorageProvider.GCS:
        return f"https://storage.googleapis.com/{prefix.bucket}"
    host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
    # A certificate for *.s3.amazonaws.com doesn't cover a bucket with a dot in its name.
    return f"https://{host}/{prefix.bucket}" if "." in prefix.bucket else f"https://{prefix.bucket}.{host}"


def _joined(source: _Source, names: list[str]) -> str:
    # A comma separates names between braces: a name that has one stands alone.
    plain = [name for name in names if "," not in name]
    calls = [source.call(plain[start : start + MAX_NAMES]) for start in range(0, len(plain), MAX_NAMES)]
    calls += [source.call([name]) for name in names if "," in name]
    if len(calls) == 1:
        return calls[0]
    selects = (f"SELECT * FROM {call}" for call in calls)  # noqa: S608 - each call's names are quoted
    return f"({' UNION ALL '.join(selects)})"


def _names(manifest: ObjectStorageStagingManifest) -> list[str]:
    return [item.file_name for item in manifest.objects]


def _in_url(path: str) -> str:
    """Return the path as it stands in a URL, which ClickHouse decodes."""
    return quote(path, safe="/{},=+:@!$&'()*;~")


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
