"""Time one operation in this process, without the imports and the building of clients before it.

Nothing but the standard library: dpone runs in an environment that has none of our packages.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

#: Makes everything ready and returns what is to be timed.
Action: TypeAlias = "Callable[[dict[str, Any]], Callable[[], Any]]"
#: The exit code of a runner whose peer can't do what is asked for in this version.
UNAVAILABLE = 77


def main(actions: Mapping[str, Action]) -> None:
    """Run the action of the job that the command line holds as JSON, and write down what it took."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    operation = actions[job["action"]](job)
    peak_before = peak_bytes()
    cpu_before = cpu_seconds()
    began = time.perf_counter()
    operation()
    seconds = time.perf_counter() - began
    outcome = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - cpu_before,
        "peak_before": peak_before,
        "peak": peak_bytes(),
    }
    Path(job["result"]).write_text(json.dumps(outcome), encoding="utf-8")


def files_of(job: Mapping[str, Any]) -> list[Path]:
    """Return the files to upload in their order; a job may ask for the first few of them only."""
    source = Path(job["source"])
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return files[: job["sample"]] if job.get("sample") else files


def cpu_seconds() -> float:
    """Return what this process has used, all its threads together."""
    used = os.times()
    return used.user + used.system


def peak_bytes() -> int:
    """Return the most memory that this process has had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
