"""The cells of ``make test-matrix``: which there are, what is said of those that weren't run, what ends with them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import pytest

from tools.matrix import __main__ as command
from tools.matrix import cells, interpreters, results
from tools.matrix.cells import GRID, PARTS, ROOT, Cell
from tools.matrix.environment import Environment, StepError, TestGoneError
from tools.matrix.results import FAILED, NO_INTERPRETER, NOT_FOR_IT, PASSED, UNFINISHED, Part, Result

WAIT_SECONDS = 30
ALL_PASS: Mapping[str, Part] = {name: Part(10, seconds=1) for name in PARTS}


class StandIn(Environment):
    """An environment that answers at once with what the test wants to come of it."""

    outcomes: dict[str, Mapping[str, Part | BaseException]] = {}  # noqa: RUF012
    ran: list[str] = []  # noqa: RUF012
    gone: list[str] = []  # noqa: RUF012

    def make(self, interpreter: Path) -> None: ...

    def install(self) -> None: ...

    def versions(self) -> tuple[str, str]:
        return f"{self._cell.python}.9", self._cell.pinned_airflow

    def refusal(self) -> str:
        return "not for this one" if str(self._cell) == "3.13/2.11" else ""

    def test(self, name: str, jobs: int, *, only: Sequence[str] = ()) -> Part:
        self.ran.append(" ".join([str(self._cell), name, *only]))
        if set(only) & set(self.gone):
            raise TestGoneError("a test is gone")
        outcome = self.outcomes.get(str(self._cell), ALL_PASS)[name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture(autouse=True)
def _nothing_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "HOME", tmp_path / ".matrix")
    monkeypatch.setattr(results, "PAGE", tmp_path / "versions.md")
    monkeypatch.setattr(command, "Environment", StandIn)
    monkeypatch.setattr(interpreters, "find", lambda version: Path(f"/bin/python{version}"))
    monkeypatch.setattr(interpreters, "full_version", lambda python: f"{python.name.removeprefix('python')}.9")
    monkeypatch.setattr(StandIn, "outcomes", {})
    monkeypatch.setattr(StandIn, "ran", [])
    monkeypatch.setattr(StandIn, "gone", [])


@pytest.fixture
def there_is_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Leave one Python on this computer."""

    def only(python: str) -> None:
        found = Path(f"/bin/python{python}")
        monkeypatch.setattr(interpreters, "find", lambda version: found if version == python else None)

    return only


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


def test_the_first_line_says_what_the_command_needs(matrix: Callable[..., tuple[int, str]]) -> None:
    first = matrix("3.12/3.0")[1].splitlines()[0]
    assert first.startswith("This needs Python 3.11, 3.12 and 3.13, PyPI and npm")
    assert "Debian bookworm has Python 3.11 alone" in first


@pytest.mark.parametrize(("words", "cells_told", "ran"), [([], 15, 15), (["corners", "3.11/3.3"], 3, 3)])
def test_of_all_cells_or_the_corners_those_without_a_python_are_told_and_fail_nothing(
    words: list[str],
    cells_told: int,
    ran: int,
    matrix: Callable[..., tuple[int, str]],
    there_is_only: Callable[[str], None],
) -> None:
    there_is_only("3.11")
    code, told = matrix(*words)
    assert code == 0
    assert "3.13/3.3: NOT RUN: no Python 3.13 with venv" in told
    assert len(set(re.findall(r"^3\.\d+/\d\.\d+: (?:NOT RUN|passed).*", told, re.M))) == cells_told
    assert len(StandIn.ran) == ran
    assert told.splitlines()[-1] == f"{cells_told - ran // 3} of {cells_told} cells were NOT RUN."


@pytest.mark.parametrize("cell", ["3.13/3.3", "3.12/2.11", "3.13/2.11"])
@pytest.mark.parametrize("others", [[], ["3.11/3.3"], ["corners"]])
def test_a_cell_that_was_asked_for_by_its_name_and_cannot_run_fails_the_command(
    cell: str, others: list[str], matrix: Callable[..., tuple[int, str]], there_is_only: Callable[[str], None]
) -> None:
    if cell != "3.13/2.11":  # for which the Python is there, and not meant
        there_is_only("3.11")
    code, told = matrix(cell, *others)
    assert code == 1
    assert f"{cell}: NOT RUN: no" in told


