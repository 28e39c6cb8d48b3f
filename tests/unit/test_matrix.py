"""The cells of ``make test-matrix``: which there are, what is said of those that weren't run, what ends with them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tools.matrix import __main__ as command
from tools.matrix import cells, interpreters, results
from tools.matrix.cells import GRID, PARTS, ROOT, Cell
from tools.matrix.environment import Environment, StepError
from tools.matrix.results import FAILED, NO_INTERPRETER, NOT_FOR_IT, PASSED, Part, Result

WAIT_SECONDS = 30
ALL_PASS: Mapping[str, Part] = {name: Part(10, seconds=1) for name in PARTS}


class StandIn(Environment):
    """An environment that answers at once with what the test wants to come of it."""

    outcomes: dict[str, Mapping[str, Part | BaseException]] = {}  # noqa: RUF012
    ran: list[str] = []  # noqa: RUF012

    def make(self, interpreter: Path) -> None: ...

    def install(self) -> None: ...

    def versions(self) -> tuple[str, str]:
        return f"{self._cell.python}.9", self._cell.pinned_airflow

    def refusal(self) -> str:
        return "not for this one" if str(self._cell) == "3.13/2.11" else ""

    def test(self, name: str, jobs: int, *, only: Sequence[str] = ()) -> Part:
        self.ran.append(" ".join([str(self._cell), name, *only]))
        outcome = self.outcomes.get(str(self._cell), ALL_PASS)[name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture(autouse=True)
def _nothing_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "HOME", tmp_path / ".matrix")
    monkeypatch.setattr(results, "PAGE", tmp_path / "versions.md")
    monkeypatch.setattr(command, "Environment", StandIn)
    monkeypatch.setattr(interpreters, "find", lambda version: Path(sys.executable))
    monkeypatch.setattr(StandIn, "outcomes", {})
    monkeypatch.setattr(StandIn, "ran", [])


@pytest.fixture
def matrix(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call the command; return its exit code and what it printed."""

    def call(*arguments: str) -> tuple[int, str]:
        code = command.main(list(arguments))
        return code, capsys.readouterr().out

    return call


# Which cells.


def test_all_cells_are_meant_when_none_is_named() -> None:
    assert len(cells.parse([])) == len(GRID) == 15


def test_cells_are_named_by_python_and_airflow_and_each_is_run_once() -> None:
    assert cells.parse(["3.13/3.3", "corners", "3.12/3.0"]) == [
        Cell("3.13", "3.3"),
        Cell("3.12", "2.11"),
        Cell("3.12", "3.0"),
    ]


