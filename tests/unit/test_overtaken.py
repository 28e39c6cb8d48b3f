"""Who is at work on a prefix is told by records; the races themselves are in tests/crash/test_races.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import ClaimedRun, StagingEvidence
from dpone_airflow.staging.overtaken import StageWatch
from dpone_airflow.staging.runs import read_runs
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import OvertakenError, StorageError

BASE = "s3://lake/staging"
MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]


@pytest.fixture
def evidence(client: LocalObjectStorageClient) -> StagingEvidence:
    return StagingEvidence(client, BASE, "run-1")


def names(client: LocalObjectStorageClient) -> list[str]:
    return [uri.key.removeprefix("staging/_manifests/run-1/") for uri in client.list_prefix(_EVIDENCE)]


_EVIDENCE = ObjectStorageUri.parse(f"{BASE}/_manifests/run-1")


def test_a_first_try_leaves_no_sign_but_its_claim_and_a_later_one_removes_its_own(
    service: ObjectStorageStagingService, client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile
) -> None:
    class Noting(LocalObjectStorageClient):
        def put_bytes(self, data: bytes, uri: ObjectStorageUri, **options: Any) -> ObjectStorageObject:
            name = uri.key.rpartition("/")[2]
            if not name.startswith(("manifest", "staged-")):
                written.append(name)
            return super().put_bytes(data, uri, **options)

    written: list[str] = []
    noting = ObjectStorageStagingService(client=Noting(client.root_dir), writer=StagingWriter("one"))
    noting.stage_files(make_plan(), write("a.csv"))
    assert written == ["_run.json"]
    noting.stage_files(make_plan(), write("a.csv"))
    assert written == ["_run.json", "alive.json"]
    assert names(client) == ["_run.json", "_run/manifest.json"]


def test_what_a_deletion_that_died_left_overtakes_nobody_and_goes_with_the_next_stage(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    evidence: StagingEvidence,
    make_plan: MakePlan,
    write: WriteFile,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    evidence.write_deleting({})
    service.stage_files(make_plan(), write("a.csv"))
    assert names(client) == ["_run.json", "_run/manifest.json"]


def test_a_deletion_that_died_is_told_until_another_one_ends(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    evidence: StagingEvidence,
    make_plan: MakePlan,
    write: WriteFile,
) -> None:
    service.stage_files(make_plan(cleanup_policy="delete_always"), write("a.csv"))
    evidence.write_deleting({"reason": "swept"})
    (run,) = read_runs(client, BASE).runs
    assert run.state == "cleanup_incomplete"
    clean_up_run(client, BASE, "run-1", policy="delete_always")
    (run,) = read_runs(client, BASE).runs
    assert run.state == "cleaned"
    assert "_run/deleting.json" not in names(client)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_sweep_records_the_end_of_a_deletion_that_died_after_its_last_object(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    evidence: StagingEvidence,
    make_plan: MakePlan,
    write: WriteFile,
    dry_run: bool,
) -> None:
    manifest = service.stage_files(make_plan(), write("a.csv"))
    evidence.write_deleting({"reason": "swept"})
    client.delete_objects([ObjectStorageUri.parse(manifest.objects[0].uri)])
    soon = datetime.now(UTC) + timedelta(days=2)
    for _ in range(2):  # the second has nothing to do
        sweep_base(client, BASE, older_than=timedelta(days=1), dry_run=dry_run, now=soon)
    assert ("_run/cleanup.json" in names(client)) is not dry_run
    assert ("_run/deleting.json" in names(client)) is dry_run
    if not dry_run:
        record = json.loads(client.get_bytes(evidence.cleanup_uri))
        assert (record["outcome"], record["reason"], record["deleted_objects"]) == ("deleted", "swept", 0)


def test_a_listing_that_fails_meanwhile_overtakes_nobody(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    class Busy(LocalObjectStorageClient):
        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            raise StorageError(f"Could not list {prefix}: SlowDown", uri=str(prefix))

    watch = StageWatch(client, ClaimedRun(evidence, is_new=True, run_is_new=True))
    watch._client = Busy(client.root_dir)
    with pytest.raises(StorageError, match="SlowDown"):
        watch.check()
    assert watch.overtaken() is None


def test_a_sign_of_life_is_not_given_by_who_is_overtaken(
    client: LocalObjectStorageClient, evidence: StagingEvidence
) -> None:
    watch = StageWatch(client, ClaimedRun(evidence, is_new=False, run_is_new=False))
    watch.say_alive()
    evidence.write_alive()
    theirs = client.get_bytes(evidence.alive_uri)
    with pytest.raises(OvertakenError, match="a later try of this stage"):
        watch.say_alive()
    assert client.get_bytes(evidence.alive_uri) == theirs
