"""``dpone-airflow sweep``: what it prints of a sweep, how it ends. What a sweep does is in ``test_sweep``."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dpone_airflow.cli.main import main
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.deletes import delete_incomplete

pytestmark = pytest.mark.usefixtures("emulator_connection")
BASE = "s3://lake/staging"
DAY = 86_400
MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]
Stored = Callable[..., list[str]]
StageRun = Callable[..., None]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(call: Call) -> Call:
    """Call a sweep of the base."""
    return lambda *arguments: call("sweep", BASE, *arguments)


@pytest.fixture
def stage_run(client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile) -> StageRun:
    """Stage a run of one file of 14 bytes as if that were so many days ago, by the store's clock."""

    def stage(run_id: str, days_ago: int, policy: str = "delete_on_success") -> None:
        service = ObjectStorageStagingService(client=client, writer=StagingWriter(task_id=run_id))
        service.stage_files(make_plan(run_id=run_id, cleanup_policy=policy), str(write("a.csv")))
        make_older(client, days_ago, run_id)

    return stage


def make_older(client: LocalObjectStorageClient, days: int, run_id: str) -> None:
    for path in Path(client.root_dir).rglob("*"):
        if path.is_file() and run_id in path.relative_to(client.root_dir).parts:
            at = path.stat().st_mtime - days * DAY
            os.utime(path, (at, at))


def test_without_yes_a_sweep_only_says_what_would_go_and_the_line_that_does_it(
    stage_run: StageRun, stored: Stored, call: Call
) -> None:
    stage_run("old", 40)
    stage_run("young", 3)
    stage_run("kept", 50, "retain")
    before = stored()
    code, out, _ = call("--older-than", "30d", "--max-runs", "5")
    assert code == 0
    lines = out.splitlines()
    assert lines[:4] == [
        f"base              {BASE}",
        "older than        30d",
        "looked at         3 runs",
        "left as they are  1 retained, 1 young",
    ]
    assert lines[5].split() == ["RUN", "ID", "STATE", "POLICY", "WHY", "NEWEST", "OBJECTS", "SIZE"]
    assert lines[6].split()[:4] == ["old", "staged", "delete_on_success", "older_than"]
    assert lines[6].endswith("  1  14 B")
    assert lines[8:10] == ["Would delete 1 run with 1 object, 14 B.", "Nothing was deleted. To do it:"]
    assert lines[10] == f"dpone-airflow sweep {BASE} --older-than 30d --max-runs 5 --conn-id emulator --yes"
    assert stored() == before

    assert main(shlex.split(lines[10])[1:]) == 0
    gone = {uri for uri in before if uri not in stored()}
    assert gone == {f"{BASE}/old/a.csv"}


def test_with_yes_the_evidence_says_who_swept(
    client: LocalObjectStorageClient, stage_run: StageRun, call: Call
) -> None:
    stage_run("old", 40)
    code, out, _ = call("--older-than", "30d", "--yes")
    assert code == 0
    assert out.endswith("\nDeleted 1 run with 1 object, 14 B.\n")
    record = json.loads(client.get_bytes(StagingEvidence(client, BASE, "old").cleanup_uri))
    assert record["by"]["command"] == "dpone-airflow sweep"
    assert record["by"]["user"]


def test_json_of_a_dry_run_is_that_of_the_real_one_but_for_the_flag_and_the_time(
    stage_run: StageRun, call: Call
) -> None:
    stage_run("old", 40)
    stage_run("left", 40, "delete_always")
    dry = json.loads(call("--older-than", "30d", "--overdue-after", "1d", "--json")[1])
    real = json.loads(call("--older-than", "30d", "--overdue-after", "1d", "--json", "--yes")[1])
    for told in (dry, real):
        del told["at"]
    assert (dry.pop("dry_run"), real.pop("dry_run")) == (True, False)
    assert dry == real
    assert [run["run_id"] for run in real["swept"]] == ["old", "left"]


