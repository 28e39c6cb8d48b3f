"""After staging, a prefix holds the manifest's objects and nothing else.

Loaders that take a prefix (Redshift COPY, BigQuery wildcards) load whatever lies there, and an
earlier try may have staged a file that this one no longer has.
"""

from __future__ import annotations

import logging

from dpone_airflow.staging.evidence import refuse_nested_base
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import PrefixMismatchError

log = logging.getLogger(__name__)
_NAMED = 5


def enforce_exact_prefix(client: ObjectStorageClient, manifest: ObjectStorageStagingManifest) -> None:
    """Compare one listing with the manifest, and delete what isn't in it.

    Only under the claim of this same writer: the caller has just made or met it.

    :raises UnclaimedPrefixError: if what isn't in it belongs to runs of another base.
    :raises PrefixMismatchError: if an object is missing, or has another size or ETag than was sent.
    """
    listed = {str(item.uri): item for item in client.list_objects(manifest.prefix)}
    wrong = []
    for expected in manifest.objects:
        found = listed.pop(expected.uri, None)
        if found is None:
            wrong.append(f"{expected.uri} is missing")
        elif found.size_bytes != expected.size_bytes:
            wrong.append(f"{expected.uri} has {found.size_bytes} bytes, not {expected.size_bytes}")
        elif found.etag != expected.etag:
            wrong.append(f"{expected.uri} has the ETag {found.etag}, not {expected.etag}")
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise PrefixMismatchError(
            f"{manifest.prefix}/ doesn't hold what was uploaded: {'; '.join(wrong[:_NAMED])}{more}. "
            "Something else writes there while this stage does: find it, and stage again.",
            uri=str(manifest.prefix),
        )
    if listed:
        refuse_nested_base(manifest.prefix, listed.values())
        log.warning(
            "Deleting %d objects that an earlier try left below %s/ and that are not in this manifest, e.g. %s",
            len(listed),
            manifest.prefix,
            next(iter(listed)),
        )
        client.delete_objects([item.uri for item in listed.values()])
