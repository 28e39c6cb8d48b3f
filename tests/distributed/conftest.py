"""A directory for each command, and the programs that all of this folder needs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_servers import postgresql, redis_server


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Install them before a command is looked at that would, and would say so."""
    postgresql.program()
    redis_server.program()


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A directory that whom PostgreSQL runs as in place of root gets to, other than pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="demo-distributed-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
