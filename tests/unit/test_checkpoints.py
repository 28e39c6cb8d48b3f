"""What is staged is recorded while the stage goes on, once each, and only what is sure is trusted afterwards."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingObject,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    StagingWriter,
    checkpoints,
)
from dpone_airflow.staging.checkpoints import Checkpoints, StagedBefore, staged_before
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.sources import SourceFile
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import DeleteIncompleteError, StorageAccessDeniedError, StorageError
from dpone_airflow.storage.uploader import UploadTarget

MakePlan = Callable[..., ObjectStorageStagingPlan]
Stored = Callable[..., list[str]]
WriteFile = Callable[..., Path]
RUN, FOLDER = "s3://lake/staging/run-1", "s3://lake/staging/_manifests/run-1/_run"
# Nothing in a text may be taken for the place that the objects go to.
TRAPS = [
    '"objects": []',
    '", "objects": []',
    '\\"objects\\": []',
    '"objects": [',
    "objects",
    '{"objects": []}',
    "[]}}",
    "]\n[",
]


class Clock:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Pauses:
    """Stands for what the writing thread waits on: what happens in each pause, and how long they were to be."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._events: list[Callable[[], Any] | None] = []
        self._over = threading.Event()

    def of(self, keeper: Checkpoints, *events: Callable[[], Any] | None) -> None:
        self._events = list(events)
        keeper._ended = self  # type: ignore[assignment]

    def wait(self, pause: float) -> bool:
        self.asked.append(pause)
        if not self._events:
            self._over.set()
            return True
        if event := self._events.pop(0):
            event()
        return False

    def set(self) -> None: ...

    def wait_for_the_end(self) -> None:
        assert self._over.wait(10)


class InMemory:
    """A client that keeps what is written."""

    def __init__(self, storage_options: dict[str, Any]) -> None:
        self.storage_options = storage_options
        self.largest_put_bytes = 1024
        self.written: dict[str, bytes] = {}

    def put_file(self, path: Path, uri: ObjectStorageUri, **_options: Any) -> None:
        self.put_bytes(path.read_bytes(), uri)

    def put_bytes(self, data: bytes, uri: ObjectStorageUri, **_options: Any) -> None:
        self.written[str(uri)] = data


class Refusing(LocalObjectStorageClient):
    """Refuses checkpoints."""

    refused = 0

    def _write(self, upload: UploadTarget, *content: Any) -> str:
        if "/staged-" in upload.uri.key:
            self.refused += 1
            raise StorageAccessDeniedError(f"Could not write {upload.uri}: AccessDenied.")
        return super()._write(upload, *content)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(checkpoints, "time", clock)
    return clock


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def evidence(client: LocalObjectStorageClient) -> StagingEvidence:
    return StagingEvidence(client, "s3://lake/staging", "run-1")


@pytest.fixture
def again(client: LocalObjectStorageClient, writer: StagingWriter) -> Callable[..., list[str]]:
    """Stage once more and return the names of the files that were sent."""

    def stage(plan: ObjectStorageStagingPlan, files: Any, **options: Any) -> list[str]:
        sent: list[str] = []

        class Counting(LocalObjectStorageClient):
            def _write(self, upload: UploadTarget, *content: Any) -> str:
                if not upload.uri.key.startswith("staging/_manifests/"):
                    sent.append(upload.uri.key.removeprefix("staging/run-1/"))
                return super()._write(upload, *content)

        counting = Counting(root_dir=client.root_dir)
        counting.storage_options = options.pop("storage_options", {})
        ObjectStorageStagingService(client=counting, writer=writer).stage_files(plan, files, **options)
        return sorted(sent)

    return stage


def an_object(name: str = "a.csv", **changes: Any) -> ObjectStorageStagingObject:
    fields = {"uri": f"{RUN}/{name}", "file_name": name, "size_bytes": 3, "sha256": "0" * 64, "etag": "an-etag"}
    return ObjectStorageStagingObject(**(fields | changes))


def recorded(client: LocalObjectStorageClient) -> list[list[str]]:
    """Return the names that each checkpoint holds, in the order of their numbers."""
    uris = sorted(client.list_prefix(ObjectStorageUri.parse(FOLDER)), key=lambda uri: uri.key[-10:])
    records = [json.loads(client.get_bytes(uri)) for uri in uris if "/staged-" in uri.key]
    return [[item["file_name"] for item in record["manifest"]["objects"]] for record in records]


