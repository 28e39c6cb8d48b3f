"""``python -m demo.distributed`` where something is missing, and when it is ended: what it says; nothing runs on."""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from demo.distributed import home as homes
from local_servers import SeaweedFS
from local_servers.ports import GRPC_OFFSET, reserved_ports
from tests.distributed.command import running

WITHOUT_S3 = Path(__file__).parent / "without_s3"
START_SECONDS = 600


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "demo"


@pytest.fixture
def dead_port() -> Iterator[int]:
    with reserved_ports(1) as (port,):
        yield port


def test_a_broker_that_is_down_is_named_in_a_line_and_nothing_is_emptied(home: Path, dead_port: int) -> None:
    with homes.emptied(home):
        (home / "of-an-earlier-run").touch()
    broker = {"DPONE_BROKER_URL": f"redis://:secret-word@127.0.0.1:{dead_port}/0"}
    with running(home, environment=broker) as command:
        assert command.process.wait(60) == 1
    (line,) = command.said().splitlines()
    assert line.startswith(f"No Redis answers at redis://127.0.0.1:{dead_port}/0, where Celery's broker should be: ")
    assert line.endswith("Airflow was not started.")
    assert (home / "of-an-earlier-run").exists()


def test_a_directory_of_somebody_else_is_refused_in_a_line_and_stays(home: Path) -> None:
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with running(home) as command:
        assert command.process.wait(60) == 1
    (line,) = command.said().splitlines()
    assert line.startswith(f"{home} is not empty, and the demo hasn't made it: ")
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]


def test_a_redis_that_ends_at_its_start_is_named_with_what_it_said(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho no memory for that\nexit 3\n")
    broken.chmod(0o755)
    with running(home, environment={"REDIS_SERVER": str(broken)}) as command:
        assert command.process.wait(60) == 1
    first, *log = command.said().splitlines()
    assert first.startswith("Redis ended with status 3 before it was healthy.")
    assert log == ["no memory for that"]


def test_an_extra_that_is_missing_is_named_before_anything_starts(home: Path) -> None:
    with running(home, environment={"PYTHONPATH": str(WITHOUT_S3)}) as command:
        assert command.process.wait(60) == 1
    (line,) = command.said().splitlines()
    assert line.startswith("The distributed demo needs the extra s3, and ")
    assert "run uv pip install -e '.[s3]' --group demo --group distributed" in line
    assert not home.exists()


@pytest.mark.timeout(START_SECONDS)
def test_a_command_that_is_terminated_while_airflow_starts_leaves_no_process(home: Path) -> None:
    with running(home) as command:
        command.wait_for((home / "airflow" / "worker-2.log").exists)
        family = command.family()
        names = " ".join(commands_of(family))
        assert all(
            part in names for part in ("weed", "postgres", "redis-server", "scheduler", "api-server", "worker-2")
        )

        command.process.send_signal(signal.SIGTERM)

        assert command.process.wait(60) == 130
        assert command.said().splitlines()[-1] == "Interrupted; everything that was started has ended."
        assert command.still_there(family) == []


@pytest.mark.timeout(START_SECONDS)
def test_a_command_that_is_killed_while_tasks_run_leaves_no_process_and_its_files_to_the_next_run(
    reachable: Path, tmp_path: Path
) -> None:
    home = reachable / "demo"
    shared_memory = set(os.listdir("/dev/shm"))
    with running(home) as command:
        logs = home / "airflow" / "worker-1" / "airflow" / "logs"
        command.wait_for(lambda: any(logs.rglob("attempt=1.log")))
        family = command.family()
        assert len(family) > 20
        sockets = sockets_of(family)

        command.process.send_signal(signal.SIGKILL)

        assert command.process.wait(10) == -signal.SIGKILL
        assert command.still_there(family) == []
    (data,) = (home / "postgresql").glob("postgresql-*/data")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert [name for name in os.listdir("/dev/shm") if "PostgreSQL" in name and name not in shared_memory] == []
    assert sockets
    assert all(path.exists() for path in sockets)
    for path in sockets:
        os.utime(path, (0, 0))
    with SeaweedFS.start(tmp_path):
        assert not any(path.exists() for path in sockets)
    with homes.emptied(home):
        assert [path.name for path in home.iterdir()] == [homes.MARKER], "the next run begins with nothing"


def commands_of(family: list[psutil.Process]) -> set[str]:
    """Return the command lines of those that haven't ended."""
    commands = set()
    for process in family:
        with suppress(psutil.Error):
            commands.add(" ".join(process.cmdline()))
    return commands


def sockets_of(family: list[psutil.Process]) -> list[Path]:
    """Return the sockets in /tmp that the SeaweedFS among them has made, whatever TMPDIR says."""
    (command,) = [text for text in commands_of(family) if "weed -logtostderr" in text and "guard" not in text]
    ports = [int(port) for port in re.findall(r"\.port=(\d{4,})", command)]
    names = [f"seaweedfs-*-{number}.sock" for port in ports for number in (port, port + GRPC_OFFSET)]
    return [path for name in names for path in Path("/tmp").glob(name)]
