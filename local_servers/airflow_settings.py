"""What every Airflow of the tests and the demos is told, by its environment."""

from __future__ import annotations

from pathlib import Path


def settings(home: Path, dags_folder: Path) -> dict[str, str]:
    """Return the environment of an Airflow that keeps to ``home``: its files, and a database on SQLite."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }
