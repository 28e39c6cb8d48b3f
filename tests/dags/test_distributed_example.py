"""The example for several workers runs in one process as well, with the parameters that it has by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_servers import SeaweedFS
from local_servers.in_process_airflow import load_dags, run_dag

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"
INSTANCES, FILES_EACH, ROWS_EACH = 4, 3, 10
FILES = INSTANCES * FILES_EACH


def test_every_row_is_loaded_and_nothing_else_lies_there(
    dag_file: Callable[[str], Any], server: Callable[[type], Any], connect: Callable[[str, Any], None]
) -> None:
    connect("aws_default", server(SeaweedFS))
    dag = dag_file((EXAMPLES / "example_distributed.py").read_text()).dag
    result = run_dag(dag, conf={"instances": INSTANCES, "files_each": FILES_EACH})
    assert result.state == "success"
    rows = FILES * ROWS_EACH
    assert result.xcoms["load"] == {"objects": FILES, "rows": rows, "distinct": rows, "total": rows * (rows - 1) // 2}
    assert result.xcoms["compare"] == {"listed": FILES, "named": FILES, "strays": 0, "missing": 0}
    assert result.xcoms["cleanup"]["deleted_objects"] == FILES


def test_its_parameters_are_those_of_a_small_run() -> None:
    assert dict(load_dags(EXAMPLES / "example_distributed.py").dag.params) == {
        "instances": 20,
        "files_each": 10,
        "rows_each": 10,
        "seconds_a_file": 0.0,
    }
