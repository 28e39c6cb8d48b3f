"""How much a function that extracts may be ahead of its uploads: local disk is bounded by it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpone_airflow.staging.choices import check_count

DEFAULT_MAX_PENDING_FILES = 32
DEFAULT_MAX_PENDING_BYTES = 1024**3
# How long a wait for room lasts before it looks whether there is still somebody to make some.
_LOOK_UP_SECONDS = 0.1


class Backlog:
    """Files that were handed over and aren't staged yet.

    :param max_files: how many may wait or be under way at a time.
    :param max_bytes: and their size; a file that is larger goes when no other waits.
    :raises InvalidOptionError: for a bound below 1.
    """

    def __init__(self, max_files: int = DEFAULT_MAX_PENDING_FILES, max_bytes: int = DEFAULT_MAX_PENDING_BYTES) -> None:
        check_count("max_pending_files", max_files, at_least=1)
        check_count("max_pending_bytes", max_bytes, at_least=1)
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._files = 0
        self._bytes = 0
        self._changed = threading.Condition()

    def take(self, size_bytes: int, give_up: Callable[[], bool]) -> None:
        """Wait until there is room for a file, or until ``give_up()`` is true."""
        with self._changed:
            while self._files and (self._files >= self._max_files or self._bytes + size_bytes > self._max_bytes):
                if give_up():
                    return
                self._changed.wait(_LOOK_UP_SECONDS)
            self._files += 1
            self._bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Say that a file is staged."""
        with self._changed:
            self._files -= 1
            self._bytes -= size_bytes
            self._changed.notify_all()