def test_an_airflow_that_is_not_for_a_python_is_said_and_fails_nothing(matrix: Callable[..., tuple[int, str]]) -> None:
    code, told = matrix()
    assert code == 0
    assert "3.13/2.11: NOT RUN: not for this one" in told


@pytest.mark.parametrize("named", [[], [Cell("3.12", "3.0")]])
def test_a_cell_that_was_not_finished_fails_the_command_and_is_told(named: Collection[Cell]) -> None:
    cell, result = Cell("3.12", "3.0"), Result(UNFINISHED, "2026-01-02")
    assert results.exit_code({cell: result}, named) == 1
    assert results.line(cell, result).startswith("3.12/3.0: NOT FINISHED: see ")


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


def test_resuming_runs_a_part_whole_if_a_test_that_failed_is_gone(matrix: Callable[..., tuple[int, str]]) -> None:
    StandIn.outcomes["3.12/3.0"] = {**ALL_PASS, "unit": Part(10, ("test_a.py::test_gone",), 5)}
    assert matrix("3.12/3.0")[0] == 1
    StandIn.ran.clear()
    StandIn.outcomes.clear()
    StandIn.gone.append("test_a.py::test_gone")
    code, told = matrix("3.12/3.0", "--resume")
    assert code == 0
    assert StandIn.ran == ["3.12/3.0 unit test_a.py::test_gone", "3.12/3.0 unit"]
    assert "10 unit, 10 conformance, 10 dags in 3 s" in told


@pytest.mark.parametrize("there", [True, False])
def test_a_test_that_is_gone_is_told_from_one_that_fails(tmp_path: Path, there: bool) -> None:
    cell = Cell("3.12", "3.0")
    program(cell.home / "venv/bin/python", f'exec "{sys.executable}" "$@"')
    (tmp_path / "test_one.py").write_text("def test_there(): assert False\n")
    environment, tests = Environment(cell), [f"{tmp_path}/test_one.py::test_there"]
    if there:
        assert len(environment.test("unit", 1, only=tests).failed) == 1
    else:
        with pytest.raises(TestGoneError):
            environment.test("unit", 1, only=[*tests, f"{tmp_path}/test_one.py::test_gone"])


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


@pytest.mark.parametrize(("python", "airflow"), [("3.12.9", "3.0.0"), ("3.12.8", Cell("3.12", "3.0").pinned_airflow)])
def test_a_cell_that_passed_with_other_versions_is_run_again(
    python: str, airflow: str, matrix: Callable[..., tuple[int, str]]
) -> None:
    results.write(Cell("3.12", "3.0"), Result(PASSED, "2026-01-01", python, airflow, dict(ALL_PASS)))
    assert matrix("3.12/3.0", "--resume")[0] == 0
    assert len(StandIn.ran) == 3
    StandIn.ran.clear()
    assert matrix("3.12/3.0", "--resume")[0] == 0
    assert StandIn.ran == []


def test_a_cell_that_passed_is_not_said_to_pass_when_its_python_has_gone(
    matrix: Callable[..., tuple[int, str]], there_is_only: Callable[[str], None]
) -> None:
    assert matrix("3.12/3.0")[0] == 0
    there_is_only("3.11")
    code, told = matrix("3.12/3.0", "--resume")
    assert code == 1
    assert "3.12/3.0: NOT RUN: no Python 3.12" in told


def test_a_file_that_could_not_be_imported_has_all_its_tests_counted_when_it_can(
    matrix: Callable[..., tuple[int, str]],
) -> None:
    StandIn.outcomes["3.12/3.0"] = {**ALL_PASS, "unit": Part(10, ("tests/unit/test_broken.py",))}
    assert matrix("3.12/3.0")[0] == 1
    StandIn.outcomes["3.12/3.0"] = {"unit": Part(5)}
    assert "14 unit, 10 conformance, 10 dags" in matrix("3.12/3.0", "--resume")[1]


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
        },
        {},
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


