"""A cleanup as a plain task and as a teardown: the states of mapped stages and groups, and what a clear does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_1_PLUS,
    AIRFLOW_V_3_2_PLUS,
    AIRFLOW_V_3_3_PLUS,
)
from airflow.utils.session import create_session

from dpone_airflow.storage import LocalObjectStorageClient
from tests.dags.conftest import RunDag
from tests.dags.same_run import in_the_same_run

DOCS = Path(__file__).parent.parent.parent / "docs" / "cleanup.md"
STYLES = ["plain", "as_teardown", "context manager"]

# The ways to put a cleanup behind a load.
BEHIND_THE_LOAD = {
    "plain": "load_it(stage.output) >> cleanup",
    "as_teardown": "load_it(stage.output) >> cleanup.as_teardown(setups=stage)",
    "context manager": "with cleanup.as_teardown(setups=stage):\n    load_it(stage.output)",
}

MAPPED_STAGE = """
stage = ObjectStorageStageOperator.partial(
    task_id="stage", base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
    conn_id="emulator", cleanup_policy={policy!r},
).expand(files=[FILES + "/a.csv", FILES + "/" + {second!r}, FILES + "/c.csv"])

@task(task_id="load")
def load_it(manifests):
    if {load_fails}:
        raise RuntimeError("the warehouse is down")
    assert len(manifests) == 3

cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
"""

MAPPED_GROUP = """
@task_group
def group(path):
    stage = stage_task(files=path, cleanup_policy={policy!r})

    @task(task_id="load")
    def load_it(manifest):
        if {load_fails} and manifest["part"] == "map-00001":
            raise RuntimeError("the warehouse is down")

    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    {behind_the_load}

