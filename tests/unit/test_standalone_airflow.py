"""``python -m local_servers.standalone_airflow``: what it answers and leaves when Airflow fails or is stopped."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local_servers import standalone_airflow
from local_servers.process import ServerStartError
from local_servers.standalone_airflow import PortTakenError, StandaloneAirflow


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The temporary directory of the command, which is run in this process and without its handler."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["standalone_airflow"])
    monkeypatch.setattr(standalone_airflow.signal, "signal", lambda number, handler: None)
    return tmp_path


def starts_with(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    @contextmanager
    def start(home: Path, dags_folder: Path, **settings: Any) -> Iterator[StandaloneAirflow]:
        home.with_name("airflow.log").write_text("why")
        if error is not None:
            raise error
        yield StandaloneAirflow("http://127.0.0.1:1", 1, home, 0)

    monkeypatch.setattr(StandaloneAirflow, "start", start)


def test_the_log_of_a_start_that_failed_stays_until_the_next_start(
    monkeypatch: pytest.MonkeyPatch, homes: Path
) -> None:
    starts_with(monkeypatch, ServerStartError("Airflow ended."))
    assert standalone_airflow.main() == 1
    (log,) = homes.glob("standalone-airflow-*/airflow.log")
    assert log.read_text() == "why"

    starts_with(monkeypatch, PortTakenError("Port 1 is taken."))
    assert standalone_airflow.main() == 1
    assert list(homes.iterdir()) == []


def test_a_home_in_use_and_one_of_something_else_stay(monkeypatch: pytest.MonkeyPatch, homes: Path) -> None:
    (homes / "standalone-airflow-notes").mkdir()
    starts_with(monkeypatch, None)
    seen: list[int] = []

    def pause() -> None:
        if len(seen) < 1:
            seen.append(len(list(homes.glob("*/airflow.log"))))
            assert standalone_airflow.main() == 0
            seen.append(len(list(homes.glob("*/airflow.log"))))
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "pause", pause)
    assert standalone_airflow.main() == 0
    assert seen == [1, 1]
    assert [path.name for path in homes.iterdir()] == ["standalone-airflow-notes"]


def test_ctrl_c_before_it_runs_is_130_and_afterwards_0(monkeypatch: pytest.MonkeyPatch, homes: Path) -> None:
    def pause() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "pause", pause)
    starts_with(monkeypatch, KeyboardInterrupt())
    assert standalone_airflow.main() == 130
    starts_with(monkeypatch, None)
    assert standalone_airflow.main() == 0
    assert list(homes.iterdir()) == []
