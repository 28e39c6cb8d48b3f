"""What came of each cell: kept below ``.matrix/`` as it comes, told in lines, and put into the docs as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tools.matrix.cells import GRID, PARTS, ROOT, Cell, shown

PAGE = ROOT / "docs/versions.md"
BEGIN, END = "<!-- what make test-matrix has run -->", "<!-- end -->"

_ROW = re.compile(r"^\| (?P<airflow>\d+\.\d+)\S* \| (?P<python>\d+\.\d+)\S* \|.*$", re.M)

PASSED, FAILED, UNFINISHED = "passed", "failed", "not finished"
NO_INTERPRETER, NOT_FOR_IT = "no interpreter", "not for this Python"


@dataclass(frozen=True)
class Part:
    """What came of one part of the tests."""

    tests: int
    failed: tuple[str, ...] = ()
    seconds: int = 0


@dataclass
class Result:
    """What came of a cell.

    :param reason: a line: why it failed before its tests, or why it wasn't run.
    """

    outcome: str
    day: str
    python: str = ""
    airflow: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def from_dict(cls, kept: Mapping[str, object]) -> Result:
        known = cls(**kept)  # type: ignore[arg-type]
        known.parts = {
            name: Part(part["tests"], tuple(part["failed"]), part["seconds"])  # type: ignore[call-overload, index]
            for name, part in known.parts.items()
        }
        return known

    @property
    def failed_tests(self) -> list[str]:
        """The tests that failed, by the names that pytest takes."""
        return [test for part in self.parts.values() for test in part.failed]


def read(cell: Cell) -> Result | None:
    """Return what came of a cell in this or an earlier run."""
    try:
        return Result.from_dict(json.loads((cell.home / "result.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def write(cell: Cell, result: Result) -> None:
    """Keep what came of a cell, so that a stop in the middle leaves a whole record."""
    cell.home.mkdir(parents=True, exist_ok=True)
    new = cell.home / "result.json.new"
    new.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    new.replace(cell.home / "result.json")


def forget(cell: Cell) -> None:
    """Remove what is kept of a cell."""
    (cell.home / "result.json").unlink(missing_ok=True)


def exit_code(results: Mapping[Cell, Result], named: Collection[Cell]) -> int:
    """Return 0 if nothing failed, and each cell that was asked for by its name has passed."""
    failed = [
        cell
        for cell, result in results.items()
        if result.outcome in (FAILED, UNFINISHED) or (cell in named and result.outcome != PASSED)
    ]
    return 1 if failed else 0


def line(cell: Cell, result: Result) -> str:
    """Return what came of a cell in one line, with a line below it for each test that failed."""
    counts = ", ".join(f"{result.parts[name].tests:,} {name}" for name in PARTS if name in result.parts)
    if result.outcome == PASSED:
        seconds = sum(part.seconds for part in result.parts.values())
        return f"{cell}: passed on Python {result.python}, Airflow {result.airflow}: {counts} in {seconds:,} s"
    if result.outcome == FAILED:
        failed = result.failed_tests
        what = result.reason or f"{len(failed)} of {counts}, see {shown(cell.home)}/*.log"
        return "\n    ".join([f"{cell}: FAILED: {what}", *failed])
    if result.outcome == UNFINISHED:
        return f"{cell}: NOT FINISHED: see {shown(cell.home)}/*.log"
    return f"{cell}: NOT RUN: {result.reason}"


def table(results: Mapping[Cell, Result], known: Mapping[Cell, str]) -> str:
    """Return the grid as a table for the docs.

    :param known: the rows that stay as they are where there is no result.
    """
    rows = [
        "| Airflow | Python | unit | conformance, emulator | DAGs | result | day |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in GRID:
        result = results.get(cell)
        if result is None:
            rows.append(known.get(cell) or f"| {cell.pinned_airflow} | {cell.python} | | | | not run | |")
            continue
        counts = [f"{result.parts[name].tests:,}" if name in result.parts else "" for name in PARTS]
        said = result.outcome
        if result.outcome == FAILED:
            said += f": {result.reason or f'{len(result.failed_tests)} tests'}"
        elif result.reason:
            said = f"not run: {result.reason}"
        versions = f"{result.airflow or cell.pinned_airflow} | {result.python or cell.python}"
        rows.append(f"| {versions} | {' | '.join(counts)} | {said} | {result.day} |")
    return "\n".join(rows)


def write_docs(page: Path, results: Mapping[Cell, Result]) -> None:
    """Put the table between the marks of the page; what is known there of other cells stays."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} and {END} to write between")
    page.write_text(f"{before}{begin}\n{table(results, _rows(old))}\n{end}{after}", encoding="utf-8")


def _rows(old: str) -> dict[Cell, str]:
    """Return the rows of a table by their cells, for those that are in the grid."""
    rows = {Cell(found["python"], found["airflow"]): found[0] for found in _ROW.finditer(old)}
    return {cell: row for cell, row in rows.items() if cell in GRID}


def read_report(report: Path, seconds: int = 0) -> Part:
    """Return how many tests pytest's report has, those left out not counted, and which failed, by pytest's own names.

    A file that can't be imported counts as one test, which has the name of the file.
    """
    run: set[str] = set()
    failed: dict[str, None] = {}  # in their order; a test can fail and then fail to end
    for case in ElementTree.parse(report).iter("testcase"):
        name = _name(case)
        if case.find("skipped") is None:
            run.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed[name] = None
    return Part(len(run), tuple(failed), seconds)


def _name(case: ElementTree.Element) -> str:
    file, module_and_classes, test = case.get("file", ""), case.get("classname", ""), case.get("name", "")
    if not module_and_classes:  # the file itself could not be collected
        return file
    classes = module_and_classes.removeprefix(file.removesuffix(".py").replace("/", ".")).split(".")
    return "::".join(filter(None, [file, *classes, test]))
