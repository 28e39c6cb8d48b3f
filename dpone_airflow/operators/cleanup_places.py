"""Which places a cleanup task is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from airflow.providers.common.compat.sdk import Context

from dpone_airflow.operators.mapped_parts import part_of
from dpone_airflow.operators.staging_xcom import StagingPlace, announced_place, place_by_arguments
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.plan import base_of
from dpone_airflow.staging.resolve import ManifestPointer
from dpone_airflow.staging.run_id import safe_run_id
from dpone_airflow.storage.errors import InvalidManifestError, StagingGraphError

# What names a place: a manifest, or the pointer to a stored one.
Manifest: TypeAlias = ObjectStorageStagingManifest | ManifestPointer


def places_to_clean_up(
    context: Context,
    stage: Any,
    manifests: Sequence[Manifest],
    base_uri: str | None,
    run_id: str | None,
) -> list[StagingPlace]:
    """Return the place to clean up: one, or one for each part of a run that was given, or none.

    :raises StagingGraphError: if it holds files that another instance of a mapped task group still reads.
    :raises InvalidManifestError: if a manifest is of another place, or the stage staged elsewhere than is named.
    """
    named = None
    if base_uri is not None and run_id is not None:
        named = StagingPlace(str(base_of(base_uri)), safe_run_id(run_id))
    if stage is not None:
        # What the stage said itself has its connection and its part as well.
        place = announced_place(context, stage) or place_by_arguments(context, stage)
        _must_be_one_run(named, place)
        place = place or (named and replace(named, part=part_of(context["ti"].map_index)))
        places = [place] if place is not None else []
    elif named is not None:
        places = [named]
    else:
        places = _places_of(manifests)
    if stage is not None:
        _refuse_whole_run_in_a_group(context, places)
    for manifest in manifests:
        _must_agree(manifest, places)
    return places


def _places_of(manifests: Iterable[Manifest]) -> list[StagingPlace]:
    """Return the places of manifests that came from elsewhere: just the parts that were given."""
    places = sorted(
        {StagingPlace(item.base_uri, item.run_id, item.part) for item in manifests},
        key=lambda place: place.part or "",
    )
    if not places:
        raise InvalidManifestError("There is no manifest to clean up after: the task that gives it returned none.")
    runs = sorted({place.run_prefix for place in places})
    if len(runs) > 1:
        raise InvalidManifestError(
            f"The manifests are of {len(runs)} runs ({', '.join(runs[:3])}). Nothing was deleted: one cleanup takes "
            "one run."
        )
    return places


def _refuse_whole_run_in_a_group(context: Context, places: list[StagingPlace]) -> None:
    """In a mapped task group, each instance cleans its own part: never what the others still load."""
    map_index = context["ti"].map_index
    if map_index >= 0 and any(place.part != part_of(map_index) for place in places):
        raise StagingGraphError(
            f"This cleanup is instance {map_index} of a mapped task group, and the files are of a run that all "
            "instances read. Nothing was deleted: put the cleanup behind the task group, or the stage into it."
        )


def _must_be_one_run(named: StagingPlace | None, place: StagingPlace | None) -> None:
    if named is not None and place is not None and named.run_prefix != place.run_prefix:
        raise InvalidManifestError(
            f"base_uri and run_id name {named.run_prefix}, and the stage staged to {place.run_prefix}. Nothing was "
            "deleted: leave both out where the manifest is that of a stage of the same DAG."
        )


def _must_agree(manifest: Manifest, places: list[StagingPlace]) -> None:
    if not any(
        (manifest.base_uri, manifest.run_id) == (place.base_uri, place.run_id) and place.part in (None, manifest.part)
        for place in places
    ):
        own = places[0].run_prefix if places else "no place that the stage announced"
        raise InvalidManifestError(
            f"The manifest is one of {manifest.base_uri}/{manifest.run_id}, and this cleanup is for {own}. "
            "Nothing was deleted: give it the manifest of its own stage."
        )
