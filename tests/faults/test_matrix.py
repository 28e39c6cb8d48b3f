"""Each call of each client under each fault: done and right, or an error that names the key and the cause."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults import table
from tests.faults.matrix import Cell, cells

# The first test waits until every cell is done.
pytestmark = pytest.mark.timeout(900)

WRITES = os.environ.get("DPONE_WRITE_DOCS") == "1"
DOCUMENTED = table.documented()
OUTCOMES = dict(DOCUMENTED)


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_cell(cell: Cell, outcome_of: Callable[[Cell], str]) -> None:
    outcome = OUTCOMES[str(cell)] = outcome_of(cell)
    if not WRITES:
        assert outcome == DOCUMENTED.get(str(cell)), (
            "docs/reliability.md says otherwise: DPONE_WRITE_DOCS=1 rewrites it"
        )


def test_the_page_has_every_cell_and_no_other() -> None:
    page = table.written(OUTCOMES)
    if WRITES:
        table.PAGE.write_text(page, encoding="utf-8")
    assert table.PAGE.read_text(encoding="utf-8") == page
    assert set(OUTCOMES) == {str(cell) for cell in cells()}
