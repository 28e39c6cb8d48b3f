"""A cleanup, or a sweep, that is killed at a random point, and the one that follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import ObjectStorageUri
from tests.crash.places import Place, dies
from tests.crash.points import Point, choose
from tests.crash.work import WORK, open_upload, plan, service

POINTS = {"emulator": 20, "seaweedfs": 20}


@dataclass
class Rehearsed:
    place: Place
    work: str
    labels: list[str]
    points: list[Point]


@pytest.fixture(scope="module")
def rehearse(place_of: Callable[[str], Place], tree: Path) -> Callable[[str, str], Rehearsed]:
    @cache
    def rehearsed(name: str, work: str) -> Rehearsed:
        place = place_of(name)
        end, labels = place.run(work, staged(place, tree), tree)
        assert end.error is None
        return Rehearsed(place, work, labels, choose(labels, place.moments, POINTS[name], f"{work} {name}"))

    return rehearsed


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred files: four batches of this client, see ``victim``."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(100):
        (folder / f"part-{number:02d}.csv").write_text(f"{number}\n")
    return folder


def staged(place: Place, tree: Path) -> ObjectStorageUri:
    """Return a base with a run, an upload left open in it, and neighbours of all kinds."""
    base = place.fresh_base()
    service(place.client).stage_files(plan(base), tree)
    open_upload(place.client, base.child("run-1/left.bin"))
    for neighbour in ("run-10", "run-1x/run-1", "_manifests/run-10/_run", "other"):
        place.client.put_bytes(neighbour.encode(), base.child(f"{neighbour}/object.csv"))
    return base


def neighbours(place: Place, base: ObjectStorageUri) -> dict[str, Any]:
    """Return all that a deletion of the run must not touch: what isn't below it, nor is its evidence."""
    return {
        item.uri.key: item.etag
        for item in place.client.list_objects(base)
        if not item.uri.key.startswith((base.child("run-1").prefix, base.child("_manifests/run-1").prefix))
    }


@pytest.mark.parametrize("work", ["cleanup", "sweep"])
def test_the_points_reach_each_batch_and_the_removal_of_the_record_that_a_deletion_goes_on(
    rehearse: Callable[[str, str], Rehearsed], work: str
) -> None:
    labels = rehearse("seaweedfs", work).labels
    assert labels.count("delete a batch") == 4 + 1, "four of objects, and one of the record"
    points = choose(labels, ("before",), 2_000, "every batch")
    assert {point.nth for point in points if point.label == "delete a batch"} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("number", range(20))
@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("work", ["cleanup", "sweep"])
def test_the_next_one_ends_it_and_nothing_else_is_touched(
    rehearse: Callable[[str, str], Rehearsed], tree: Path, work: str, name: str, number: int
) -> None:
    rehearsed = rehearse(name, work)
    place = rehearsed.place
    base = dies(place, work, lambda: staged(place, tree), tree, rehearsed.points[number])
    before = neighbours(place, base)
    assert len(before) == 4

    WORK[work](place.client, str(base), str(tree))

    assert place.client.list_prefix(base.child("run-1")) == []
    assert place.client.list_uploads(base) == []
    assert neighbours(place, base) == before
    record = json.loads(place.client.get_bytes(base.child("_manifests/run-1/_run/cleanup.json")))
    assert record["outcome"] == "deleted"
