"""Whether a prefix holds what its manifest says: what is found, how it is said, and what the evidence keeps."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    VerifyReport,
)
from dpone_airflow.staging.verify import compare_staged, verify_staged
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import (
    InvalidOptionError,
    StagingStoppedError,
    StagingVerifyError,
    StorageAccessDeniedError,
    StorageError,
)

MakePlan = Callable[..., ObjectStorageStagingPlan]
RUN = "s3://lake/staging/run-1"
VERIFY_RECORD = ObjectStorageUri.parse("s3://lake/staging/_manifests/run-1/_run/verify.json")


@pytest.fixture
def manifest(service: ObjectStorageStagingService, make_plan: MakePlan, write: Any) -> ObjectStorageStagingManifest:
    return service.stage_files(make_plan(), [write("a.csv", b"a"), write("b.csv", b"bb"), write("c.csv", b"ccc")])


@pytest.fixture
def overwrite(client: LocalObjectStorageClient) -> Callable[[str, bytes], None]:
    def put(name: str, content: bytes) -> None:
        client.put_bytes(content, ObjectStorageUri.parse(f"{RUN}/{name}"))

    return put


@pytest.fixture
def rot(client: LocalObjectStorageClient) -> Callable[[str, bytes], None]:
    """Change an object's bytes under the store, so that size and ETag stay."""

    def write(name: str, content: bytes) -> None:
        path = client.path_of(ObjectStorageUri.parse(f"{RUN}/{name}"))
        before = path.stat()
        assert before.st_size == len(content)
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return write


def delete(client: LocalObjectStorageClient, name: str) -> None:
    client.delete_objects([ObjectStorageUri.parse(f"{RUN}/{name}")])


@contextmanager
def refused() -> Iterator[list[StagingVerifyError]]:
    caught: list[StagingVerifyError] = []
    with pytest.raises(StagingVerifyError) as error:
        yield caught
    caught.append(error.value)


@pytest.mark.parametrize("mode", ["listing", "sha256"])
def test_what_was_staged_is_verified_and_the_evidence_says_so(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, mode: Any
) -> None:
    report = verify_staged(client, manifest, mode, by={"task_id": "verify"})
    assert report.agrees
    assert report == VerifyReport(
        mode=mode,
        prefix=f"{RUN}/",
        object_count=3,
        total_size_bytes=6,
        read_bytes=6 if mode == "sha256" else 0,
    )
    record = json.loads(client.get_bytes(VERIFY_RECORD))
    assert record.pop("at").endswith("+00:00")
    assert record == {"version": 1, "kind": "verify", "by": {"task_id": "verify"}, **report.to_dict()}
    assert record["outcome"] == "verified"


@pytest.mark.parametrize("mode", ["listing", "sha256"])
def test_everything_that_differs_is_named_at_once(
    client: LocalObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    overwrite: Callable[[str, bytes], None],
    mode: Any,
) -> None:
    delete(client, "a.csv")
    overwrite("b.csv", b"longer")
    overwrite("stray.csv", b"x")
    with refused() as caught:
        verify_staged(client, manifest, mode)
    error = caught[0]
    assert error.missing == (f"{RUN}/a.csv",)
    assert error.extra == (f"{RUN}/stray.csv",)
    assert error.changed == {f"{RUN}/b.csv": "has 6 bytes, not 2"}
    assert error.uri == f"{RUN}/"
    assert str(error) == (
        f"{RUN}/ doesn't hold what its manifest says: 1 missing ({RUN}/a.csv); 1 extra ({RUN}/stray.csv); "
        f"1 changed ({RUN}/b.csv has 6 bytes, not 2). Load nothing of it: find what writes or deletes there, and stage "
        "the run again."
    )
    record = json.loads(client.get_bytes(VERIFY_RECORD))
    assert record["outcome"] == "different"
    assert (record["missing"], record["extra"], record["changed"]) == (
        list(error.missing),
        list(error.extra),
        error.changed,
    )


