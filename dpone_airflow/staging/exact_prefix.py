"""After staging, a prefix holds the manifest's objects as they were sent, and nothing else.

Loaders that take a prefix (Redshift COPY, BigQuery wildcards) load whatever lies there, and an
earlier try may have staged a file that this one no longer has.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dpone_airflow.staging.choices import ExactPrefix
from dpone_airflow.staging.deletion import Deletion
from dpone_airflow.staging.evidence import StagingEvidence, refuse_nested_base
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.plan import ObjectStorageStagingPlan, run_prefix
from dpone_airflow.staging.real_folders import without_folders
from dpone_airflow.staging.run_id import check_part
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import InvalidPlanError, PrefixMismatchError
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)
_NAMED = 5


def check_staged(client: ObjectStorageClient, manifest: ObjectStorageStagingManifest, mode: ExactPrefix) -> None:
    """Compare one listing with the manifest, and remove what isn't in it.

    Only under the claim of this same writer: the caller has just made or met it.

    :raises UnclaimedPrefixError: if what isn't in it belongs to runs of another base.
    :raises PrefixMismatchError: if an object is missing, or has another size or ETag than was sent.
    """
    below = len(manifest.prefix.prefix)
    expected = {item.file_name: item for item in manifest.objects}
    strays: list[ObjectStorageObject] = []
    wrong = []
    for found in client.list_objects(manifest.prefix):
        item = expected.pop(found.uri.key[below:], None)
        if item is None:
            strays.append(found)
        elif found.size_bytes != item.size_bytes:
            wrong.append(f"{item.uri} has {found.size_bytes} bytes, not {item.size_bytes}")
        elif found.etag != item.etag:
            wrong.append(f"{item.uri} has the ETag {found.etag}, not {item.etag}")
    wrong += [f"{item.uri} is missing" for item in expected.values()]
    if wrong:
        raise PrefixMismatchError(
            f"{manifest.prefix}/ doesn't hold what was uploaded: {_named(wrong)}. "
            "Something else writes there while this stage does: find it, and stage again.",
            uri=str(manifest.prefix),
        )
    keys = (manifest.prefix.prefix + item.file_name for item in manifest.objects)
    remove_strays(client, manifest.prefix, without_folders(client, strays, keys), mode)


def remove_strays(
    client: ObjectStorageClient, prefix: ObjectStorageUri, strays: Sequence[ObjectStorageObject], mode: ExactPrefix
) -> None:
    """Delete what this stage doesn't stage, or with ``check`` refuse it.

    Before the uploads this shows as well whether it may be deleted at all.

    :raises UnclaimedPrefixError: if it belongs to runs of another base.
    :raises PrefixMismatchError: with ``check``.
    :raises DeleteIncompleteError: if it can't be deleted.
    """
    if not strays or mode == "off":
        return
    refuse_nested_base(prefix, strays)
    if mode == "check":
        raise PrefixMismatchError(
            f"{prefix}/ holds objects that this stage doesn't stage: {_named([str(stray.uri) for stray in strays])}. "
            "A loader that takes the prefix would load them: delete them, or write exact_prefix='enforce'.",
            uri=str(prefix),
        )
    log.warning(
        "Deleting %d objects that an earlier try left below %s/ and that this one doesn't stage, e.g. %s",
        len(strays),
        prefix,
        strays[0].uri,
    )
    client.delete_objects([stray.uri for stray in strays])


def remove_vanished_parts(
    client: ObjectStorageClient,
    plan: ObjectStorageStagingPlan,
    live_parts: Collection[str],
    mode: ExactPrefix,
    by: Mapping[str, Any] | None = None,
) -> None:
    """Remove what lies below the run prefix and in none of the parts that the run has now.

    A mapped stage that is cleared and has fewer inputs than before leaves such parts behind. It raises what
    ``remove_strays`` raises.
    """
    run = run_prefix(plan.base_uri, plan.run_id)
    listed = list(client.list_objects(run))
    live = [item for item in listed if _part(run, item) in live_parts]
    strays = [item for item in listed if _part(run, item) not in live_parts]
    strays = list(without_folders(client, strays, (item.uri.key for item in live)))
    remove_strays(client, run, strays, mode)
    if mode == "enforce":
        _record_vanished(client, plan, run, strays, by)


def _record_vanished(
    client: ObjectStorageClient,
    plan: ObjectStorageStagingPlan,
    run: ObjectStorageUri,
    strays: Iterable[ObjectStorageObject],
    by: Mapping[str, Any] | None,
) -> None:
    """Say in the evidence of each part that is gone what became of it."""
    gone: dict[str, list[ObjectStorageObject]] = {}
    for stray in strays:
        gone.setdefault(_part(run, stray), []).append(stray)
    for part, objects in gone.items():
        try:
            check_part(part)
        except InvalidPlanError:
            continue  # no part of ours, so it has no evidence
        deletion = Deletion(objects, hidden=bool(client.keeps_versions(run)))
        StagingEvidence(client, plan.base_uri, plan.run_id, part, by=by).write_cleanup(
            {
                "outcome": deletion.outcome,
                "reason": "the run no longer has this part",
                "prefix": f"{run.child(part)}/",
                **deletion.figures(),
            }
        )


def _part(run: ObjectStorageUri, item: ObjectStorageObject) -> str:
    """Return the part that an object lies in, or nothing for one that lies in none."""
    part, slash, _ = item.uri.key[len(run.prefix) :].partition("/")
    return part if slash else ""


def _named(things: Sequence[str]) -> str:
    more = f" and {len(things) - _NAMED} more" if len(things) > _NAMED else ""
    return f"{'; '.join(things[:_NAMED])}{more}"