# When.


def test_a_checkpoint_is_written_every_few_seconds_with_what_no_other_has(
    client: LocalObjectStorageClient, evidence: StagingEvidence, pauses: Pauses
) -> None:
    keeper = Checkpoints(client, evidence, every_seconds=5.0)
    pauses.of(keeper, lambda: [keeper.add(an_object(name)) for name in "ab"], None, lambda: keeper.add(an_object("c")))
    with keeper:
        pauses.wait_for_the_end()
    assert recorded(client) == [["a", "b"], ["c"]], "nothing new is nothing to record"
    assert pauses.asked == [5.0] * 4


def test_by_default_it_is_every_five_seconds(
    client: LocalObjectStorageClient, evidence: StagingEvidence, pauses: Pauses
) -> None:
    keeper = Checkpoints(client, evidence)
    pauses.of(keeper, None)
    with keeper:
        pauses.wait_for_the_end()
    assert pauses.asked == [5.0, 5.0]


def test_the_longer_a_stage_takes_the_more_time_lies_between_two(
    client: LocalObjectStorageClient, evidence: StagingEvidence, pauses: Pauses, clock: Clock
) -> None:
    def pass_time(seconds: float) -> Callable[[], None]:
        return lambda: clock.advance(seconds)

    keeper = Checkpoints(client, evidence, every_seconds=5.0)
    pauses.of(keeper, pass_time(499), pass_time(501), pass_time(9000))
    with keeper:
        pauses.wait_for_the_end()
    assert pauses.asked == [5.0, 5.0, pytest.approx(10.0), pytest.approx(100.0)]


def test_a_stage_that_records_nothing_new_says_every_ten_minutes_that_it_goes_on(
    client: LocalObjectStorageClient, evidence: StagingEvidence, pauses: Pauses, clock: Clock
) -> None:
    said: list[int] = []

    def pass_time(seconds: float, *items: str) -> Callable[[], None]:
        def pass_it() -> None:
            said.append(alive())
            clock.advance(seconds)
            for item in items:
                keeper.add(an_object(item))

        return pass_it

    def alive() -> int:
        listed = client.list_prefix(evidence.folder)
        signs = [json.loads(client.get_bytes(uri)) for uri in listed if uri == evidence.alive_uri]
        assert all(sign["kind"] == "alive" for sign in signs)
        return len(signs)

    keeper = Checkpoints(client, evidence)
    # Ten minutes begin again with what is recorded.
    pauses.of(keeper, pass_time(599), pass_time(0, "a"), pass_time(599), pass_time(1), pass_time(0))
    with keeper:
        pauses.wait_for_the_end()
    assert said == [0, 0, 0, 0, 1]
    assert len(evidence.find_staged()) == 1, "a sign of life lists nothing that is staged"
    keeper.remove()
    assert client.list_prefix(evidence.folder) == []


