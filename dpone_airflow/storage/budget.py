"""A bound on the bytes that wait in memory to be sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """Lets threads take bytes until ``limit`` is reached; the next one waits for some to come back.

    One request larger than the whole budget is let through when nothing else is out.

    :param limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._returned = threading.Condition()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes are free, and take them."""
        with self._returned:
            self._returned.wait_for(lambda: self._taken == 0 or self._taken + size <= self._limit)
            self._taken += size

    def give_back(self, size: int) -> None:
        """Return ``size`` bytes."""
        with self._returned:
            self._taken -= size
            self._returned.notify_all()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes for a ``with`` block."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)
