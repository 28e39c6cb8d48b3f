"""A retry, or a clear after success, goes on from what is there: the same over every client."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.choices import ExactPrefix, IfExists
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    AlreadyStagedError,
    PrefixMismatchError,
    SourceFileChangedError,
    StagingStoppedError,
)
from tests.conformance.stores import Store

WRITER = StagingWriter("test", "dag", "run", "stage")
CALLS = (
    *("put_file", "prepare_bytes", "put_bytes", "get_bytes", "get_file"),
    *("stat", "exists", "list_objects", "delete_objects"),
)


@pytest.fixture
def tree(tmp_path: Path, file: Path) -> Path:
    """Ten small files and one that goes in parts."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(10):
        (folder / f"part-{number}.csv").write_text(f"{number}\n" * 100)
    file.rename(folder / "large.bin")
    return folder


def plan(base: ObjectStorageUri, run_id: str = "run-1", part: str | None = None) -> ObjectStorageStagingPlan:
    return ObjectStorageStagingPlan(str(base), run_id, "d", "t", "csv", part=part)


def service(client: ObjectStorageClient, map_index: int = -1) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(client=client, writer=StagingWriter("test", "dag", "run", "stage", map_index))


def counting(client: ObjectStorageClient) -> Counter[str]:
    """Count from now on what is asked of a client; the upload of a file is counted by its name."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> Any:
        call = getattr(client, name)

        def count(*args: Any, **options: Any) -> Any:
            is_upload = name in ("put_file", "prepare_bytes") and "_manifests" not in args[1].key
            calls[args[1].key.rpartition("/")[2] if is_upload else name] += 1
            return call(*args, **options)

        return count

    for name in CALLS:
        setattr(client, name, counted(name))
    return calls


def before_sending(client: ObjectStorageClient, name: str, do: Callable[[], None]) -> None:
    """Call ``do`` when a client is about to send a small file of that name."""
    prepare_bytes = client.prepare_bytes

    def prepare(data: bytes, uri: ObjectStorageUri, *args: Any, **options: Any) -> Any:
        send = prepare_bytes(data, uri, *args, **options)

        def done_first() -> Any:
            if uri.key.endswith(f"/{name}"):
                do()
            return send()

        return done_first

    client.prepare_bytes = prepare  # type: ignore[method-assign]


def sent(calls: Counter[str]) -> set[str]:
    return set(calls) - set(CALLS)


def contents(client: ObjectStorageClient, prefix: ObjectStorageUri) -> dict[str, str]:
    return {uri.key.removeprefix(prefix.prefix): client.get_bytes(uri)[:20].hex() for uri in client.list_prefix(prefix)}


def test_a_clear_after_success_sends_nothing_again(store: Store, base: ObjectStorageUri, tree: Path) -> None:
    first = service(store.client()).stage_files(plan(base), tree)
    client = store.client()
    calls = counting(client)
    again = service(client).stage_files(plan(base), tree)
    assert again == first
    assert sent(calls) == set()
    # No request for a file: the claim, the manifest, the prefix and the evidence listed, and three looks at whether
    # somebody else has begun there.
    assert calls["stat"] == calls["exists"] == 0
    assert calls["get_bytes"] == calls["get_file"] == 1
    assert calls["put_bytes"] == 3, "a sign of life, a checkpoint in the old manifest's place, and the new manifest"
    assert calls["list_objects"] <= 7


def test_a_retry_sends_what_is_missing_and_has_the_manifest_of_a_clean_run(
    store: Store, base: ObjectStorageUri, tree: Path
) -> None:
    client = store.client(max_concurrency=1)

    def fail() -> None:
        raise SourceFileChangedError("part-5.csv changed while it was staged: try again.")

    before_sending(client, "part-5.csv", fail)
    with pytest.raises(SourceFileChangedError):
        service(client).stage_files(plan(base), tree)

    client = store.client()
    calls = counting(client)
    retried = service(client).stage_files(plan(base), tree)
    assert sent(calls) == {f"part-{number}.csv" for number in range(5, 10)}

    clean = service(store.client()).stage_files(plan(base, "run-2"), tree)
    assert [(item.file_name, item.size_bytes, item.sha256, item.content_type) for item in retried.objects] == [
        (item.file_name, item.size_bytes, item.sha256, item.content_type) for item in clean.objects
    ]
    assert contents(client, base.child("run-1")) == contents(client, base.child("run-2"))
    records = [
        uri.key.removeprefix(base.child("_manifests/run-1").prefix)
        for uri in client.list_prefix(base.child("_manifests/run-1"))
    ]
    assert sorted(records) == ["_run.json", "_run/failed.json", "_run/manifest.json"], "a checkpoint is left"


def test_what_is_no_longer_the_same_is_sent_again(store: Store, base: ObjectStorageUri, tree: Path) -> None:
    client = store.client()
    first = service(client).stage_files(plan(base), tree)
    run = base.child("run-1")
    (tree / "part-1.csv").write_text("x\n" * 100)  # of the same length
    (tree / "part-2.csv").write_text("longer than before" * 100)
    client.put_bytes(b"somebody else's", run.child("part-3.csv"))
    client.delete_objects([run.child("part-4.csv")])

    client = store.client()
    calls = counting(client)
    again = service(client).stage_files(plan(base), tree)
    assert sent(calls) == {f"part-{number}.csv" for number in range(1, 5)}
    changed = {new.file_name for new, old in zip(again.objects, first.objects, strict=True) if new.sha256 != old.sha256}
    assert changed == {"part-1.csv", "part-2.csv"}
    assert client.get_bytes(run.child("part-3.csv")) == b"3\n" * 100


def test_replace_sends_everything_again_and_fail_refuses(store: Store, base: ObjectStorageUri, tree: Path) -> None:
    first: IfExists = "fail"  # nothing is there yet
    staged = service(store.client()).stage_files(plan(base), tree, if_exists=first)
    client = store.client()
    calls = counting(client)
    with pytest.raises(AlreadyStagedError, match="if_exists='fail'"):
        service(client).stage_files(plan(base), tree, if_exists="fail")
    assert sent(calls) == set()
    replaced = service(client).stage_files(plan(base), tree, if_exists="replace")
    assert sent(calls) == {path.name for path in tree.iterdir()}
    assert [item.sha256 for item in replaced.objects] == [item.sha256 for item in staged.objects]


@pytest.mark.parametrize("mode", ["enforce", "check", "off"])
def test_strays_are_removed_or_refused_or_not_looked_for(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path, mode: ExactPrefix
) -> None:
    service(client).stage_files(plan(base), tree)
    (tree / "part-9.csv").unlink()
    stray = base.child("run-1/part-9.csv")
    calls = counting(client)
    if mode == "check":
        with pytest.raises(PrefixMismatchError, match=r"part-9\.csv"):
            service(client).stage_files(plan(base), tree, exact_prefix=mode)
        assert sent(calls) == set(), "files were sent before the stray was refused"
    else:
        service(client).stage_files(plan(base), tree, exact_prefix=mode)
    assert (stray in client.list_prefix(base.child("run-1"))) == (mode != "enforce")


def test_parts_that_the_run_no_longer_has_are_removed(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    for index in range(3):
        service(client, index).stage_files(plan(base, part=f"map-{index:05d}"), tree / f"part-{index}.csv")
    client.put_bytes(b"in no part", base.child("run-1/stray.csv"))

    service(client, 0).stage_files(
        plan(base, part="map-00000"), tree / "part-0.csv", live_parts={"map-00000", "map-00001"}
    )
    left = [uri.key.removeprefix(base.prefix) for uri in client.list_prefix(base.child("run-1"))]
    assert left == ["run-1/map-00000/part-0.csv", "run-1/map-00001/part-1.csv"]
    assert client.exists(base.child("_manifests/run-1/map-00002/cleanup.json"))


def test_a_stage_that_is_stopped_ends_soon_and_is_resumed(store: Store, base: ObjectStorageUri, tree: Path) -> None:
    stop = threading.Event()
    client = store.client(max_concurrency=1)
    before_sending(client, "part-5.csv", stop.set)
    with pytest.raises(StagingStoppedError):
        service(client).stage_files(plan(base), tree, stop=stop)

    client = store.client()
    calls = counting(client)
    manifest = service(client).stage_files(plan(base), tree)
    # The one that was about to go went.
    assert sent(calls) == {f"part-{number}.csv" for number in range(6, 10)}
    assert manifest.object_count == 11


def test_a_large_file_that_is_stopped_leaves_nothing(
    client: ObjectStorageClient, base: ObjectStorageUri, tree: Path
) -> None:
    read = 0

    def stop_after_a_part(size_bytes: int) -> None:
        nonlocal read
        if read:
            raise StagingStoppedError("stopped")
        read += size_bytes

    with pytest.raises(StagingStoppedError):
        client.put_file(tree / "large.bin", base.child("large.bin"), on_read=stop_after_a_part)
    assert client.list_prefix(base) == []
    assert client.abort_uploads(base) == 0, "an upload was left open"
