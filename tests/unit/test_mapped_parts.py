"""Which parts a run has now, in the words of either Airflow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.operators import mapped_parts
from dpone_airflow.operators.mapped_parts import live_parts, part_of
from dpone_airflow.staging.run_id import check_part

RUN = "scheduled__2026-11-22T00:00:00+00:00"


@pytest.fixture
def _airflow_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_parts, "AIRFLOW_V_3_0_PLUS", True)


@pytest.fixture
def _airflow_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_parts, "AIRFLOW_V_3_0_PLUS", False)


class TaskInstance:
    """An instance that knows the states of all of its task, as Airflow 3 tells them."""

    dag_id = "daily"
    run_id = RUN

    def __init__(self, states: dict[str, str | None] | None = None, task_id: str = "stage", map_index: int = 0) -> None:
        self.task_id = task_id
        self.map_index = map_index
        self.states = {RUN: states or {}, "another run": {f"{task_id}_99": "success"}}
        self.asked: list[dict[str, Any]] = []

    def get_task_states(self, **asked: Any) -> dict[str, dict[str, str | None]]:
        self.asked.append(asked)
        return self.states


def context_of(ti: Any, **more: Any) -> Any:
    return {"ti": ti, **more}


@pytest.mark.parametrize(
    ("map_index", "part"),
    [(-1, None), (0, "map-00000"), (3, "map-00003"), (99_999, "map-99999"), (100_000, "map-100000")],
)
def test_a_mapped_instance_has_a_part_and_another_task_has_none(map_index: int, part: str | None) -> None:
    assert part_of(map_index) == part
    assert check_part(part) == part


@pytest.mark.usefixtures("_airflow_3")
def test_the_instances_that_are_there_now_are_those_that_are_not_removed() -> None:
    states = {
        "stage_0": "running",
        "stage_1": "success",
        "stage_2": None,  # not yet scheduled
        "stage_3": "removed",
        "stage_4": "failed",
        "stage_5": "skipped",
        "stage_6": "upstream_failed",
        "stage_10": "up_for_retry",
        "stage_11": "removed",
    }
    ti = TaskInstance(states)
    live = live_parts(context_of(ti))
    assert live == {f"map-{index:05d}" for index in (0, 1, 2, 4, 5, 6, 10)}
    assert ti.asked == [{"dag_id": "daily", "task_ids": ["stage"], "run_ids": [RUN]}]


@pytest.mark.parametrize(
    "task_id",
    ["stage_1", "stage_1_", "stage_", "_stage", "1", "1_1", "_", "group.stage_2", "group_1.stage-3", "stage_0_stage"],
)
@pytest.mark.usefixtures("_airflow_3")
def test_a_task_may_be_called_as_an_instance_of_another_is(task_id: str) -> None:
    states = {f"{task_id}_{index}": "removed" if index == 2 else "success" for index in range(12)}
    live = live_parts(context_of(TaskInstance(states, task_id)))
    assert live == {f"map-{index:05d}" for index in range(12) if index != 2}


@pytest.mark.usefixtures("_airflow_3")
def test_what_is_left_of_a_task_that_was_not_mapped_is_no_part() -> None:
    ti = TaskInstance({"stage": "success", "stage_0": "running"})
    assert live_parts(context_of(ti)) == {"map-00000"}


@pytest.mark.usefixtures("_airflow_3")
@pytest.mark.parametrize("map_index", [-1, 1, 7])
def test_airflow_3_is_asked_by_the_first_instance_only(map_index: int) -> None:
    ti = TaskInstance({"stage_0": "running"}, map_index=map_index)
    assert live_parts(context_of(ti)) is None
    assert ti.asked == []


@pytest.mark.usefixtures("_airflow_2")
@pytest.mark.parametrize("count", [1, 3, 12])
def test_airflow_2_says_how_many_instances_there_are(count: int) -> None:
    ti = SimpleNamespace(map_index=0)
    assert live_parts(context_of(ti, expanded_ti_count=count)) == {f"map-{index:05d}" for index in range(count)}


@pytest.mark.usefixtures("_airflow_2")
@pytest.mark.parametrize("map_index", [-1, 1, 7])
def test_airflow_2_is_asked_by_the_first_instance_only(map_index: int) -> None:
    """Nothing but its index is looked at."""
    assert live_parts(context_of(SimpleNamespace(map_index=map_index))) is None


@pytest.mark.usefixtures("_airflow_3")
@pytest.mark.parametrize("states", [{}, {"stage_0": "removed", "stage_1": "success"}, {"other_0": "success"}])
def test_an_answer_that_leaves_the_asking_instance_out_is_not_believed(states: dict[str, str | None]) -> None:
    """All other parts would be deleted on its word."""
    assert live_parts(context_of(TaskInstance(states))) is None


@pytest.mark.usefixtures("_airflow_2")
@pytest.mark.parametrize("instances", [None, 0])
def test_no_count_is_not_believed(instances: int | None) -> None:
    assert live_parts(context_of(TaskInstance(), expanded_ti_count=instances)) is None