def test_the_message_names_the_first_five_and_the_error_and_the_evidence_all(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, make_plan: MakePlan, write: Any
) -> None:
    names = [f"{number}.csv" for number in range(7)]
    manifest = service.stage_files(make_plan(), [write(name) for name in names])
    client.delete_prefix(ObjectStorageUri.parse(RUN))
    with refused() as caught:
        verify_staged(client, manifest)
    assert [uri.rpartition("/")[2] for uri in caught[0].missing] == names
    assert "7 missing" in str(caught[0])
    assert [name for name in names if name in str(caught[0])] == names[:5]
    assert len(json.loads(client.get_bytes(VERIFY_RECORD))["missing"]) == 7


def test_an_object_that_was_written_over_is_found_by_its_etag(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, overwrite: Callable[[str, bytes], None]
) -> None:
    overwrite("b.csv", b"BB")
    report = compare_staged(client, manifest)
    assert list(report.changed) == [f"{RUN}/b.csv"]
    assert report.changed[f"{RUN}/b.csv"].startswith("has the ETag ")
    (what,) = compare_staged(client, manifest, "sha256").changed.values()
    assert what.startswith("has the ETag ")
    assert ", and the sha256 " in what


def test_the_same_bytes_written_again_differ_by_their_etag_and_it_is_said_that_they_are_the_same(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, overwrite: Callable[[str, bytes], None]
) -> None:
    overwrite("b.csv", b"bb")
    (what,) = compare_staged(client, manifest, "sha256").changed.values()
    assert what.endswith(", and the same bytes")


def test_a_manifest_without_etags_is_compared_by_what_it_has(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, overwrite: Callable[[str, bytes], None]
) -> None:
    overwrite("b.csv", b"BB")
    bare = replace(manifest, objects=tuple(replace(item, etag=None) for item in manifest.objects))
    assert compare_staged(client, bare).agrees
    (what,) = compare_staged(client, bare, "sha256").changed.values()
    assert what.startswith("has the sha256 ")


def test_only_reading_finds_bytes_that_changed_under_the_store(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, rot: Callable[[str, bytes], None]
) -> None:
    rot("c.csv", b"ccC")
    assert compare_staged(client, manifest).agrees
    report = compare_staged(client, manifest, "sha256")
    assert list(report.changed) == [f"{RUN}/c.csv"]
    assert (report.missing, report.extra) == ((), ())


def test_what_has_another_size_is_not_read(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, overwrite: Callable[[str, bytes], None]
) -> None:
    overwrite("c.csv", b"x" * 1000)
    assert compare_staged(client, manifest, "sha256").read_bytes == 3


def test_what_vanishes_between_the_listing_and_its_reading_is_missing(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_object = LocalObjectStorageClient.hash_object

    def delete_first(self: Any, uri: ObjectStorageUri, **how: Any) -> ObjectStorageObject:
        if uri.key.endswith("b.csv"):
            self.delete_objects([uri])
        return hash_object(self, uri, **how)

    monkeypatch.setattr(LocalObjectStorageClient, "hash_object", delete_first)
    report = compare_staged(client, manifest, "sha256")
    assert (report.missing, report.changed) == ((f"{RUN}/b.csv",), {})


def test_a_cleanup_that_took_the_files_is_pointed_at(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, manifest: ObjectStorageStagingManifest
) -> None:
    service.cleanup(manifest)
    cleaned_up = json.loads(client.get_bytes(replace(VERIFY_RECORD, key="staging/_manifests/run-1/_run/cleanup.json")))
    with refused() as caught:
        verify_staged(client, manifest)
    assert f"The evidence has a cleanup of {cleaned_up['at']}" in str(caught[0])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"at": 7}'])
def test_a_cleanup_record_that_can_not_be_read_explains_nothing_and_hides_nothing(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, content: bytes
) -> None:
    delete(client, "a.csv")
    client.put_bytes(content, replace(VERIFY_RECORD, key="staging/_manifests/run-1/_run/cleanup.json"))
    with refused() as caught:
        verify_staged(client, manifest)
    assert caught[0].missing == (f"{RUN}/a.csv",)
    assert "Load nothing of it" in str(caught[0])