def test_every_option_reaches_the_sweep(stage_run: StageRun, call: Call) -> None:
    for run_id, days, policy in (("a", 50, "delete_on_success"), ("b", 40, "retain"), ("c", 3, "delete_always")):
        stage_run(run_id, days, policy)

    def swept(*arguments: str) -> list[str]:
        return [run["run_id"] for run in json.loads(call("--json", *arguments)[1])["swept"]]

    assert swept("--older-than", "30d") == ["a"]
    assert swept("--older-than", "45d", "--include-retained") == ["a"]
    assert swept("--older-than", "30d", "--include-retained") == ["a", "b"]
    assert swept("--older-than", "30d", "--overdue-after", "2d") == ["a", "c"]
    assert swept("--older-than", "2d", "--include-retained", "--max-runs", "2") == ["a", "b"]
    assert swept("--older-than", "2d", "--include-retained", "--max-objects", "1") == ["a"]
    assert swept("--older-than", "2d", "--max-bytes", "13") == []


def test_what_was_postponed_unclaimed_unreadable_and_only_evidence_is_told_by_name(
    client: LocalObjectStorageClient, stage_run: StageRun, call: Call
) -> None:
    for run_id in ("a", "b", "cleaned"):
        stage_run(run_id, 50)
    clean_up_run(client, BASE, "cleaned", policy="delete_always")
    make_older(client, 50, "cleaned")
    client.put_bytes(b"?", ObjectStorageUri.parse(f"{BASE}/nobodys/x.csv"))
    client.put_bytes(b"no json", ObjectStorageUri.parse(f"{BASE}/_manifests/broken/_run.json"))
    make_older(client, 50, "broken")
    _, out, _ = call("--older-than", "30d", "--max-runs", "1", "--evidence-older-than", "40d")
    assert "evidence older than  40d\n" in out
    assert "\nPostponed, by the ceiling that each would pass:\n" in out
    assert "max_runs\n" in out
    assert f"\nClaimed by nobody, never touched:\nWHERE\n{BASE}/nobodys/\n" in out
    assert "\nUnreadable, not touched:\n" in out
    assert f"{BASE}/_manifests/broken/_run.json" in out
    _, out, _ = call("--older-than", "30d", "--evidence-older-than", "40d", "--yes")
    assert "\nEvidence of runs without objects:\n" in out
    assert "Deleted 2 runs with 2 objects, 28 B.\n" in out
    assert "Deleted 3 records of 1 run, " in out


def test_a_run_that_fails_is_named_the_others_go_and_the_exit_code_is_1(
    client: LocalObjectStorageClient,
    stage_run: StageRun,
    stored: Stored,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage_run("a", 50)
    stage_run("b", 40)
    delete = LocalObjectStorageClient.delete_objects

    def refuses_a(self: LocalObjectStorageClient, uris: Iterable[ObjectStorageUri]) -> object:
        uris = list(uris)
        if any("/a/" in str(uri) for uri in uris):
            raise delete_incomplete({str(uri): "AccessDenied: held" for uri in uris})
        return delete(self, uris)

    monkeypatch.setattr(LocalObjectStorageClient, "delete_objects", refuses_a)
    code, out, error = call("--older-than", "30d", "--yes")
    assert code == 1
    assert "\nNot swept:\nRUN ID  WHY\na       " in out
    assert "Deleted 1 run with 1 object, 14 B.\n" in out
    assert error.startswith("dpone-airflow sweep: 1 of the 2 runs")
    assert [uri for uri in stored() if "_manifests" not in uri] == [f"{BASE}/a/a.csv"]
    # Its record is young now: only who sweeps as if it were later comes to it again.
    make_older(client, 50, "a")
    code, out, _ = call("--older-than", "30d", "--yes", "--json")
    assert code == 1
    assert list(json.loads(out)["failures"]) == ["a"]


def test_a_whole_bucket_is_refused_unless_it_is_meant(stage_run: StageRun, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "s3://lake", "--older-than", "30d", "--conn-id", "emulator"]
    assert main(arguments) == 2
    assert "is a whole bucket" in capsys.readouterr().err
    assert main([*arguments, "--allow-bucket-root"]) == 0
