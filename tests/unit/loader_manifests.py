"""Manifests for the loaders' tests, made without a store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.plan import ObjectStorageStagingPlan
from dpone_airflow.storage.uri import key_problem

NAMES = ("a.csv", "dt=2026-11-22/b.csv", "c.csv")
# Whatever a file may be called: quotes, braces, commas, blanks, letters of every kind.
ANY_NAME = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/?#\\"), min_size=1, max_size=20
).filter(lambda name: key_problem(f"run/{name}") is None and name != "_manifests")
ANY_NAMES = st.lists(ANY_NAME, min_size=1, max_size=5, unique=True)


def staged(
    base_uri: str = "s3://landing/orders",
    names: Sequence[str] = NAMES,
    *,
    run_id: str = "run-1",
    part: str | None = None,
    **changes: Any,
) -> ObjectStorageStagingManifest:
    """Return the manifest of files of 1, 2, 3, ... bytes."""
    about = {"dataset": "shop", "table": "orders", "file_format": "csv"} | changes
    plan = ObjectStorageStagingPlan(base_uri=base_uri, run_id=run_id, part=part, **about)
    digest = hashlib.sha256(b"").hexdigest()
    return ObjectStorageStagingManifest.of(
        plan,
        [
            ObjectStorageStagingObject(str(plan.uri_of(name)), name, number, digest)
            for number, name in enumerate(names, start=1)
        ],
    )


def parts(*numbers: int, base_uri: str = "s3://landing/orders", **changes: Any) -> list[dict[str, Any]]:
    """Return the XComs of a mapped stage, one file an instance."""
    return [staged(base_uri, [f"{number}.csv"], part=f"map-{number:05d}", **changes).to_dict() for number in numbers]