@pytest.mark.parametrize("word", ["3.10/3.3", "3.12/3.9", "3.3/3.12", "3.12", "corner", ""])
def test_what_is_no_cell_is_refused_with_those_that_there_are(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main([word])
    told = capsys.readouterr().err
    assert refused.value.code == 2
    assert f"{word!r} is no cell" in told
    assert "3.11, 3.12, 3.13 and 2.11, 3.0, 3.1, 3.2, 3.3" in told


@pytest.mark.parametrize("cell", GRID, ids=str)
def test_each_cell_has_its_pins(cell: Cell) -> None:
    assert cell.pinned_airflow.startswith(f"{cell.airflow}.")


# What comes out.


def test_a_cell_that_passes_is_told_with_its_versions_and_counts(matrix: Callable[..., tuple[int, str]]) -> None:
    code, told = matrix("3.12/3.0")
    assert code == 0
    assert re.search(
        r"^3\.12/3\.0: passed on Python 3\.12\.9, Airflow 3\.0\.\d+: 10 unit, 10 conformance, 10 dags in 3 s$",
        told,
        re.M,
    )


def test_a_failed_test_is_named_and_the_other_parts_and_cells_are_run_all_the_same(
    matrix: Callable[..., tuple[int, str]],
) -> None:
    StandIn.outcomes["3.12/3.0"] = {**ALL_PASS, "unit": Part(10, ("tests/unit/test_uri.py::test_a",))}
    code, told = matrix("3.12/3.0", "3.12/3.1")
    assert code == 1
    assert "3.12/3.0: FAILED: 1 of 10 unit, 10 conformance, 10 dags" in told
    assert "\n    tests/unit/test_uri.py::test_a\n" in told
    assert "3.12/3.1: passed" in told
    assert len(StandIn.ran) == 6


def test_a_cell_whose_tests_never_came_to_run_has_failed(matrix: Callable[..., tuple[int, str]]) -> None:
    StandIn.outcomes["3.12/3.0"] = {**ALL_PASS, "conformance": StepError("`uv` ended with status 2")}
    code, told = matrix("3.12/3.0", "3.12/3.1")
    assert code == 1
    assert "3.12/3.0: FAILED: `uv` ended with status 2" in told


def test_no_interpreter_is_said_and_fails_nothing_while_other_cells_run(
    matrix: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreters, "find", lambda version: None if version == "3.13" else Path(sys.executable))
    code, told = matrix("3.13/3.3", "3.12/3.3")
    assert code == 0
    assert "3.13/3.3: NOT RUN: no Python 3.13 with venv" in told
    assert "3.12/3.3: passed" in told


@pytest.mark.parametrize("cell", ["3.13/3.3", "3.13/2.11"])
def test_where_no_cell_can_run_the_command_fails(
    cell: str, matrix: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if cell == "3.13/3.3":
        monkeypatch.setattr(interpreters, "find", lambda version: None)
    code, told = matrix(cell)
    assert code == 1
    assert f"{cell}: NOT RUN: no" in told
    assert StandIn.ran == []


def test_an_airflow_that_is_not_for_a_python_is_said_and_fails_nothing(matrix: Callable[..., tuple[int, str]]) -> None:
    code, told = matrix("3.13/2.11", "3.12/2.11")
    assert code == 0
    assert "3.13/2.11: NOT RUN: not for this one" in told


# Going on after a stop.


def test_a_stopped_run_goes_on_with_the_part_where_it_stopped(matrix: Callable[..., tuple[int, str]]) -> None:
    StandIn.outcomes["3.12/3.1"] = {**ALL_PASS, "dags": KeyboardInterrupt()}
    code, told = matrix("3.12/3.0", "3.12/3.1")
    assert code == 130
    assert "--resume" in told
    StandIn.outcomes.clear()
    StandIn.ran.clear()
    code, told = matrix("3.12/3.0", "3.12/3.1", "--resume")
    assert code == 0
    assert StandIn.ran == ["3.12/3.1 dags"]
    assert told.count("10 unit, 10 conformance, 10 dags") == 4


def test_resuming_runs_the_tests_that_failed_again(matrix: Callable[..., tuple[int, str]]) -> None:
    StandIn.outcomes["3.12/3.0"] = {**ALL_PASS, "unit": Part(10, ("test_a.py::test_a", "test_b.py::test_b"), 5)}
    assert matrix("3.12/3.0")[0] == 1
    StandIn.ran.clear()
    StandIn.outcomes["3.12/3.0"] = {"unit": Part(2, ("test_b.py::test_b",), 1)}
    code, told = matrix("3.12/3.0", "--resume")
    assert code == 1
    assert "1 of 10 unit, 10 conformance, 10 dags" in told
    StandIn.outcomes["3.12/3.0"] = {"unit": Part(1, (), 1)}
    code, told = matrix("3.12/3.0", "--resume")
    assert code == 0
    assert "10 unit, 10 conformance, 10 dags in 9 s" in told
    assert StandIn.ran == ["3.12/3.0 unit test_a.py::test_a test_b.py::test_b", "3.12/3.0 unit test_b.py::test_b"]


def test_without_resume_everything_is_run_again(matrix: Callable[..., tuple[int, str]]) -> None:
    assert matrix("3.12/3.0")[0] == 0
    StandIn.outcomes["3.12/3.0"] = {**ALL_PASS, "unit": KeyboardInterrupt()}
    assert matrix("3.12/3.0")[0] == 130
    assert results.read(Cell("3.12", "3.0")) is None


def test_what_passed_with_another_airflow_is_run_again(matrix: Callable[..., tuple[int, str]]) -> None:
    cell = Cell("3.12", "3.0")
    results.write(cell, Result(FAILED, "2026-01-01", "3.12.9", "3.0.0", {"unit": Part(10)}))
    assert matrix("3.12/3.0", "--resume")[0] == 0
    assert len(StandIn.ran) == 3


def test_two_commands_at_once_do_not_meet_in_one_environment() -> None:
    import fcntl

    cells.HOME.mkdir()
    with (cells.HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert command.main(["3.12/3.0"]) == 1
    assert StandIn.ran == []


# The table.


def test_the_table_has_every_cell_and_says_why_one_was_not_run() -> None:
    text = results.table(
        {
            Cell("3.11", "3.0"): Result(PASSED, "2026-01-02", "3.11.7", "3.0.6", {n: Part(1234) for n in PARTS}),
            Cell("3.12", "3.0"): Result(FAILED, "2026-01-02", "3.12.1", "3.0.6", {"unit": Part(9, ("a", "b"))}),
            Cell("3.13", "3.0"): Result(NOT_FOR_IT, "2026-01-02", "3.13.0", "3.0.6", reason="it is too old"),
            Cell("3.13", "3.3"): Result(NO_INTERPRETER, "2026-01-02", reason="no Python 3.13"),
        }
    )
    rows = text.splitlines()[2:]
    assert len(rows) == len(GRID)
    assert {row.count("|") for row in text.splitlines()} == {8}
    assert "| 3.0.6 | 3.11.7 | 1,234 | 1,234 | 1,234 | passed | 2026-01-02 |" in rows
    assert "| 3.0.6 | 3.12.1 | 9 |  |  | failed: 2 tests | 2026-01-02 |" in rows
    assert "| 3.0.6 | 3.13.0 |  |  |  | not run: it is too old | 2026-01-02 |" in rows
    assert any("| 3.13 |  |  |  | not run: no Python 3.13 |" in row for row in rows)
    assert sum("| not run | |" in row for row in rows) == len(GRID) - 4


def test_the_page_is_written_only_when_asked_and_only_between_its_marks(
    matrix: Callable[..., tuple[int, str]],
) -> None:
    page = f"# Versions\n\n{results.BEGIN}\nold\n{results.END}\n\nThe rest.\n"
    results.PAGE.write_text(page)
    assert matrix("3.12/3.0")[0] == 0
    assert results.PAGE.read_text() == page
    assert matrix("3.12/3.1", "--write-docs")[0] == 0
    written = results.PAGE.read_text()
    assert written.startswith(f"# Versions\n\n{results.BEGIN}\n| Airflow |")
    assert written.endswith(f"\n{results.END}\n\nThe rest.\n")
    assert "old" not in written
    assert written.count("| passed |") == 2, "what an earlier command ran is there as well"


def test_the_page_of_the_docs_has_the_marks() -> None:
    text = (ROOT / "docs/versions.md").read_text()
    assert text.count(results.BEGIN) == text.count(results.END) == 1
    assert text.index(results.BEGIN) < text.index(results.END)


def test_pytests_report_is_read_with_the_names_that_pytest_takes(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_odd(n): assert n == 1\n"
        "@pytest.fixture\n"
        "def broken():\n    yield\n    raise OSError\n"
        "def test_ends_badly(broken): assert False\n"
        "@pytest.mark.skip\n"
        "def test_left_out(): pass\n"
    )
    report = tmp_path / "report.xml"
    options = ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}", "--rootdir", tmp_path]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, file],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    part = results.read_report(report)
    assert part.tests == 4
    assert part.failed == ("test_some.py::test_odd[2]", "test_some.py::test_ends_badly")


# Interpreters.


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path | None]:
    monkeypatch.undo()

    def search(version: str) -> Path | None:
        environment = {"PATH": f"{tmp_path}/shims:{tmp_path}/bin", "PYENV_ROOT": f"{tmp_path}/pyenv"}
        return interpreters.find(version, environment)

    return search


def test_this_python_is_found(find: Callable[[str], Path | None]) -> None:
    assert find(f"{sys.version_info.major}.{sys.version_info.minor}") == Path(sys.executable)


def test_a_python_behind_a_shim_that_does_not_run_is_found(find: Callable[[str], Path | None], tmp_path: Path) -> None:
    program(tmp_path / "shims/python3.99", "exit 127")
    program(tmp_path / "bin/python3.99", "echo 3.98")
    assert find("3.99") is None
    of_pyenv = program(tmp_path / "pyenv/versions/3.99.1/bin/python3.99", "echo 3.99")
    assert find("3.99") == of_pyenv
    assert find("3.98") is None


def test_a_python_that_cannot_make_environments_is_none(find: Callable[[str], Path | None], tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.99", "echo 3.99; echo no ensurepip >&2; exit 1")
    assert find("3.99") is None


def test_where_there_is_none_a_line_says_how_to_get_it() -> None:
    told = interpreters.none_of("3.12")
    assert "\n" not in told
    assert "pyenv install 3.12" in told


# Processes.

_LEAVES_ONE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(600)
"""
# What is started in the background of a shell ignores SIGINT, until somebody says otherwise.
_RUNS_IT = """
import signal, sys
from pathlib import Path
from tools.matrix.__main__ import _stop
from tools.matrix.processes import run
signal.signal(signal.SIGTERM, _stop)
signal.signal(signal.SIGINT, signal.default_int_handler)
run([sys.executable, "-c", sys.argv[1], sys.argv[2]], Path(sys.argv[3]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_that_a_cell_started_outlives_the_command(number: signal.Signals, tmp_path: Path) -> None:
    told = tmp_path / "child"
    process = subprocess.Popen(
        [sys.executable, "-c", _RUNS_IT, _LEAVES_ONE, told, tmp_path / "log"], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        await_true(lambda: told.exists() and told.read_text() != "")
        child = int(told.read_text())
        assert is_running(child)
        process.send_signal(number)
        assert process.wait(WAIT_SECONDS) != 0
        if number == signal.SIGKILL:  # the guard sees it a moment later
            await_true(lambda: not is_running(child))
        assert not is_running(child)
    finally:
        process.kill()
        process.wait()


def test_a_command_that_ends_tells_its_status_and_output(tmp_path: Path) -> None:
    from tools.matrix.processes import run

    log = tmp_path / "log"
    assert run([sys.executable, "-c", "print('said'); raise SystemExit(3)"], log) == 3
    assert run([sys.executable, "-c", "import os; print(os.environ['GIVEN'])"], log, {"GIVEN": "seen"}) == 0
    assert log.read_text().split() == ["said", "seen"]


def test_a_step_that_fails_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("3.12", "3.0")
    interpreter = program(tmp_path / "python", "echo first; echo no room left >&2; exit 4")
    with pytest.raises(StepError, match=r"-m venv .* ended with status 4: no room left; see .*install\.log"):
        Environment(cell).make(interpreter)


def test_what_is_kept_can_be_read_by_others() -> None:
    cell = Cell("3.12", "3.0")
    results.write(cell, Result(PASSED, "2026-01-02", "3.12.1", "3.0.6", {"unit": Part(3, (), 7)}))
    kept = json.loads((cell.home / "result.json").read_text())
    assert kept["parts"]["unit"] == {"tests": 3, "failed": [], "seconds": 7}
    assert results.read(cell) == Result(PASSED, "2026-01-02", "3.12.1", "3.0.6", {"unit": Part(3, (), 7)})


def is_running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # an orphan that nobody has asked for
    except psutil.NoSuchProcess:
        return False


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
