"""BigQuery: source URIs for load jobs, as ``GCSToBigQueryOperator`` and ``BigQueryInsertJobOperator`` take them.

A load job takes 10,000 source URIs, and each URI one ``*`` as a wildcard.
https://cloud.google.com/bigquery/quotas#load_jobs
https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dpone_airflow.staging.loaders.formats import WITH_HEADER, compression_of, format_of
from dpone_airflow.staging.loaders.given import at_once, chosen, in_batches, loadable, refuse_names_with
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

__all__ = ["MAX_URIS", "gcs_arguments", "load_job", "load_jobs", "source_uri_batches", "source_uris"]

MAX_URIS = 10_000
_TARGET = "BigQuery"
_APPEND = "WRITE_APPEND"
_FORMATS: dict[str, dict[str, Any]] = {
    "csv": {"sourceFormat": "CSV"},
    "tsv": {"sourceFormat": "CSV", "fieldDelimiter": "\t"},
    "jsonl": {"sourceFormat": "NEWLINE_DELIMITED_JSON"},
    "parquet": {"sourceFormat": "PARQUET"},
    "orc": {"sourceFormat": "ORC"},
    "avro": {"sourceFormat": "AVRO"},
}
# A load job finds gzip out by itself, and its configuration has no word for it.
_COMPRESSIONS: dict[str, None] = {"none": None, "gzip": None}
# A project that belongs to a domain has it in its id, before a colon: example.com:project.
_TABLE = re.compile(
    r"(?P<projectId>(?:[^.:]+(?:\.[^.:]+)+:)?[^.:]+)[.:](?P<datasetId>[^.:]+)\.(?P<tableId>[^.:]+)",
)


def source_uris(manifest: Any) -> list[str]:
    """Return the ``gs://`` URI of each file.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, isn't in GCS, has a name that is a wildcard, or has
        over 10,000 objects.
    """
    return at_once(_uris(_loadable(manifest)), MAX_URIS, _TARGET, instead="source_uri_batches()")


def source_uri_batches(manifest: Any, *, size: int = MAX_URIS) -> list[list[str]]:
    """Return the ``gs://`` URIs in lists that a load job takes; each job is atomic, all together aren't.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :param size: how many URIs a list has at most, from 1 to 10,000.
    :raises InvalidOptionError: for a ``size`` below 1 or above 10,000.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, isn't in GCS, or has a name that is a wildcard.
    """
    return in_batches(_uris(_loadable(manifest)), size, MAX_URIS, _TARGET)


def gcs_arguments(manifest: Any) -> dict[str, Any]:
    """Return ``bucket`` (text) and ``source_objects`` (a list of names in it) for ``GCSToBigQueryOperator``.

    https://airflow.apache.org/docs/apache-airflow-providers-google/stable/operators/transfer/gcs_to_bigquery.html

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: as ``source_uris`` does.
    """
    uris = source_uris(manifest)
    places = [ObjectStorageUri.parse(uri) for uri in uris]
    return {"bucket": places[0].bucket, "source_objects": [place.key for place in places]}


def load_job(
    manifest: Any,
    table: str,
    *,
    header: bool = True,
    write_disposition: str = _APPEND,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the ``configuration`` of one load job for ``BigQueryInsertJobOperator``.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :param table: ``project.dataset.table``, or ``project:dataset.table``; a project may have a domain, as in
        ``example.com:project.dataset.table``.
    :param header: whether the first line of each CSV or TSV file is a header.
    :param write_disposition: ``WRITE_APPEND``, ``WRITE_TRUNCATE`` or ``WRITE_EMPTY``.
    :param options: keys of ``JobConfigurationLoad`` of your own, e.g. ``schema`` or ``autodetect``; they win over
        ours. None for none.
    :returns: ``{"load": {...}}``, a ``JobConfigurationLoad`` as BigQuery's REST API has it.
    :raises InvalidOptionError: for a ``table`` that is no such name, or options that would change the source.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: as ``source_uris`` does, or for a format or compression that a load job doesn't take.
    """
    found = _loadable(manifest)
    return _configuration(found, source_uris(found), table, header, write_disposition, options)


def load_jobs(
    manifest: Any,
    table: str,
    *,
    header: bool = True,
    write_disposition: str = _APPEND,
    options: Mapping[str, Any] | None = None,
    size: int = MAX_URIS,
) -> list[dict[str, Any]]:
    """Return the ``configuration`` of as many load jobs as the files need, for ``.expand(configuration=...)``.

    :param manifest: as for ``load_job``.
    :param table: as for ``load_job``.
    :param header: as for ``load_job``.
    :param write_disposition: as for ``load_job``; ``WRITE_APPEND`` where several jobs are needed.
    :param options: as for ``load_job``.
    :param size: how many files a job has at most, from 1 to 10,000.
    :raises InvalidOptionError: for a ``size`` below 1 or above 10,000, and if there are several jobs and
        ``write_disposition`` isn't ``WRITE_APPEND``: the second would replace what the first has loaded, or refuse.
        Else as ``load_job`` does.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: as ``load_job`` does, but for the number of objects.
    """
    found = _loadable(manifest)
    batches = in_batches(_uris(found), size, MAX_URIS, _TARGET)
    if len(batches) > 1 and write_disposition != _APPEND:
        raise InvalidOptionError(
            f"write_disposition is {write_disposition!r} and the files need {len(batches)} load jobs, each of which "
            f"would see the table that those before it have filled: empty the table first and write {_APPEND!r}."
        )
    return [_configuration(found, batch, table, header, write_disposition, options) for batch in batches]


def _configuration(
    manifest: ObjectStorageStagingManifest,
    uris: list[str],
    table: str,
    header: bool,
    write_disposition: str,
    options: Mapping[str, Any] | None,
) -> dict[str, Any]:
    names = _TABLE.fullmatch(table) if isinstance(table, str) else None
    if names is None:
        raise InvalidOptionError(
            f"table is {table!r}: write 'project.dataset.table', or 'example.com:project.dataset.table'."
        )
    file_format = format_of(manifest)
    chosen(_COMPRESSIONS, compression_of(manifest), what="compression", target=_TARGET)
    load: dict[str, Any] = {
        "sourceUris": uris,
        "destinationTable": names.groupdict(),
        "writeDisposition": write_disposition,
    }
    load |= chosen(_FORMATS, file_format, what="file_format", target=_TARGET)
    if header and file_format in WITH_HEADER:
        load["skipLeadingRows"] = 1
    own = dict(options or {})
    taken = sorted({"sourceUris", "destinationTable", "writeDisposition"} & own.keys())
    if taken:
        raise InvalidOptionError(
            f"options has {', '.join(taken)}, which the manifest, table and write_disposition say."
        )
    return {"load": load | own}


def _uris(manifest: ObjectStorageStagingManifest) -> list[str]:
    return [item.uri for item in manifest.objects]


def _loadable(manifest: Any) -> ObjectStorageStagingManifest:
    found = loadable(manifest, _TARGET, [ObjectStorageProvider.GCS])
    refuse_names_with("*", found, _TARGET, because="a source URI's wildcard is")
    return found
