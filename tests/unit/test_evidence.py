"""Who a run prefix belongs to is claimed before the first byte, and the records outlive the objects."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest, ObjectStorageStagingPlan, StagingWriter
from dpone_airflow.staging.evidence import StagingEvidence, claim_run
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ClaimedByAnotherWriterError,
    ClaimError,
    InvalidInputError,
    ObjectAlreadyExistsError,
    UnclaimedPrefixError,
)

MakePlan = Callable[..., ObjectStorageStagingPlan]
Stored = Callable[..., list[str]]
FOLDER = "s3://lake/staging/_manifests/run-1"
PLAN = {"base_uri": "s3://lake/staging", "run_id": "run-1"}


@pytest.fixture
def evidence(client: LocalObjectStorageClient) -> StagingEvidence:
    return StagingEvidence(client, "s3://lake/staging", "run-1")


def record(client: LocalObjectStorageClient, uri: str | ObjectStorageUri) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.get_bytes(ObjectStorageUri.parse(str(uri))))
    return found


def test_the_records_of_a_run_lie_beside_it_and_not_in_it(client: LocalObjectStorageClient) -> None:
    whole = StagingEvidence(client, "s3://lake/staging/", "run-1")
    assert str(whole.prefix) == "s3://lake/staging/run-1"
    assert [str(uri) for uri in (whole.claim_uri, whole.manifest_uri, whole.cleanup_uri)] == [
        f"{FOLDER}/_run.json",
        f"{FOLDER}/_run/manifest.json",
        f"{FOLDER}/_run/cleanup.json",
    ]
    part = StagingEvidence(client, "s3://lake/staging", "run-1", "map-00003")
    assert str(part.prefix) == "s3://lake/staging/run-1/map-00003"
    assert [str(uri) for uri in (part.claim_uri, part.manifest_uri, part.cleanup_uri)] == [
        f"{FOLDER}/map-00003.json",
        f"{FOLDER}/map-00003/manifest.json",
        f"{FOLDER}/map-00003/cleanup.json",
    ]


@pytest.mark.parametrize(
    "arguments", [("s3://lake/staging", "../other"), ("s3://lake/staging", "run-1", "../x"), ("nonsense", "run-1")]
)
def test_evidence_of_what_can_not_be_is_refused(client: LocalObjectStorageClient, arguments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError):
        StagingEvidence(client, *arguments)


def test_a_claim_says_who_when_and_what(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan
) -> None:
    claim_run(client, make_plan(), writer)
    claim = record(client, f"{FOLDER}/_run.json")
    assert datetime.now(UTC) - datetime.fromisoformat(claim.pop("at")) < timedelta(minutes=1)
    assert claim == {
        "version": 1,
        "kind": "claim",
        "writer": {
            "deployment": "",
            "dag_id": "daily",
            "dag_run_id": "manual__1",
            "task_id": "stage",
            "map_index": -1,
        },
        "plan": make_plan().to_dict(),
    }


def test_the_same_writer_may_claim_again_and_the_first_claim_stays(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter
) -> None:
    evidence.claim(writer, PLAN | {"try": 1})
    first = client.stat(evidence.claim_uri)
    evidence.claim(writer, PLAN | {"try": 2})
    assert client.stat(evidence.claim_uri) == first
    assert evidence.read_claim().writer == writer


def test_the_same_writer_may_claim_again_when_it_has_staged_something(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter
) -> None:
    evidence.claim(writer, PLAN)
    client.put_bytes(b"x", evidence.prefix.child("a.csv"))
    evidence.claim(writer, PLAN)


@pytest.mark.parametrize(
    "change",
    [
        {"deployment": "other"},
        {"dag_id": "other"},
        {"dag_run_id": "other"},
        {"task_id": "other"},
        {"map_index": 3},
    ],
)
def test_anybody_else_is_refused_and_both_are_named(
    evidence: StagingEvidence, writer: StagingWriter, change: dict[str, Any], stored: Stored
) -> None:
    evidence.claim(writer, PLAN)
    before = stored()
    with pytest.raises(ClaimedByAnotherWriterError) as refused:
        evidence.claim(replace(writer, **change), PLAN)
    ((name, value),) = change.items()
    assert f"{name}={value!r}" in str(refused.value)
    assert "dag_id='daily', dag_run_id='manual__1', task_id='stage'" in str(refused.value)
    assert "s3://lake/staging/run-1/" in str(refused.value)
    assert stored() == before
    assert evidence.read_claim().writer == writer


def test_objects_that_nobody_claimed_are_named_and_left_alone(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter, stored: Stored
) -> None:
    client.put_bytes(b"live", evidence.prefix.child("live.csv"))
    with pytest.raises(UnclaimedPrefixError, match=r"e\.g\. s3://lake/staging/run-1/live\.csv"):
        evidence.claim(writer, PLAN)
    assert stored() == ["s3://lake/staging/run-1/live.csv"]


def test_a_neighbour_with_a_longer_name_is_no_object_of_this_run(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter
) -> None:
    client.put_bytes(b"live", ObjectStorageUri.parse("s3://lake/staging/run-10/live.csv"))
    client.put_bytes(b"live", ObjectStorageUri.parse("s3://lake/staging/run-1.csv"))
    evidence.claim(writer, PLAN)
    assert evidence.read_claim().writer == writer


def test_of_many_writers_at_once_one_gets_the_prefix(client: LocalObjectStorageClient, writer: StagingWriter) -> None:
    threads = 8

    def claim(number: int) -> int | None:
        evidence = StagingEvidence(client, "s3://lake/staging", run_id)
        together.wait()
        try:
            evidence.claim(replace(writer, task_id=f"stage_{number}"), PLAN | {"run_id": run_id})
        except ClaimedByAnotherWriterError:
            return None
        return number

    with ThreadPoolExecutor(threads) as pool:
        for number in range(20):
            run_id = f"run-{number}"
            together = threading.Barrier(threads, timeout=30)
            (winner,) = [index for index in pool.map(claim, range(threads)) if index is not None]
            owner = StagingEvidence(client, "s3://lake/staging", run_id).read_claim()
            assert owner is not None
            assert owner.writer.task_id == f"stage_{winner}"


def test_a_claim_whose_answer_was_lost_is_known_as_our_own(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter
) -> None:
    """The store took the claim, the answer never came, and the request was sent again."""

    class AnswerLost(LocalObjectStorageClient):
        def put_bytes(self, *arguments: Any, **options: Any) -> Any:
            super().put_bytes(*arguments, **options)
            return super().put_bytes(*arguments, **options)

    lossy = StagingEvidence(AnswerLost(root_dir=client.root_dir), "s3://lake/staging", "run-1")
    lossy.claim(writer, PLAN)
    assert evidence.read_claim().writer == writer


def test_a_claim_that_vanishes_while_it_is_made_is_an_error_and_no_right_to_write(
    client: LocalObjectStorageClient, writer: StagingWriter
) -> None:
    """Somebody else had claimed the prefix, and the record was removed before it could be read."""

    class Vanishing(LocalObjectStorageClient):
        def put_bytes(self, data: bytes, uri: ObjectStorageUri, **options: Any) -> Any:
            raise ObjectAlreadyExistsError(f"{uri} is there already", uri=str(uri))

    evidence = StagingEvidence(Vanishing(root_dir=client.root_dir), "s3://lake/staging", "run-1")
    with pytest.raises(ClaimError, match="run it again"):
        evidence.claim(writer, PLAN)


def test_nobody_has_claimed_what_has_no_claim(evidence: StagingEvidence) -> None:
    assert evidence.read_claim() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"\xff\xfe\xfd",
        b"[]",
        b"null",
        b"{}",
        b'{"writer": "me"}',
        b'{"writer": ["me"]}',
        b'{"writer": {"dag_id": "daily", "a_later_field": 1}}',
    ],
)
def test_a_claim_that_can_not_be_read_is_nobodys_to_take(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter, content: bytes
) -> None:
    client.put_bytes(content, evidence.claim_uri)
    for ask in (evidence.read_claim, lambda: evidence.claim(writer, PLAN)):
        with pytest.raises(ClaimError, match=r"_run\.json is no claim that this dpone-airflow can read"):
            ask()
    assert client.get_bytes(evidence.claim_uri) == content


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("version", 99, r"it is of version 99, and this dpone-airflow reads up to 1: upgrade it"),
        ("version", None, "its version is 'None'"),
        ("version", "1", "its version is '1'"),
        ("version", True, "its version is 'True'"),
        ("version", 0, "its version is '0'"),
        ("kind", "manifest", "its kind is 'manifest'"),
    ],
)
def test_a_claim_of_a_later_version_or_of_another_kind_is_no_claim(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter, key: str, value: Any, says: str
) -> None:
    evidence.claim(writer, PLAN)
    content = json.dumps(json.loads(client.get_bytes(evidence.claim_uri)) | {key: value}).encode()
    client.put_bytes(content, evidence.claim_uri)
    for ask in (evidence.read_claim, lambda: evidence.claim(writer, PLAN)):
        with pytest.raises(ClaimError, match=says):
            ask()
    assert client.get_bytes(evidence.claim_uri) == content


@pytest.mark.parametrize("key", ["version", "kind"])
def test_a_claim_that_says_no_version_or_kind_is_no_claim(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter, key: str
) -> None:
    evidence.claim(writer, PLAN)
    content = json.loads(client.get_bytes(evidence.claim_uri))
    del content[key]
    client.put_bytes(json.dumps(content).encode(), evidence.claim_uri)
    with pytest.raises(ClaimError, match=f"KeyError: '{key}'"):
        evidence.read_claim()


@pytest.mark.parametrize("change", [{"file_format": "tsv"}, {"compression": "gzip"}, {"cleanup_policy": "retain"}])
def test_a_corrected_dag_may_be_cleared_and_run_again(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, change: dict[str, str]
) -> None:
    claim_run(client, make_plan(), writer)
    claim_run(client, make_plan(**change), writer)


def test_a_part_claims_the_whole_run_for_its_task_and_its_own_part_for_itself(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, stored: Stored
) -> None:
    for index in (0, 1):
        claim_run(client, make_plan(part=f"map-0000{index}"), replace(writer, map_index=index))
    assert stored() == [f"{FOLDER}/_run.json", f"{FOLDER}/map-00000.json", f"{FOLDER}/map-00001.json"]
    assert record(client, f"{FOLDER}/_run.json")["writer"]["map_index"] == -1
    assert "part" not in record(client, f"{FOLDER}/_run.json")["plan"]
    assert record(client, f"{FOLDER}/map-00001.json")["writer"]["map_index"] == 1
    assert record(client, f"{FOLDER}/map-00001.json")["plan"]["part"] == "map-00001"


def test_another_tasks_instance_can_not_take_a_part_of_the_run(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, stored: Stored
) -> None:
    claim_run(client, make_plan(part="map-00000"), replace(writer, map_index=0))
    before = stored()
    with pytest.raises(ClaimedByAnotherWriterError):
        claim_run(client, make_plan(part="map-00001"), replace(writer, task_id="other", map_index=1))
    assert stored() == before


def test_another_instance_can_not_take_a_part_that_is_claimed(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan
) -> None:
    claim_run(client, make_plan(part="map-00000"), replace(writer, map_index=0))
    with pytest.raises(ClaimedByAnotherWriterError, match="run-1/map-00000/ is claimed"):
        claim_run(client, make_plan(part="map-00000"), replace(writer, map_index=1))


def test_the_manifest_is_recorded_as_it_is(
    client: LocalObjectStorageClient, evidence: StagingEvidence, make_plan: MakePlan
) -> None:
    manifest = ObjectStorageStagingManifest.of(make_plan(dataset="Umsätze"), [])
    evidence.write_manifest(manifest)
    written = record(client, evidence.manifest_uri)
    assert (written["kind"], written["version"]) == ("manifest", 1)
    assert ObjectStorageStagingManifest.from_dict(written["manifest"]) == manifest
    assert "Umsätze".encode() in client.get_bytes(evidence.manifest_uri)
    assert client.stat(evidence.manifest_uri).content_type == "application/json"


def test_the_last_cleanup_is_recorded(client: LocalObjectStorageClient, evidence: StagingEvidence) -> None:
    evidence.write_cleanup({"outcome": "incomplete", "left": {"s3://lake/a": "locked"}})
    evidence.write_cleanup({"outcome": "deleted"})
    written = record(client, evidence.cleanup_uri)
    assert (written["kind"], written["outcome"]) == ("cleanup", "deleted")
    assert "left" not in written


def test_without_airflow_every_writer_is_another() -> None:
    writer = StagingWriter.new()
    assert writer != StagingWriter.new()
    assert writer.deployment
    assert writer.task_id
    assert writer.map_index == -1


def test_a_writer_is_shown_by_what_it_has(writer: StagingWriter) -> None:
    assert str(writer) == "dag_id='daily', dag_run_id='manual__1', task_id='stage'"
    assert str(replace(writer, map_index=0)).endswith("task_id='stage', map_index=0")
    assert replace(writer, map_index=3).of_whole_run == writer


@pytest.mark.parametrize(
    "change", [{"writer": {"dag_id": [[["deep"]]]}}, {"plan": PLAN | {"dataset": {"a": "b"}}}], ids=["writer", "plan"]
)
def test_a_claim_with_anything_but_words_and_numbers_is_none(
    client: LocalObjectStorageClient, evidence: StagingEvidence, writer: StagingWriter, change: dict[str, Any]
) -> None:
    evidence.claim(writer, PLAN)
    record = json.loads(client.get_bytes(evidence.claim_uri)) | change
    client.put_bytes(json.dumps(record).encode(), evidence.claim_uri)
    with pytest.raises(ClaimError, match="where a word or a number must be"):
        evidence.read_claim()
