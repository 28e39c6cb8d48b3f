"""The states that come out of stage >> load >> cleanup, for each policy and whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient
from dpone_airflow.storage.errors import StorageError
from dpone_airflow.storage.uploader import UploadTarget
from tests.dags.conftest import RunDag

DOCS = Path(__file__).parent.parent.parent / "docs" / "cleanup.md"

# What happens: the run's state, what is left of the files, and each task's state.
KEPT, DELETED, HALF = ["a.csv", "b.csv", "c.csv"], [], ["a.csv", "b.csv"]
EXPECTED: dict[tuple[str, str], tuple[str, list[str], tuple[str, str, str]]] = {
    ("retain", "nothing fails"): ("success", KEPT, ("success", "success", "success")),
    ("retain", "load fails"): ("failed", KEPT, ("success", "failed", "upstream_failed")),
    ("retain", "stage fails half-way"): ("failed", HALF, ("failed", "upstream_failed", "upstream_failed")),
    ("retain", "load is skipped"): ("success", KEPT, ("success", "skipped", "skipped")),
    ("delete_on_success", "nothing fails"): ("success", DELETED, ("success", "success", "success")),
    ("delete_on_success", "load fails"): ("failed", KEPT, ("success", "failed", "upstream_failed")),
    ("delete_on_success", "stage fails half-way"): ("failed", HALF, ("failed", "upstream_failed", "upstream_failed")),
    ("delete_on_success", "load is skipped"): ("success", KEPT, ("success", "skipped", "skipped")),
    ("delete_on_success", "cleanup fails"): ("failed", ["b.csv"], ("success", "success", "failed")),
    ("delete_always", "nothing fails"): ("success", DELETED, ("success", "success", "success")),
    ("delete_always", "load fails"): ("failed", DELETED, ("success", "failed", "success")),
    ("delete_always", "stage fails half-way"): ("failed", DELETED, ("failed", "upstream_failed", "success")),
    ("delete_always", "load is skipped"): ("success", DELETED, ("success", "skipped", "success")),
    ("delete_always", "cleanup fails"): ("success", ["b.csv"], ("success", "success", "failed")),
}


@pytest.fixture
def make_happen(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the store fail where the scenario wants it to."""
    write, delete_batch = LocalObjectStorageClient._write, LocalObjectStorageClient._delete_batch

    def put_all_but_c(self: Any, upload: UploadTarget, *how: Any) -> Any:
        if upload.uri.key.endswith("c.csv"):
            raise StorageError(f"Could not write {upload.uri}: the store is full.", uri=str(upload.uri))
        return write(self, upload, *how)

    def delete_all_but_b(self: Any, anywhere: Any, keys: list[str]) -> dict[str, str]:
        refused = {key: "held" for key in keys if key.endswith("b.csv")}
        return delete_batch(self, anywhere, [key for key in keys if key not in refused]) | refused

    def arrange(scenario: str) -> None:
        if scenario == "stage fails half-way":
            monkeypatch.setattr(LocalObjectStorageClient, "_write", put_all_but_c)
        if scenario == "cleanup fails":
            monkeypatch.setattr(LocalObjectStorageClient, "_delete_batch", delete_all_but_b)

    return arrange


@pytest.mark.parametrize("mode", ["plain", "as_teardown", "context manager"])
@pytest.mark.parametrize(("policy", "scenario"), sorted(EXPECTED))
def test_state(
    run: RunDag,
    staged: Callable[[], list[str]],
    records: Callable[[], dict[str, dict[str, Any]]],
    make_happen: Callable[[str], None],
    policy: str,
    scenario: str,
    mode: str,
) -> None:
    make_happen(scenario)
    result = run(
        f"""
        stage = stage_task(files=FILES, cleanup_policy={policy!r})

        @task(task_id="load")
        def load(manifest):
            if {scenario == "load fails"}:
                raise RuntimeError("the warehouse is down")
            if {scenario == "load is skipped"}:
                raise AirflowSkipException("nothing new")

        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        if {mode == "as_teardown"}:
            load(stage.output) >> cleanup.as_teardown(setups=stage)
        elif {mode == "context manager"}:
            with cleanup.as_teardown(setups=stage):
                load(stage.output)
        else:
            load(stage.output) >> cleanup
        """
    )
    run_state, left, tasks = EXPECTED[policy, scenario]
    assert (result.tasks["stage"], result.tasks["load"], result.tasks["cleanup"]) == tasks
    assert result.state == run_state
    assert staged() == left
    if scenario == "cleanup fails":
        outcome = records()["_run/cleanup.json"]
        assert outcome["outcome"] == "incomplete"
        assert [uri.rpartition("/")[2] for uri in outcome["left"]] == ["b.csv"]


def test_the_table_in_the_docs_is_what_was_seen() -> None:
    rows = [
        [cell.strip().replace("`", "").replace("*", "") for cell in line.strip("|\n").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("|")
    ]
    header = next(row for row in rows if row[0] == "policy" and "load fails" in row)
    below = rows[rows.index(header) + 2 :]
    table = {row[0]: dict(zip(header, row, strict=True)) for row in below[: len({policy for policy, _ in EXPECTED})]}
    for (policy, scenario), (run_state, left, _) in EXPECTED.items():
        cell = table[policy][scenario]
        assert cell.split(",")[0] == run_state, (policy, scenario, cell)
        said = "deleted" if not left else "named" if scenario == "cleanup fails" else "kept"
        assert said in cell, (policy, scenario, cell)
