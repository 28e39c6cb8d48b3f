"""The plugin is loaded in each of Airflow's processes: it brings its names and nothing else."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dpone_airflow.plugins import macros
from dpone_airflow.plugins.plugin import DponePlugin
from tests.unit.test_import_cost import AIRFLOW, SDKS, below, loaded_by

PAGE = (Path(__file__).parents[2] / "docs" / "loaders.md").read_text()


def test_the_plugin_loads_only_its_own_modules() -> None:
    after = f"{AIRFLOW}from airflow.providers.common.compat.sdk import AirflowPlugin\n"
    loaded = loaded_by("import dpone_airflow.plugins.plugin", after=after)
    assert set(below(loaded, ("dpone_airflow",))) | {"dpone_airflow"} == {
        "dpone_airflow",
        "dpone_airflow.plugins",
        "dpone_airflow.plugins.macros",
        "dpone_airflow.plugins.plugin",
    }
    assert below(loaded, SDKS) == []


def test_the_entry_point_leads_to_the_plugin() -> None:
    (entry_point,) = entry_points(group="airflow.plugins", name="dpone")
    assert entry_point.load() is DponePlugin


def test_these_macros_are_there_for_templates() -> None:
    """The list is here: losing one of them breaks DAGs."""
    assert macros.__all__ == [
        "bigquery_job",
        "bigquery_source_objects",
        "bigquery_source_uris",
        "clickhouse_table",
        "databricks_file_location",
        "databricks_files",
        "duckdb_source",
        "redshift_arguments",
        "snowflake_files",
        "snowflake_files_clause",
    ]


def test_the_macros_are_the_functions_of_their_module() -> None:
    functions = {name for name, value in vars(macros).items() if inspect.isfunction(value) and name[0] != "_"}
    assert functions == set(macros.__all__) == {macro.__name__ for macro in DponePlugin.macros}


@pytest.mark.parametrize("name", macros.__all__)
def test_a_macro_is_documented(name: str) -> None:
    assert getattr(macros, name).__doc__
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("module", ["redshift", "bigquery", "snowflake", "databricks", "clickhouse", "duckdb"])
def test_the_loaders_need_no_airflow_and_no_engine(module: str) -> None:
    code = (
        f"sys.modules['airflow'] = None\nfrom dpone_airflow.staging.loaders import {module}\ndel sys.modules['airflow']"
    )
    assert below(loaded_by(code), ("airflow", "duckdb", "chdb", "pyarrow", *SDKS)) == []
