"""From a manifest to what a warehouse loads by: one module a warehouse, each of pure functions.

``redshift``, ``bigquery``, ``snowflake``, ``databricks``, ``clickhouse`` and ``duckdb``: each names exactly the
manifest's files, never a prefix or a pattern, so that what else lies in the bucket isn't loaded. None of them
connects anywhere, but for ``redshift.write_copy_manifest``, which writes one record through a client that it is given.

A *manifest* here is an ``ObjectStorageStagingManifest``, its dict as an XCom carries it, or a list of the
manifests of one run's parts, which are merged. The XCom of a large stage is a pointer: give it to
``resolve_manifest`` first.
"""

__all__ = ["bigquery", "clickhouse", "databricks", "duckdb", "redshift", "snowflake"]