group.expand(path=[FILES + "/a.csv", FILES + "/" + {second!r}, FILES + "/c.csv"])
"""

OK, FAILED, UPSTREAM = "success", "failed", "upstream_failed"
A, B, C = "map-00000/a.csv", "map-00001/b.csv", "map-00002/c.csv"

# What happens: the run's state, what is left, the states of stage 1, of load and of cleanup.
STAGE_EXPECTED: dict[tuple[str, str], tuple[str, list[str], tuple[str, str, str]]] = {
    ("retain", "nothing fails"): (OK, [A, B, C], (OK, OK, OK)),
    ("retain", "load fails"): (FAILED, [A, B, C], (OK, FAILED, UPSTREAM)),
    ("retain", "one instance of the stage fails"): (FAILED, [A, C], (FAILED, UPSTREAM, UPSTREAM)),
    ("delete_on_success", "nothing fails"): (OK, [], (OK, OK, OK)),
    ("delete_on_success", "load fails"): (FAILED, [A, B, C], (OK, FAILED, UPSTREAM)),
    ("delete_on_success", "one instance of the stage fails"): (FAILED, [A, C], (FAILED, UPSTREAM, UPSTREAM)),
    ("delete_always", "nothing fails"): (OK, [], (OK, OK, OK)),
    ("delete_always", "load fails"): (FAILED, [], (OK, FAILED, OK)),
    ("delete_always", "one instance of the stage fails"): (FAILED, [], (FAILED, UPSTREAM, OK)),
}

# The same of a group's instance 1; those beside it do as if nothing had failed.
GROUP_EXPECTED: dict[tuple[str, str], tuple[str, list[str], tuple[str, str, str]]] = {
    ("retain", "nothing fails"): (OK, [A, B, C], (OK, OK, OK)),
    ("retain", "load fails"): (FAILED, [A, B, C], (OK, FAILED, UPSTREAM)),
    ("retain", "one instance of the stage fails"): (FAILED, [A, C], (FAILED, UPSTREAM, UPSTREAM)),
    ("delete_on_success", "nothing fails"): (OK, [], (OK, OK, OK)),
    ("delete_on_success", "load fails"): (FAILED, [B], (OK, FAILED, UPSTREAM)),
    ("delete_on_success", "one instance of the stage fails"): (FAILED, [], (FAILED, UPSTREAM, UPSTREAM)),
    ("delete_always", "nothing fails"): (OK, [], (OK, OK, OK)),
    ("delete_always", "load fails"): (FAILED, [], (OK, FAILED, OK)),
    ("delete_always", "one instance of the stage fails"): (FAILED, [], (FAILED, UPSTREAM, OK)),
}


def arguments(policy: str, scenario: str) -> dict[str, Any]:
    return {
        "policy": policy,
        "second": "absent.csv" if scenario == "one instance of the stage fails" else "b.csv",
        "load_fails": scenario == "load fails",
    }


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("policy", "scenario"), sorted(STAGE_EXPECTED))
def test_one_cleanup_behind_a_mapped_stage(
    run: RunDag, staged: Callable[[], list[str]], policy: str, scenario: str, style: str
) -> None:
    result = run(MAPPED_STAGE.format(**arguments(policy, scenario)), BEHIND_THE_LOAD[style])
    run_state, left, states = STAGE_EXPECTED[policy, scenario]
    assert (result.tasks["stage[1]"], result.tasks["load"], result.tasks["cleanup"]) == states
    assert (result.tasks["stage[0]"], result.tasks["stage[2]"]) == (OK, OK)
    assert result.state == run_state
    assert staged() == left


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("policy", "scenario"), sorted(GROUP_EXPECTED))
def test_stage_load_and_cleanup_in_a_mapped_group(
    run: RunDag, staged: Callable[[], list[str]], policy: str, scenario: str, style: str
) -> None:
    behind_the_load = BEHIND_THE_LOAD[style].replace("\n", "\n    ")
    result = run(MAPPED_GROUP.format(behind_the_load=behind_the_load, **arguments(policy, scenario)))
    run_state, left, states = GROUP_EXPECTED[policy, scenario]
    assert tuple(result.tasks[f"group.{name}[1]"] for name in ("stage", "load", "cleanup")) == states
    for beside in (0, 2):
        assert {result.tasks[f"group.{name}[{beside}]"] for name in ("stage", "load", "cleanup")} == {OK}
    assert result.state == run_state
    assert staged() == left


# Clearing.

CLEARED = """
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator
from dpone_airflow.storage import ObjectStorageUri

with DAG({dag_id!r}, schedule=None, catchup=False) as dag:
    stage = ObjectStorageStageOperator(
        task_id="stage", files={files!r}, base_uri="s3://landing/orders", dataset="shop", table="orders",
        file_format="csv", conn_id="emulator", cleanup_policy={policy!r},
    )

    @task(task_id="load")
    def load_it(manifest):
        if Path({down!r}).exists():
            raise RuntimeError("the warehouse is down")
        client = ObjectStorageHook("emulator").get_client(manifest["base_uri"])
        return [client.get_bytes(ObjectStorageUri.parse(item["uri"])).decode() for item in manifest["objects"]]

    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    {behind_the_load}
