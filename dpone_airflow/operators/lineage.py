"""What OpenLineage is told of a stage: one dataset for the prefix, never one for each file.

An event with thousands of datasets is more than most backends take. Namespaces and names are those of
https://openlineage.io/docs/spec/naming. This module is for tasks that OpenLineage's listener asks, so it
may import OpenLineage.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

if TYPE_CHECKING:
    from dpone_airflow.staging.manifest import ObjectStorageStagingManifest


def lineage_of(manifest: ObjectStorageStagingManifest, endpoint_url: str | None, sources: Sequence[Any]) -> Any:
    """Return the prefix of ``manifest`` as an output with its statistics, and the local directory it came from.

    :param endpoint_url: what serves the prefix; Azure's account is read from it.
    :param sources: the paths, globs and directories that were staged.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    counted = statistics.OutputStatisticsOutputDatasetFacet(
        size=manifest.total_size_bytes, fileCount=manifest.object_count
    )
    namespace, name = dataset_name(manifest.prefix, endpoint_url)
    directory = common_directory(sources)
    return OperatorLineage(
        inputs=[] if directory is None else [Dataset(namespace="file", name=directory)],
        outputs=[OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": counted})],
    )


def dataset_name(prefix: ObjectStorageUri, endpoint_url: str | None) -> tuple[str, str]:
    """Return a prefix's namespace and name in OpenLineage."""
    name = prefix.prefix.removesuffix("/") or "/"
    if prefix.provider is not ObjectStorageProvider.AZURE_BLOB:
        return f"{prefix.scheme}://{prefix.bucket}", name
    account = prefix.account or _azure_account(endpoint_url)
    return f"wasbs://{prefix.bucket}@{account}" if account else f"wasbs://{prefix.bucket}", name


def _azure_account(endpoint_url: str | None) -> str:
    """Return the account that an endpoint is of: the first label of a cloud's host, or the path on a server's."""
    endpoint = urlsplit(endpoint_url or "")
    in_path = endpoint.path.strip("/").partition("/")[0]
    return in_path or (endpoint.hostname or "").partition(".")[0]


def common_directory(sources: Sequence[Any]) -> str | None:
    """Return the local directory that all sources lie below; None if some aren't local, or only ``/`` is common."""
    directories = []
    for source in sources:
        text = str(source)
        if "://" in text:
            return None
        path = os.path.abspath(text)
        directories.append(path if os.path.isdir(path) else _above_wildcards(path))
    common = os.path.commonpath(directories) if directories else "/"
    return None if common == "/" else common


def _above_wildcards(path: str) -> str:
    """Return the directory of a file, or the one in which a glob begins to search."""
    directory = os.path.dirname(path)
    while any(wildcard in directory for wildcard in "*?[") and not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory
