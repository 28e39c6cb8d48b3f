"""Asks the warm process for victims."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class End:
    """How a victim ended.

    :param status: its exit code; -9 if it was killed.
    :param error: what the work raised, see ``work.told``; None if it was killed or succeeded.
    :param labels: the points that it told of itself.
    """

    status: int
    error: dict[str, Any] | None
    labels: list[str] = field(repr=False)

    @property
    def killed(self) -> bool:
        return self.status == -9


class WarmProcess:
    """Forks victims, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, request: dict[str, Any], ready: Callable[[int], None] = lambda pid: None) -> End:
        """Let a victim do ``request``; ``ready`` is called with its process id before it begins."""
        self._say(json.dumps(request))
        ready(self._answer()["pid"])
        self._say("go")
        ended = self._answer()
        outcome = ended["outcome"] or {"error": None, "labels": []}
        return End(ended["status"], outcome["error"], outcome["labels"])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the warm process has ended with {self._process.wait(10)}: see its errors above"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def warm_process() -> Iterator[WarmProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.victim"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
    )
    try:
        yield WarmProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