"""

# What the first run came to: the tasks that clearing the load clears as well, what of the three files the
# stage then sends and keeps (None if it doesn't run), and the states of load and cleanup.
CLEARED_EXPECTED: dict[tuple[str, str, str], tuple[set[str], tuple[int, int] | None, tuple[str, str]]] = {
    ("delete_on_success", "nothing fails", "plain"): ({"cleanup"}, None, (FAILED, UPSTREAM)),
    ("delete_on_success", "nothing fails", "with setups"): ({"stage", "cleanup"}, (3, 0), (OK, OK)),
    ("delete_on_success", "load fails", "plain"): ({"cleanup"}, None, (OK, OK)),
    ("delete_on_success", "load fails", "with setups"): ({"stage", "cleanup"}, (0, 3), (OK, OK)),
    ("delete_always", "nothing fails", "plain"): ({"cleanup"}, None, (FAILED, OK)),
    ("delete_always", "nothing fails", "with setups"): ({"stage", "cleanup"}, (3, 0), (OK, OK)),
    ("delete_always", "load fails", "plain"): ({"cleanup"}, None, (FAILED, OK)),
    ("delete_always", "load fails", "with setups"): ({"stage", "cleanup"}, (3, 0), (OK, OK)),
    ("retain", "nothing fails", "plain"): ({"cleanup"}, None, (OK, OK)),
    ("retain", "nothing fails", "with setups"): ({"stage", "cleanup"}, (0, 3), (OK, OK)),
}


def instances_of(dag_id: str) -> dict[tuple[str, int], str | None]:
    from airflow.models import TaskInstance

    with create_session() as session:
        found = session.query(TaskInstance).filter_by(dag_id=dag_id)
        return {(ti.task_id, ti.map_index): ti.state and str(getattr(ti.state, "value", ti.state)) for ti in found}


def states_of(dag_id: str) -> dict[str, str | None]:
    return {task_id: state for (task_id, _), state in instances_of(dag_id).items()}


def clear_with_downstream(dag: Any, task_id: str, map_index: int = -1) -> None:
    """Clear a task, or an instance of a mapped one, as the UI does: its "Downstream" is on by default."""
    from airflow.models.dagrun import DagRun

    cleared = task_id if map_index < 0 else (task_id, map_index)
    with create_session() as session:
        dag_run = session.query(DagRun).filter_by(dag_id=dag.dag_id).one()
        if AIRFLOW_V_3_2_PLUS:
            from airflow.models.serialized_dag import SerializedDagModel
            from airflow.models.taskinstance import find_relevant_relatives

            stored = SerializedDagModel.get_dag(dag.dag_id, session=session)
            options = {"dag": stored, "run_id": dag_run.run_id, "direction": "downstream", "session": session}
            given = ({task_id}, set()) if map_index < 0 else (set(), {(task_id, map_index)})
            relatives = find_relevant_relatives(*given, **options)
            stored.clear(task_ids=[cleared, *relatives], run_id=dag_run.run_id, session=session)
        elif AIRFLOW_V_3_0_PLUS:
            from airflow.models.serialized_dag import SerializedDagModel

            stored = SerializedDagModel.get_dag(dag.dag_id, session=session)
            part = stored.partial_subset(task_ids={task_id}, include_downstream=True, include_upstream=False)
            # Airflow 3.0 adds the task itself, and with it all its instances.
            others = [name for name in part.task_dict if name != task_id or not AIRFLOW_V_3_1_PLUS]
            part.clear(task_ids=[cleared, *others], run_id=dag_run.run_id, session=session)
        else:
            part = dag.partial_subset(task_ids_or_regex={task_id}, include_downstream=True, include_upstream=False)
            others = [name for name in part.task_dict if name != task_id]
            date = dag_run.logical_date
            part.clear(task_ids=[cleared, *others], start_date=date, end_date=date, session=session)


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, str | None]]:
    """Run a DAG for one date; the next time, go on with what of that run is cleared."""
    run_again = in_the_same_run(monkeypatch, cleared=False)

    def run(dag: Any) -> dict[str, str | None]:
        run_again(dag)
        return states_of(dag.dag_id)

    return run


@pytest.mark.parametrize(("policy", "scenario", "style"), sorted(CLEARED_EXPECTED))
def test_clearing_a_load(
    tmp_path: Path,
    files: Path,
    dag_file: Callable[[str], Any],
    emulator: LocalObjectStorageClient,
    staged: Callable[[], list[str]],
    records: Callable[[], dict[str, Any]],
    go_on: Callable[[Any], dict[str, str | None]],
    policy: str,
    scenario: str,
    style: str,
) -> None:
    down = tmp_path / "the-warehouse-is-down"
    if scenario == "load fails":
        down.touch()
    dag = dag_file(
        CLEARED.format(
            dag_id=f"clear_{policy}_{scenario}_{style}".replace(" ", "_"),
            files=str(files),
            policy=policy,
            down=str(down),
            behind_the_load=BEHIND_THE_LOAD["plain" if style == "plain" else "as_teardown"],
        )
    ).dag
    before = go_on(dag)
    assert (before["stage"], before["load"]) == (OK, FAILED if scenario == "load fails" else OK)
    assert staged() == ([] if was_deleted(policy, scenario) else ["a.csv", "b.csv", "c.csv"])
    first = records()["_run/manifest.json"]
    assert (first["sent"], first["kept"]) == (3, 0)

    down.unlink(missing_ok=True)
    clear_with_downstream(dag, "load")
    also_cleared, sent_and_kept, states = CLEARED_EXPECTED[policy, scenario, style]
    assert {task_id for task_id, state in states_of(dag.dag_id).items() if state is None} == also_cleared | {"load"}

    after = go_on(dag)
    assert after["stage"] == OK
    assert (after["load"], after["cleanup"]) == states
    second = records()["_run/manifest.json"]
    assert (second["at"] != first["at"]) == ("stage" in also_cleared)
    if sent_and_kept is not None:
        assert (second["sent"], second["kept"]) == sent_and_kept
    assert staged() == (["a.csv", "b.csv", "c.csv"] if policy == "retain" else [])


def was_deleted(policy: str, scenario: str) -> bool:
    return policy == "delete_always" or (policy == "delete_on_success" and scenario == "nothing fails")


def test_a_stage_that_is_cleared_with_its_load_needs_its_files_on_its_own_disk(
    tmp_path: Path,
    files: Path,
    dag_file: Callable[[str], Any],
    emulator: LocalObjectStorageClient,
    go_on: Callable[[Any], dict[str, str | None]],
) -> None:
    dag = dag_file(
        CLEARED.format(
            dag_id="cleared_without_files",
            files=str(files / "a.csv"),
            policy="delete_on_success",
            down=str(tmp_path / "down"),
            behind_the_load=BEHIND_THE_LOAD["as_teardown"],
        )
    ).dag
    assert set(go_on(dag).values()) == {OK}
    (files / "a.csv").unlink()
    clear_with_downstream(dag, "load")
    assert go_on(dag) == {"stage": FAILED, "load": UPSTREAM, "cleanup": UPSTREAM}


CLEARED_GROUP = """
from airflow.providers.common.compat.sdk import DAG, task, task_group
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator
from dpone_airflow.storage import ObjectStorageUri

