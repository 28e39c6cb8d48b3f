"""Amazon Redshift: a COPY manifest beside the evidence, and the arguments of ``S3ToRedshiftOperator``.

A COPY by prefix loads whatever lies there. A COPY by manifest loads just the files that it names, and fails
if one with ``mandatory`` isn't there. Parquet and ORC need each file's length as well.
https://docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dpone_airflow.staging.evidence import evidence_folder
from dpone_airflow.staging.loaders.formats import WITH_HEADER, compression_of, format_of
from dpone_airflow.staging.loaders.given import chosen, loadable, option_texts
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import NotLoadableError
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

__all__ = ["copy_arguments", "copy_manifest", "copy_manifest_uri", "write_copy_manifest"]

_TARGET = "Redshift"
_RECORD = "redshift.json"
# https://docs.aws.amazon.com/redshift/latest/dg/copy-parameters-data-format.html
_FORMATS = {
    "csv": ["FORMAT AS CSV"],
    "tsv": ["FORMAT AS CSV", r"DELIMITER '\t'"],
    "jsonl": ["FORMAT AS JSON 'auto'"],
    "parquet": ["FORMAT AS PARQUET"],
    "orc": ["FORMAT AS ORC"],
    "avro": ["FORMAT AS AVRO 'auto'"],
}
# https://docs.aws.amazon.com/redshift/latest/dg/copy-parameters-file-compression.html
_COMPRESSIONS: dict[str, list[str]] = {
    "none": [],
    "gzip": ["GZIP"],
    "bzip2": ["BZIP2"],
    "lzop": ["LZOP"],
    "zstd": ["ZSTD"],
}


def copy_manifest(manifest: Any) -> dict[str, Any]:
    """Return the COPY manifest: each file with its length in bytes, none of them optional.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :returns: ``{"entries": [{"url": ..., "mandatory": True, "meta": {"content_length": ...}}, ...]}``.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, or isn't in S3.
    """
    return {
        "entries": [
            {"url": item.uri, "mandatory": True, "meta": {"content_length": item.size_bytes}}
            for item in _loadable(manifest).objects
        ]
    }


def copy_manifest_uri(manifest: Any) -> ObjectStorageUri:
    """Return where the COPY manifest goes: ``<base>/_manifests/<run_id>/_run/redshift.json``, or a part's folder.

    :param manifest: as for ``copy_manifest``.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, isn't in S3, or lies below a quote.
    """
    found = _loadable(manifest)
    uri = evidence_folder(found.base_uri, found.run_id, found.part).child(_RECORD)
    if "'" in uri.key:
        # The official operator puts the key between quotes as it is.
        raise NotLoadableError(f"{_TARGET} can't be given {uri}: its key has a quote. Choose another base_uri.")
    return uri


def copy_arguments(manifest: Any, *, header: bool = True, options: Iterable[str] = ()) -> dict[str, Any]:
    """Return ``s3_bucket`` and ``s3_key`` (texts) and ``copy_options`` (texts) for ``S3ToRedshiftOperator``.

    https://airflow.apache.org/docs/apache-airflow-providers-amazon/stable/transfer/s3_to_redshift.html

    :param manifest: as for ``copy_manifest``.
    :param header: whether the first line of each CSV or TSV file is a header.
    :param options: a list of COPY options of your own, each a text such as ``TRUNCATECOLUMNS``; they go after ours.
    :raises InvalidOptionError: for options that aren't a list of texts.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, isn't in S3, lies below a quote, or has a format or compression that
        COPY doesn't take.
    """
    found = _loadable(manifest)
    uri = copy_manifest_uri(found)
    file_format = format_of(found)
    return {
        "s3_bucket": uri.bucket,
        "s3_key": uri.key,
        "copy_options": [
            *chosen(_FORMATS, file_format, what="file_format", target=_TARGET),
            *chosen(_COMPRESSIONS, compression_of(found), what="compression", target=_TARGET),
            *(["IGNOREHEADER 1"] if header and file_format in WITH_HEADER else []),
            "MANIFEST",
            *option_texts(options),
        ],
    }


def write_copy_manifest(
    manifest: Any, client: ObjectStorageClient, *, header: bool = True, options: Iterable[str] = ()
) -> dict[str, Any]:
    """Write the COPY manifest beside the evidence; return ``manifest_uri`` and what ``copy_arguments`` returns.

    :param manifest: as for ``copy_manifest``.
    :param client: what ``ObjectStorageHook`` gives for the manifest's ``base_uri``, with the stage's
        ``storage_options``.
    :param header: whether the first line of each CSV or TSV file is a header.
    :param options: as for ``copy_arguments``.
    :raises InvalidOptionError: for options that aren't a list of texts; nothing was written.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if Redshift can't load it; nothing was written.
    :raises StorageError: if the store refuses or fails.
    """
    found = _loadable(manifest)
    arguments = copy_arguments(found, header=header, options=options)
    uri = copy_manifest_uri(found)
    data = json.dumps(copy_manifest(found), ensure_ascii=False).encode()
    client.put_bytes(data, uri, content_type="application/json")
    return {"manifest_uri": str(uri), **arguments}


def _loadable(manifest: Any) -> ObjectStorageStagingManifest:
    return loadable(manifest, _TARGET, [ObjectStorageProvider.S3])
