"""What has changed since the stage is found on every store: by a listing as far as it tells, by reading in any case."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest, resolve_manifest
from dpone_airflow.staging.verify import compare_staged, verify_staged
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ObjectNotFoundError,
    StagingVerifyError,
    StorageAccessDeniedError,
    StorageError,
)
from tests.conformance.stores import Store
from tests.conformance.test_staging import plan, service
from tests.faults.faults import cut_off_answer
from tests.faults.proxy import FaultProxy, Rule

MIB = 1024 * 1024


@pytest.fixture
def manifest(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path, file: Path
) -> ObjectStorageStagingManifest:
    folder = tmp_path / "tree"
    (folder / "dt=2026-11-22").mkdir(parents=True)
    (folder / "dt=2026-11-22" / "part-0.csv").write_bytes(b"a,b\n1,2\n")
    (folder / "empty.csv").touch()
    (folder / store.name("a+b=c%25 ü.csv")).write_bytes(b"odd")
    file.rename(folder / "large.bin")
    return service(client).stage_files(plan(base), folder)


def uri_of(manifest: ObjectStorageStagingManifest, name: str) -> ObjectStorageUri:
    return manifest.prefix.child(name)


@pytest.mark.parametrize("mode", ["listing", "sha256"])
def test_what_was_staged_is_found_as_it_was(
    client: ObjectStorageClient, manifest: ObjectStorageStagingManifest, mode: Any
) -> None:
    report = verify_staged(client, manifest, mode)
    assert report.agrees
    assert report.object_count == 4
    assert report.read_bytes == (manifest.total_size_bytes if mode == "sha256" else 0)


@pytest.mark.parametrize("mode", ["listing", "sha256"])
def test_missing_extra_and_changed_objects_are_named_all_at_once(
    client: ObjectStorageClient, manifest: ObjectStorageStagingManifest, mode: Any
) -> None:
    missing, changed = uri_of(manifest, "empty.csv"), uri_of(manifest, "dt=2026-11-22/part-0.csv")
    extra = uri_of(manifest, "dt=2026-11-22/part-1.csv")
    client.delete_objects([missing])
    client.put_bytes(b"a,b\n1,2\n3,4\n", changed)
    client.put_bytes(b"x", extra)
    with pytest.raises(StagingVerifyError) as error:
        verify_staged(client, manifest, mode)
    assert error.value.missing == (str(missing),)
    assert error.value.extra == (str(extra),)
    assert error.value.changed == {str(changed): "has 12 bytes, not 8"}


def test_other_bytes_of_the_same_size_are_found_by_the_etag_and_by_reading(
    client: ObjectStorageClient, manifest: ObjectStorageStagingManifest
) -> None:
    changed = uri_of(manifest, "dt=2026-11-22/part-0.csv")
    client.put_bytes(b"a,b\n1,3\n", changed)
    (by_listing,) = compare_staged(client, manifest).changed.values()
    assert by_listing.startswith("has the ETag ")
    (by_reading,) = compare_staged(client, manifest, "sha256").changed.values()
    assert "the sha256 " in by_reading

    bare = replace(manifest, objects=tuple(replace(item, etag=None) for item in manifest.objects))
    assert compare_staged(client, bare).agrees, "a listing tells sizes and ETags, and nothing of the bytes"
    assert list(compare_staged(client, bare, "sha256").changed) == [str(changed)]


def test_many_objects_at_once(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    """More than one page of the listing, and all of them read."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(store.beyond_a_page):
        (folder / f"{number:05d}.csv").write_text(f"{number}\n")
    manifest = service(client).stage_files(plan(base), folder)
    report = compare_staged(client, manifest, "sha256")
    assert report.agrees
    assert report.read_bytes == manifest.total_size_bytes
    client.delete_objects([uri_of(manifest, "00007.csv")])
    client.put_bytes(b"!\n", uri_of(manifest, "00009.csv"))
    found = compare_staged(client, manifest)
    assert (found.missing, list(found.changed)) == (
        (str(uri_of(manifest, "00007.csv")),),
        [str(uri_of(manifest, "00009.csv"))],
    )


