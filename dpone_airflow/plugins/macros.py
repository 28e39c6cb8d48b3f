"""The macros ``macros.dpone.*``: the loader functions, for templates.

Each takes what ``ti.xcom_pull`` returns for a stage task: a manifest, the manifests of a mapped stage, or the
pointer that stands for a large one, which is read through ``conn_id``. Its other arguments are those of the
function that it calls, in ``dpone_airflow.staging.loaders``. Airflow loads this module in each of its processes: what a
macro needs is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
    from dpone_airflow.storage.client import ObjectStorageClient

__all__ = [
    "bigquery_job",
    "bigquery_source_objects",
    "bigquery_source_uris",
    "clickhouse_table",
    "databricks_file_location",
    "databricks_files",
    "duckdb_source",
    "redshift_arguments",
    "snowflake_files",
    "snowflake_files_clause",
]


def redshift_arguments(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None, **arguments: Any
) -> dict[str, Any]:
    """Return ``s3_bucket``, ``s3_key`` and ``copy_options``; ``write_copy_manifest`` puts there what COPY reads.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``redshift.copy_arguments``, by name.
    :raises DponeAirflowError: what ``redshift.copy_arguments`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import redshift

    return redshift.copy_arguments(_resolved(manifest, conn_id, storage_options), **arguments)


def bigquery_source_uris(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the ``gs://`` URI of each file.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :raises DponeAirflowError: what ``bigquery.source_uris`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import bigquery

    return bigquery.source_uris(_resolved(manifest, conn_id, storage_options))


def bigquery_source_objects(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the name of each file in its bucket.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :raises DponeAirflowError: what ``bigquery.gcs_arguments`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import bigquery

    names: list[str] = bigquery.gcs_arguments(_resolved(manifest, conn_id, storage_options))["source_objects"]
    return names


def bigquery_job(
    manifest: Any,
    table: str,
    *,
    conn_id: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Return the configuration of one load job into ``project.dataset.table``.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param table: ``project.dataset.table``.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``bigquery.load_job``, by name.
    :raises DponeAirflowError: what ``bigquery.load_job`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import bigquery

    return bigquery.load_job(_resolved(manifest, conn_id, storage_options), table, **arguments)


def snowflake_files(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None, **arguments: Any
) -> list[str]:
    """Return the name of each file relative to the stage's location.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``snowflake.files``, by name.
    :raises DponeAirflowError: what ``snowflake.files`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import snowflake

    return snowflake.files(_resolved(manifest, conn_id, storage_options), **arguments)


def snowflake_files_clause(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None, **arguments: Any
) -> str:
    """Return ``FILES = (...)`` of COPY INTO.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``snowflake.files``, by name.
    :raises DponeAirflowError: what ``snowflake.files`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import snowflake

    return snowflake.files_clause(snowflake.files(_resolved(manifest, conn_id, storage_options), **arguments))


def databricks_file_location(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None, **arguments: Any
) -> str:
    """Return the run prefix as Databricks writes it.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``databricks.file_location``, by name.
    :raises DponeAirflowError: what ``databricks.file_location`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import databricks

    return databricks.file_location(_resolved(manifest, conn_id, storage_options), **arguments)


def databricks_files(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the name of each file relative to ``databricks_file_location``.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :raises DponeAirflowError: what ``databricks.files`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import databricks

    return databricks.files(_resolved(manifest, conn_id, storage_options))


def clickhouse_table(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None, **arguments: Any
) -> str:
    """Return what stands after FROM in ClickHouse.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``clickhouse.table``, by name.
    :raises DponeAirflowError: what ``clickhouse.table`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import clickhouse

    return clickhouse.table(_resolved(manifest, conn_id, storage_options), **arguments)


def duckdb_source(
    manifest: Any, *, conn_id: str | None = None, storage_options: Mapping[str, Any] | None = None, **arguments: Any
) -> str:
    """Return what stands after FROM in DuckDB.

    :param manifest: what ``ti.xcom_pull`` returns for a stage, or for the verify behind it.
    :param conn_id: the connection that a pointer is read through; None for the scheme's own.
    :param storage_options: a dict, as the stage was given it; None for none.
    :param arguments: the other arguments of ``duckdb.source``, by name.
    :raises DponeAirflowError: what ``duckdb.source`` raises, and ``resolve_manifest`` of a pointer.
    """
    from dpone_airflow.staging.loaders import duckdb

    return duckdb.source(_resolved(manifest, conn_id, storage_options), **arguments)


class _Hook:
    """An ``ObjectStorageHook`` that isn't made, nor imported, unless there is a pointer to follow."""

    def __init__(self, conn_id: str | None, storage_options: Mapping[str, Any] | None) -> None:
        self._arguments = (conn_id, storage_options)

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        from dpone_airflow.hooks.object_storage import ObjectStorageHook

        return ObjectStorageHook(*self._arguments).get_client(base_uri)


def _resolved(
    manifest: Any, conn_id: str | None, storage_options: Mapping[str, Any] | None
) -> ObjectStorageStagingManifest:
    from dpone_airflow.staging.resolve import resolve_manifest

    return resolve_manifest(manifest, _Hook(conn_id, storage_options))