def test_what_the_page_knows_of_other_cells_stays(matrix: Callable[..., tuple[int, str]]) -> None:
    elsewhere = "| 3.0.6 | 3.11.2 | 3,887 | 328 | 392 | passed | 2026-01-02 |"
    before = "| 3.1.8 | 3.12.1 | 1 | 1 | 1 | failed: 2 tests | 2026-01-02 |"
    gone = "| 2.9.3 | 3.11.2 | 1 | 1 | 1 | passed | 2026-01-02 |"
    results.PAGE.write_text(f"{results.BEGIN}\n" + "\n".join([elsewhere, before, gone]) + f"\n{results.END}\n")
    assert matrix("3.12/3.1", "--write-docs")[0] == 0
    rows = results.PAGE.read_text().splitlines()
    assert elsewhere in rows
    assert before not in rows
    assert gone not in rows


def test_the_page_of_the_docs_has_the_marks() -> None:
    text = (ROOT / "docs/versions.md").read_text()
    assert text.count(results.BEGIN) == text.count(results.END) == 1
    assert text.index(results.BEGIN) < text.index(results.END)


def test_pytests_report_is_read_with_the_names_that_pytest_takes(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_broken.py").write_text("import nothing_that_there_is\n")
    (folder / "test_some.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_odd(n): assert n == 1\n"
        "@pytest.fixture\n"
        "def broken():\n    yield\n    raise OSError\n"
        "def test_ends_badly(broken): assert False\n"
        "@pytest.mark.skip\n"
        "def test_left_out(): pass\n"
        "class TestOne:\n"
        "    def test_same(self): assert False\n"
        "    class TestInner:\n"
        "        @pytest.mark.parametrize('word', ['a.b'])\n"
        "        def test_deep(self, word): assert False\n"
        "class TestOther:\n"
        "    def test_same(self): pass\n"
    )
    part = reported(tmp_path, "tests")
    assert part.tests == 8
    assert sorted(part.failed) == [
        "tests/test_broken.py",
        "tests/test_some.py::TestOne::TestInner::test_deep[a.b]",
        "tests/test_some.py::TestOne::test_same",
        "tests/test_some.py::test_ends_badly",
        "tests/test_some.py::test_odd[2]",
    ]
    again = reported(tmp_path, *part.failed)
    assert again.tests == 5
    assert sorted(again.failed) == sorted(part.failed)


def reported(folder: Path, *tests: str) -> Part:
    """Run tests as a cell runs its own; return what the report says."""
    report = folder / "report.xml"
    options = ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}", "--rootdir", folder]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", "1", "--dist", "loadfile", *options, *tests],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return results.read_report(report)


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


# Environments.


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cell:
    """A cell whose environment is a real one."""
    monkeypatch.undo()
    monkeypatch.setattr(cells, "HOME", tmp_path / ".matrix")
    return Cell("3.12", "3.0")


def environment_of(cell: Cell, *, python: str) -> Path:
    """Make what looks like a whole environment; return where its Python is."""
    program(cell.home / "venv/bin/uv", "exit 0")
    return program(cell.home / "venv/bin/python", python)


def test_an_environment_that_works_is_kept(cell: Cell, tmp_path: Path) -> None:
    environment_of(cell, python="echo 3.12.1")
    Environment(cell).make(program(tmp_path / "python", 'test "$1" = -c && echo 3.12.1'))


def test_an_environment_whose_python_has_gone_is_made_anew(cell: Cell, tmp_path: Path) -> None:
    python = environment_of(cell, python="")
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    with pytest.raises(StepError, match=r"-m venv --clear .* ended with status 4"):
        Environment(cell).make(program(tmp_path / "python", 'test "$1" = -c && echo 3.12.1 || exit 4'))


def test_an_environment_with_another_version_of_its_python_is_made_anew(cell: Cell, tmp_path: Path) -> None:
    environment_of(cell, python="echo 3.12.1")
    with pytest.raises(StepError, match=r"-m venv --clear .* ended with status 4"):
        Environment(cell).make(program(tmp_path / "python", 'test "$1" = -c && echo 3.12.2 || exit 4'))


def test_an_environment_that_cannot_be_asked_is_told_in_a_sentence(cell: Cell) -> None:
    with pytest.raises(StepError, match=r"venv/bin/python doesn't run: No such file or directory"):
        Environment(cell).versions()
    environment_of(cell, python="echo first >&2; echo no such package >&2; exit 1")
    with pytest.raises(StepError, match=r"venv/bin/python doesn't tell its versions: no such package$"):
        Environment(cell).versions()


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
