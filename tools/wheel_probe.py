"""Look at dpone-airflow from inside an environment that has only its wheel: run there by ``tools.wheel_extras``.

``python -P wheel_probe.py <folder of example DAGs> <run|parse>`` prints one JSON object. It imports nothing of the
repository, and Airflow is told where to live by its environment.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

CONNECTIONS = {
    "s3": ("s3://bucket/base", {"conn_type": "aws", "login": "nobody", "password": "none"}),
    "gcs": (
        "gs://bucket/base",
        {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "p"}},
    ),
    "azure_blob": ("az://container/base", {"conn_type": "wasb", "login": "account", "password": "bm9uZQ=="}),
}


def main(examples: Path, *, with_runs: bool) -> dict[str, Any]:
    """Return what is here and what works."""
    import dpone_airflow

    return {
        "installed_in": str(Path(dpone_airflow.__file__).parent),
        "typed": Path(dpone_airflow.__file__).with_name("py.typed").is_file(),
        "provider": provider(),
        "macros": macros(),
        "schema": schema(),
        "import_errors": import_errors(examples),
        "clients": {name: client(name) for name in CONNECTIONS},
        "runs": {name: run_of(examples / f"{name}.py") for name in ("example_local", "example_s3")}
        if with_runs
        else {},
    }


def provider() -> dict[str, Any]:
    """Return what Airflow has read about this provider."""
    from airflow.providers_manager import ProvidersManager

    found = ProvidersManager().providers["dpone-airflow"]
    return {"version": found.version, "name": found.data["name"], "hook": hook()}


def hook() -> str:
    """Return the class behind the emulator's connection type."""
    from airflow.providers_manager import ProvidersManager

    found = ProvidersManager().hooks["dpone_local_object_storage"]
    return found.hook_class_name if found else ""


def macros() -> list[str]:
    """Return the macros that its plugin brings into templates."""
    from importlib.metadata import entry_points

    [plugin] = entry_points(group="airflow.plugins", name="dpone")
    return [macro.__name__ for macro in plugin.load().macros]


def schema() -> str:
    """Return the name of the manifest's schema."""
    from dpone_airflow.staging import manifest_schema

    return str(manifest_schema()["$id"])


def import_errors(examples: Path) -> dict[str, str]:
    """Return the last line of each example's import error."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(examples), bundle_path=examples)
    assert bag.dags, "no example is a DAG"
    return {Path(name).stem: error.strip().splitlines()[-1] for name, error in bag.import_errors.items()}


def client(store: str) -> str:
    """Return the client's class, or what is said where its extra isn't here; nothing is sent."""
    from dpone_airflow.hooks import ObjectStorageHook
    from dpone_airflow.storage.errors import MissingExtraError

    uri, connection = CONNECTIONS[store]
    os.environ["AIRFLOW_CONN_PROBED"] = json.dumps(connection)
    try:
        return type(ObjectStorageHook("probed").get_client(uri)).__name__
    except MissingExtraError as error:
        return f"MissingExtraError: {error.extra}: {error}"


def run_of(example: Path) -> dict[str, str]:
    """Return the state of a DAG's run and of its tasks, on the emulator or on a connection to Amazon."""
    import importlib.util

    from airflow.utils.db import initdb

    initdb()
    os.environ["AIRFLOW_CONN_DPONE_LOCAL_DEFAULT"] = json.dumps(
        {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(Path.cwd() / "buckets")}}
    )
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(CONNECTIONS["s3"][1])
    spec = importlib.util.spec_from_file_location(example.stem, example)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = module.dag.test()
    return {"run": str(run.state)} | {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]), with_runs=sys.argv[2] == "run")
    print("\n" + json.dumps(answer))
