"""File names relative to the place that a warehouse reads below: an external stage, a volume, a run prefix."""

from __future__ import annotations

import re

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import NotLoadableError
from dpone_airflow.storage.uri import ObjectStorageUri

# azure://account.blob.core.windows.net/container/path
_AZURE_HOST = re.compile(r"(azure://[A-Za-z0-9-]+)\.(?:blob|dfs)\.[A-Za-z0-9.-]+(?=/)", re.ASCII)
# Snowflake's names of what S3 and GCS are here.
_SCHEMES = {"gcs://": "gs://", "s3gov://": "s3://", "s3china://": "s3://"}


def location_of(text: str) -> ObjectStorageUri:
    """Return the place that a stage's URL names, in our form or the warehouse's.

    :raises InvalidUriError: if it is neither.
    """
    for theirs, ours in _SCHEMES.items():
        if isinstance(text, str) and text.startswith(theirs):
            text = ours + text.removeprefix(theirs)
    return ObjectStorageUri.parse(_AZURE_HOST.sub(r"\1", text) if isinstance(text, str) else text)


def names_below(location: ObjectStorageUri, manifest: ObjectStorageStagingManifest, target: str) -> list[str]:
    """Return each file's path below ``location``.

    :raises NotLoadableError: if the files lie elsewhere.
    """
    prefix = manifest.prefix
    same_account = prefix.account == location.account or None in (prefix.account, location.account)
    same_bucket = (prefix.provider, prefix.bucket) == (location.provider, location.bucket)
    if not (same_account and same_bucket and prefix.prefix.startswith(location.prefix)):
        raise NotLoadableError(
            f"{target} reads below {location}, and the files lie below {prefix}/: give the location of the place that "
            "holds them."
        )
    folder = prefix.prefix.removeprefix(location.prefix)
    return [f"{folder}{item.file_name}" for item in manifest.objects]
