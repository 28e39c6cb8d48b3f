"""Starts each store once and gives every test a fresh prefix in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from tests.conformance.stores import STORES, VARIANTS, Store


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Store]]:
    """Start a store when it is first asked for, and all of them end with the session."""
    running: dict[str, Store] = {}
    with ExitStack() as stack:

        def start(name: str) -> Store:
            if name in VARIANTS:
                server, options = VARIANTS[name]
                return replace(start(server), client_options=options)
            if name not in running:
                running[name] = STORES[name](tmp_path_factory.mktemp(name), stack)
            return running[name]

        yield start


@pytest.fixture(params=sorted([*STORES, *VARIANTS]))
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Store:
    return started(request.param)


@pytest.fixture
def client(store: Store) -> ObjectStorageClient:
    return store.client()


@pytest.fixture
def base(store: Store) -> ObjectStorageUri:
    """A prefix of this test's own."""
    return ObjectStorageUri.parse(store.root).child(f"test-{uuid4().hex[:12]}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file above every client's part size, that compresses to nothing and repeats nowhere."""
    path = tmp_path / "large.bin"
    with path.open("wb") as out:
        for number in range(21):
            out.write(number.to_bytes(4, "big") * (1024 * 1024 // 4))
        out.write(b"the last, odd bytes")
    return path
