"""Two that are at work on one prefix at once: every outcome is one of those that docs/reliability.md tells.

The moments at which the second one comes are set, not left to chance; some races are also left to threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest, StagingWriter
from dpone_airflow.staging.checkpoints import Checkpoints
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.staging.verify import compare_staged
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ClaimedByAnotherWriterError,
    DeleteIncompleteError,
    DponeAirflowError,
    OvertakenError,
    PrefixMismatchError,
)
from tests.conformance.stores import Store
from tests.crash.moments import after_call, after_listing, after_sending, before_call, before_sending
from tests.crash.work import LARGE, PART_BYTES, in_small_parts, later, plan, recorded, service

OTHER = StagingWriter("test", "other_dag", "run", "stage")
Clients = Callable[[], Any]


# fake-gcs-server keeps the conditions of simple uploads, and so of claims; gcp-storage-emulator ignores them all.
@pytest.fixture(params=["emulator-s3", "seaweedfs", "azurite", "fake-gcs-server"])
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Store:
    return started(request.param)


@pytest.fixture(scope="module")
def connected() -> dict[str, Any]:
    return {}


@pytest.fixture
def clients(store: Store, connected: dict[str, Any]) -> Clients:
    """Each one at work has a client of its own; what they share is the connection."""
    if store.root not in connected or connected[store.root][0] is not store.connection:
        connected[store.root] = store.connection, store.client(max_concurrency=1)
    return lambda: copy(connected[store.root][1])


def files(folder: Path, content: str = "", count: int = 6) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"part-{number}.csv").write_text(f"{content}{number}\n" * 10)
    return folder


def below(client: ObjectStorageClient, base: ObjectStorageUri, folder: str) -> list[str]:
    return [uri.key.removeprefix(base.child(folder).prefix) for uri in client.list_prefix(base.child(folder))]


def is_true(client: ObjectStorageClient, manifest: ObjectStorageStagingManifest) -> bool:
    """Return whether the store holds, byte for byte, what a manifest says."""
    return compare_staged(client, manifest, "sha256").agrees


# Two tries of one stage: a worker that was taken for dead, and the retry.


@pytest.mark.parametrize("part", [None, "map-00000"])
def test_of_two_tries_the_later_one_wins_though_the_earlier_one_ends_last(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path, part: str | None
) -> None:
    tree = files(tmp_path / "tree")
    later_try: list[ObjectStorageStagingManifest] = []
    earlier = clients()
    # All is sent but for the last file; the retry finds most of it there.
    before_sending(
        earlier, "part-5.csv", lambda: later_try.append(service(clients()).stage_files(plan(base, part=part), tree))
    )
    with pytest.raises(OvertakenError, match="a later try of this stage"):
        service(earlier).stage_files(plan(base, part=part), tree)

    own = part or "_run"
    assert json.loads(earlier.get_bytes(base.child(f"_manifests/run-1/{own}/manifest.json")))["manifest"][
        "object_count"
    ] == len(later_try[0].objects)
    expected = {f"{own}.json", f"{own}/manifest.json"} | ({"_run.json"} if part else set())
    assert set(below(earlier, base, "_manifests/run-1")) == expected, "the earlier try left records"


def test_what_an_overtaken_try_sends_last_is_found_by_a_verify(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    """No store lets a request be called back that is on its way when the later try looks at its prefix."""
    earlier, later_client = clients(), clients()
    first, second = files(tmp_path / "first", "old,"), files(tmp_path / "second", "new,")
    staged: list[ObjectStorageStagingManifest] = []
    before_sending(earlier, "part-5.csv", lambda: staged.append(service(later_client).stage_files(plan(base), second)))
    with pytest.raises(OvertakenError):
        service(earlier).stage_files(plan(base), first)
    assert recorded(earlier, base) == staged[0]
    report = compare_staged(later_client, staged[0])
    assert [uri.rpartition("/")[2] for uri in report.changed] == ["part-5.csv"]
    assert (report.missing, report.extra) == ((), ())


def test_an_overtaken_try_stops_in_the_middle_of_a_large_file(
    store: Store, base: ObjectStorageUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Checkpoints.__init__.__kwdefaults__
    monkeypatch.setitem(Checkpoints.__init__.__kwdefaults__, "every_seconds", 0.05)
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, content in ((old, b"old,"), (new, b"new,")):
        folder.mkdir()
        (folder / LARGE).write_bytes(content * (3 * PART_BYTES // 4))
    earlier, other = in_small_parts(store.client()), in_small_parts(store.client())
    put_file = earlier.put_file
    staged: list[ObjectStorageStagingManifest] = []

    def put(content: Any, uri: ObjectStorageUri, *, on_read: Callable[[int], None], **options: Any) -> Any:
        def overtaken(size_bytes: int) -> None:
            if not staged:
                with ThreadPoolExecutor(1) as pool:  # obstore takes no call from what it reads
                    staged.append(pool.submit(service(other).stage_files, plan(base), new).result())
                give_up = time.monotonic() + 20
                while time.monotonic() < give_up:
                    on_read(0)
                    time.sleep(0.01)
            on_read(size_bytes)

        return put_file(content, uri, on_read=overtaken, **options)

    earlier.put_file = put
    with pytest.raises(OvertakenError, match="a later try of this stage"):
        service(earlier).stage_files(plan(base), old)
    assert is_true(other, staged[0]), "the earlier try went on sending"
    assert other.list_uploads(base) == []


def test_a_later_try_whose_sign_of_life_goes_when_the_earlier_one_ends_is_not_overtaken(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    """An earlier try removes its sign of life just when the later one has written its own."""
    tree = files(tmp_path / "tree")
    service(clients()).stage_files(plan(base), tree)
    (tree / "part-5.csv").write_text("another")
    client, other = clients(), clients()
    alive = base.child("_manifests/run-1/_run/alive.json")
    before_sending(client, "part-5.csv", lambda: other.delete_objects([alive]))
    assert is_true(client, service(client).stage_files(plan(base), tree))


def test_a_try_that_finds_other_objects_than_it_sent_fails_and_the_next_one_succeeds(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    """What the earlier try sent last came before the later one's last look."""
    old, new = files(tmp_path / "old", "old,"), files(tmp_path / "new", "new,")
    later_try = clients()
    send = clients().put_file
    before_sending(later_try, "part-5.csv", lambda: send(old / "part-0.csv", base.child("run-1/part-0.csv")))
    with pytest.raises(PrefixMismatchError, match=r"part-0\.csv"):
        service(later_try).stage_files(plan(base), new)
    assert recorded(later_try, base) is None
    assert is_true(later_try, service(clients()).stage_files(plan(base), new))


