"""The directory that the demo fills, and empties first: one of its own, or none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local_servers import lock

MARKER = ".made-by-the-distributed-demo"


class HomeError(RuntimeError):
    """A directory that the demo may not empty; nothing of it was removed."""


def check(home: Path) -> None:
    """Return if the directory isn't there, is empty or was made by the demo.

    :raises HomeError: if it is somebody else's.
    """
    if home.exists() and not home.is_dir():
        raise HomeError(f"{home} is not a directory: name one that is empty or isn't there. Nothing was started.")
    if home.is_dir() and not (home / MARKER).exists() and any(home.iterdir()):
        raise HomeError(
            f"{home} is not empty, and the demo hasn't made it: name a directory that is empty or isn't there. "
            "Nothing was removed or started."
        )


@contextmanager
def emptied(home: Path) -> Iterator[None]:
    """Make the directory, without what an earlier run has left in it, and keep other runs of the demo out of it.

    :raises HomeError: if it is somebody else's, or another run is at work in it.
    """
    check(home)
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(lock.exclusive(home / MARKER))
        except lock.LockedError:
            raise HomeError(
                f"Another run of the demo is at work in {home}: wait for its end, or name another directory. "
                "Nothing was removed or started."
            ) from None
        _remove_all_in(home)
        yield


def _remove_all_in(home: Path) -> None:
    for left in home.iterdir():
        if left.name == MARKER:
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
