"""``dag.test()`` for one date, again and again: it would throw the run away for a new one, and here goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_1_PLUS,
    AIRFLOW_V_3_2_PLUS,
)

from local_servers.in_process_airflow import store_dag

_DATE = datetime(2026, 11, 22, tzinfo=UTC)


def run_maker() -> tuple[Any, str]:
    """Return the module of the function that gives ``dag.test()`` its run, and its name."""
    if AIRFLOW_V_3_1_PLUS:
        from airflow.models import dagrun

        return dagrun, "get_or_create_dagrun"
    from airflow.models import dag

    return dag, "_get_or_create_dagrun"


def in_the_same_run(monkeypatch: pytest.MonkeyPatch, *, cleared: bool) -> Callable[[Any], Any]:
    """Return what runs a DAG for one date, each time in the same run.

    :param cleared: whether all its task instances are cleared first, as ``dag.test()`` does.
    """
    from airflow.models.dagrun import DagRun, DagRunState

    module, name = run_maker()
    create = getattr(module, name)

    def keep(**options: Any) -> Any:
        existing = options["session"].query(DagRun).filter_by(dag_id=options["dag"].dag_id).one_or_none()
        if existing is None:
            return create(**options)
        existing.state = DagRunState.RUNNING
        existing.dag = options["dag"]
        options["session"].commit()
        return existing

    def run(dag: Any) -> Any:
        store_dag(dag)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, keep)
            if not cleared:
                patch.setattr(*_clearing(), lambda *_, **__: 0)
            return dag.test(**{"logical_date" if AIRFLOW_V_3_0_PLUS else "execution_date": _DATE})

    return run


def _clearing() -> tuple[Any, str]:
    """Return the class and the name of the method with which ``dag.test()`` clears."""
    if AIRFLOW_V_3_2_PLUS:
        from airflow.serialization.definitions.dag import SerializedDAG

        return SerializedDAG, "clear_dags"
    if AIRFLOW_V_3_1_PLUS:
        from airflow.serialization import serialized_objects

        return serialized_objects.SerializedDAG, "clear_dags"
    from airflow.models.dag import DAG

    return DAG, "clear_dags" if AIRFLOW_V_3_0_PLUS else "clear"
