"""Disks with little room, or that nobody may write to, for the emulator's root: as this machine allows.

A small tmpfs is the real thing, and only root may mount one, and not in every container. Where it may
not, a process of its own is given a limit on the size of its files (``RLIMIT_FSIZE``), or no right to write.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpone_airflow.storage import LocalObjectStorageClient
from tests.crash.warm import WarmProcess
from tests.crash.work import WORK, in_small_parts, told

_NOBODY = 65534
_PAGE = 4096


@dataclass(frozen=True)
class Disk:
    """Where the emulator's root is, and what ends the trouble with it.

    :param run: does a work of ``work.WORK`` there; returns what it raised, see ``work.told``.
    :param mend: makes room, or gives the right to write.
    """

    root: Path
    run: Callable[[str, str, Path], dict[str, Any] | None]
    mend: Callable[[], None]


@contextmanager
def little_room(warm: WarmProcess, how: str, size_bytes: int) -> Iterator[Disk]:
    """Yield a disk with that much room; ``how`` is ``mounted``, where that may be, or ``limited``."""
    with _folder() as root:
        if how == "mounted" and _mount(root, f"size={max(_PAGE, size_bytes)}"):
            yield Disk(root, _here(root), lambda: _remount(root, "size=64m"))
            return
        yield Disk(root, _elsewhere(warm, root, max_file_bytes=size_bytes), lambda: None)


@contextmanager
def read_only(warm: WarmProcess, how: str, prepare: Callable[[Path], None]) -> Iterator[Disk]:
    """Yield a disk that can't be written to since ``prepare(root)``; ``how`` is ``mounted`` or ``forbidden``."""
    with _folder() as root:
        if how == "mounted" and _mount(root, "size=64m"):
            prepare(root)
            _remount(root, "ro")
            yield Disk(root, _here(root), lambda: _remount(root, "rw"))
            return
        prepare(root)
        if os.geteuid() == 0:  # root may write whatever the mode says
            yield Disk(root, _elsewhere(warm, root, user=_NOBODY), lambda: None)
            return
        modes = {path: path.stat().st_mode for path in (root, *root.rglob("*")) if path.is_dir()}
        for path in modes:
            path.chmod(0o555)
        try:
            yield Disk(root, _here(root), lambda: [path.chmod(mode) for path, mode in modes.items()] and None)
        finally:
            for path, mode in modes.items():
                if path.exists():
                    path.chmod(mode)


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a directory that every user may enter, which those of pytest aren't."""
    folder = Path(tempfile.mkdtemp(prefix="dpone-disk-"))
    folder.chmod(0o755)
    root = folder / "root"
    root.mkdir()
    try:
        yield root
    finally:
        if os.path.ismount(root):
            subprocess.run(["umount", "--lazy", str(root)], check=True)
        shutil.rmtree(folder)


def _mount(root: Path, options: str) -> bool:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(root)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        why = str(error)
    else:
        why = done.stderr.strip()
        if done.returncode == 0:
            root.chmod(0o755)
            return True
    print(f"no tmpfs here, so a process with limits takes its place: {why}")
    return False


def _remount(root: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(root)], check=True)


def _here(root: Path) -> Callable[[str, str, Path], dict[str, Any] | None]:
    def run(work: str, base: str, tree: Path) -> dict[str, Any] | None:
        try:
            WORK[work](in_small_parts(LocalObjectStorageClient(root)), base, str(tree))
        except Exception as error:
            return told(error)
        return None

    return run


def _elsewhere(warm: WarmProcess, root: Path, **limits: int) -> Callable[[str, str, Path], dict[str, Any] | None]:
    def run(work: str, base: str, tree: Path) -> dict[str, Any] | None:
        request = {"work": work, "base": base, "tree": str(tree), "root": str(root)}
        end = warm.run(request | limits)
        assert end.status == 0, end
        return end.error

    return run
