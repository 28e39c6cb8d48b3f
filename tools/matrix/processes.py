"""Runs a command that leaves nothing behind, however it and this process end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from local_servers.leftovers import end_marked, marking, new_mark
from tools.matrix.cells import ROOT

_GUARD = ROOT / "local_servers/guard.py"


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run a command to its end, its output appended to ``log``; return its exit status.

    What it started ends with it, and with this process, however that ends: see :mod:`local_servers.guard`.
    """
    mark = new_mark()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARD, str(os.getpid()), mark, *command],
            cwd=ROOT,
            env={**os.environ, **(environment or {}), **marking(mark)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return process.wait()
    finally:
        if process.returncode is None:  # stopped from outside
            started = _descendants(process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            end_marked(mark)
            _await_end(started)


def _descendants(process: int) -> set[int]:
    """Return what a process has started, and what that has started; nothing where there is no ``/proc``."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found: set[int] = set()
    left = [process]
    while left:
        new = children.get(left.pop(), [])
        found.update(new)
        left += new
    return found


def _await_end(processes: set[int], seconds: float = 10) -> None:
    """Wait until they are gone: the servers of a test end themselves when the test is gone; kill what doesn't."""
    deadline = time.monotonic() + seconds
    while processes := {process for process in processes if _is_running(process)}:
        if time.monotonic() > deadline:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return
        time.sleep(0.05)


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