def test_records_do_not_wait_for_a_large_file_that_has_all_requests(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    def write() -> None:
        evidence.write_alive()
        evidence.write_checkpoint(1, [])

    writing = threading.Thread(target=write, daemon=True)
    with client._lanes.holding(client.max_concurrency, 0):
        writing.start()
        writing.join(10)
        assert not writing.is_alive(), "a sweep would take the stage for dead"


def test_a_stage_of_days_still_gives_its_sign_of_life(
    client: LocalObjectStorageClient, evidence: StagingEvidence, pauses: Pauses, clock: Clock
) -> None:
    keeper = Checkpoints(client, evidence)
    pauses.of(keeper, lambda: clock.advance(3 * 24 * 3600), None)
    with keeper:
        pauses.wait_for_the_end()
    assert pauses.asked == [5.0, 600.0, 600.0]


def test_objects_are_recorded_while_the_stage_goes_on(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    with Checkpoints(client, evidence, every_seconds=0.01) as keeper:
        keeper.add(an_object("a"))
        give_up = time.monotonic() + 10
        while not recorded(client):
            assert time.monotonic() < give_up, "no checkpoint was written"
            time.sleep(0.01)
    assert recorded(client) == [["a"]]
    assert not [thread for thread in threading.enumerate() if thread.name == "dpone-checkpoints"]


def test_many_threads_record_each_object_once(client: LocalObjectStorageClient, evidence: StagingEvidence) -> None:
    together = threading.Barrier(4, timeout=10)

    def add(thread: int) -> None:
        together.wait()
        for number in range(100):
            keeper.add(an_object(f"{thread}-{number}"))
            time.sleep(0.0002)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    with suppress(ZeroDivisionError), Checkpoints(client, evidence, every_seconds=0.0005) as keeper:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        raise ZeroDivisionError
    batches = recorded(client)
    assert len(batches) > 1
    assert [] not in batches
    names = [name for batch in batches for name in batch]
    assert sorted(names) == sorted(f"{thread}-{number}" for thread in range(4) for number in range(100))


@pytest.mark.parametrize(
    "error", [StorageAccessDeniedError("AccessDenied"), OSError(28, "No space left on device")], ids=["store", "disk"]
)
def test_a_checkpoint_that_can_not_be_written_ends_the_stage(
    client: LocalObjectStorageClient, evidence: StagingEvidence, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: Any) -> ObjectStorageUri:
        raise error

    monkeypatch.setattr(evidence, "write_checkpoint", refuse)

    def stage() -> None:
        give_up = time.monotonic() + 5
        with Checkpoints(client, evidence, every_seconds=0.005) as keeper:
            while time.monotonic() < give_up:
                keeper.add(an_object())
                time.sleep(0.005)

    with pytest.raises(type(error)) as raised:
        stage()
    assert raised.value is error


# At the end.


def test_what_no_checkpoint_has_is_recorded_when_the_stage_fails(
    client: LocalObjectStorageClient, evidence: StagingEvidence, pauses: Pauses
) -> None:
    keeper = Checkpoints(client, evidence)
    pauses.of(keeper, lambda: keeper.add(an_object("a")))
    with suppress(ZeroDivisionError), keeper:
        pauses.wait_for_the_end()
        keeper.add(an_object("b"))
        raise ZeroDivisionError
    assert recorded(client) == [["a"], ["b"]]


def test_what_no_checkpoint_has_is_left_to_the_manifest_when_the_stage_succeeds(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    with Checkpoints(client, evidence) as keeper:
        keeper.add(an_object("a"))
    assert recorded(client) == []


def test_what_a_checkpoint_could_not_say_is_said_at_the_end(
    client: LocalObjectStorageClient, evidence: StagingEvidence, monkeypatch: pytest.MonkeyPatch, pauses: Pauses
) -> None:
    """A store that is busy for a moment ends the stage, and what it has staged isn't sent again."""
    write, refusals = evidence.write_checkpoint, [StorageError("SlowDown")]

    def once(number: int, objects: Any) -> ObjectStorageUri:
        if refusals:
            raise refusals.pop()
        return write(number, objects)

    monkeypatch.setattr(evidence, "write_checkpoint", once)
    keeper = Checkpoints(client, evidence)
    pauses.of(keeper, lambda: [keeper.add(an_object(name)) for name in "ab"])
    with suppress(StorageError), keeper:
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            keeper.add(an_object("c"))
            time.sleep(0.01)
    assert refusals == []
    names = {name for batch in recorded(client) for name in batch}
    assert {"a", "b"} <= names


def test_what_a_manifest_says_is_recorded_before_it_is_deleted(
    client: LocalObjectStorageClient, evidence: StagingEvidence, make_plan: MakePlan
) -> None:
    evidence.write_manifest(ObjectStorageStagingManifest.of(make_plan(), [an_object("a"), an_object("b")]))
    known = {"a": StagedBefore(3, "0" * 64, "an-etag", None)}
    with Checkpoints(client, evidence) as keeper:
        keeper.take_the_place_of(evidence.manifest_uri, known, ObjectStorageUri.parse(RUN))
    assert recorded(client) == [["a"]]
    assert not client.exists(evidence.manifest_uri)
    assert list(evidence.read_staged(evidence.find_staged())) == [an_object("a").to_dict()]


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        ("AccessDenied: no; it needs s3:DeleteObject", False),
        ("AccessDenied: the object is under legal hold", True),
        ("SlowDown: please", True),
        ("listed after the delete", True),
    ],
)
def test_a_manifest_that_can_not_be_taken_away_ends_the_stage_before_its_first_upload(
    client: LocalObjectStorageClient,
    make_plan: MakePlan,
    write: WriteFile,
    again: Any,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    ends: bool,
) -> None:
    """Killed half-way, the stage would leave a manifest that isn't true; who may not delete at all stages on."""

    def refuse(_client: Any, uris: Any) -> None:
        raise DeleteIncompleteError("It is left.", left={str(uri): reason for uri in uris})

    again(make_plan(), write("a.csv"))
    before = client.stat(ObjectStorageUri.parse(f"{RUN}/a.csv"))
    monkeypatch.setattr(LocalObjectStorageClient, "delete_objects", refuse)
    stage = partial(again, make_plan(), write("a.csv", b"another\n"), cleans_up=False, exact_prefix="check")
    if ends:
        with pytest.raises(DeleteIncompleteError):
            stage()
    else:
        assert stage() == ["a.csv"]
    assert (client.stat(before.uri) == before) is ends


def test_a_manifests_place_is_taken_by_records_that_do_not_overwrite_each_other(
    client: LocalObjectStorageClient, evidence: StagingEvidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may be due at just that moment."""
    write, both = evidence.write_checkpoint, threading.Barrier(2)

    def at_the_same_time(number: int, objects: Any) -> ObjectStorageUri:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=1)
        return write(number, objects)

    monkeypatch.setattr(evidence, "write_checkpoint", at_the_same_time)
    keeper = Checkpoints(client, evidence)
    threads = []
    for name in "ab":
        keeper.add(an_object(name))
        threads.append(threading.Thread(target=keeper.write_now))
        threads[-1].start()
        give_up = time.monotonic() + 10
        while keeper._unrecorded and time.monotonic() < give_up:
            time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert sorted(recorded(client)) == [["a"], ["b"]]


def test_the_failure_that_ends_a_stage_is_told_though_its_record_is_refused_too(
    tmp_path: Path, writer: StagingWriter, make_plan: MakePlan, write: WriteFile
) -> None:
    class Failing(Refusing):
        def _write(self, upload: UploadTarget, *content: Any) -> str:
            if upload.uri.key.endswith("b.csv"):
                raise ZeroDivisionError("what went wrong")
            return super()._write(upload, *content)

    client = Failing(root_dir=tmp_path / "store", max_concurrency=1)
    service = ObjectStorageStagingService(client=client, writer=writer)
    with pytest.raises(ZeroDivisionError, match="what went wrong"):
        service.stage_files(make_plan(), [write("a.csv"), write("b.csv")])
    assert client.refused == 1, "it wasn't tried"


def test_the_failure_that_ends_a_stage_is_told_though_its_record_finds_no_room(
    tmp_path: Path, writer: StagingWriter, make_plan: MakePlan, write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is likely what ended it, and a record is written to the disk first."""

    class Failing(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *content: Any) -> str:
            if upload.uri.key.endswith("b.csv"):
                monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such directory"))
                raise StorageError("what went wrong")
            return super()._write(upload, *content)

    client = Failing(root_dir=tmp_path / "store", max_concurrency=1)
    service = ObjectStorageStagingService(client=client, writer=writer)
    with pytest.raises(StorageError, match="what went wrong"):
        service.stage_files(make_plan(), [write("a.csv"), write("b.csv")])


def test_a_failed_stage_leaves_one_record_of_what_it_has_sent(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, write: WriteFile, again: Any
) -> None:
    class FailsOnC(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *content: Any) -> str:
            if upload.uri.key.endswith("c.csv"):
                raise StorageError("the network is down")
            return super()._write(upload, *content)

    files = [write(name) for name in ("a.csv", "b.csv", "c.csv", "d.csv")]
    failing = ObjectStorageStagingService(client=FailsOnC(root_dir=client.root_dir, max_concurrency=1), writer=writer)
    with pytest.raises(StorageError, match="the network is down"):
        failing.stage_files(make_plan(), files)
    assert recorded(client) == [["a.csv", "b.csv"]]
    assert again(make_plan(), files) == ["c.csv", "d.csv"]
    assert recorded(client) == [], "the manifest has taken its place"


def test_checkpoints_of_this_try_and_of_earlier_ones_are_removed(
    client: LocalObjectStorageClient, evidence: StagingEvidence, stored: Stored
) -> None:
    earlier = evidence.write_checkpoint(1, [an_object()])
    keeper = Checkpoints(client, StagingEvidence(client, "s3://lake/staging", "run-1"))
    for name in "ab":
        keeper.add(an_object(name))
        keeper.write_now()
    assert len(stored()) == 3
    keeper.remove([earlier])
    assert stored() == []
    keeper.remove()


def test_checkpoints_that_may_not_be_removed_do_no_harm(
    client: LocalObjectStorageClient,
    evidence: StagingEvidence,
    writer: StagingWriter,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
    again: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Locked(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            return dict.fromkeys(keys, "AccessDenied: no")

    evidence.claim(writer, make_plan().to_dict())
    evidence.write_checkpoint(1, [an_object("a.csv")])
    locked = ObjectStorageStagingService(client=Locked(root_dir=client.root_dir), writer=writer)
    with caplog.at_level(logging.INFO, logger=checkpoints.__name__):
        first = locked.stage_files(make_plan(), [write("a.csv"), write("b.csv")], exact_prefix="check", cleans_up=False)
    (line,) = [record for record in caplog.records if record.name == checkpoints.__name__]
    assert f"below {FOLDER} stay" in line.getMessage()
    assert "AccessDenied" in line.getMessage()
    assert line.levelno == logging.INFO
    assert f"{FOLDER}/manifest.json" in stored()
    assert len(recorded(client)) == 1

    write("b.csv", b"another\n")
    assert again(make_plan(), write("a.csv").parent) == ["b.csv"]
    assert first.object_count == 2
    assert recorded(client) == [], "the next try removes them"


@pytest.mark.parametrize("error", [DeleteIncompleteError("2 are left"), StorageAccessDeniedError("no")])
def test_a_delete_that_is_refused_is_no_failure_of_the_stage(
    client: LocalObjectStorageClient, evidence: StagingEvidence, monkeypatch: pytest.MonkeyPatch, error: StorageError
) -> None:
    def refuse(_uris: Any) -> None:
        raise error

    monkeypatch.setattr(client, "delete_objects", refuse)
    Checkpoints(client, evidence).remove([evidence.folder.child("staged-1.json")])


# What a record is.


def test_a_checkpoint_says_what_and_with_which_options(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    client.storage_options = {"StorageClass": "STANDARD_IA", "tags": {"team": "data"}}
    objects = [an_object("a.csv", content_type="text/csv"), an_object("b", etag=None)]
    uri = evidence.write_checkpoint(7, objects)
    assert str(uri).startswith(f"{FOLDER}/staged-")
    assert str(uri).endswith("-00007.json")
    assert client.stat(uri).content_type == "application/json"
    record = json.loads(client.get_bytes(uri))
    assert record.pop("at")
    assert record == {
        "version": 1,
        "kind": "checkpoint",
        "manifest": {"objects": [item.to_dict() for item in objects]},
        "storage_options": client.storage_options,
    }


def test_tries_never_overwrite_each_others_checkpoints(client: LocalObjectStorageClient, stored: Stored) -> None:
    for _ in range(3):
        StagingEvidence(client, "s3://lake/staging", "run-1").write_checkpoint(1, [an_object()])
    assert len(stored()) == 3


def test_each_object_has_a_line_of_its_own(client: LocalObjectStorageClient, evidence: StagingEvidence) -> None:
    uri = evidence.write_checkpoint(1, [an_object(name) for name in "abc"])
    _, *lines, _, _ = client.get_bytes(uri).decode().split("\n")
    assert [line[:8] for line in lines] == ['{"uri": '] * 3


@pytest.mark.parametrize("count", [0, 1, 2, 50])
@pytest.mark.parametrize("trap", TRAPS)
def test_a_manifests_record_is_the_manifest_whatever_its_names_are(
    client: LocalObjectStorageClient, evidence: StagingEvidence, make_plan: MakePlan, trap: str, count: int
) -> None:
    client.storage_options = {"SSEKMSEncryptionContext": trap, "tags": {"objects": trap, trap: "[]"}}
    names = [f"{number} {trap.replace(chr(92), '').replace(chr(10), '')}" for number in range(count)]
    plan = make_plan(dataset=trap, table=trap, file_format=trap, compression=trap)
    objects = [an_object(name, content_type=trap, etag=trap) for name in names]
    manifest = ObjectStorageStagingManifest.of(plan, objects)
    evidence.write_manifest(manifest)
    record = json.loads(client.get_bytes(evidence.manifest_uri))
    assert record["manifest"] == manifest.to_dict()
    assert record["storage_options"] == client.storage_options
    assert (record["kind"], record["version"]) == ("manifest", 1)


TEXTS = st.one_of(st.text(st.characters(codec="utf-8"), max_size=20), st.sampled_from(TRAPS))


@given(
    options=st.dictionaries(
        TEXTS, st.one_of(TEXTS, st.booleans(), st.dictionaries(TEXTS, TEXTS, max_size=3)), max_size=3
    ),
    fields=st.dictionaries(st.sampled_from(["dataset", "table", "file_format", "compression"]), TEXTS, max_size=4),
    part=st.sampled_from([None, "map-00000", "objects"]),
    texts=st.lists(st.tuples(TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS), max_size=4),
)
def test_any_record_is_valid_json_with_just_what_was_staged(
    options: dict[str, Any], fields: dict[str, str], part: str | None, texts: list[Any]
) -> None:
    client: Any = InMemory(options)
    evidence = StagingEvidence(client, "s3://lake/staging", "run-1", part)
    objects = tuple(ObjectStorageStagingObject(uri, name, 3, "0" * 64, *more) for uri, name, *more in texts)
    plan = ObjectStorageStagingPlan("s3://lake/staging", "run-1", "d", "t", "csv", part=part)
    plain = ObjectStorageStagingManifest.of(plan, [])
    # A manifest would refuse some of these texts, which a record needn't rely on.
    manifest = object.__new__(ObjectStorageStagingManifest)
    for name, value in {**vars(plain), **fields, "objects": objects}.items():
        object.__setattr__(manifest, name, value)
    checkpoint = evidence.write_checkpoint(1, objects)
    evidence.write_manifest(manifest)
    written = {uri: json.loads(text) for uri, text in client.written.items()}
    assert written[str(evidence.manifest_uri)]["manifest"] == manifest.to_dict()
    assert written[str(checkpoint)]["manifest"] == {"objects": [item.to_dict() for item in objects]}
    assert all(record["storage_options"] == options for record in written.values())


@pytest.mark.parametrize(
    "name",
    [
        "quote'\"s.csv",
        'a","etag":"x.csv',
        "ünïcode 数据 🚀.csv",
        "line\u2028separator\u2029.csv",
        "next\x85line.csv",
        "] , [ } {.csv",
        "%00%0A.csv",
        '"objects": [].csv',
    ],
)
def test_a_file_of_any_name_is_known_again(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, again: Any, name: str
) -> None:
    files = [write("plain.csv"), write(name)]
    assert again(make_plan(), files) == sorted(["plain.csv", name])
    assert again(make_plan(), files) == []


# What is read back.


def test_what_was_recorded_is_read_back(client: LocalObjectStorageClient, evidence: StagingEvidence) -> None:
    objects = [an_object("a.csv", content_type="text/csv"), an_object("b/ü.csv"), an_object("c", etag=None)]
    one = evidence.write_checkpoint(1, objects[:1])
    two = evidence.write_checkpoint(2, objects[1:])
    client.put_bytes(b"{}", evidence.cleanup_uri)
    found = evidence.find_staged()
    assert found == [one, two]
    assert list(evidence.read_staged(found)) == [item.to_dict() for item in objects]


def test_a_manifest_is_read_back_as_a_checkpoint_is(evidence: StagingEvidence, make_plan: MakePlan) -> None:
    checkpoint = evidence.write_checkpoint(1, [an_object("a.csv")])
    manifest = ObjectStorageStagingManifest.of(make_plan(), [an_object("a.csv"), an_object("b.csv")])
    evidence.write_manifest(manifest)
    assert evidence.find_staged() == [checkpoint, evidence.manifest_uri]
    assert list(evidence.read_staged([evidence.manifest_uri])) == [item.to_dict() for item in manifest.objects]


def test_a_record_of_many_objects_is_read_back_whole(client: LocalObjectStorageClient) -> None:
    small_parts = LocalObjectStorageClient(root_dir=client.root_dir, part_bytes=10_000)
    evidence = StagingEvidence(small_parts, "s3://lake/staging", "run-1")
    objects = [an_object(f"{number:05d} ü.csv") for number in range(5000)]
    uri = evidence.write_checkpoint(1, objects)
    assert client.stat(uri).size_bytes > small_parts.largest_put_bytes
    assert list(evidence.read_staged([uri])) == [item.to_dict() for item in objects]


def test_nothing_is_read_where_nothing_was_recorded(
    client: LocalObjectStorageClient, evidence: StagingEvidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where listing isn't allowed, S3 answers a read of what isn't there with a 403."""

    def refuse(uri: ObjectStorageUri, *_: Any) -> bytes:
        raise AssertionError(f"{uri} was read")

    for name in ("get_bytes", "get_file", "stat"):
        monkeypatch.setattr(client, name, refuse)
    assert evidence.find_staged() == []
    assert list(evidence.read_staged([])) == []


def test_the_records_of_other_parts_are_not_read(client: LocalObjectStorageClient) -> None:
    part = StagingEvidence(client, "s3://lake/staging", "run-1", "map-00001")
    for other in (None, "map-0000", "map-000011"):
        StagingEvidence(client, "s3://lake/staging", "run-1", other).write_checkpoint(1, [an_object()])
    assert part.find_staged() == []


HEAD = '{"version": 1, "storage_options": {}, "manifest": {"objects": ['
A_CSV = {"file_name": "a.csv", "size_bytes": 14, "sha256": "0" * 64, "etag": "an-etag"}


def lines_of(*entries: Any, head: str = HEAD) -> bytes:
    return "\n".join([head, ",\n".join(map(json.dumps, entries)), "]}}", ""]).encode()


UNREADABLE = {
    "empty": b"",
    "no json": b"no json",
    "cut off in its head": HEAD[:30].encode(),
    "cut off": lines_of(A_CSV)[:-20],
    "no text": b"\xff\xfe\xfd",
    "no text below its head": HEAD.encode() + b"\n\xff\xfe\xfd\n]}}\n",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "a text": b'"manifest"',
    "nothing known": b"{}",
    "no options": lines_of(A_CSV, head='{"manifest": {"objects": ['),
    "in several lines": json.dumps({"storage_options": {}, "manifest": {"objects": [A_CSV]}}, indent=1).encode(),
    "a list of nothing known": lines_of(A_CSV, head='[{"a": {"objects": ['),
    "a number for an object": lines_of(7),
    "a text for an object": lines_of("a.csv"),
    "null for an object": lines_of(None),
    "a list for an object": lines_of(["a.csv"]),
    "an object without its digest": lines_of({"file_name": "a.csv", "size_bytes": 14, "etag": "x"}),
    "a list for a name": lines_of(A_CSV | {"file_name": ["a.csv"]}),
    "a record for a name": lines_of(A_CSV | {"file_name": {}}),
    "deeper than can be read": b"[" * 100_000,
    "an object deeper than can be read": f"{HEAD}\n{'[' * 100_000}\n]}}}}\n".encode(),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("name", ["staged-00000000-00001.json", "manifest.json"])
def test_a_record_that_can_not_be_read_is_said_and_staged_again(
    client: LocalObjectStorageClient,
    evidence: StagingEvidence,
    writer: StagingWriter,
    make_plan: MakePlan,
    write: WriteFile,
    again: Any,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    name: str,
) -> None:
    evidence.claim(writer, make_plan().to_dict())
    evidence.write_checkpoint(1, [an_object("b.csv")])
    uri = evidence.folder.child(name)
    client.put_bytes(content, uri)
    files = [write("a.csv"), write("b.csv")]
    with caplog.at_level(logging.WARNING, logger="dpone_airflow.staging"):
        assert again(make_plan(), files) == ["a.csv", "b.csv"]
    (warning,) = [record.getMessage() for record in caplog.records if str(uri) in record.getMessage()]
    assert "what it records is staged again" in warning
    assert again(make_plan(), files) == []
    assert recorded(client) == []


def test_what_else_a_later_version_writes_is_no_reason_to_send_it_again(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    head = '{"version": 2, "new": [1, 2], "storage_options": {}, "manifest": {"new": 1, "objects": ['
    uri = evidence.folder.child("staged-00000000-00001.json")
    client.put_bytes(lines_of(A_CSV | {"new": 1}, A_CSV | {"file_name": "b.csv"}, head=head), uri)
    assert [entry["file_name"] for entry in evidence.read_staged([uri])] == ["a.csv", "b.csv"]


def test_a_record_that_is_gone_before_it_is_read_is_staged_again(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    gone = evidence.write_checkpoint(1, [an_object("a")])
    evidence.write_checkpoint(2, [an_object("b")])
    found = evidence.find_staged()
    client.delete_objects([gone])
    assert [entry["file_name"] for entry in evidence.read_staged(found)] == ["b"]


def test_a_store_that_refuses_a_record_is_an_error(
    client: LocalObjectStorageClient, evidence: StagingEvidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: ObjectStorageUri, *_: Any) -> None:
        raise StorageAccessDeniedError("no", uri=str(uri))

    uri = evidence.write_checkpoint(1, [an_object()])
    monkeypatch.setattr(client, "get_file", refuse)
    with pytest.raises(StorageAccessDeniedError):
        list(evidence.read_staged([uri]))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"StorageClass": "STANDARD_IA"}),
        ({"StorageClass": "STANDARD_IA"}, {}),
        ({"StorageClass": "STANDARD_IA"}, {"StorageClass": "GLACIER"}),
        ({"BucketKeyEnabled": True}, {"BucketKeyEnabled": False}),
        ({"tags": {"team": "data"}}, {"tags": {"team": "other"}}),
    ],
)
def test_what_was_staged_with_other_options_is_sent_again(
    make_plan: MakePlan, write: WriteFile, again: Any, before: dict[str, Any], now: dict[str, Any]
) -> None:
    files = [write("a.csv"), write("b.csv")]
    assert again(make_plan(), files, storage_options=before) == ["a.csv", "b.csv"]
    assert again(make_plan(), files, storage_options=dict(before)) == []
    assert again(make_plan(), files, storage_options=now) == ["a.csv", "b.csv"]
    assert again(make_plan(), files, storage_options=now) == []


def test_what_has_another_content_type_now_is_sent_again(make_plan: MakePlan, write: WriteFile, again: Any) -> None:
    files = [write("a.csv"), write("b")]
    assert again(make_plan(), files) == ["a.csv", "b"]
    assert again(make_plan(), files, content_type="text/csv") == ["b"]
    assert again(make_plan(), files, content_type="text/csv") == []


@pytest.mark.parametrize(
    ("recorded_as", "found_as", "known"),
    [
        ({}, (3, "an-etag"), True),
        ({"etag": None}, (3, "an-etag"), False),
        ({"etag": None}, (3, None), False),  # a store without ETags proves nothing
        ({"etag": "other"}, (3, "an-etag"), False),
        ({"size_bytes": 4}, (3, "an-etag"), False),
        ({}, (4, "an-etag"), False),
        ({}, (3, None), False),
        ({"file_name": "b.csv"}, (3, "an-etag"), False),
    ],
)
def test_only_what_lies_there_as_it_was_recorded_is_trusted(
    recorded_as: dict[str, Any], found_as: tuple[int, str | None], known: bool
) -> None:
    entry = replace(an_object("a.csv", content_type="text/csv"), **recorded_as).to_dict()
    trusted = staged_before([entry], {"a.csv": found_as})
    assert trusted == ({"a.csv": StagedBefore(3, "0" * 64, "an-etag", "text/csv")} if known else {})


def test_of_several_records_of_one_file_the_one_that_still_holds_counts() -> None:
    entries = [an_object(sha256=digest * 64, etag=etag).to_dict() for digest, etag in ("1x", "2y", "3z")]
    assert staged_before(entries, {"a.csv": (3, "y")})["a.csv"].sha256 == "2" * 64


@pytest.mark.parametrize(
    ("size", "content_type", "possible"), [(3, None, True), (4, None, False), (3, "text/csv", False)]
)
def test_another_size_or_type_is_not_even_hashed(size: int, content_type: str | None, possible: bool) -> None:
    source = SourceFile("/data/a.csv", "a.csv", size)
    assert StagedBefore(3, "0" * 64, "an-etag", None).could_be(source, content_type) is possible


def test_what_was_staged_before_has_the_entry_of_a_manifest() -> None:
    before = StagedBefore(3, "0" * 64, "an-etag", "text/csv")
    uri = ObjectStorageUri.parse(f"{RUN}/a.csv")
    assert before.as_object(uri, "a.csv") == an_object("a.csv", content_type="text/csv")
