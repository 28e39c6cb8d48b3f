"""The directory that the demo fills, and empties first: one of its own, or none."""

from __future__ import annotations

import shutil
from pathlib import Path

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


def make_empty(home: Path) -> None:
    """Make the directory, without what an earlier run has left in it.

    :raises HomeError: if it is somebody else's.
    """
    check(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).touch()
    for left in home.iterdir():
        if left.name == MARKER:
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
