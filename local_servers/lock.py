"""A lock that a process has until it ends, however it ends: the kernel drops it then."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockedError(RuntimeError):
    """Another process has the lock."""


@contextmanager
def exclusive(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file, which is made if it isn't there and stays.

    :param wait: whether to wait for another process that holds it.
    :raises LockedError: if another process holds it and this one doesn't wait.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"Another process has {path}.") from None
        yield
