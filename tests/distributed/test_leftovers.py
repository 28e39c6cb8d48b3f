"""What a server started ends with it, wherever it went: also when the server's own parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from local_servers.leftovers import end_marked, marked, marking, new_mark
from local_servers.process import running

# A server whose child has a session of its own and lost its parent, as a daemon has.
SERVER = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.rename(sys.argv[1], sys.argv[2])
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""
# What stands in for a test run.
PARENT = """
import sys, time
from pathlib import Path
from local_servers.process import running
command, child = sys.argv[1:-1], Path(sys.argv[-1])
with running("server", command, healthy=child.exists, home=child.parent / "home"):
    time.sleep(600)
"""
SECONDS = 60


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Path]:
    """Where the server's child writes its id; it is ended if a test didn't see to it."""
    path = tmp_path / "child"
    yield path
    if path.exists():
        with suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def command(child: Path) -> list[str]:
    return [sys.executable, "-c", SERVER, f"{child}.part", str(child)]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_that_left_the_servers_group_ends_with_it(child: Path, tmp_path: Path) -> None:
    with running("server", command(child), healthy=child.exists, home=tmp_path / "home") as group:
        process = int(child.read_text())
        assert os.getpgid(process) != group
        assert is_running(process)
    assert not is_running(process)


def test_it_ends_as_well_when_the_one_who_started_the_server_is_killed(child: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command(child), str(child)])
    wait_until(child.exists)
    process = int(child.read_text())
    assert is_running(process)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(process))


def test_it_ends_as_well_when_the_guard_is_killed(child: Path, tmp_path: Path) -> None:
    with running("server", command(child), healthy=child.exists, home=tmp_path / "home") as group:
        process = int(child.read_text())
        os.kill(group, signal.SIGKILL)
    assert not is_running(process)


def test_only_those_with_the_same_mark_are_ended() -> None:
    ours, others = new_mark(), new_mark()
    processes = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, **marking(mark)})
        for mark in (ours, ours, others)
    ]
    try:
        wait_until(lambda: len(marked(ours)) == 2 and len(marked(others)) == 1)
        assert end_marked(ours) == sorted(process.pid for process in processes[:2])
        assert marked(ours) == []
        assert marked(others) == [processes[2].pid]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_where_nothing_bears_the_mark_nothing_is_ended() -> None:
    assert end_marked(new_mark()) == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
