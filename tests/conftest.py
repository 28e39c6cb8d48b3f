"""Gives Airflow a home of this test session's own, before anything imports it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from local_servers.in_process_airflow import configure

_HOME = Path(tempfile.mkdtemp(prefix="dpone-airflow-tests-"))
DAGS_FOLDER = _HOME / "dags"
DAGS_FOLDER.mkdir()
configure(_HOME / "airflow", DAGS_FOLDER, quiet=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)
