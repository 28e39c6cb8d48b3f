"""The official Snowflake provider where what it imports doesn't work."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest


def make_snowflake_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for ``snowflake.sqlalchemy`` where it fails to load.

    Airflow 3.3 has SQLAlchemy 2.1 and protobuf 7, and no release of snowflake-sqlalchemy takes both. The provider
    asks it for the address of a database only, which nothing here connects to.
    """
    try:
        import snowflake.sqlalchemy  # noqa: F401 - whether it loads is what is asked
    except AttributeError:
        stand_in = ModuleType("snowflake.sqlalchemy")
        stand_in.URL = dict  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "snowflake.sqlalchemy", stand_in)