@task(task_id="load")
def load_it(manifest):
    client = ObjectStorageHook("emulator").get_client(manifest["base_uri"])
    for item in manifest["objects"]:
        client.get_bytes(ObjectStorageUri.parse(item["uri"]))

with DAG("cleared_group", schedule=None, catchup=False) as dag:
    @task_group
    def group(path):
        stage = ObjectStorageStageOperator(
            task_id="stage", files=path, base_uri="s3://landing/orders", dataset="shop", table="orders",
            file_format="csv", conn_id="emulator", cleanup_policy="delete_on_success",
        )
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        with cleanup.as_teardown(setups=stage):
            load_it(stage.output)

    group.expand(path=[{files!r} + "/" + name for name in ("a.csv", "b.csv", "c.csv")])
"""


def test_clearing_one_load_of_a_mapped_group(
    files: Path,
    dag_file: Callable[[str], Any],
    emulator: LocalObjectStorageClient,
    staged: Callable[[], list[str]],
    records: Callable[[], dict[str, Any]],
    go_on: Callable[[Any], dict[str, str | None]],
) -> None:
    dag = dag_file(CLEARED_GROUP.format(files=str(files))).dag
    go_on(dag)
    assert set(instances_of(dag.dag_id).values()) == {OK}
    first = records()
    clear_with_downstream(dag, "group.load", 1)
    cleared = {instance for instance, state in instances_of(dag.dag_id).items() if state is None}
    # With the setups of a mapped group, Airflow's versions differ.
    loaded_again = [0, 1, 2] if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS else [1]
    staged_again = [] if AIRFLOW_V_3_2_PLUS and not AIRFLOW_V_3_3_PLUS else [0, 1, 2]
    cleaned_again = [1] if AIRFLOW_V_3_2_PLUS else [0, 1, 2]
    assert cleared == {
        *(("group.load", index) for index in loaded_again),
        *(("group.stage", index) for index in staged_again),
        *(("group.cleanup", index) for index in cleaned_again),
    }

    go_on(dag)
    if not staged_again:
        assert {instance for instance, state in instances_of(dag.dag_id).items() if state == FAILED} == {
            ("group.load", 1)
        }
        clear_with_downstream(dag, "group.stage", 1)
        go_on(dag)
        staged_again = [1]
    assert set(instances_of(dag.dag_id).values()) == {OK}
    second = records()
    for index in range(3):
        name = f"map-{index:05d}/manifest.json"
        assert (second[name]["at"] != first[name]["at"]) == (index in staged_again)
        assert (second[name]["sent"], second[name]["kept"]) == (1, 0)
    assert staged() == [path for index, path in enumerate([A, B, C]) if index in {*staged_again} - {*cleaned_again}]

    clear_with_downstream(dag, "group.cleanup")
    go_on(dag)
    assert staged() == []


# The docs.


def tables() -> list[list[list[str]]]:
    """Return the tables of the page, each a list of rows of cells."""
    found: list[list[list[str]]] = [[]]
    for line in DOCS.read_text().splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip().replace("`", "").replace("*", "") for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return found


def table_with(*headings: str) -> dict[str, dict[str, str]]:
    """Return the one table with these headings: its cells by the first of the row and the heading."""
    (table,) = [table for table in tables() if table and set(headings) <= set(table[0])]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


@pytest.mark.parametrize(
    ("first_heading", "expected"), [("mapped stage", STAGE_EXPECTED), ("mapped group", GROUP_EXPECTED)]
)
def test_the_tables_of_mapped_states_are_what_was_seen(first_heading: str, expected: dict[Any, Any]) -> None:
    table = table_with(first_heading, "nothing fails", "one instance of the stage fails")
    assert {(policy, scenario) for policy in table for scenario in table[policy] if scenario != first_heading} == set(
        expected
    )
    for (policy, scenario), (run_state, left, _) in expected.items():
        cell = table[policy][scenario]
        assert cell.split(",")[0] == run_state, (policy, scenario, cell)
        said = {0: "deleted", 1: "that one's is kept", 2: "the others' are kept", 3: "kept"}[len(left)]
        assert said in cell, (policy, scenario, cell)


def test_the_table_of_clears_is_what_was_seen() -> None:
    table = table_with("the first run", "plain", "with setups")
    names = {
        "delete_on_success, nothing failed": ("delete_on_success", "nothing fails"),
        "delete_on_success, the load failed": ("delete_on_success", "load fails"),
        "delete_always, nothing failed": ("delete_always", "nothing fails"),
        "delete_always, the load failed": ("delete_always", "load fails"),
        "retain, nothing failed": ("retain", "nothing fails"),
    }
    assert set(table) == set(names)
    for row, (policy, scenario) in names.items():
        for style in ("plain", "with setups"):
            _, sent_and_kept, (load, _) = CLEARED_EXPECTED[policy, scenario, style]
            cell = table[row][style]
            staged = {None: "nothing is staged again", (3, 0): "all files are sent again", (0, 3): "nothing is sent"}
            assert cell.startswith(staged[sent_and_kept]), (row, style, cell)
            assert ("load fails" in cell) == (load == FAILED), (row, style, cell)
