"""Start a server process, wait until it answers, and stop it whatever happens."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from local_servers.leftovers import end_marked, marking, new_mark

START_SECONDS = 60.0
STOP_SECONDS = 5.0
LOOK_EVERY_SECONDS = 0.05
LOG_LINES_IN_ERRORS = 40

_GUARD = Path(__file__).with_name("guard.py")
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


class ServerStartError(RuntimeError):
    """A server ended early or did not answer in time; the message has the end of its log."""


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    healthy: Callable[[], bool],
    home: Path,
    log_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator[int]:
    """Run a server for the length of a ``with`` block; yield the id of its process group.

    ``home`` is the server's working and home directory. Little else of the caller's environment
    reaches it, so that no setting of a developer's machine changes how the server behaves.
    Its output is appended to ``log_path``, by default a file beside ``home``. What it started itself ends with
    it, also what has left its process group: see :mod:`local_servers.leftovers`.

    :param start_seconds: within which it must be healthy.
    :param stop_seconds: what it has for ending by itself, before it is killed.
    :raises ServerStartError: if it ends early or isn't healthy in time.
    """
    home.mkdir(parents=True, exist_ok=True)
    log_path = log_path or home.with_name(f"{home.name}.log")
    log_path.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
    mark = new_mark()
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARD, str(os.getpid()), mark, *command],
            cwd=home,
            env={**kept, "HOME": str(home), **(environment or {}), **marking(mark)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(name, process, healthy, log_path, start_seconds)
        yield process.pid
    finally:
        _stop(process, mark, stop_seconds)


def answers(port: int, path: str = "/", *, status: int | None = None) -> bool:
    """Whether an HTTP server answers there: with that status, or with any if none is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        found = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status is None or found == status


def _wait_until_healthy(
    name: str, process: subprocess.Popen[bytes], healthy: Callable[[], bool], log_path: Path, start_seconds: float
) -> None:
    deadline = time.monotonic() + start_seconds
    while True:
        is_healthy = healthy()
        # Asked second: a server that has just ended may have left its port to one that answers.
        if process.poll() is not None:
            what = f"{name} ended with status {process.returncode} before it was healthy."
            raise ServerStartError(what + log_tail(log_path))
        if is_healthy:
            return
        if time.monotonic() > deadline:
            what = f"{name} was not healthy after {start_seconds:.0f} seconds."
            raise ServerStartError(what + log_tail(log_path))
        time.sleep(LOOK_EVERY_SECONDS)


def log_tail(log_path: Path) -> str:
    """Return a sentence with the last lines of a log, to end an error with."""
    with log_path.open(encoding="utf-8", errors="replace") as log:
        lines = deque(log, maxlen=LOG_LINES_IN_ERRORS)
    if not lines:
        return f" Its log {log_path} is empty."
    return f" The end of its log {log_path}:\n{''.join(lines)}"


def _stop(process: subprocess.Popen[bytes], mark: str, stop_seconds: float) -> None:
    """End the server politely, then by force, and never return while anything of it is still there."""
    try:
        with suppress(subprocess.TimeoutExpired):
            process.terminate()
            process.wait(stop_seconds)
    finally:  # after an interrupt as well
        if process.returncode is None or process.returncode < 0:
            # Still running, or the guard itself was killed and may have left the server behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        end_marked(mark)
