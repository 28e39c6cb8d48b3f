"""Whatever a task was given for a manifest becomes one, or is refused by name; parts of a run become one manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.operators.manifest_xcom import manifest_xcom
from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    StagedRun,
    StagingWriter,
    manifest_uri_of,
    resolve_manifest,
)
from dpone_airflow.staging.resolve import ManifestPointer, manifests_in
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import InvalidManifestError, ObjectNotFoundError

RECORD = "s3://lake/orders/_manifests/run-1/_run/manifest.json"


class Hook:
    """Gives one client for every URI."""

    def __init__(self, client: LocalObjectStorageClient) -> None:
        self.client = client
        self.asked: list[str] = []

    def get_client(self, base_uri: str) -> LocalObjectStorageClient:
        self.asked.append(base_uri)
        return self.client


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(LocalObjectStorageClient(tmp_path / "store"))


@pytest.fixture
def stage(hook: Hook, tmp_path: Path) -> Callable[..., StagedRun]:
    def stage(*names: str, part: str | None = None, **changes: Any) -> StagedRun:
        folder = tmp_path / "files" / (part or "whole")
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text(f"{part}/{name}")
        fields = {"base_uri": "s3://lake/orders", "run_id": "run-1", "dataset": "shop", "table": "orders"}
        plan = ObjectStorageStagingPlan(**(fields | {"file_format": "csv"} | changes), part=part)
        index = -1 if part is None else int(part.removeprefix("map-"))
        service = ObjectStorageStagingService(
            client=hook.client, writer=StagingWriter(task_id="stage", map_index=index)
        )
        return service.stage(plan, [folder / name for name in names])

    return stage


def test_a_manifest_its_dict_and_its_text_are_itself_and_nothing_is_read(hook: Hook, stage: Any) -> None:
    manifest = stage("a.csv").manifest
    data = manifest.to_dict()
    for value in (manifest, data, json.dumps(data), str(data), [data], (manifest,), [[data]]):
        assert resolve_manifest(value, hook) == manifest
    assert hook.asked == []


def test_a_stored_manifest_is_found_by_its_uri(hook: Hook, stage: Any) -> None:
    staged = stage("a.csv", "b.csv")
    assert str(manifest_uri_of(staged.manifest)) == str(staged.record.uri) == RECORD
    for value in (RECORD, f" {RECORD}\n", ObjectStorageUri.parse(RECORD), [RECORD]):
        assert resolve_manifest(value, hook) == staged.manifest


def test_past_so_many_objects_an_xcom_is_a_pointer(hook: Hook, stage: Any) -> None:
    staged = stage("a.csv", "b.csv")
    assert manifest_xcom(staged.manifest, staged.record, 2) == staged.manifest.to_dict()
    pointer = manifest_xcom(staged.manifest, staged.record, 1)
    whole = staged.manifest.to_dict()
    del whole["objects"]
    content = hook.client.get_bytes(staged.record.uri)
    assert pointer == whole | {"manifest_uri": RECORD, "manifest_sha256": sha256(content).hexdigest()}
    assert ManifestPointer.from_dict(pointer).to_dict() == pointer
    for value in (pointer, json.dumps(pointer), str(pointer), [pointer], ManifestPointer.from_dict(pointer)):
        assert resolve_manifest(value, hook) == staged.manifest


def test_a_pointer_to_what_was_staged_anew_is_refused(hook: Hook, stage: Any) -> None:
    staged = stage("a.csv", "b.csv")
    pointer = manifest_xcom(staged.manifest, staged.record, 0)
    stage("a.csv")
    with pytest.raises(InvalidManifestError, match=r"_run/manifest\.json has sha256 .* and the pointer to it says"):
        resolve_manifest(pointer, hook)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"manifest_uri": "s3://lake/orders/_manifests/run-2/_run/manifest.json"}, "lies at .*run-1"),
        ({"manifest_uri": "s3://elsewhere/_manifests/run-1/_run/manifest.json"}, "never read from elsewhere"),
        ({"manifest_uri": None}, "both texts"),
        ({"manifest_sha256": 5}, "both texts"),
        ({"manifest_sha256": "0" * 63}, "64 digits"),
        ({"objects": []}, "has both"),
        ({"object_count": "2"}, "whole numbers"),
        ({"total_size_bytes": None}, "whole numbers"),
        ({"dataset": ""}, "dataset"),
        ({"run_id": "../x"}, "run_id|run id"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_pointer_that_can_not_be_one_is_refused_unread(
    hook: Hook, stage: Any, change: dict[str, Any], message: str
) -> None:
    staged = stage("a.csv")
    with pytest.raises(InvalidManifestError, match=message):
        resolve_manifest(manifest_xcom(staged.manifest, staged.record, 0) | change, hook)
    assert hook.asked == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"", "is no record"),
        (b"{", "is no record"),
        (b"[]", "is no record"),
        (b'{"kind": "manifest", "version": 1}', "is no record"),
        (b'{"kind": "claim", "version": 1, "manifest": {}}', "kind 'claim'"),
        (b'{"kind": "manifest", "version": 2, "manifest": {}}', "reads up to 1: upgrade"),
        (b'{"kind": "manifest", "version": "1", "manifest": {}}', "reads up to 1"),
        (b'{"kind": "manifest", "version": 1, "manifest": {}}', "no provider"),
        (b'{"kind": "manifest", "version": 1, "manifest": 5}', "a JSON object"),
    ],
)
def test_a_record_that_is_no_manifest_is_refused(hook: Hook, record: bytes, message: str) -> None:
    hook.client.put_bytes(record, ObjectStorageUri.parse(RECORD))
    with pytest.raises(InvalidManifestError, match=message):
        resolve_manifest(RECORD, hook)


def test_a_manifest_of_a_newer_writer_is_refused(hook: Hook, stage: Any) -> None:
    data = stage("a.csv").manifest.to_dict() | {"schema_version": 2}
    with pytest.raises(InvalidManifestError, match="upgrade it"):
        resolve_manifest(data, hook)


def test_a_record_that_was_moved_is_refused(hook: Hook, stage: Any) -> None:
    stage("a.csv")
    elsewhere = ObjectStorageUri.parse("s3://lake/copy/manifest.json")
    hook.client.put_bytes(hook.client.get_bytes(ObjectStorageUri.parse(RECORD)), elsewhere)
    with pytest.raises(
        InvalidManifestError, match="no record of a staged manifest: give the URI of a manifest.json below _manifests"
    ):
        resolve_manifest(str(elsewhere), hook)


def test_a_record_of_a_copied_base_is_refused(hook: Hook, stage: Any) -> None:
    stage("a.csv")
    copy = ObjectStorageUri.parse("s3://lake/copy/_manifests/run-1/_run/manifest.json")
    hook.client.put_bytes(hook.client.get_bytes(ObjectStorageUri.parse(RECORD)), copy)
    with pytest.raises(InvalidManifestError, match="holds the manifest of another place"):
        resolve_manifest(str(copy), hook)


def test_a_record_that_is_not_there_is_named(hook: Hook) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"manifest\.json"):
        resolve_manifest(RECORD, hook)


@pytest.mark.parametrize("nothing", [None, "None", "null", "", [], [None]])
def test_nothing_is_no_manifest(hook: Hook, nothing: Any) -> None:
    assert manifests_in(nothing) == []
    with pytest.raises(InvalidManifestError, match="no manifest"):
        resolve_manifest(nothing, hook)


class TestMerge:
    def test_parts_become_one_run(self, hook: Hook, stage: Any) -> None:
        parts = [stage("a.csv", "b.csv", part=f"map-0000{index}").manifest for index in (2, 0, 1)]
        run = ObjectStorageStagingManifest.merge(parts)
        assert run.part is None
        assert [item.file_name for item in run.objects] == [
            f"map-0000{index}/{name}" for index in range(3) for name in ("a.csv", "b.csv")
        ]
        assert {item.uri for item in run.objects} == {item.uri for part in parts for item in part.objects}
        assert (run.object_count, run.total_size_bytes) == (6, sum(part.total_size_bytes for part in parts))
        assert ObjectStorageStagingManifest.from_dict(run.to_dict()) == run
        assert resolve_manifest([part.to_dict() for part in parts], hook) == run

    def test_parts_may_be_pointers(self, hook: Hook, stage: Any) -> None:
        staged = [stage("a.csv", part=f"map-0000{index}") for index in range(2)]
        pointers = [manifest_xcom(one.manifest, one.record, 0) for one in staged]
        assert resolve_manifest(pointers, hook) == ObjectStorageStagingManifest.merge(one.manifest for one in staged)

    def test_a_whole_run_is_itself(self, stage: Any) -> None:
        manifest = stage("a.csv").manifest
        assert ObjectStorageStagingManifest.merge([manifest]) is manifest

    def test_one_part_becomes_the_run(self, stage: Any) -> None:
        run = ObjectStorageStagingManifest.merge([stage("a.csv", part="map-00000").manifest])
        assert (run.part, run.objects[0].file_name) == (None, "map-00000/a.csv")

    def test_a_single_part_that_is_resolved_stays_a_part(self, hook: Hook, stage: Any) -> None:
        part = stage("a.csv", part="map-00000").manifest
        assert resolve_manifest(part.to_dict(), hook) == part

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"run_id": "run-2"}, "run_id differs: 'run-1' and 'run-2'"),
            ({"base_uri": "s3://lake/other"}, "base_uri differs"),
            ({"dataset": "x"}, "dataset differs"),
            ({"table": "x"}, "table differs"),
            ({"file_format": "x"}, "file_format differs"),
            ({"compression": "gzip"}, "compression differs"),
            ({"cleanup_policy": "delete_always"}, "cleanup_policy differs"),
        ],
    )
    def test_what_does_not_belong_together_is_refused(self, change: dict[str, Any], message: str) -> None:
        def part(number: int, **changes: Any) -> ObjectStorageStagingManifest:
            fields = {"base_uri": "s3://lake/orders", "run_id": "run-1", "dataset": "shop", "table": "orders"}
            plan = ObjectStorageStagingPlan(**(fields | {"file_format": "csv"} | changes), part=f"map-0000{number}")
            return ObjectStorageStagingManifest.of(plan, [])

        with pytest.raises(InvalidManifestError, match=message):
            ObjectStorageStagingManifest.merge([part(0), part(1, **change)])
        with pytest.raises(InvalidManifestError, match="is there twice"):
            ObjectStorageStagingManifest.merge([part(0), part(1), part(0)])

    def test_a_run_and_a_part_of_one_are_refused(self, stage: Any) -> None:
        whole = stage("a.csv").manifest
        part = ObjectStorageStagingManifest.from_dict(
            whole.to_dict() | {"part": "map-00000", "objects": [], "object_count": 0, "total_size_bytes": 0}
        )
        for manifests in ([whole, part], [part, whole], [whole, whole]):
            with pytest.raises(InvalidManifestError, match="can't be merged with 1 others"):
                ObjectStorageStagingManifest.merge(manifests)
