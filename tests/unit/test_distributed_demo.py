"""The distributed demo's verdict: everything has to be right for it to pass."""

from __future__ import annotations

import http.client
import io
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo.distributed import home, needs
from demo.distributed.__main__ import told_in_a_line
from demo.distributed.report import show
from demo.distributed.runs import Lost, Outcome, RunError, Size, _outcome
from dpone_airflow.storage.errors import StorageError
from local_servers.airflow_api import AirflowApiError

FILES, ROWS = 6, 60


def good(**changes: Any) -> Outcome:
    outcome = Outcome(
        size=Size(instances=3, files_each=2),
        state="success",
        tasks=Counter({"extract success": 3, "cleanup success": 1}),
        spread=Counter({"worker-1": 2, "worker-2": 1}),
        stage_seconds=3.0,
        total_seconds=9.0,
        sent=FILES,
        in_parts=FILES,
        in_manifest=FILES,
        verified=FILES,
        loaded={"objects": FILES, "rows": ROWS, "distinct": ROWS, "total": ROWS * (ROWS - 1) // 2},
        compared={"listed": FILES, "named": FILES, "strays": 0, "missing": 0},
        deleted=FILES,
        left=0,
        unfinished_uploads=0,
    )
    return replace(outcome, **changes)


def lost(**changes: Any) -> Lost:
    return replace(Lost(1, "worker-2", 1, 20.0, 25.0, 30.0, "worker-1", 1), **changes)


NEVER_BACK = Lost(1, "worker-2", 1, 20.0, None, None, None, None)


def verdict(outcome: Outcome) -> tuple[bool, str]:
    console = Console(record=True, width=200, file=io.StringIO())
    return show(console, outcome, {"worker-1": 4.0}), console.export_text()


def test_a_good_run_passes_and_tells_the_rate_and_the_spread() -> None:
    passed, text = verdict(good())
    assert passed
    for shown in ("worker-1 2, worker-2 1", "2 objects/s", "60 written, 60 loaded", "All counts agree."):
        assert shown in text


def test_a_run_with_a_killed_worker_tells_how_its_instances_came_back() -> None:
    passed, text = verdict(good(killed="worker-2", lost=[lost()], sent=FILES - 1))
    assert passed
    assert "taken for dead after 20 s, queued again after 25 s, begun again on worker-1 after 30 s; sent 1 of 2" in text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"state": "failed"}, "state of the DAG run: failed, not success"),
        ({"tasks": Counter({"extract success": 2})}, "instances that succeeded: 2, not 3"),
        ({"in_parts": 5}, "objects in the parts' manifests: 5, not 6"),
        ({"in_manifest": 5}, "objects in the run's manifest: 5, not 6"),
        ({"verified": 5}, "objects verified: 5, not 6"),
        ({"compared": {"listed": 7, "strays": 1, "missing": 0}}, "strays listed before the cleanup: 1, not 0"),
        ({"compared": {"listed": 5, "strays": 0, "missing": 1}}, "objects missing before the cleanup: 1, not 0"),
        ({"compared": {}}, "objects listed before the cleanup: None, not 6"),
        ({"loaded": {}}, "rows loaded: None, not 60"),
        ({"loaded": {"objects": 6, "rows": 60, "distinct": 50, "total": 1770}}, "distinct rows loaded: 50, not 60"),
        ({"loaded": {"objects": 6, "rows": 60, "distinct": 60, "total": 1}}, "sum of the rows' numbers: 1, not 1770"),
        ({"deleted": 5}, "objects deleted: 5, not 6"),
        ({"left": 1}, "objects left: 1, not 0"),
        ({"unfinished_uploads": 1}, "unfinished uploads: 1, not 0"),
        ({"sent": 7}, "objects sent: 7, not 6"),
        ({"spread": Counter({"worker-1": 3})}, "the instances ran on 1 worker only"),
        ({"killed": "worker-2"}, "worker-2 was killed, and no instance had to come back"),
        (
            {"killed": "worker-2", "lost": [lost(back_on="worker-2")]},
            "instance 1 came back on worker-2, which was killed",
        ),
        (
            {"killed": "worker-2", "lost": [NEVER_BACK]},
            "instance 1, which worker-2 had, never came back",
        ),
    ],
)
def test_anything_wrong_is_named_and_fails(changes: dict[str, Any], complaint: str) -> None:
    passed, text = verdict(good(**changes))
    assert not passed
    assert complaint in text


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("obstore", "extra s3"),
        ("rich", "dependency group demo"),
        ("celery", "dependency group distributed"),
        ("chdb", "dependency group distributed"),
    ],
)
def test_what_is_not_installed_is_told_with_what_brings_it(
    module: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_is_there", lambda name: name != module)
    told = needs.missing_extra() or ""
    assert f"needs the {needed}, and {sys.executable} has no {module}: " in told
    assert "uv pip install -e '.[s3]' --group demo --group distributed" in told
    assert "make demo-distributed" in told


def test_the_extras_and_groups_that_are_told_are_there() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    there = {f"extra {name}" for name in project["project"]["optional-dependencies"]}
    there |= {f"dependency group {name}" for name in project["dependency-groups"]}
    assert set(needs._MODULES) <= there


def test_an_instance_that_never_came_back_is_told_and_fails() -> None:
    passed, text = verdict(good(killed="worker-2", lost=[NEVER_BACK], sent=FILES - 1))
    assert not passed
    assert "queued again never, begun again on no worker never; sent 0 of 2" in text


@dataclass
class Answers:
    """Airflow's API and the store, after a run in which instance 1 never came back."""

    tries_of_the_lost: list[dict[str, Any]]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        done = {"task_id": "extract", "state": "success", "hostname": "worker-1", "try_number": 1}
        times = {"start_date": "2026-11-22T17:20:00Z", "end_date": "2026-11-22T17:20:05Z"}
        lost = {
            **done,
            "state": "failed",
            "hostname": "worker-2",
            "try_number": 2,
            "start_date": None,
            "end_date": None,
        }
        return [{**done, **times, "map_index": 0}, {**lost, "map_index": 1}]

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[dict[str, Any]]:
        assert map_index == 1
        return self.tries_of_the_lost

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, key: str = "return_value") -> Any:
        return {"base_uri": "s3://landing/x", "run_id": "r", "part": None} if map_index == 0 else None

    def part_records(self, base_uri: str, run_id: str) -> list[dict[str, Any]]:
        return [{"manifest": {"part": "map-00000", "object_count": 2}, "sent": 2}]

    def record(self, *name: str) -> None:
        return None

    def objects(self, *below: str) -> list[str]:
        return []

    def unfinished_uploads(self, base_uri: str) -> int:
        return 0


