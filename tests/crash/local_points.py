"""Points in the life of a process that works on the emulator: each thing it asks of the file system below its root.

Python's audit hook is called before each of them, so a process killed there has done all before and
nothing after. https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from typing import Any

_EVENTS = {"open", "os.link", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.utime"}


def seen_by_audit(root: str, point: list[Any] | None, reader: Any) -> list[str]:
    """From now on label every such thing, and kill this process at the ``point``: [label, how manyth of that label].

    :param reader: the class that reads the files; what it reads in parts is a point too.
    :return: the labels so far, a list that grows.
    """
    labels: list[str] = []
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def reached(label: str) -> None:
        with lock:
            labels.append(label)
            counts[label] += 1
            if point is not None and [label, counts[label]] == point:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[1] if event in ("os.rename", "os.link") else arguments[0])
        if path.startswith(root):
            reached(f"{event.removeprefix('os.')} {area(path)}")

    read = reader.read

    def read_in_parts(self: Any, size: int = -1) -> bytes:
        if size > 0:
            reached("read of the large file")
        data: bytes = read(self, size)
        return data

    reader.read = read_in_parts
    sys.addaudithook(hook)
    return labels


def area(path: str) -> str:
    """Return what a path, or a key, belongs to."""
    name = path.rpartition("/")[2]
    if "/.dpone/" in path:
        return "notes" if "/metadata" in path else "unfinished"
    if "/_manifests/" in path or path.endswith("/_manifests"):
        if name.endswith("_run.json"):
            return "claim"
        return (
            "checkpoint" if name.startswith("staged-") else f"evidence {name if name.endswith('.json') else 'folder'}"
        )
    if name == "large.bin":
        return "large file"
    return "small file" if name.endswith(".csv") else "folder"
