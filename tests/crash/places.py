"""Where victims work: the emulator or a server behind the killing proxy, under one face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageClient, ObjectStorageUri
from tests.conformance.stores import Store
from tests.crash.points import SEED_VARIABLE, Point, seed
from tests.crash.warm import End, WarmProcess
from tests.crash.wire_points import MOMENTS, Killer, killing_proxy
from tests.crash.work import in_small_parts


class Place(Protocol):
    """A store that processes are killed at.

    :param client: leads there without anybody being killed.
    :param moments: when of a point a process can be killed.
    """

    client: ObjectStorageClient
    moments: tuple[str, ...]

    def fresh_base(self) -> ObjectStorageUri:
        """Return a prefix that holds nothing."""

    def run(self, work: str, base: ObjectStorageUri, tree: Path, point: Point | None = None) -> tuple[End, list[str]]:
        """Let a process do its work, killed at ``point``; return how it ended and what its life was."""


@dataclass
class Emulator:
    warm: WarmProcess
    root: Path
    moments: tuple[str, ...] = ("before",)
    client: ObjectStorageClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = in_small_parts(LocalObjectStorageClient(self.root))

    def fresh_base(self) -> ObjectStorageUri:
        return ObjectStorageUri.parse(f"s3://crash/test-{uuid4().hex[:12]}")

    def run(self, work: str, base: ObjectStorageUri, tree: Path, point: Point | None = None) -> tuple[End, list[str]]:
        request = {"work": work, "base": str(base), "tree": str(tree), "root": str(self.root)}
        end = self.warm.run(request | ({"point": [point.label, point.nth]} if point else {}))
        return end, end.labels


@dataclass
class Server:
    warm: WarmProcess
    address: str
    killer: Killer
    store: Store
    moments: tuple[str, ...] = MOMENTS
    client: ObjectStorageClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = in_small_parts(self.store.client())

    def fresh_base(self) -> ObjectStorageUri:
        return ObjectStorageUri.parse(self.store.root).child(f"test-{uuid4().hex[:12]}")

    def run(self, work: str, base: ObjectStorageUri, tree: Path, point: Point | None = None) -> tuple[End, list[str]]:
        extra: Mapping[str, Any] = self.store.connection["extra"]
        request = {
            "work": work,
            "base": str(base),
            "tree": str(tree),
            "connection": dict(self.store.connection) | {"extra": dict(extra) | {"endpoint_url": self.address}},
            "options": dict(self.store.client_options),
            "checkpoint_seconds": 0.2,
        }
        end = self.warm.run(request, lambda pid: self.killer.watch(pid, point))
        return end, list(self.killer.labels)


@contextmanager
def server(warm: WarmProcess, store: Store) -> Iterator[Server]:
    with killing_proxy(store.connection["extra"]["endpoint_url"]) as (address, killer):
        yield Server(warm, address, killer, store)


def summary(labels: list[str]) -> str:
    return ", ".join(f"{count} x {label}" for label, count in Counter(labels).items())


def dies(place: Place, work: str, base: Callable[[], ObjectStorageUri], tree: Path, point: Point) -> ObjectStorageUri:
    """Let a process do its work in a ``base()`` until it is killed at ``point``; return that base."""
    print(f"killed {point}; {SEED_VARIABLE}={seed()}")
    # There may be fewer checkpoints than in the rehearsal, on a machine that is faster now: there is a first one.
    for at in (point, Point(point.label, 1, point.moment)):
        where = base()
        end, labels = place.run(work, where, tree, at)
        if end.killed:
            return where
    raise AssertionError(f"{work} wasn't killed {point}: {end}, {summary(labels)}")
