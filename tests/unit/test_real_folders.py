"""A store that lists its folders as objects, as Azure does with a hierarchical namespace: they are no strays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.verify import compare_staged
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.client import ObjectStorageObject
from dpone_airflow.storage.errors import PrefixMismatchError, StorageError

MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]
BASE = "az://box/base"
RUN = ObjectStorageUri.parse(f"{BASE}/run-1")


class HierarchicalClient(LocalObjectStorageClient):
    """The emulator, whose folders are listed, stay when they are empty, and are deleted only then.

    https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-namespace
    """

    may_list_folders = True

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        top = self._folder(prefix, prefix.prefix.split("/")[:-1])
        for path in sorted(top.rglob("*")):
            if path.is_dir():
                key = prefix.prefix + path.relative_to(top).as_posix()
                yield ObjectStorageObject(replace(prefix, key=key), 0, etag="folder", modified=path.stat().st_mtime)
        yield from super().list_objects(prefix)

    def _delete_one(self, uri: ObjectStorageUri) -> None:
        path = self.path_of(uri)
        if path.is_dir():
            if any(path.iterdir()):
                raise StorageError(f"{uri} isn't empty.", uri=str(uri), status=409, code="DirectoryIsNotEmpty")
            path.rmdir()
            return
        super()._delete_one(uri)

    @staticmethod
    def _delete_empty_folders(folder: Path, bucket: Path) -> None:
        pass


@pytest.fixture
def client(tmp_path: Path) -> HierarchicalClient:
    return HierarchicalClient(tmp_path / "store")


def stage(
    client: LocalObjectStorageClient, plan: ObjectStorageStagingPlan, files: Path, index: int = -1, **options: object
):  # type: ignore[no-untyped-def]
    service = ObjectStorageStagingService(client=client, writer=StagingWriter("test", "dag", "run", "stage", index))
    return service.stage_files(plan, files, **options)  # type: ignore[arg-type]


@pytest.fixture
def tree(write: WriteFile) -> Path:
    write("tree/dt=1/deep/a.csv")
    return write("tree/dt=2/b.csv").parents[1]


def names(client: LocalObjectStorageClient) -> set[str]:
    return {uri.key.removeprefix(RUN.prefix) for uri in client.list_prefix(RUN)}


def test_the_folders_of_what_is_staged_are_no_strays(
    client: HierarchicalClient, make_plan: MakePlan, tree: Path
) -> None:
    manifest = stage(client, make_plan(base_uri=BASE), tree)
    everything = {"dt=1", "dt=1/deep", "dt=1/deep/a.csv", "dt=2", "dt=2/b.csv"}
    assert names(client) == everything
    assert compare_staged(client, manifest).agrees
    assert stage(client, make_plan(base_uri=BASE), tree, exact_prefix="check") == manifest
    assert clean_up_run(client, BASE, "run-1", policy="delete_always").deleted_objects == len(everything)
    assert names(client) == set()


def test_a_folder_that_holds_nothing_of_this_stage_is_a_stray(
    client: HierarchicalClient, make_plan: MakePlan, tree: Path, write: WriteFile
) -> None:
    stage(client, make_plan(base_uri=BASE), tree)
    (tree / "dt=2" / "b.csv").rename(tree / "dt=1" / "c.csv")
    (tree / "dt=2").rmdir()
    with pytest.raises(PrefixMismatchError, match=r"dt=2"):
        stage(client, make_plan(base_uri=BASE), tree, exact_prefix="check")
    stage(client, make_plan(base_uri=BASE), tree)
    assert names(client) == {"dt=1", "dt=1/deep", "dt=1/deep/a.csv", "dt=1/c.csv"}


def test_parts_live_beside_each_other_and_those_that_vanish_go_with_their_folders(
    client: HierarchicalClient, make_plan: MakePlan, tree: Path
) -> None:
    parts = [f"map-0000{index}" for index in range(3)]
    for index, part in enumerate(parts):
        stage(client, make_plan(base_uri=BASE, part=part), tree, index, live_parts=parts)
    stage(client, make_plan(base_uri=BASE, part=parts[0]), tree, 0, live_parts=parts[:2])
    assert {name.partition("/")[0] for name in names(client)} == set(parts[:2])
    assert "map-00001/dt=1/deep/a.csv" in names(client)


def test_an_empty_object_of_a_store_without_folders_is_a_stray_whatever_its_name(
    tmp_path: Path, make_plan: MakePlan, write: WriteFile
) -> None:
    """There it is an object that somebody put beside the files below its name; the emulator can't hold both."""

    class Flat(LocalObjectStorageClient):
        deleted: list[str] = []  # noqa: RUF012 - one client

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            if prefix == RUN and "dt=1" not in self.deleted:
                yield ObjectStorageObject(RUN.child("dt=1"), 0, etag="stray")
            yield from super().list_objects(prefix)

        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            self.deleted += [key.removeprefix(RUN.prefix) for key in keys]
            return {}

    client = Flat(tmp_path / "store")
    Flat.deleted.append("dt=1")
    tree = write("tree/dt=1/a.csv").parents[1]
    stage(client, make_plan(base_uri=BASE), tree)
    Flat.deleted.clear()
    stage(client, make_plan(base_uri=BASE), tree)
    assert "dt=1" in Flat.deleted