def test_a_part_is_compared_with_its_own_prefix_and_the_merged_run_with_all(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, make_plan: MakePlan, write: Any
) -> None:
    parts = [
        service.stage_files(make_plan(part=part), write("a.csv")) for part in ("map-00000", "map-00001", "map-00002")
    ]
    assert all(compare_staged(client, part).agrees for part in parts)
    assert compare_staged(client, ObjectStorageStagingManifest.merge(parts)).agrees
    some = ObjectStorageStagingManifest.merge(parts[:2])
    assert compare_staged(client, some).extra == (f"{RUN}/map-00002/a.csv",)

    verify_staged(client, parts[1])
    record = json.loads(client.get_bytes(replace(VERIFY_RECORD, key="staging/_manifests/run-1/map-00001/verify.json")))
    assert (record["outcome"], record["prefix"]) == ("verified", f"{RUN}/map-00001/")


def test_a_neighbour_whose_name_goes_on_is_not_part_of_the_run(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest
) -> None:
    client.put_bytes(b"x", ObjectStorageUri.parse(f"{RUN}0/a.csv"))
    assert compare_staged(client, manifest).agrees


def test_another_mode_is_refused_with_those_there_are(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest
) -> None:
    with pytest.raises(InvalidOptionError, match="mode is 'md5': write 'listing' or 'sha256'"):
        verify_staged(client, manifest, "md5")  # type: ignore[arg-type]


def test_the_service_verifies_as_its_writer(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, manifest: ObjectStorageStagingManifest
) -> None:
    assert service.verify(manifest, mode="sha256").read_bytes == 6
    assert json.loads(client.get_bytes(VERIFY_RECORD))["by"]["dag_id"] == "daily"
    delete(client, "a.csv")
    with refused():
        service.verify(manifest)


