"""The example DAGs with a teardown run to their ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_servers.in_process_airflow import run_dag

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"


@pytest.mark.usefixtures("emulator")
def test_teardown(dag_file: Callable[[str], Any], staged: Callable[[], list[str]]) -> None:
    dag = dag_file((EXAMPLES / "example_teardown.py").read_text()).dag
    assert dag.task_dict["stage"].is_setup
    assert dag.task_dict["cleanup"].is_teardown
    result = run_dag(dag)
    assert result.state == "success"
    assert result.xcoms["check"] == len(result.xcoms["load"]) == 2
    assert result.xcoms["cleanup"]["deleted_objects"] == 2
    assert staged() == []


@pytest.mark.usefixtures("emulator")
def test_task_group(dag_file: Callable[[str], Any], staged: Callable[[], list[str]]) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_task_group.py").read_text()).dag)
    assert result.state == "success"
    for index in range(3):
        part = f"map-{index:05d}"
        assert result.xcoms[f"one_region.stage[{index}]"]["part"] == part
        assert result.xcoms[f"one_region.cleanup[{index}]"]["deleted_objects"] == 1
        assert result.xcoms[f"one_region.cleanup[{index}]"]["prefix"].endswith(f"/{part}/")
    assert staged() == []
