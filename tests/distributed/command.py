"""``python -m demo.distributed`` in a process of its own, which ends with the test whatever comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from local_servers import leftovers

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 60
# What is ended with its parent's death needs a moment for seeing it.
GONE_SECONDS = 15


class Command:
    """A running demo in its short form, and the processes that came from it."""

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

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when it is so; the test's own time limit is the limit."""
        while not condition():
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def still_there(self, family: list[psutil.Process]) -> list[psutil.Process]:
        """Return which of its processes run, or will do so for more than a moment."""
        return psutil.wait_procs([*family, *working_below(self.home)], timeout=GONE_SECONDS)[1]

    def end(self) -> None:
        """End it and all that it started, by force where nothing else helps."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        self.process.kill()
        self.process.wait()
        for process in self.still_there([]):
            with suppress(psutil.Error, KeyError):
                leftovers.end_marked(process.environ()[leftovers.VARIABLE])


@contextmanager
def running(home: Path, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[Command]:
    """Run it for the length of a block, in which it may end, and see that nothing of it is left."""
    command = Command(home, *words, environment=environment)
    try:
        yield command
        left = command.still_there([]) if command.process.poll() is not None else []
    finally:
        command.end()
    assert left == [], "it ended, and not all that it had started"


def working_below(home: Path) -> list[psutil.Process]:
    """Return the processes whose home is there or below."""
    return [process for process in psutil.process_iter() if _works_below(process, home)]


def _works_below(process: psutil.Process, home: Path) -> bool:
    try:
        own = process.environ().get("HOME")
        return own is not None and Path(own).is_relative_to(home)
    except psutil.Error:
        return False