BEGUN = {"hostname": "worker-2", "end_date": "2026-11-22T17:20:21Z"}


@pytest.mark.parametrize(
    "tries",
    [[BEGUN], [BEGUN, {"hostname": None, "queued_when": None, "start_date": None, "end_date": None}]],
    ids=["no second try", "a second try that never began"],
)
def test_a_run_whose_lost_instance_never_came_back_has_a_verdict(tries: list[dict[str, Any]]) -> None:
    answers: Any = Answers(tries)
    killed_at = datetime(2026, 11, 22, 17, 20, 1, tzinfo=UTC)
    outcome = _outcome(answers, answers, "run", Size(2, 2), "failed", "worker-2", killed_at, {1: 1})
    assert outcome.lost == [Lost(1, "worker-2", 1, 20.0, None, None, None, None)]
    assert "instance 1, which worker-2 had, never came back" in outcome.complaints()
    assert (outcome.stage_seconds, outcome.objects_per_second) == (5.0, 0.0)


@pytest.mark.parametrize(
    "error",
    [
        RunError("The DAG run x hasn't ended."),
        AirflowApiError("GET /x of Airflow's API was answered with 500", 500),
        StorageError("s3://landing can't be listed"),
        TimeoutError("processes [1] are still there"),
        ConnectionRefusedError(111, "Connection refused"),
        http.client.RemoteDisconnected("Remote end closed connection without response"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_the_middle_ends_the_demo_with_a_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def demonstrate() -> int:
        raise error

    assert told_in_a_line(demonstrate) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"The demo failed: {error}"


def test_another_system_than_linux_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs.other_system() is None or sys.platform != "linux"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert (needs.other_system() or "").startswith("The distributed demo runs on Linux only, and this is darwin: ")


def test_a_directory_of_the_demo_is_emptied_and_stays_its_own(tmp_path: Path) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    for _ in range(2):
        with home.emptied(own):
            assert [path.name for path in own.iterdir()] == [home.MARKER]
        (own / "logs").mkdir()
        (own / "logs" / "log").touch()
        (own / "link").symlink_to(elsewhere)
    assert (elsewhere / "kept").exists()


def test_a_directory_that_is_empty_becomes_the_demos(tmp_path: Path) -> None:
    with home.emptied(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [home.MARKER]


def test_a_directory_in_which_another_run_is_at_work_is_refused_and_stays(tmp_path: Path) -> None:
    with home.emptied(tmp_path):
        (tmp_path / "data").touch()
        with pytest.raises(home.HomeError, match="Another run of the demo is at work in "), home.emptied(tmp_path):
            pass
        assert (tmp_path / "data").exists()
    with home.emptied(tmp_path):
        assert not (tmp_path / "data").exists()


def test_a_directory_with_something_in_it_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(home.HomeError, match="is not empty, and the demo hasn't made it: "), home.emptied(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    thesis = tmp_path / "thesis.txt"
    with pytest.raises(home.HomeError, match="is not a directory: "), home.emptied(thesis):
        pass
