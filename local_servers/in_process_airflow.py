"""Airflow in this process, on SQLite in a directory of its own: what the demo and the tests run DAGs with.

``configure`` must come before anything imports Airflow, which reads its settings when it is imported.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from local_servers.airflow_settings import settings


@dataclass(frozen=True)
class RunResult:
    """How a DAG run ended.

    :param state: the run's state, e.g. ``success``.
    :param tasks: each task's state; a mapped instance is ``task_id[map_index]``.
    :param xcoms: each task's return value, where it has one, under the same names.
    """

    run_id: str
    state: str
    tasks: dict[str, str]
    xcoms: dict[str, Any] = field(default_factory=dict)


def configure(home: Path, dags_folder: Path, *, quiet: bool) -> None:
    """Set Airflow's environment to ``home``; ``quiet`` leaves out what isn't at least a warning."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(settings(home, dags_folder))
    level = "WARNING" if quiet else "INFO"
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = level
    _print_as_a_worker_does(level)


def _print_as_a_worker_does(level: str) -> None:
    """Make structlog heed the level, and print no variables beside a traceback.

    For ``dag.test()`` Airflow 3.0 leaves structlog as it comes, which then prints what Airflow's own parts send each
    other, ``MaskSecret`` with the secret in it for one, and each traceback with its variables, in a frame of 80
    columns. A worker, and every later Airflow, sets structlog up anew.
    """
    if importlib.util.find_spec("structlog"):  # Airflow 2.11 doesn't need it
        import structlog

        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(),
                structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
            ],
        )


def make_database() -> None:
    """Make Airflow's database where ``configure`` said."""
    from airflow.utils.db import initdb

    initdb()


def load_dags(path: Path) -> ModuleType:
    """Import a DAG file afresh."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def store_dag(dag: Any) -> None:
    """Put a DAG and its assets into the database, as ``dag.test()`` itself does from Airflow 3.1 on.

    What comes of a run depends on it: an event of an asset that isn't there isn't kept.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

    if AIRFLOW_V_3_1_PLUS:
        return
    from airflow.models.dag import DAG
    from airflow.models.serialized_dag import SerializedDagModel

    if AIRFLOW_V_3_0_PLUS:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.serialization.serialized_objects import SerializedDAG

        DagBundlesManager().sync_bundles_to_db()
        DAG.bulk_write_to_db("dags-folder", None, [SerializedDAG.deserialize_dag(SerializedDAG.serialize_dag(dag))])
        SerializedDagModel.write_dag(dag, "dags-folder")
    else:
        DAG.bulk_write_to_db([dag])
        SerializedDagModel.write_dag(dag)


def run_dag(dag: Any, *, conf: Mapping[str, Any] | None = None) -> RunResult:
    """Run a DAG of the DAGs folder to its end with ``dag.test()``."""
    store_dag(dag)
    return _result(dag.test(run_conf=dict(conf) if conf else None))


def _result(run: Any) -> RunResult:
    states: dict[str, str] = {}
    xcoms: dict[str, Any] = {}
    for ti in run.get_task_instances():
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        states[name] = str(getattr(ti.state, "value", ti.state))
        value = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
        if value is not None:
            # Airflow 3 hands out what the database holds: JSON text or what it stands for.
            xcoms[name] = json.loads(value) if isinstance(value, str) and value[:1] in '{["' else value
    return RunResult(run.run_id, str(getattr(run.state, "value", run.state)), states, xcoms)
