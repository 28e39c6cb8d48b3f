"""A stage that is killed at a random point of its life, and the try, or the cleanup, that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.verify import compare_staged
from dpone_airflow.storage import ObjectStorageUri
from tests.crash.places import Place, dies
from tests.crash.points import Point, choose
from tests.crash.work import LARGE, plan, recorded, service

# boto3 differs in how it sends, and takes five times as long.
POINTS = {"emulator": 20, "seaweedfs": 20, "seaweedfs-boto3": 6}


@dataclass
class Rehearsed:
    """A place, the manifest of a stage that nobody killed there, and the points to kill others at."""

    place: Place
    clean: list[tuple[Any, ...]]
    labels: list[str]
    points: list[Point]


@pytest.fixture(scope="module")
def rehearse(place_of: Callable[[str], Place], tree: Path) -> Callable[[str], Rehearsed]:
    @cache
    def rehearsed(name: str) -> Rehearsed:
        place = place_of(name)
        base = place.fresh_base()
        end, labels = place.run("stage", base, tree)
        assert end.error is None
        manifest = recorded(place.client, base)
        assert manifest is not None
        points = choose(labels, place.moments, POINTS[name], f"stage {name}")
        return Rehearsed(place, entries(manifest), labels, points)

    return rehearsed


def entries(manifest: ObjectStorageStagingManifest) -> list[tuple[Any, ...]]:
    """Return what two stages of the same files have in common."""
    return [(item.file_name, item.size_bytes, item.sha256, item.content_type) for item in manifest.objects]


def evidence_of(place: Place, base: ObjectStorageUri) -> list[str]:
    folder = base.child("_manifests")
    return sorted(uri.key.removeprefix(folder.prefix) for uri in place.client.list_prefix(folder))


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, count in POINTS.items() for number in range(count)]
)
def test_a_retry_has_the_manifest_of_a_clean_run_and_leaves_nothing_behind(
    rehearse: Callable[[str], Rehearsed], tree: Path, name: str, number: int
) -> None:
    rehearsed = rehearse(name)
    place = rehearsed.place
    base = dies(place, "stage", place.fresh_base, tree, rehearsed.points[number])
    early = recorded(place.client, base)
    if early is not None:
        assert compare_staged(place.client, early).agrees, "there is a manifest for what isn't there"

    manifest = service(place.client).stage_files(plan(base), tree)

    assert entries(manifest) == rehearsed.clean
    assert {(str(item.uri), item.size_bytes, item.etag) for item in place.client.list_objects(base.child("run-1"))} == {
        (item.uri, item.size_bytes, item.etag) for item in manifest.objects
    }
    assert place.client.list_uploads(base) == [], "an upload of the killed try is still open"
    assert evidence_of(place, base) == ["run-1/_run.json", "run-1/_run/manifest.json"]
    assert recorded(place.client, base) == manifest
    large = next(item for item in manifest.objects if item.file_name == LARGE)
    assert place.client.hash_object(ObjectStorageUri.parse(large.uri)).sha256 == large.sha256


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("emulator", "small file"),
        ("emulator", "read of the large file"),
        ("emulator", "manifest.json"),
        ("seaweedfs", "small file"),
        ("seaweedfs", "a part"),
        ("seaweedfs", "manifest.json"),
    ],
)
def test_a_cleanup_instead_of_a_retry_leaves_nothing_behind(
    rehearse: Callable[[str], Rehearsed], tree: Path, name: str, kind: str
) -> None:
    rehearsed = rehearse(name)
    place = rehearsed.place
    points = [point for point in choose(rehearsed.labels, place.moments, 200, kind) if point.label.endswith(kind)]
    base = dies(place, "stage", place.fresh_base, tree, points[0])

    clean_up_run(place.client, str(base), "run-1", policy="delete_always")

    assert place.client.list_prefix(base.child("run-1")) == []
    assert place.client.list_uploads(base) == [], "an upload of the killed try is still open"


@pytest.mark.parametrize("name", ["emulator", "seaweedfs"])
def test_the_points_are_spread_over_all_that_a_stage_does(rehearse: Callable[[str], Rehearsed], name: str) -> None:
    rehearsed = rehearse(name)
    kinds = set(rehearsed.labels)
    assert {point.label for point in choose(rehearsed.labels, ("before",), len(kinds), "any")} == kinds
    local = {"link claim", "rename small file", "read of the large file", "rename large file", "rename checkpoint"}
    local |= {"scandir folder", "rename evidence manifest.json", "remove checkpoint"}
    remote = {"put claim", "put small file", "begin upload in parts", "put a part", "complete upload in parts"}
    remote |= {"put checkpoint", "list run", "put evidence manifest.json", "delete a batch"}
    assert kinds >= (local if name == "emulator" else remote)
