"""Run the tests on each Python and each Airflow that are supported: ``make test-matrix``.

A cell is one Python and one Airflow, as ``3.12/3.0``: a virtual environment of its own below ``.matrix/``, with the
versions of ``constraints/airflow-<minor>.txt``, in which the unit tests, the emulator's part of the conformance suite
and the DAG tests run. What came of a cell is in ``.matrix/`` as soon as it is known, and ``--resume`` runs only what
hasn't passed, test by test. ``--write-docs`` puts what is known into ``docs/versions.md``.

The exit code is 1 if a cell failed or wasn't finished. A cell that can't be run, for want of its Python for one, is
told as NOT RUN and fails nothing where all cells or ``corners`` were asked for: no computer needs to have every Python.
A cell that was asked for by its name has to run.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
from collections.abc import Collection, Sequence
from datetime import date

from tools.matrix import cells, interpreters, results
from tools.matrix.cells import PARTS, Cell, shown
from tools.matrix.environment import Environment, StepError, TestGoneError
from tools.matrix.results import FAILED, NO_INTERPRETER, NOT_FOR_IT, PASSED, UNFINISHED, Part, Result
from tools.processes import Stopped, exit_code, stopped_by_sigterm

NEEDS = (
    f"This needs Python {', '.join(cells.PYTHONS[:-1])} and {cells.PYTHONS[-1]}, PyPI and npm, and nothing else of "
    "Debian's; Debian bookworm has Python 3.11 alone, and its venv in python3.11-venv. "
    "A cell without its Python is not run."
)


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing failed, and each cell that was asked for by its name has passed."""
    parser = argparse.ArgumentParser(prog="matrix", description="Run the tests on each Python and each Airflow.")
    parser.add_argument("cells", nargs="*", metavar="CELL", help="such as 3.12/3.0, or corners; all if none is given")
    parser.add_argument("--jobs", type=int, default=2, help="files of tests at once")
    parser.add_argument("--resume", action="store_true", help="run only what has not passed in an earlier run")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table of {shown(results.PAGE)}")
    given = parser.parse_args(arguments)
    try:
        asked, named = cells.parse(given.cells), cells.named(given.cells)
    except ValueError as error:
        parser.error(str(error))
    _say(NEEDS)
    cells.HOME.mkdir(exist_ok=True)
    with (cells.HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another make test-matrix is at work in {shown(cells.HOME)}: wait for its end.", file=sys.stderr)
            return 1
        return _run(asked, named, given)


def _run(asked: Sequence[Cell], named: Collection[Cell], given: argparse.Namespace) -> int:
    came: dict[Cell, Result] = {}
    try:
        with stopped_by_sigterm():
            for cell in asked:
                known = results.read(cell) if given.resume else None
                came[cell] = known if known and _still_holds(cell, known) else run_cell(cell, given.jobs, known)
                _say(results.line(cell, came[cell]))
    except (KeyboardInterrupt, Stopped) as stopped:
        _say("Stopped; with --resume only what has not passed is run the next time.")
        return exit_code(stopped)
    if len(came) > 1:
        _say("\n" + "\n".join(results.line(cell, result) for cell, result in came.items()))
        not_run = sum(result.outcome in (NO_INTERPRETER, NOT_FOR_IT) for result in came.values())
        if not_run:
            _say(f"{not_run} of {len(came)} cells were NOT RUN.")
    if given.write_docs:
        results.write_docs(results.PAGE, {cell: known for cell in cells.GRID if (known := results.read(cell))})
        _say(f"Written into {shown(results.PAGE)}.")
    return results.exit_code(came, named)


def _still_holds(cell: Cell, known: Result) -> bool:
    """Whether a cell has passed with the versions that it would be run with now."""
    interpreter = interpreters.find(cell.python)
    return (
        known.outcome == PASSED
        and known.airflow == cell.pinned_airflow
        and interpreter is not None
        and known.python == interpreters.full_version(interpreter)
    )


def run_cell(cell: Cell, jobs: int, known: Result | None) -> Result:
    """Install what the cell needs and run its tests; return what came of it, which is kept after each part.

    :param known: what came of it earlier, if what passed is to be left out.
    """
    if known is None:
        results.forget(cell)
    result = Result(UNFINISHED, date.today().isoformat())
    try:
        _run_parts(cell, jobs, known, result)
    except StepError as error:
        result.outcome, result.reason = FAILED, str(error)
    results.write(cell, result)
    return result


def _run_parts(cell: Cell, jobs: int, known: Result | None, result: Result) -> None:
    interpreter = interpreters.find(cell.python)
    if interpreter is None:
        result.outcome, result.reason = NO_INTERPRETER, interpreters.none_of(cell.python)
        return
    _say(f"{cell}: installing into {shown(cell.home)} …")
    environment = Environment(cell)
    environment.make(interpreter)
    result.python, result.airflow = environment.versions()
    result.reason = environment.refusal()
    if result.reason:
        result.outcome = NOT_FOR_IT
        return
    environment.install()
    if known and (known.python, known.airflow) == (result.python, result.airflow):
        result.parts = dict(known.parts)
    for name in PARTS:
        before = result.parts.get(name)
        if before is None:
            _say(f"{cell}: {name} …")
            result.parts[name] = environment.test(name, jobs)
        elif before.failed:
            _say(f"{cell}: {name}, what failed …")
            result.parts[name] = _run_failed(environment, name, jobs, before)
        results.write(cell, result)
    result.outcome = FAILED if result.failed_tests else PASSED


def _run_failed(environment: Environment, name: str, jobs: int, before: Part) -> Part:
    try:
        again = environment.test(name, jobs, only=before.failed)
    except TestGoneError:
        _say("One of them isn't there any more: all of it is run …")
        return environment.test(name, jobs)
    tests = before.tests - len(before.failed) + again.tests  # a file that couldn't be imported has more now
    return Part(tests, again.failed, before.seconds + again.seconds)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
