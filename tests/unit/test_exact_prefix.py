"""After staging, a prefix holds the manifest's objects and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingObject,
    ObjectStorageStagingPlan,
)
from dpone_airflow.staging.exact_prefix import check_staged
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import DeleteIncompleteError, PrefixMismatchError, UnclaimedPrefixError

Stored = Callable[..., list[str]]


@pytest.fixture
def manifest(
    client: LocalObjectStorageClient, make_plan: Callable[..., ObjectStorageStagingPlan]
) -> ObjectStorageStagingManifest:
    """Two objects, uploaded as the manifest says."""
    plan = make_plan()
    objects = []
    for name in ("a.csv", "dt=1/b.csv"):
        put = client.put_bytes(name.encode(), plan.prefix.child(name))
        objects.append(ObjectStorageStagingObject(str(put.uri), name, put.size_bytes, str(put.sha256), etag=put.etag))
    return ObjectStorageStagingManifest.of(plan, objects)


def test_a_prefix_that_is_as_the_manifest_says_stays_as_it_is(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, stored: Stored
) -> None:
    check_staged(client, manifest, "enforce")
    assert stored() == [item.uri for item in manifest.objects]


def test_what_an_earlier_try_left_is_deleted_and_told(
    client: LocalObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    stored: Stored,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.put_bytes(b"old", manifest.prefix.child("dt=0/old.csv"))
    client.put_bytes(b"old", manifest.prefix.child("a.csv.old"))
    with caplog.at_level(logging.WARNING):
        check_staged(client, manifest, "enforce")
    assert stored() == [item.uri for item in manifest.objects]
    assert "Deleting 2 objects that an earlier try left below s3://lake/staging/run-1/" in caplog.text


def test_neighbours_are_not_strays(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, stored: Stored
) -> None:
    for neighbour in ("s3://lake/staging/run-10/a.csv", "s3://lake/staging/run-1.csv", "s3://lake/staging/b.csv"):
        client.put_bytes(b"x", ObjectStorageUri.parse(neighbour))
    before = stored()
    check_staged(client, manifest, "enforce")
    assert stored() == before


def test_a_missing_object_is_named_and_nothing_is_deleted(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, stored: Stored
) -> None:
    client.delete_objects([manifest.prefix.child("a.csv")])
    client.put_bytes(b"x", manifest.prefix.child("stray.csv"))
    before = stored()
    with pytest.raises(PrefixMismatchError, match=r"run-1/a\.csv is missing"):
        check_staged(client, manifest, "enforce")
    assert stored() == before


@pytest.mark.parametrize(
    ("content", "said"), [(b"longer than before", "has 18 bytes, not 5"), (b"other", "has the ETag .*, not ")]
)
def test_an_object_that_somebody_overwrote_is_named(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, content: bytes, said: str
) -> None:
    client.put_bytes(content, manifest.prefix.child("a.csv"))
    with pytest.raises(PrefixMismatchError, match=rf"run-1/a\.csv {said}"):
        check_staged(client, manifest, "enforce")


def test_the_runs_of_a_base_that_came_to_lie_in_the_prefix_meanwhile_are_no_strays(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, stored: Stored
) -> None:
    for name in ("_manifests/inner/_run.json", "inner/theirs.csv"):
        client.put_bytes(b"x", manifest.prefix.child(name))
    before = stored()
    with pytest.raises(UnclaimedPrefixError, match="is also the base of other runs"):
        check_staged(client, manifest, "enforce")
    assert stored() == before


@pytest.mark.parametrize(("wrong", "said"), [(5, "is missing. Something"), (8, "is missing and 3 more. Something")])
def test_five_of_many_are_named(
    client: LocalObjectStorageClient, make_plan: Callable[..., ObjectStorageStagingPlan], wrong: int, said: str
) -> None:
    plan = make_plan()
    missing = [
        ObjectStorageStagingObject(str(plan.prefix.child(f"{number}.csv")), f"{number}.csv", 1, "0" * 64)
        for number in range(wrong)
    ]
    with pytest.raises(PrefixMismatchError, match=said) as refused:
        check_staged(client, ObjectStorageStagingManifest.of(plan, missing), "enforce")
    assert str(refused.value).count("is missing") == 5
    assert refused.value.uri == "s3://lake/staging/run-1"


def test_a_part_is_compared_with_its_own_prefix_only(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, stored: Stored
) -> None:
    own = client.put_bytes(b"x", manifest.prefix.child("map-00001/a.csv"))
    client.put_bytes(b"x", manifest.prefix.child("map-00001/stray.csv"))
    staged = ObjectStorageStagingObject(str(own.uri), "a.csv", 1, str(own.sha256), etag=own.etag)
    part = replace(manifest, part="map-00001", object_count=1, total_size_bytes=1, objects=(staged,))
    check_staged(client, part, "enforce")
    assert stored() == sorted([*[item.uri for item in manifest.objects], str(own.uri)])


def test_a_stray_that_can_not_be_deleted_is_an_error(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest
) -> None:
    class Locked(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> Any:
            return dict.fromkeys(keys, "locked")

    client.put_bytes(b"old", manifest.prefix.child("old.csv"))
    with pytest.raises(DeleteIncompleteError, match=r"old\.csv \(locked\)"):
        check_staged(Locked(root_dir=client.root_dir), manifest, "enforce")
