"""Every test that SECURITY.md names for a promise is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
# `unit/test_uri.py`, `fuzz/`, `dags/test_forged.py::test_…`, and `…::test_…` of the file named before.
_NAMED = re.compile(r"`(?P<path>[a-z]+/[\w./-]*|…)(?:::(?P<test>test_\w+))?`")


def promises() -> list[str]:
    """Return the last cells of the tables of promises: those that name the tests."""
    tables = PAGE.split("| promised | shown by |\n")[1:]
    rows = [line for table in tables for line in table.partition("\n\n")[0].splitlines()[1:]]
    return [row.strip("| ").rpartition(" | ")[2] for row in rows]


def test_every_promise_names_a_test_that_is_there() -> None:
    cells = promises()
    assert len(cells) > 20
    before = None
    for cell in cells:
        if cell == "the same" or cell.startswith("[Reliability]"):
            continue
        found = list(_NAMED.finditer(cell))
        assert found, cell
        for named in found:
            path = before if named["path"] == "…" else ROOT / "tests" / named["path"]
            assert path is not None
            assert path.exists(), cell
            if named["test"]:
                functions = [node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")]
                assert named["test"] in functions, cell
            before = path