# Two writers: tasks that were given one base_uri and run_id.


def test_of_two_writers_the_one_that_claims_first_wins_and_the_other_writes_nothing(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    mine, theirs = files(tmp_path / "mine", "mine,"), files(tmp_path / "theirs", "theirs,", 3)
    client = clients()
    staged: list[ObjectStorageStagingManifest] = []
    # The prefix is still empty when the one looks, and is the other's when it claims.
    after_call(
        client,
        "list_objects",
        "run-1",
        lambda: staged.append(service(clients(), OTHER).stage_files(plan(base), theirs)),
    )
    with pytest.raises(ClaimedByAnotherWriterError, match="other_dag"):
        service(client).stage_files(plan(base), mine)
    assert is_true(client, staged[0])
    assert set(below(client, base, "_manifests/run-1")) == {"_run.json", "_run/manifest.json"}


@pytest.mark.parametrize("in_parts", [False, True])
def test_writers_that_begin_together_are_one_winner_and_clear_errors(
    store: Store, clients: Clients, base: ObjectStorageUri, tmp_path: Path, in_parts: bool
) -> None:
    tree = files(tmp_path / "tree", count=2)
    together = Barrier(4)
    ready = [store.client() for _ in range(4)]  # their connection is in the environment, which threads share

    def begin(number: int) -> ObjectStorageStagingManifest | DponeAirflowError:
        client = ready[number]
        writer = StagingWriter("test", f"dag-{number}", "run", "stage", number if in_parts else -1)
        place = plan(base, part=f"map-{number:05d}" if in_parts else None)
        together.wait(30)
        try:
            return service(client, writer).stage_files(place, tree)
        except DponeAirflowError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(begin, range(4)))
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, ObjectStorageStagingManifest)]
    assert {type(outcome) for outcome in outcomes if outcome is not won} == {ClaimedByAnotherWriterError}
    assert is_true(clients(), won)
    assert len(clients().list_prefix(base.child("run-1"))) == 2


