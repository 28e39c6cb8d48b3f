"""What the evidence tells of the runs of a base, whatever lies there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.actor import described
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence, claim_run
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.run_records import HEAD_BYTES, UnreadableRecord, leading_members, read_objects
from dpone_airflow.staging.runs import NAMED, RecordedRun, RunState, read_runs
from dpone_airflow.staging.verify import VerifyReport, verify_staged
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import (
    DeleteIncompleteError,
    NoFilesMatchedError,
    SourceFileChangedError,
    StagingVerifyError,
    StorageAccessDeniedError,
    StorageError,
)

BASE = "s3://lake/staging"
MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]


class Counting(LocalObjectStorageClient):
    """Counts requests, and the bytes that are asked for."""

    def __init__(self, root_dir: Path) -> None:
        super().__init__(root_dir=root_dir)
        self.requests: Counter[str] = Counter()
        self.read_bytes = 0

    def list_objects(self, prefix: ObjectStorageUri) -> Any:
        self.requests["list"] += 1
        return super().list_objects(prefix)

    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
        self.requests["get"] += 1
        content = super().get_bytes(uri, limit=limit)
        self.read_bytes += len(content)
        return content


def by_of(writer: StagingWriter, try_number: int = 1) -> dict[str, Any]:
    return described(writer, try_number)


def evidence_of(client: LocalObjectStorageClient, run_id: str = "run-1", part: str | None = None) -> StagingEvidence:
    return StagingEvidence(client, BASE, run_id, part)


def put(client: LocalObjectStorageClient, name: str, content: bytes) -> str:
    uri = ObjectStorageUri.parse(f"{BASE}/_manifests/{name}")
    client.put_bytes(content, uri)
    return str(uri)


def only_run(client: LocalObjectStorageClient, run_id: str | None = None) -> RecordedRun:
    (run,) = read_runs(client, BASE, run_id).runs
    return run


@pytest.fixture
def staged(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, write: WriteFile
) -> Callable[..., ObjectStorageStagingManifest]:
    """Stage two files as a try of the writer; return the manifest."""
    write("a.csv")
    write("b.csv", b"1234")

    def stage(try_number: int = 1, map_index: int = -1, **changes: str | None) -> ObjectStorageStagingManifest:
        instance = replace(writer, map_index=map_index)
        service = ObjectStorageStagingService(client=client, writer=instance, by=by_of(instance, try_number))
        return service.stage_files(make_plan(**changes), str(write("a.csv").parent))

    return stage


def test_a_base_without_evidence_has_no_runs(client: LocalObjectStorageClient) -> None:
    client.put_bytes(b"x", ObjectStorageUri.parse(f"{BASE}/run-1/a.csv"))
    runs = read_runs(client, BASE)
    assert runs.runs == ()
    assert runs.totals() == {"runs": 0, "files": 0, "size_bytes": 0, "left_bytes": 0, "states": {}}
    assert runs.days() == {}


def test_a_staged_run_tells_who_when_what_and_with_what(
    client: LocalObjectStorageClient, staged: Callable[..., Any], writer: StagingWriter
) -> None:
    before = datetime.now(UTC)
    manifest = staged(try_number=2)
    run = only_run(client)
    (part,) = run.parts
    assert (run.run_id, run.prefix, run.in_parts, run.state) == ("run-1", f"{BASE}/run-1/", False, RunState.STAGED)
    assert run.writer == {"deployment": None, "dag_id": "daily", "dag_run_id": "manual__1", "task_id": "stage"}
    assert (run.tries, run.files, run.size_bytes) == (2, 2, manifest.total_size_bytes)
    assert run.left_bytes == manifest.total_size_bytes
    assert [run.field(name) for name in ("dataset", "table", "file_format", "cleanup_policy")] == [
        "sales",
        "orders",
        "csv",
        "delete_on_success",
    ]
    assert before <= part.began_at <= part.staged_at <= datetime.now(UTC)
    assert (part.sent, part.kept) == (2, 0)
    assert part.engine
    assert part.engine.startswith(client.engine)
    assert set(part.versions) >= {"python", "dpone-airflow"}
    assert part.versions == described(writer)["versions"]
    assert part.host == described(writer)["host"]


def test_a_claim_alone_is_a_run_that_is_being_staged(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan
) -> None:
    claim_run(client, make_plan(), writer)
    run = only_run(client)
    assert run.state is RunState.STAGING
    assert (run.files, run.size_bytes, run.left_bytes) == (None, None, 0)
    assert run.writer["task_id"] == "stage"
    assert run.field("table") == "orders"
    assert run.since == run.parts[0].claimed_at


def test_a_failed_try_says_why_until_a_later_one_stages_everything(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, staged: Callable[..., Any]
) -> None:
    claim_run(client, make_plan(), writer)
    StagingEvidence(client, BASE, "run-1", by=by_of(writer, 3)).write_failure(
        {"error": "SourceFileChangedError", "message": "b.csv was written to; sig=verysecret"}
    )
    run = only_run(client)
    assert run.state is RunState.FAILED
    assert run.failure == "SourceFileChangedError: b.csv was written to; sig=***"
    assert run.tries == 3
    assert run.since == run.last("failed_at")
    staged(try_number=4)
    run = only_run(client)
    assert (run.state, run.failure, run.tries, run.last("failed_at")) == (RunState.STAGED, None, 4, None)


def test_what_the_service_records_of_a_failure_is_a_failed_run(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> None:
    def arriving() -> Any:
        yield str(write("a.csv"))
        raise SourceFileChangedError("the extract broke off")

    with pytest.raises(SourceFileChangedError):
        service.stage_files(make_plan(), arriving())
    run = only_run(client)
    assert run.state is RunState.FAILED
    assert run.failure == "SourceFileChangedError: the extract broke off"


def test_a_try_that_fails_before_it_touches_anything_leaves_the_run_staged_and_is_told(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    staged()
    evidence_of(client).write_failure({"error": "AlreadyStagedError", "message": "it was staged before"})
    run = only_run(client)
    assert run.state is RunState.STAGED
    assert run.failure == "AlreadyStagedError: it was staged before"


def test_a_verify_and_a_cleanup_are_what_came_of_it(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    manifest = staged()
    verify_staged(client, manifest)
    run = only_run(client)
    assert run.state is RunState.VERIFIED
    assert run.last("verified_at") >= run.last("staged_at")
    assert run.parts[0].verify["mode"] == "listing"
    clean_up_run(client, BASE, "run-1", policy="delete_on_success")
    run = only_run(client)
    assert run.state is RunState.CLEANED
    assert run.left_bytes == 0
    assert run.size_bytes == manifest.total_size_bytes
    assert run.last("verified_at")
    assert run.parts[0].cleanup["deleted_objects"] == 2
    staged()
    assert only_run(client).state is RunState.STAGED


def test_a_verify_that_finds_differences_names_them(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    manifest = staged()
    client.put_bytes(b"stray", ObjectStorageUri.parse(f"{BASE}/run-1/stray.csv"))
    with pytest.raises(StagingVerifyError):
        verify_staged(client, manifest)
    run = only_run(client)
    assert run.state is RunState.VERIFY_FAILED
    assert run.parts[0].verify["extra"] == 1
    assert run.parts[0].verify["named"] == [f"extra: {BASE}/run-1/stray.csv"]


def test_a_cleanup_that_left_something_says_how_much(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    manifest = staged()
    left = {f"{BASE}/run-1/{number}.csv": "AccessDenied: locked" for number in range(NAMED + 50)}
    evidence_of(client).write_cleanup({"outcome": "incomplete", "deleted_objects": 1, "deleted_bytes": 4, "left": left})
    run = only_run(client)
    assert run.state is RunState.CLEANUP_INCOMPLETE
    assert run.left_bytes == manifest.total_size_bytes - 4
    assert run.parts[0].cleanup["left"] == NAMED + 50
    assert len(run.parts[0].cleanup["named"]) == NAMED


def test_a_record_that_lists_very_much_is_read_as_far_as_its_figures(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    staged()
    left = {f"{BASE}/run-1/{number:06d}.csv": "AccessDenied: locked" for number in range(5_000)}
    evidence_of(client).write_cleanup({"outcome": "incomplete", "deleted_objects": 1, "deleted_bytes": 4, "left": left})
    counting = Counting(client.root_dir)
    run = only_run(counting)
    assert run.state is RunState.CLEANUP_INCOMPLETE
    assert run.parts[0].cleanup["deleted_objects"] == 1
    assert counting.read_bytes <= HEAD_BYTES + 4_096


MANY = 5_000


def many_left() -> dict[str, str]:
    return {f"{BASE}/run-1/{number:06d}.csv": "AccessDenied: locked" for number in range(MANY)}


def test_however_much_a_cleanup_has_left_it_is_counted_right(
    client: LocalObjectStorageClient, staged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    staged()

    def refuses(self: LocalObjectStorageClient, uris: Any) -> None:
        raise delete_incomplete(many_left())

    monkeypatch.setattr(LocalObjectStorageClient, "delete_objects", refuses)
    with pytest.raises(DeleteIncompleteError):
        clean_up_run(client, BASE, "run-1", policy="delete_always")
    cleanup = only_run(client).parts[0].cleanup
    assert cleanup["left"] == MANY
    assert len(cleanup["named"]) == NAMED
    assert "at_least" not in cleanup


def test_however_much_a_verify_has_found_it_is_counted_right(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    staged()
    missing = tuple(many_left())
    report = VerifyReport("listing", f"{BASE}/run-1/", MANY, MANY, 0, missing, (f"{BASE}/run-1/x",))
    evidence_of(client).write_verify(report.to_dict())
    verify = only_run(client).parts[0].verify
    assert (verify["missing"], verify["extra"], verify["changed"]) == (MANY, 1, 0)
    assert verify["named"] == [f"missing: {uri}" for uri in missing[:NAMED]]
    assert "at_least" not in verify


@pytest.mark.parametrize("counted", [{}, {"left_objects": 7}, {"left_objects": "many"}])
def test_of_a_long_record_that_does_not_count_it_is_said_that_there_is_more(
    client: LocalObjectStorageClient, staged: Callable[..., Any], counted: dict[str, Any]
) -> None:
    staged()
    evidence_of(client).write_cleanup({"outcome": "incomplete", "deleted_bytes": 4, **counted, "left": many_left()})
    cleanup = only_run(client).parts[0].cleanup
    assert 500 < cleanup["left"] < MANY
    assert cleanup["at_least"] == ["left"]
    evidence_of(client).write_verify({"outcome": "different", "missing": list(many_left()), "extra": ["x"]})
    verify = only_run(client).parts[0].verify
    assert 500 < verify["missing"] < MANY
    assert (verify["at_least"], "extra" in verify) == (["missing"], False)
    assert len(verify["named"]) == NAMED


def test_of_a_record_that_is_read_whole_the_list_is_counted_and_not_the_figure_believed(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    staged()
    evidence_of(client).write_cleanup({"outcome": "incomplete", "left_objects": 9, "left": {"s3://lake/a": "locked"}})
    cleanup = only_run(client).parts[0].cleanup
    assert (cleanup["left"], "at_least" in cleanup) == (1, False)


def test_a_run_that_is_staged_again_after_its_cleanup_is_not_clean(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    manifest = staged()
    clean_up_run(client, BASE, "run-1", policy="delete_on_success")
    evidence = evidence_of(client)
    client.delete_objects([evidence.manifest_uri])
    assert only_run(client).state is RunState.CLEANED
    evidence.write_checkpoint(1, manifest.objects)
    assert only_run(client).state is RunState.STAGING
    evidence.write_failure({"error": "StorageError", "message": "the store is down"})
    assert only_run(client).state is RunState.FAILED
    clean_up_run(client, BASE, "run-1", policy="delete_on_success")
    run = only_run(client)
    assert (run.state, run.failure) == (RunState.CLEANED, "StorageError: the store is down")


def test_parts_are_told_apart_and_add_up(client: LocalObjectStorageClient, staged: Callable[..., Any]) -> None:
    for index in range(3):
        manifest = staged(map_index=index, part=f"map-0000{index}")
    run = only_run(client)
    assert [part.part for part in run.parts] == ["map-00000", "map-00001", "map-00002"]
    assert [part.writer["map_index"] for part in run.parts] == [0, 1, 2]
    assert run.files == 6
    assert run.size_bytes == 3 * manifest.total_size_bytes
    clean_up_run(client, BASE, "run-1", part="map-00001", policy="delete_always")
    run = only_run(client)
    assert [part.state for part in run.parts] == [RunState.STAGED, RunState.CLEANED, RunState.STAGED]
    assert (run.state, run.states) == (RunState.STAGED, {"staged": 2, "cleaned": 1})
    assert run.left_bytes == 2 * manifest.total_size_bytes
    evidence_of(client, part="map-00002").write_cleanup({"outcome": "incomplete", "left": {}})
    assert only_run(client).state is RunState.CLEANUP_INCOMPLETE
    clean_up_run(client, BASE, "run-1", policy="delete_always")
    run = only_run(client)
    assert (run.state, run.left_bytes) == (RunState.CLEANED, 0)
    staged(map_index=1, part="map-00001")
    run = only_run(client)
    assert [part.state for part in run.parts] == [RunState.CLEANED, RunState.STAGED, RunState.CLEANED]


def test_what_a_cleanup_of_the_whole_run_deleted_is_no_parts_own(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    for index in range(2):
        manifest = staged(map_index=index, part=f"map-0000{index}")
    evidence_of(client).write_cleanup({"outcome": "incomplete", "deleted_bytes": 4, "left": {"s3://lake/a": "locked"}})
    run = only_run(client)
    assert run.state is RunState.CLEANUP_INCOMPLETE
    assert run.left_bytes == 2 * manifest.total_size_bytes


def test_of_parts_in_several_states_the_one_to_look_at_comes_first(
    client: LocalObjectStorageClient, staged: Callable[..., Any], writer: StagingWriter, make_plan: MakePlan
) -> None:
    staged(map_index=0, part="map-00000")
    claim_run(client, make_plan(part="map-00001"), replace(writer, map_index=1))
    assert only_run(client).state is RunState.STAGING
    evidence_of(client, part="map-00001").write_failure({"error": "StorageError", "message": "no"})
    run = only_run(client)
    assert (run.state, run.states) == (RunState.FAILED, {"staged": 1, "failed": 1})


BROKEN = {
    "no JSON": b"no json",
    "no text": b"\xff\xfe\x00",
    "empty": b"",
    "a list": b"[]",
    "nothing in it": b"{}",
    "another kind": b'{"version": 1, "kind": "claim", "at": "2026-11-22T00:00:00+00:00"}',
    "no time": b'{"version": 1, "kind": "manifest", "at": "yesterday", "manifest": {}}',
    "a time that is a number": b'{"version": 1, "kind": "manifest", "at": 5, "manifest": {}}',
    "a time before all times": (
        b'{"version": 1, "kind": "manifest", "at": "0001-01-01T00:00:00+14:00",'
        b' "manifest": {"object_count": 1, "total_size_bytes": 1}}'
    ),
    "no counts": b'{"version": 1, "kind": "manifest", "at": "2026-11-22T00:00:00+00:00", "manifest": {}}',
    "counts that are none": (
        b'{"version": 1, "kind": "manifest", "at": "2026-11-22T00:00:00+00:00",'
        b' "manifest": {"object_count": -1, "total_size_bytes": true}}'
    ),
    "counts beyond all counts": (
        b'{"version": 1, "kind": "manifest", "at": "2026-11-22T00:00:00+00:00",'
        b' "manifest": {"object_count": 1, "total_size_bytes": ' + b"9" * 400 + b"}}"
    ),
    "a manifest that is a text": b'{"version": 1, "kind": "manifest", "at": "2026-11-22T00:00:00Z", "manifest": "x"}',
    "too deep": b'{"version": ' + b"[" * 50_000,
    "much of nothing": b"x" * (HEAD_BYTES + 1),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_record_is_named_and_the_other_runs_are_told(
    client: LocalObjectStorageClient, staged: Callable[..., Any], content: bytes
) -> None:
    staged(run_id="good")
    staged(run_id="bad")
    uri = put(client, "bad/_run/manifest.json", content)
    runs = {run.run_id: run for run in read_runs(client, BASE).runs}
    assert runs["good"].state is RunState.STAGED
    assert runs["bad"].state is RunState.UNREADABLE
    (record,) = runs["bad"].unreadable
    assert record.uri == uri
    assert record.reason.startswith("isn't a record of a manifest: ")
    assert runs["bad"].to_dict(datetime.now(UTC))["unreadable"] == [record.to_dict()]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("_run.json", {"kind": "claim", "version": 2, "at": "2026-11-22T00:00:00+00:00"}),
        ("_run/verify.json", {"kind": "verify", "version": 2}),
        (
            "_run/manifest.json",
            {"kind": "manifest", "version": 1, "at": "2026-11-22T00:00:00+00:00", "manifest": {"schema_version": 9}},
        ),
    ],
)
def test_a_record_of_a_newer_version_is_named_and_not_guessed_at(
    client: LocalObjectStorageClient, name: str, record: dict[str, Any]
) -> None:
    uri = put(client, f"run-1/{name}", json.dumps(record).encode())
    run = only_run(client)
    assert run.state is RunState.UNREADABLE
    (unreadable,) = run.unreadable
    assert unreadable.uri == uri
    assert "upgrade it" in unreadable.reason


def test_one_record_that_may_not_be_read_costs_no_other_run(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    class Guarded(LocalObjectStorageClient):
        def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
            if "/secret/" in uri.key:
                raise StorageAccessDeniedError(f"Could not read {uri}: AccessDenied.", uri=str(uri))
            return super().get_bytes(uri, limit=limit)

    staged(run_id="open")
    staged(run_id="secret")
    states = {run.run_id: run.state for run in read_runs(Guarded(client.root_dir), BASE).runs}
    assert states == {"open": RunState.STAGED, "secret": RunState.UNREADABLE}


def test_a_store_that_fails_is_an_error_and_no_report(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    class Down(LocalObjectStorageClient):
        def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
            raise StorageError("The store is down.")

    staged()
    with pytest.raises(StorageError, match="down"):
        read_runs(Down(client.root_dir), BASE)


def test_a_record_that_goes_while_it_is_read_is_not_there(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    class Vanishing(LocalObjectStorageClient):
        def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
            if uri.key.endswith("manifest.json"):
                self.delete_objects([uri])
            return super().get_bytes(uri, limit=limit)

    staged()
    run = only_run(Vanishing(client.root_dir))
    assert (run.state, run.files, run.unreadable) == (RunState.STAGING, None, ())


def test_what_has_not_the_name_of_a_record_is_left_out(
    client: LocalObjectStorageClient, staged: Callable[..., Any]
) -> None:
    staged()
    for name in (
        "README.md",
        "notes.json",
        "run-1/_run/redshift.manifest",
        "run-1/_run/notes.json",
        "run-1/a/b/c.json",
    ):
        put(client, name, b"{}")
    put(client, "run-2/readme.txt", b"hello")
    run = only_run(client)
    assert (run.run_id, run.state, run.in_parts) == ("run-1", RunState.STAGED, False)


def test_one_run_alone_is_read_with_its_claim(
    client: LocalObjectStorageClient, staged: Callable[..., Any], writer: StagingWriter
) -> None:
    staged(run_id="run-1")
    staged(run_id="run-10")
    assert only_run(client, "run-1").first("claimed_at")
    assert {run.first("claimed_at") for run in read_runs(client, BASE).runs} == {None}
    assert read_runs(client, BASE, "run-2").runs == ()


def test_without_by_in_the_manifest_the_claim_says_who(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan
) -> None:
    """A program that gives its evidence no description of itself."""
    run = claim_run(client, make_plan(), writer)
    run.evidence.write_manifest(ObjectStorageStagingManifest.of(make_plan(), []))
    assert only_run(client).writer["task_id"] == "stage"


def an_object(number: int, run_id: str = "run-1") -> ObjectStorageStagingObject:
    name = f"{number:06d}.csv"
    return ObjectStorageStagingObject(
        f"{BASE}/{run_id}/{name}", name, number, f"{number:064x}", "text/csv", f"etag-{number}"
    )


def record_objects(
    client: LocalObjectStorageClient, make_plan: MakePlan, writer: StagingWriter, count: int, run_id: str = "run-1"
) -> ObjectStorageUri:
    plan = make_plan(run_id=run_id)
    evidence = StagingEvidence(client, BASE, run_id, by=by_of(writer))
    evidence.write_manifest(
        ObjectStorageStagingManifest.of(plan, [an_object(number, run_id) for number in range(count)]),
        {
            "began_at": datetime.now(UTC).isoformat(),
            "engine": "boto3",
            "engine_version": "1.43",
            "sent": count,
            "kept": 0,
        },
    )
    return evidence.manifest_uri


def test_of_a_large_manifest_only_the_header_is_read(
    client: LocalObjectStorageClient, make_plan: MakePlan, writer: StagingWriter
) -> None:
    uri = record_objects(client, make_plan, writer, 2_000)
    assert client.stat(uri).size_bytes > 5 * HEAD_BYTES
    counting = Counting(client.root_dir)
    run = only_run(counting)
    assert (run.state, run.files, run.size_bytes) == (RunState.STAGED, 2_000, sum(range(2_000)))
    assert run.writer["dag_id"] == "daily"
    assert counting.requests == {"list": 1, "get": 1}
    assert counting.read_bytes == HEAD_BYTES


def test_two_thousand_runs_take_one_listing_and_two_requests_each(
    client: LocalObjectStorageClient, make_plan: MakePlan, writer: StagingWriter
) -> None:
    count = 2_000
    by = by_of(writer)
    for number in range(count):
        run_id = f"run-{number:05d}"
        evidence = StagingEvidence(client, BASE, run_id, by=by)
        header = ObjectStorageStagingManifest.of(make_plan(run_id=run_id), []).to_dict()
        said = {"version": 1, "at": "2026-11-22T12:00:00+00:00", "by": by}
        claim = said | {"kind": "claim", "writer": {}, "plan": {}}
        manifest = said | {"kind": "manifest", "manifest": header | {"object_count": 3, "total_size_bytes": 1_000}}
        cleanup = said | {"kind": "cleanup", "outcome": "deleted", "at": "2026-11-22T13:00:00+00:00"}
        client.put_bytes(json.dumps(claim).encode(), evidence.claim_uri)
        client.put_bytes(json.dumps(manifest).encode(), evidence.manifest_uri)
        if number % 2:
            client.put_bytes(json.dumps(cleanup).encode(), evidence.cleanup_uri)
    counting = Counting(client.root_dir)
    runs = read_runs(counting, BASE)
    assert runs.totals() == {
        "runs": count,
        "files": 3 * count,
        "size_bytes": 1_000 * count,
        "left_bytes": 1_000 * count // 2,
        "states": {"staged": count // 2, "cleaned": count // 2},
    }
    assert runs.days() == {date(2026, 11, 22): (3 * count, 1_000 * count)}
    assert counting.requests["list"] == 1
    assert counting.requests["get"] <= 2 * count


def test_runs_come_newest_first(client: LocalObjectStorageClient, staged: Callable[..., Any]) -> None:
    for name in ("b", "a", "c"):
        staged(run_id=name)
    assert [run.run_id for run in read_runs(client, BASE).runs] == ["c", "a", "b"]


def test_an_age_counts_from_when_it_was_staged(client: LocalObjectStorageClient, staged: Callable[..., Any]) -> None:
    staged()
    now = datetime.now(UTC) + timedelta(hours=3)
    run = read_runs(client, BASE, now=now).runs[0]
    assert 10_800 <= run.to_dict(now)["age_seconds"] < 10_860


def test_objects_come_one_after_the_other(
    client: LocalObjectStorageClient, make_plan: MakePlan, writer: StagingWriter
) -> None:
    uri = record_objects(client, make_plan, writer, 3)
    assert list(read_objects(client, uri, 3)) == [an_object(number).to_dict() for number in range(3)]


def test_a_list_of_objects_that_breaks_off_says_so_at_its_end(
    client: LocalObjectStorageClient, make_plan: MakePlan, writer: StagingWriter
) -> None:
    uri = record_objects(client, make_plan, writer, 5)
    content = client.get_bytes(uri)
    client.put_bytes(content[: content.index(b"000003.csv")], uri)
    *objects, last = read_objects(client, uri, 5)
    assert objects == [an_object(number).to_dict() for number in range(3)]
    assert isinstance(last, UnreadableRecord)
    assert last.uri == str(uri)
    assert "past its first 3 objects" in last.reason
    client.put_bytes(b"".join(content.splitlines(keepends=True)[:3]), uri)
    *objects, last = read_objects(client, uri, 5)
    assert len(objects) == 2
    assert last.reason == "lists 2 objects, and its header says 5"


@pytest.mark.parametrize("size", ["-1", "true", "9" * 400, '"1"'])
def test_an_object_without_a_size_is_none(
    client: LocalObjectStorageClient, make_plan: MakePlan, writer: StagingWriter, size: str
) -> None:
    uri = record_objects(client, make_plan, writer, 1)
    client.put_bytes(client.get_bytes(uri).replace(b'"size_bytes": 0', f'"size_bytes": {size}'.encode()), uri)
    (last,) = read_objects(client, uri, 1)
    assert isinstance(last, UnreadableRecord)


def test_objects_of_a_record_that_is_gone_are_none(client: LocalObjectStorageClient) -> None:
    (last,) = read_objects(client, evidence_of(client).manifest_uri, 1)
    assert isinstance(last, UnreadableRecord)
    assert "can't be read" in last.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), JSON, max_size=6)


@given(OBJECTS, st.data(), st.sampled_from([None, 1]))
def test_the_leading_members_of_a_text_that_breaks_off_are_those_of_the_whole(
    whole: dict[str, Any], data: st.DataObject, indent: int | None
) -> None:
    text = json.dumps(whole, ensure_ascii=False, indent=indent)
    cut = data.draw(st.integers(1, len(text)))
    found = leading_members(text[:cut])
    assert list(found) == list(whole)[: len(found)]
    for position, (name, value) in enumerate(found.items()):
        if position < len(found) - 1 or not isinstance(value, (dict, list)):
            assert value == whole[name]
        else:
            assert list(value) == list(whole[name])[: len(value)]


def test_a_member_is_complete_only_if_something_follows() -> None:
    assert leading_members('{"a": 12') == {}
    assert leading_members('{"a": 12,') == {"a": 12}
    assert leading_members('{"a": {"b": 1, "c": [2, 3') == {"a": {"b": 1, "c": [2]}}
    assert leading_members('{"a": ["b", "c", "d') == {"a": ["b", "c"]}
    assert leading_members('{"a": [') == {"a": []}
    with pytest.raises(ValueError, match="no '{'"):
        leading_members("[1, 2")


NAMES = ("_run.json", "_run/manifest.json", "_run/failed.json", "_run/verify.json", "_run/cleanup.json")
KINDS = ("claim", "manifest", "failure", "verify", "cleanup")
KEYS = (
    *("by", "writer", "plan", "manifest", "began_at", "engine", "engine_version", "sent", "kept", "outcome", "mode"),
    *("error", "message", "missing", "extra", "changed", "left", "deleted_bytes", "missing_objects", "left_objects"),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), min_size=5, max_size=5), st.booleans())
def test_whatever_records_hold_they_are_told_and_never_an_error(
    client: LocalObjectStorageClient, contents: list[dict[str, Any]], counted: bool
) -> None:
    for name, kind, content in zip(NAMES, KINDS, contents, strict=True):
        record = content | {"version": 1, "kind": kind, "at": "2026-11-22T12:00:00+00:00"}
        if kind == "manifest" and counted:
            record["manifest"] = {"object_count": 1, "total_size_bytes": 1} | {"table": content.get("manifest")}
        put(client, f"run-1/{name}", json.dumps(record).encode())
    (run,) = read_runs(client, BASE, "run-1").runs
    assert (run.state is RunState.UNREADABLE) is bool(run.unreadable)
    json.dumps([run.to_dict(datetime.now(UTC)), [part.to_dict() for part in run.parts]])


def test_no_files_at_all_leaves_no_run(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, make_plan: MakePlan, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoFilesMatchedError):
        service.stage_files(make_plan(), str(tmp_path / "empty"))
    assert read_runs(client, BASE).runs == ()
