"""From what an author writes (a path, a list, a glob, a directory) to files with names."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dpone_airflow.storage.errors import (
    DuplicateFileNameError,
    InvalidInputError,
    NoFilesMatchedError,
    SourceFileError,
    printable_cause,
    redact,
)
from dpone_airflow.storage.hashing import file_not_found, not_a_regular_file
from dpone_airflow.storage.readers import Content
from dpone_airflow.storage.remote_file import RemoteFile

File: TypeAlias = str | os.PathLike[str] | RemoteFile
Files: TypeAlias = File | Iterable[File]

# What a remote file counts as that doesn't say how long it is: more than any other.
_UNKNOWN_SIZE = 1 << 50


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, the name it gets below the run prefix, and its length in bytes when it was found.

    :param path: of a local file; of a remote one, what messages call it.
    :param size_bytes: of a remote file that doesn't say how long it is, a very large number.
    :param remote: the remote file, if it is one.
    """

    path: str
    file_name: str
    size_bytes: int
    remote: RemoteFile | None = None

    @property
    def content(self) -> Content:
        """What a reader opens."""
        return self.path if self.remote is None else self.remote

    @property
    def known_bytes(self) -> int:
        """The length as far as it is known, for whoever adds them up."""
        return self.size_bytes if self.size_bytes < _UNKNOWN_SIZE else 0


def find_sources(files: Files) -> list[SourceFile]:
    """Return the files that ``files`` stands for, in a stable order, each with its name.

    A path keeps its base name. A directory keeps its tree below itself, a glob below the last
    directory before its first wildcard; both are sorted. A list keeps its own order. A path that
    exists is never read as a glob.

    :raises NoFilesMatchedError: if there is nothing to stage.
    :raises SourceFileNotFoundError: if a path isn't there.
    :raises SourceFileError: for a FIFO, socket or device, or links that go round in a circle.
    :raises DuplicateFileNameError: if two files would land on one key.
    """
    if not isinstance(files, (str, os.PathLike, RemoteFile, Iterable)):
        raise InvalidInputError(
            f"files is {type(files).__name__}: give a path, a glob, a directory, or a list of them."
        )
    items = [files] if isinstance(files, (str, os.PathLike, RemoteFile)) else list(files)
    names = _Names()
    found = [names.checked(source) for item in items for source in _sources_of(item)]
    if not found:
        raise NoFilesMatchedError(f"No file to stage: {shown_files(items)} matched none on this host.")
    return found


def sources_as_they_come(files: Iterator[Any]) -> Generator[SourceFile, None, None]:
    """Yield the files that each item of ``files`` stands for when it comes; an item may be a list of paths.

    ``files`` is closed with this generator, if it is one itself.

    :raises NoFilesMatchedError: if it ends and there was no file.
    :raises SourceFileError: as ``find_sources``, at the item that is wrong.
    """
    names = _Names()
    try:
        for item in files:
            for one in item if isinstance(item, (list, tuple)) else [item]:
                for source in _sources_of(one):
                    yield names.checked(source)
    finally:
        if isinstance(files, Generator):
            files.close()
    if not names:
        raise NoFilesMatchedError("No file to stage: what makes the files came to its end and gave none.")


def _sources_of(item: File) -> Iterator[SourceFile]:
    if isinstance(item, RemoteFile):
        size = _UNKNOWN_SIZE if item.size_bytes is None else item.size_bytes
        yield SourceFile(str(item), item.file_name, size, item)
        return
    if not isinstance(item, (str, os.PathLike)) or not os.fspath(item):
        raise InvalidInputError(f"files has {item!r}, which is no path: give texts or paths.")
    path = Path(item)
    try:
        if path.is_dir():
            yield from _tree(path, "", frozenset())
        elif os.path.lexists(path) or not glob.has_magic(str(item)):
            yield _file(str(path), path.name)
        else:
            yield from _matches(str(item))
    except (OSError, ValueError) as error:  # a name that is too long, or has a NUL
        shown, reason = redact(str(item)[:200]), redact(str(error))
        raise SourceFileError(f"{shown!r} can't be read as a path: {reason}.") from printable_cause(error)


def _matches(pattern: str) -> Iterator[SourceFile]:
    root = _fixed_part(pattern)
    seen: set[str] = set()
    for match in sorted(glob.glob(pattern, recursive=True, include_hidden=False)):
        path = Path(match)
        name = path.relative_to(root).as_posix()
        sources = (
            _tree(path, f"{name}/" if name != "." else "", frozenset(), hidden=False)
            if path.is_dir()
            else [_file(str(path), name)]
        )
        for source in sources:
            if source.path not in seen:  # ** matches a directory and what is in it
                seen.add(source.path)
                yield source


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts
    magic = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


def _tree(folder: Path, prefix: str, above: frozenset[tuple[int, int]], *, hidden: bool = True) -> Iterator[SourceFile]:
    """Yield the files of a directory.

    :param above: the directories that it lies in.
    :param hidden: whether those are among them whose name, or whose directory's, begins with a dot.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise SourceFileError(f"{folder} is a link to a directory that it lies in: stage the directory without it.")
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if hidden or entry.name[0] != "."), key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            yield from _tree(Path(entry.path), f"{prefix}{entry.name}/", above | {here}, hidden=hidden)
        else:
            yield _file(entry.path, prefix + entry.name)


def _file(path: str, name: str) -> SourceFile:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise file_not_found(Path(path)) from None
    except OSError as error:
        raise SourceFileError(f"{path} can't be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise not_a_regular_file(Path(path), status.st_mode)
    return SourceFile(path, name, status.st_size)


class _Names(dict[str, str]):
    """The names that are taken, each with its path."""

    def checked(self, source: SourceFile) -> SourceFile:
        """Return ``source`` if its name is free, and take it.

        :raises DuplicateFileNameError: if two files would land on one key.
        """
        if source.file_name in self:  # also when one file was given twice
            raise DuplicateFileNameError(
                f"{self[source.file_name]} and {source.path} would both be staged as {source.file_name!r}: "
                "give the directory above them, which keeps their tree, or rename one."
            )
        self[source.file_name] = source.path
        return source


def shown_files(items: Sequence[Any]) -> str:
    """Return the first entries of ``files``, for a message."""
    shown = ", ".join(repr(redact(str(item))) for item in items[:3])
    return f"files=[{shown}{', …' if len(items) > 3 else ''}]"
