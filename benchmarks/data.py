"""The files that are uploaded: made once, of bytes that don't compress and differ everywhere."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1024 * 1024


class DiskFullError(RuntimeError):
    """There isn't room for the files and for a server's copy of them."""


@dataclass(frozen=True)
class Workload:
    """A set of files of one size.

    :param name: what it is called on the command line.
    :param label: what it is called in the tables.
    """

    name: str
    label: str
    count: int
    size: int

    @property
    def total(self) -> int:
        """The bytes of all files."""
        return self.count * self.size

    def make(self, directory: Path) -> Path:
        """Return the directory of the files, after making those that aren't there."""
        home = directory / f"{self.count}x{self.size}"
        if not home.is_dir():
            unfinished = home.with_name(f".{home.name}")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            block = os.urandom(_BLOCK)
            for number in range(self.count):
                self._make_file(unfinished / f"part-{number:06}.csv", number, block)
            unfinished.rename(home)
        return home

    def _make_file(self, path: Path, number: int, block: bytes) -> None:
        with path.open("wb") as file:
            for start in range(0, self.size, _BLOCK):
                mark = f"{number:08}{start:016}".encode()
                file.write((mark + block[len(mark) :])[: self.size - start])


def check_room(directory: Path, wanted: int) -> None:
    """Refuse to begin what the disk can't hold.

    :raises DiskFullError: with the figures.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < wanted:
        raise DiskFullError(
            f"{directory} has {free / 2**30:.1f} GiB free and the benchmark needs {wanted / 2**30:.1f}: "
            "make room, name another place with --directory, or run --quick."
        )


def warm(directory: Path) -> None:
    """Read all files, so that no peer is the one that waits for the disk."""
    for path in directory.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.read(_BLOCK):
                pass
