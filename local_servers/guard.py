"""Run one server and take it down when the process that asked for it is gone.

Started as a script, in a session of its own, by :mod:`local_servers.process`:

    python guard.py <parent's process id> <mark> <command> [argument ...]

A test run that is killed outright cannot stop its servers, so somebody else has to. Linux can
send a signal at the death of a parent, but it means the *thread* that started the child, and
macOS has nothing of the kind. Watching the parent's id from a small process works on both, from
any thread, and needs no code between fork and exec in a parent that may have threads of its own.
What has left the server's group bears the mark: see :mod:`local_servers.leftovers`.

Only the standard library is imported, so this starts in a few hundredths of a second.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

sys.path.append(str(Path(__file__).parent))  # a script that is isolated finds not even its neighbours

from leftovers import end_marked

LOOK_EVERY_SECONDS = 0.25


def main(parent: int, mark: str, command: list[str]) -> int:
    """Run the command to its end, pass SIGTERM on to it, end what it left, and answer with its exit status."""
    child: subprocess.Popen[bytes] | None = None
    asked_to_stop = False

    def pass_on(signal_number: int, frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        if child is not None:
            child.terminate()

    signal.signal(signal.SIGTERM, pass_on)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    if asked_to_stop:  # the signal came while there was no child to pass it on to
        child.terminate()
    threading.Thread(target=_kill_all_without, args=(parent, mark), daemon=True).start()
    status = child.wait()
    end_marked(mark)
    return status if status >= 0 else 128 - status


def _kill_all_without(parent: int, mark: str) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_SECONDS)
    try:
        end_marked(mark)
    finally:
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
