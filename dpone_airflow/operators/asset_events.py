"""What the event of a stage's outlet says of the run, so that the DAG it wakes needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Context

if TYPE_CHECKING:
    from dpone_airflow.staging.service import StagedRun

# What may stand in an asset's URI as it is: Airflow 2.11, and Airflow 3 on MySQL, take ASCII only.
_ASCII = "".join(map(chr, range(0x20, 0x7F)))


def describe_outlets(context: Context, outlets: Iterable[Any], staged: StagedRun) -> None:
    """Put the run into the ``extra`` of each asset's event, and add an event to each alias.

    An alias gets the asset of ``base_uri``. Run prefixes would do as well, but each run would then leave an
    asset of its own in Airflow's database; which run it was stands in the event.
    """
    extra = event_extra(staged)
    for outlet in outlets:
        if _is_alias(outlet):
            context["outlet_events"][outlet].add(_asset(staged.manifest.base_uri), extra=extra)
        elif _is_asset(outlet):
            event = context["outlet_events"][outlet]
            event.extra = {**event.extra, **extra}


def event_extra(staged: StagedRun) -> dict[str, Any]:
    """Return what an event says: plain JSON of a fixed size, whatever the number of objects."""
    manifest = staged.manifest
    said = {
        "manifest_uri": str(staged.record.uri),
        "manifest_sha256": staged.record.sha256,
        "base_uri": manifest.base_uri,
        "run_id": manifest.run_id,
        "part": manifest.part,
        "dataset": manifest.dataset,
        "table": manifest.table,
        "object_count": manifest.object_count,
        "total_size_bytes": manifest.total_size_bytes,
    }
    return {name: value for name, value in said.items() if value is not None}


def _is_alias(outlet: Any) -> bool:
    from airflow.providers.common.compat.sdk import AssetAlias

    return isinstance(outlet, AssetAlias)


def _is_asset(outlet: Any) -> bool:
    """Return whether ``outlet`` is an asset; lineage providers put other things among the outlets."""
    from dpone_airflow.operators.graph import asset_types

    return isinstance(outlet, asset_types())


def _asset(uri: str) -> Any:
    from airflow.providers.common.compat.sdk import Asset

    return Asset(uri=quote(uri, safe=_ASCII))
