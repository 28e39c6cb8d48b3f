"""A bound on what is under way at once: requests, and bytes that wait in memory to be sent."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Lanes:
    """Lets threads take requests and bytes until a limit is reached; the next one waits for some to come back.

    Who came first goes first, so that many small uploads never keep a large one waiting for ever.
    What is larger than a limit is let through when nothing else is under way.

    :param requests: how many may be under way.
    :param size_bytes: how many bytes may be held in memory for them.
    """

    def __init__(self, requests: int, size_bytes: int) -> None:
        self.requests = requests
        self.size_bytes = size_bytes
        self._requests_out = 0
        self._bytes_out = 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, int, threading.Event]] = deque()

    def take(self, requests: int, size_bytes: int) -> None:
        """Wait until both are free, and take them."""
        with self._lock:
            if not self._waiting and self._fits(requests, size_bytes):
                self._count(requests, size_bytes)
                return
            my_turn = threading.Event()
            self._waiting.append((requests, size_bytes, my_turn))
        my_turn.wait()

    def give_back(self, requests: int, size_bytes: int) -> None:
        """Return what was taken; whoever waits has it counted as taken before it goes on."""
        with self._lock:
            self._count(-requests, -size_bytes)
            while self._waiting and self._fits(*self._waiting[0][:2]):
                next_requests, next_bytes, turn = self._waiting.popleft()
                self._count(next_requests, next_bytes)
                turn.set()

    @contextmanager
    def holding(self, requests: int, size_bytes: int) -> Iterator[None]:
        """Hold requests and bytes for a ``with`` block."""
        self.take(requests, size_bytes)
        try:
            yield
        finally:
            self.give_back(requests, size_bytes)

    def _fits(self, requests: int, size_bytes: int) -> bool:
        if not self._requests_out:
            return True
        return self._requests_out + requests <= self.requests and self._bytes_out + size_bytes <= self.size_bytes

    def _count(self, requests: int, size_bytes: int) -> None:
        self._requests_out += requests
        self._bytes_out += size_bytes
