"""``python -m demo.distributed`` where something is missing, and when it is ended: what it says; nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from local_servers.ports import reserved_ports

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_S3 = Path(__file__).parent / "without_s3"
START_SECONDS = 600


class Command:
    """A running demo, and the processes that came from it."""

    def __init__(self, home: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.output = home.with_suffix(".txt")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo.distributed", "--short", "--home", str(home), *words],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def still_there(self, family: list[psutil.Process]) -> list[psutil.Process]:
        """Return which of its processes run, or will do so for more than a moment."""
        of_home = [process for process in psutil.process_iter() if _works_below(process, self.home)]
        return psutil.wait_procs([*family, *of_home], timeout=15)[1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "demo"


@pytest.fixture
def dead_port() -> Iterator[int]:
    with reserved_ports(1) as (port,):
        yield port


def test_a_broker_that_is_down_is_named_in_a_line(home: Path, dead_port: int) -> None:
    command = Command(home, "--broker", f"redis://:secret-word@127.0.0.1:{dead_port}/0")
    assert command.process.wait(60) == 1
    (line,) = command.said().splitlines()
    assert line.startswith(f"No Redis answers at redis://127.0.0.1:{dead_port}/0, where Celery's broker should be: ")
    assert line.endswith("Airflow was not started.")
    assert command.still_there([]) == []


def test_a_redis_that_ends_at_its_start_is_named_with_what_it_said(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho no memory for that\nexit 3\n")
    broken.chmod(0o755)
    command = Command(home, environment={"REDIS_SERVER": str(broken)})
    assert command.process.wait(60) == 1
    first, *log = command.said().splitlines()
    assert first.startswith("Redis ended with status 3 before it was healthy.")
    assert log == ["no memory for that"]
    assert command.still_there([]) == []


def test_an_extra_that_is_missing_is_named_before_anything_starts(home: Path) -> None:
    command = Command(home, environment={"PYTHONPATH": str(WITHOUT_S3)})
    assert command.process.wait(60) == 1
    (line,) = command.said().splitlines()
    assert line.startswith("The distributed demo needs the extra s3, and ")
    assert 'run pip install "dpone-airflow[s3,demo,distributed]"' in line
    assert not home.exists()
    assert command.still_there([]) == []


@pytest.mark.timeout(START_SECONDS)
def test_a_command_that_is_terminated_while_airflow_starts_leaves_no_process(home: Path) -> None:
    command = Command(home)
    _wait_for(command, lambda: (home / "airflow" / "worker-2.log").exists())
    family = command.family()
    names = " ".join(" ".join(process.cmdline()) for process in family)
    assert all(part in names for part in ("weed", "postgres", "redis-server", "scheduler", "api-server", "worker-2"))

    command.process.send_signal(signal.SIGTERM)

    assert command.process.wait(60) == 130
    assert command.said().splitlines()[-1] == "Interrupted; everything that was started has ended."
    assert command.still_there(family) == []


@pytest.mark.timeout(START_SECONDS)
def test_a_command_that_is_killed_while_tasks_run_leaves_no_process(home: Path) -> None:
    command = Command(home)
    logs = home / "airflow" / "worker-1" / "airflow" / "logs"
    _wait_for(command, lambda: any(logs.rglob("attempt=1.log")))
    family = command.family()
    assert len(family) > 20

    command.process.send_signal(signal.SIGKILL)

    assert command.process.wait(10) == -signal.SIGKILL
    assert command.still_there(family) == []


def _wait_for(command: Command, condition: Callable[[], bool]) -> None:
    while not condition():
        assert command.process.poll() is None, command.said()
        time.sleep(0.1)


def _works_below(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("HOME", "").startswith(str(home))
    except psutil.Error:
        return False
