"""Points in the life of a process that works on a server: each of its requests, before, in the middle of and after it.

The proxy of the fault tests counts the requests of one process and kills it at the one that it is told.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.crash.local_points import area
from tests.crash.points import Point
from tests.faults.proxy import Exchange, FaultProxy, Request, Rule

MOMENTS = ("before", "during", "after")


class Killer:
    """Counts requests, and kills the process that makes them at one of them."""

    def __init__(self) -> None:
        self.watch(None, None)

    def watch(self, victim: int | None, point: Point | None) -> None:
        """Begin to count anew; without a ``point`` nobody is killed."""
        self.victim, self.point = victim, point
        self.labels: list[str] = []
        self._counts: Counter[str] = Counter()

    def comes_to_its_point(self, request: Request) -> bool:
        what = label(request)
        self.labels.append(what)
        self._counts[what] += 1
        return self.point is not None and (what, self._counts[what]) == (self.point.label, self.point.nth)

    def kill(self, exchange: Exchange) -> None:
        assert self.victim is not None
        assert self.point is not None
        if self.point.moment == "after":
            exchange.forward()
        os.kill(self.victim, signal.SIGKILL)
        if self.point.moment == "during":
            exchange.forward_half()
        exchange.close()


@contextmanager
def killing_proxy(server_url: str) -> Iterator[tuple[str, Killer]]:
    """Yield the address of a proxy before a server, and what kills those that come through it."""
    killer = Killer()
    rule = Rule(killer.kill, killer.comes_to_its_point, times=None)
    with FaultProxy.start(urlsplit(server_url).netloc) as proxy, proxy.injecting(rule):
        yield proxy.url, killer


def label(request: Request) -> str:
    """Return what a request is for, in the words of S3."""
    query = request.query
    if request.method == "GET" and "list-type" in query:
        return f"list {'evidence' if '_manifests' in query.get('prefix', '') else 'run'}"
    if "uploads" in query:
        return "begin upload in parts" if request.method == "POST" else "list uploads in parts"
    if "partNumber" in query:
        return "put a part"
    if "uploadId" in query:
        return "complete upload in parts" if request.method == "POST" else "abort upload in parts"
    if request.method == "POST" and "delete" in query:
        return "delete a batch"
    return f"{request.method.lower()} {area(request.path)}"
