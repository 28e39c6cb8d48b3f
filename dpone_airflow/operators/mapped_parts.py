"""Which instances a mapped task has in this DAG run: those of an earlier expansion may be more.

https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Context
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

_REMOVED = "removed"


def part_of(map_index: int) -> str | None:
    """Return the part of a mapped instance; an unmapped task has none."""
    return f"map-{map_index:05d}" if map_index >= 0 else None


def live_parts(context: Context) -> set[str] | None:
    """Return the parts that the run has now, if this instance is the first of a mapped task.

    The first one removes the parts of instances that a clear with fewer inputs has done away with;
    Airflow marks their task instances as removed. All others return None.
    """
    if context["ti"].map_index != 0:
        return None
    live = {str(part_of(index)) for index in _live_indexes(context)}
    # An answer that leaves this very instance out can't be true: nothing is deleted on its word.
    return live if part_of(0) in live else None


def _live_indexes(context: Context) -> list[int]:
    if not AIRFLOW_V_3_0_PLUS:
        return list(range(context["expanded_ti_count"] or 0))
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
    # A mapped instance is called <task_id>_<map_index> in the answer.
    prefix = f"{ti.task_id}_"
    return [
        int(name.removeprefix(prefix))
        for name, state in states.get(ti.run_id, {}).items()
        if state != _REMOVED and name.startswith(prefix)
    ]
