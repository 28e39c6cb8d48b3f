"""Folders for many thousands of tries."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# In memory, where there is such a place.
_WHERE = "/dev/shm" if os.path.isdir("/dev/shm") else None


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Make an empty folder for a ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="dpone-fuzz-", dir=_WHERE) as folder:
        yield Path(folder)