# Parts of one run.


def test_all_parts_of_a_run_are_staged_side_by_side(
    store: Store, clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    tree = files(tmp_path / "tree", count=2)
    together = Barrier(4)
    ready = [store.client() for _ in range(4)]

    def begin(number: int) -> ObjectStorageStagingManifest:
        together.wait(30)
        return service(ready[number], StagingWriter("test", "dag", "run", "stage", number)).stage_files(
            plan(base, part=f"map-{number:05d}"), tree, live_parts={f"map-{number:05d}" for number in range(4)}
        )

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(begin, range(4)))
    assert is_true(clients(), ObjectStorageStagingManifest.merge(parts))


def test_a_stage_without_parts_and_one_in_parts_never_mix(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    tree = files(tmp_path / "tree", count=2)
    client = clients()
    staged: list[ObjectStorageStagingManifest] = []
    after_call(
        client,
        "list_objects",
        "run-1",
        lambda: staged.append(service(clients()).stage_files(plan(base), tree)),
    )
    with pytest.raises(ClaimedByAnotherWriterError, match="in_parts"):
        service(client).stage_files(plan(base, part="map-00000"), tree)
    assert is_true(client, staged[0])


# A deletion while a stage is at work: a zombie's upload that comes late, a cleared stage under a sweep.


def cleanup(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    clean_up_run(client, str(base), "run-1", policy="delete_always")


def sweep(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    report = sweep_base(client, str(base), older_than=timedelta(hours=1), dry_run=False, now=later())
    assert [run.run_id for run in report.swept] == ["run-1"], report.failures


DELETIONS = {"cleanup": cleanup, "sweep": sweep}
MOMENTS: dict[str, Callable[[Any, Callable[[], None]], None]] = {
    "before the last file is sent": lambda client, do: before_sending(client, "part-5.csv", do),
    "when all files are sent": lambda client, do: after_sending(client, "part-5.csv", do),
    "after the last listing": lambda client, do: after_listing(client, "run-1/part-5.csv", do),
    "before the manifest": lambda client, do: before_call(client, "put_bytes", "/manifest.json", do),
    "after the manifest": lambda client, do: after_call(client, "put_bytes", "/manifest.json", do),
}


# A sweep deletes by the same code.
@pytest.mark.parametrize(
    ("deletion", "moment"),
    [*(("cleanup", moment) for moment in MOMENTS), *(("sweep", moment) for moment in list(MOMENTS)[::3])],
)
def test_a_stage_under_which_its_run_is_deleted_fails_and_what_it_leaves_is_swept(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path, deletion: str, moment: str
) -> None:
    tree = files(tmp_path / "tree")
    client, other = clients(), clients()
    MOMENTS[moment](client, lambda: DELETIONS[deletion](other, base))
    with pytest.raises(OvertakenError, match="a cleanup or a sweep"):
        service(client).stage_files(plan(base), tree)

    assert recorded(client, base) is None
    left = below(client, base, "run-1")
    assert left == (["part-5.csv"] if moment == "before the last file is sent" else [])
    if left:  # by a request that was on its way: nobody's, but for a sweep
        found = sweep_base(clients(), str(base), older_than=timedelta(hours=1), now=later())
        assert [(run.run_id, run.objects) for run in found.swept] == [("run-1", 1)]
        sweep(clients(), base)
        assert below(client, base, "run-1") == []
    assert is_true(client, service(clients()).stage_files(plan(base), tree)), "a try after the deletion"


def test_a_stage_under_which_a_deletion_dies_half_way_fails(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    client, other = clients(), clients()

    def die() -> None:
        raise KeyboardInterrupt

    after_call(other, "delete_objects", "part-0.csv", die)

    def deletion_dies() -> None:
        with pytest.raises(KeyboardInterrupt):
            cleanup(other, base)

    before_call(client, "put_bytes", "/manifest.json", deletion_dies)
    with pytest.raises(OvertakenError, match="a cleanup or a sweep"):
        service(client).stage_files(plan(base), files(tmp_path / "tree"))
    assert recorded(client, base) is None


def test_a_part_under_which_the_whole_run_is_deleted_fails(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    tree = files(tmp_path / "tree")
    client = clients()
    before_call(client, "put_bytes", "/manifest.json", lambda: cleanup(clients(), base))
    with pytest.raises(OvertakenError, match="a cleanup or a sweep"):
        service(client).stage_files(plan(base, part="map-00000"), tree)
    assert not client.exists(base.child("_manifests/run-1/map-00000/manifest.json"))


@pytest.mark.parametrize("deletion", DELETIONS)
def test_a_stage_that_begins_and_ends_during_a_deletion_is_told_by_the_deletion(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path, deletion: str
) -> None:
    """It finds its objects there, keeps them and has a manifest, and then they are deleted."""
    tree = files(tmp_path / "tree")
    service(clients()).stage_files(plan(base), tree)
    client = clients()
    staged: list[ObjectStorageStagingManifest] = []
    before_call(
        client, "delete_objects", "part-0.csv", lambda: staged.append(service(clients()).stage_files(plan(base), tree))
    )
    if deletion == "cleanup":
        with pytest.raises(OvertakenError, match="Run that stage again"):
            cleanup(client, base)
    else:
        report = sweep_base(client, str(base), older_than=timedelta(hours=1), dry_run=False, now=later())
        assert "Run that stage again" in report.failures["run-1"]
    assert len(compare_staged(client, staged[0]).missing) == 6
    record = json.loads(client.get_bytes(base.child("_manifests/run-1/_run/cleanup.json")))
    assert (record["outcome"], record["deleted_objects"]) == ("deleted", 6)
    assert is_true(client, service(clients()).stage_files(plan(base), tree))


def test_a_stage_that_sends_what_a_cleanup_has_deleted_is_told_by_the_cleanup(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    tree = files(tmp_path / "tree")
    service(clients()).stage_files(plan(base), tree)
    client = clients()
    staged: list[ObjectStorageStagingManifest] = []
    after_call(
        client, "delete_objects", "part-0.csv", lambda: staged.append(service(clients()).stage_files(plan(base), tree))
    )
    with pytest.raises(DeleteIncompleteError) as failed:
        cleanup(client, base)
    assert set(failed.value.left) == {item.uri for item in staged[0].objects}
    assert is_true(client, staged[0])


def test_a_stage_that_begins_before_the_sweep_comes_to_its_run_is_left_alone(
    clients: Clients, base: ObjectStorageUri, tmp_path: Path
) -> None:
    tree = files(tmp_path / "tree")
    service(clients()).stage_files(plan(base), tree)
    client = clients()
    staged: list[ObjectStorageStagingManifest] = []
    newest = max(item.modified_at for item in client.list_objects(base))
    while datetime.now(UTC) < newest + timedelta(seconds=1):  # some stores tell times in seconds
        time.sleep(0.05)
    # The sweep has read the claim and finds the run due.
    after_call(client, "list_objects", "run-1", lambda: staged.append(service(clients()).stage_files(plan(base), tree)))
    report = sweep_base(client, str(base), older_than=timedelta(hours=1), dry_run=False, now=later())
    assert (report.swept, report.failures) == ([], {})
    assert is_true(client, staged[0])


def test_two_cleanups_at_once_both_succeed(clients: Clients, base: ObjectStorageUri, tmp_path: Path) -> None:
    service(clients()).stage_files(plan(base), files(tmp_path / "tree"))
    client = clients()
    before_call(client, "delete_objects", "part-0.csv", lambda: cleanup(clients(), base))
    cleanup(client, base)
    assert below(client, base, "run-1") == []
    record = json.loads(client.get_bytes(base.child("_manifests/run-1/_run/cleanup.json")))
    assert record["outcome"] == "deleted"
