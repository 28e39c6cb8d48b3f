"""What a server has left behind: processes that are no longer in its group, found by a mark in their environment.

Airflow's components and Celery's workers start processes in sessions of their own, which a signal to the
group of the server doesn't reach and which outlive it. A child inherits its parent's environment, wherever
it goes, and Linux shows it in ``/proc``; macOS has no such thing, and nothing is found there.

:func:`local_servers.process.running` marks every server that it starts and ends what is left of it, so only who
starts a process in another way needs this::

    mark = new_mark()
    subprocess.Popen(command, env={**environment, **marking(mark)})
    ...
    end_marked(mark)

Only the standard library is imported: the guard uses this too, as a script.
"""

import os
import signal
import time
import uuid
from contextlib import suppress

VARIABLE = "LOCAL_SERVERS_MARK"
GONE_WITHIN_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.02


def new_mark() -> str:
    """Return a mark that nothing else has."""
    return uuid.uuid4().hex


def marking(mark: str) -> dict[str, str]:
    """Return what to add to a process's environment so that it and all that come from it bear the mark."""
    # setproctitle, which Airflow and Celery name their processes with, writes over what /proc shows as
    # the environment unless it is told not to.
    return {VARIABLE: mark, "SPT_NOENV": "1"}


def marked(mark: str) -> list[int]:
    """Return the ids of the running processes that bear the mark, this one left out."""
    return [int(name) for name in _ids() if int(name) != os.getpid() and _bears(name, mark)]


def end_marked(mark: str) -> list[int]:
    """Kill the processes that bear the mark, return when they are gone; say which they were.

    :raises TimeoutError: if one is still there after ten seconds.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while found := marked(mark):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} are still there {GONE_WITHIN_SECONDS:.0f} seconds after SIGKILL")
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        ended.update(found)
        time.sleep(LOOK_EVERY_SECONDS)
    return sorted(ended)


def _ids() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdecimal()]
    except FileNotFoundError:
        return []


def _bears(process: str, mark: str) -> bool:
    try:
        with open(f"/proc/{process}/environ", "rb") as file:  # of a zombie it is empty
            return f"{VARIABLE}={mark}".encode() in file.read().split(b"\0")
    except OSError:  # ended meanwhile, or somebody else's
        return False