@pytest.mark.parametrize("differs", [False, True])
def test_an_outcome_that_can_not_be_recorded_is_said(
    client: LocalObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    monkeypatch: pytest.MonkeyPatch,
    differs: bool,
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise StorageAccessDeniedError("no right to write")

    if differs:
        delete(client, "a.csv")
    monkeypatch.setattr(LocalObjectStorageClient, "put_bytes", denied)
    with pytest.raises(StorageError) as error:
        verify_staged(client, manifest)
    if differs:
        assert isinstance(error.value, StagingVerifyError)
        assert error.value.__notes__ == ["The evidence doesn't say so: no right to write"]
    else:
        assert isinstance(error.value, StorageAccessDeniedError)


def test_several_objects_are_read_at_once_and_never_more_than_told(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = service.stage_files(make_plan(), [write(f"{number}.csv", b"x" * number) for number in range(12)])
    client.max_concurrency = 3
    at_once, most = 0, 0
    lock = threading.Lock()
    together = threading.Barrier(3, timeout=20)
    order: list[str] = []
    hash_object = LocalObjectStorageClient.hash_object

    def watched(self: Any, uri: ObjectStorageUri, **how: Any) -> ObjectStorageObject:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            order.append(uri.key.rpartition("/")[2])
        together.wait()
        found = hash_object(self, uri, **how)
        with lock:
            at_once -= 1
        together.wait()
        return found

    monkeypatch.setattr(LocalObjectStorageClient, "hash_object", watched)
    assert compare_staged(client, manifest, "sha256").agrees
    assert most == 3
    assert set(order[:3]) == {"11.csv", "10.csv", "9.csv"}, "the largest go first"


def test_a_verify_that_is_told_to_stop_ends_at_the_next_bytes_and_records_nothing(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, make_plan: MakePlan, write: Any
) -> None:
    manifest = service.stage_files(make_plan(), [write(f"{number}.csv", b"x" * 3_000_000) for number in range(6)])
    client.max_concurrency, client.part_bytes = 2, 1_000_000
    stop = threading.Event()
    came: list[int] = []

    class Progressing:
        def __init__(self, *_: Any) -> None: ...

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None: ...

        def file_done(self) -> None: ...

        def add_bytes(self, size_bytes: int) -> None:
            came.append(size_bytes)
            if sum(came) >= 4_000_000:
                stop.set()

    with pytest.raises(StagingStoppedError, match=r"The verify was stopped after \d of 6 objects"):
        verify_staged(client, manifest, "sha256", stop=stop, progress=Progressing)  # type: ignore[arg-type]
    assert sum(came) <= 5_000_000
    assert not client.exists(VERIFY_RECORD)


def test_the_first_failure_ends_the_others(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = service.stage_files(make_plan(), [write(f"{number:02d}.csv", b"x" * 100) for number in range(40)])
    client.max_concurrency = 2
    read: list[str] = []
    hash_object = LocalObjectStorageClient.hash_object

    def failing(self: Any, uri: ObjectStorageUri, **how: Any) -> ObjectStorageObject:
        read.append(uri.key)
        if len(read) == 3:
            raise StorageError(f"Could not read {uri}: the network went away.")
        return hash_object(self, uri, **how)

    monkeypatch.setattr(LocalObjectStorageClient, "hash_object", failing)
    with pytest.raises(StorageError, match="the network went away"):
        compare_staged(client, manifest, "sha256")
    assert len(read) < 20, "of 40, by two threads"


def test_an_answer_that_broke_off_is_read_again_from_its_beginning(
    client: LocalObjectStorageClient, manifest: ObjectStorageStagingManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = LocalObjectStorageClient._download
    broken: list[str] = []

    def breaking(self: Any, uri: ObjectStorageUri, file: Any) -> ObjectStorageObject:
        if uri.key.endswith("c.csv") and len(broken) < 2:
            broken.append(uri.key)
            file.write(b"cc")
            raise StorageError("the connection broke", code="ResponseStreamingError")
        return download(self, uri, file)

    monkeypatch.setattr(LocalObjectStorageClient, "_download", breaking)
    assert compare_staged(client, manifest, "sha256").read_bytes == 6
    assert len(broken) == 2


@pytest.mark.parametrize(("code", "tries"), [("ResponseStreamingError", 3), ("AccessDenied", 1)])
def test_an_object_is_not_read_for_ever(
    client: LocalObjectStorageClient,
    manifest: ObjectStorageStagingManifest,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    tries: int,
) -> None:
    asked: list[str] = []

    def failing(self: Any, uri: ObjectStorageUri, file: Any) -> ObjectStorageObject:
        asked.append(uri.key)
        raise StorageError("no", code=code)

    monkeypatch.setattr(LocalObjectStorageClient, "_download", failing)
    with pytest.raises(StorageError, match="no"):
        client.hash_object(ObjectStorageUri.parse(manifest.objects[0].uri))
    assert len(asked) == tries


STATES = st.dictionaries(
    st.sampled_from([f"{name}.csv" for name in "abcdef"]), st.sampled_from([b"1", b"2", b"22"]), max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(staged=STATES.filter(bool), there=STATES)
def test_whatever_is_staged_and_whatever_is_there_the_difference_is_named(
    tmp_path_factory: pytest.TempPathFactory,
    make_plan: MakePlan,
    staged: dict[str, bytes],
    there: dict[str, bytes],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    client = LocalObjectStorageClient(root_dir=folder / "store")
    files = []
    for name, content in staged.items():
        path = Path(folder / name)
        path.write_bytes(content)
        files.append(path)
    manifest = ObjectStorageStagingService(client=client).stage_files(make_plan(), files)
    run = ObjectStorageUri.parse(RUN)
    client.delete_objects([run.child(name) for name in staged if name not in there])
    with ThreadPoolExecutor(4) as pool:
        changes = {name: content for name, content in there.items() if staged.get(name) != content}
        list(pool.map(lambda name: client.put_bytes(changes[name], run.child(name)), changes))

    report = compare_staged(client, manifest, "sha256")
    assert set(report.missing) == {f"{RUN}/{name}" for name in staged.keys() - there.keys()}
    assert set(report.extra) == {f"{RUN}/{name}" for name in there.keys() - staged.keys()}
    assert set(report.changed) == {f"{RUN}/{name}" for name in staged.keys() & changes.keys()}
    assert report.agrees == (staged == there)
