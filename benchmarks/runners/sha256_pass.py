"""The physical limit: read the files and hash them once, on one core, without sending anything."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from benchmarks.runners.timing import files_of, main

_CHUNK = 1024 * 1024


def stage(job: dict[str, Any]) -> Callable[[], Any]:
    """Hash each file."""
    files = files_of(job)
    buffer = memoryview(bytearray(_CHUNK))

    def run() -> None:
        for path in files:
            digest = sha256()
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    digest.update(buffer[:count])
            digest.hexdigest()

    return run


if __name__ == "__main__":
    main({"stage": stage})
