"""Runs commands that leave nothing behind, however they and this process end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from local_servers.leftovers import end_marked, marking, new_mark

ROOT = Path(__file__).resolve().parent.parent
_GUARD = ROOT / "local_servers/guard.py"
_LOOK_EVERY_SECONDS = 0.2

_is_ending = threading.Event()


class Stopped(BaseException):
    """SIGTERM has come."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an error that leaves the block, as Ctrl-C does, so that what runs is ended on the way."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(stopped: BaseException) -> int:
    """Return what a shell expects of a command that was stopped by SIGTERM or by Ctrl-C."""
    return 128 + (signal.SIGTERM if isinstance(stopped, Stopped) else signal.SIGINT)


def end_all() -> None:
    """Let what other threads run end, and no other command begin: a signal reaches the main thread alone."""
    _is_ending.set()


def run(
    command: Sequence[str | Path],
    output: Path,
    *,
    errors: Path | None = None,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command to its end, what it says appended to ``output``; return its exit status.

    What it started ends with it, and with this process, however that ends: see :mod:`local_servers.guard`.

    :param errors: for what it says on stderr, if not ``output``.
    :param environment: all of it; by default that of this process.
    :raises Stopped: if another thread has called :func:`end_all`.
    """
    mark = new_mark()
    with output.open("ab") as stdout, (errors or output).open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARD, str(os.getpid()), mark, *command],
            cwd=cwd,
            env={**(os.environ if environment is None else environment), **marking(mark)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        while not _is_ending.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_EVERY_SECONDS)
        raise Stopped
    finally:
        if process.returncode is None:  # stopped from outside
            started = _descendants(process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            end_marked(mark)
            _await_end(started)


def _stop(signal_number: int, frame: FrameType | None) -> None:
    raise Stopped


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