def test_an_object_is_hashed_without_ever_being_in_memory_or_on_disk(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    digest = sha256()
    with path.open("wb") as out:
        for number in range(48):
            block = number.to_bytes(4, "big") * (MIB // 4)
            digest.update(block)
            out.write(block)
    put = client.put_file(path, base.child("large.bin"))
    path.unlink()
    client.put_bytes(b"x", base.child("small.bin"))
    client.hash_object(base.child("small.bin"))  # what the SDK imports and caches isn't counted
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    counted: list[int] = []
    held: list[int] = []

    def on_read(size_bytes: int) -> None:
        counted.append(size_bytes)
        held.append(process.memory_info().rss - before)

    found = client.hash_object(base.child("large.bin"), on_read=on_read)
    assert found == ObjectStorageObject(put.uri, 48 * MIB, digest.hexdigest(), found.content_type, put.etag)
    assert sum(counted) == 48 * MIB
    assert max(held) < 20 * MIB, f"{max(held) / MIB:.1f} MiB for an object of 48 MiB"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_can_not_be_hashed(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    with pytest.raises(ObjectNotFoundError, match=str(base.child("missing"))):
        client.hash_object(base.child("missing"))


def test_a_part_outside_of_the_merged_ones_is_extra(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("a")
    parts = [service(client).stage_files(plan(base, part=f"map-{index:05d}"), tmp_path / "a.csv") for index in range(3)]
    assert verify_staged(client, ObjectStorageStagingManifest.merge(parts), "sha256").agrees
    some = ObjectStorageStagingManifest.merge([parts[0], parts[2]])
    assert compare_staged(client, some).extra == (parts[1].objects[0].uri,)
    assert compare_staged(client, parts[1]).agrees


def test_a_manifest_in_a_bucket_that_is_not_there_is_named(store: Store, client: ObjectStorageClient) -> None:
    elsewhere = replace(ObjectStorageUri.parse(store.root), bucket="no-such-bucket-anywhere")
    record = elsewhere.child("_manifests/run-1/_run/manifest.json")

    class Hook:
        def get_client(self, base_uri: str) -> ObjectStorageClient:
            return client

    with pytest.raises((BucketNotFoundError, ObjectNotFoundError), match="no-such-bucket-anywhere"):
        resolve_manifest(str(record), Hook())


@pytest.mark.parametrize("name", ["azurite", "seaweedfs"])
def test_a_manifest_that_the_connection_may_not_read_is_named(
    started: Callable[[str], Store], tmp_path: Path, name: str
) -> None:
    store = started(name)
    base = ObjectStorageUri.parse(store.root).child("not-for-all")
    (tmp_path / "a.csv").write_text("a")
    service(store.client()).stage_files(plan(base), tmp_path / "a.csv")
    wrong = "AAAA" + store.connection["password"][4:]
    refused = Store(store.root, {**store.connection, "password": wrong})
    record = base.child("_manifests/run-1/_run/manifest.json")

    class Hook:
        def get_client(self, base_uri: str) -> ObjectStorageClient:
            return refused.client()

    with pytest.raises(StorageAccessDeniedError, match=str(record)) as error:
        resolve_manifest(str(record), Hook())
    assert wrong not in str(error.value)


@pytest.mark.parametrize(("cuts", "reads_on"), [(2, True), (3, False)])
def test_an_answer_that_breaks_off_is_read_again(
    started: Callable[[str], Store], tmp_path: Path, file: Path, cuts: int, reads_on: bool
) -> None:
    store = started("seaweedfs-boto3")
    extra = store.connection["extra"]
    uri = ObjectStorageUri.parse(store.root).child(f"cut-{cuts}/large.bin")
    put = store.client().put_file(file, uri)
    rule = Rule(cut_off_answer, lambda request: request.method == "GET" and request.names("large.bin"), times=cuts)
    came: list[int] = []
    with FaultProxy.start(urlsplit(extra["endpoint_url"]).netloc) as proxy, proxy.injecting(rule):
        connection = {**store.connection, "extra": extra | {"endpoint_url": proxy.url}}
        client = Store(store.root, connection, client_options=store.client_options).client()
        if reads_on:
            assert client.hash_object(uri, on_read=came.append).sha256 == put.sha256
            assert sum(came) == put.size_bytes
        else:
            with pytest.raises(StorageError, match=f"Could not read {uri}"):
                client.hash_object(uri, on_read=came.append)
    assert len(rule.met) == cuts
    assert min(came) < 0, "what came before the break doesn't count"
