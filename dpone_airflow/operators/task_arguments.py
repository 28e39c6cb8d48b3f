"""The arguments of a task as its DAG file has them, be it mapped or not."""

from __future__ import annotations

from typing import Any


def arguments_of(task: Any) -> dict[str, Any]:
    """Return the arguments of an operator; of a mapped one those that all its instances have.

    A mapped operator holds what ``partial()`` was given. What comes from the ``default_args`` of its task group and
    its DAG, Airflow adds only when it makes an instance of it.
    """
    if not hasattr(task, "partial_kwargs"):
        return dict(vars(task))
    of_dag, of_group = (getattr(above, "default_args", None) or {} for above in (task.dag, task.task_group))
    return {**of_dag, **of_group, **task.partial_kwargs}
