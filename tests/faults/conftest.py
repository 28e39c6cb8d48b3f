"""Makes the calls of all cells that were asked for, several at a time: most of them wait for something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.columns import ORDINARY, SHORT, behind_proxies, patient_google
from tests.faults.matrix import Cell, run

# How many cells at once: those of stalled sockets do nothing but wait.
_AT_ONCE = {ORDINARY: 8, SHORT: 24}


@pytest.fixture(scope="session")
def outcome_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Cell], str]]:
    """Return what waits for the outcome of a cell."""
    asked_for: list[Cell] = [
        item.callspec.params["cell"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "outcome_of" in item.fixturenames and hasattr(item, "callspec")
    ]
    outcomes: dict[str, Future[str]] = {}
    directory = tmp_path_factory.mktemp("faults")
    with behind_proxies(directory / "servers") as behind:

        def make(cell: Cell) -> Any:
            return run(cell, behind(cell.column.name), directory)

        # All clients first, and then all cells before the first test goes on: what makes a client, and pytest
        # from test to test, change the environment, in which SDKs look up proxies at every request.
        for name in {cell.column.name for cell in asked_for}:
            behind(name).make_all_clients()
        for patience, at_once in _AT_ONCE.items():
            with (
                patient_google(patience.google_seconds),
                ThreadPoolExecutor(at_once, thread_name_prefix="cell") as pool,
            ):
                outcomes |= {str(cell): pool.submit(make, cell) for cell in asked_for if cell.patience is patience}
        yield lambda cell: outcomes[str(cell)].result()
