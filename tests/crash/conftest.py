"""Stores, a tree of files, the warm process that victims are forked from, and where they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.conftest import base, client, started  # noqa: F401 - fixtures
from tests.conformance.stores import Store
from tests.crash.places import Emulator, Place, server
from tests.crash.warm import WarmProcess, warm_process
from tests.crash.work import write_tree


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProcess]:
    with warm_process() as process:
        yield process


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("files") / "tree")


@pytest.fixture(scope="session")
def place_of(
    warm: WarmProcess,
    started: Callable[[str], Store],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Place]]:
    """Where processes work and are killed: ``emulator``, or the name of a store."""
    places: dict[str, Place] = {}
    with ExitStack() as stack:

        def of(name: str) -> Place:
            if name not in places:
                if name == "emulator":
                    places[name] = Emulator(warm, tmp_path_factory.mktemp("emulator"))
                else:
                    places[name] = stack.enter_context(server(warm, started(name)))
            return places[name]

        yield of
