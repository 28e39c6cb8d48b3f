"""Hashing on the way: a reader that hashes what it hands out, a sink that hashes what it is given.

The bytes that are hashed are the bytes that are sent, and the bytes that came back.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from dpone_airflow.storage.errors import (
    SourceFileChangedError,
    SourceFileError,
    SourceFileNotFoundError,
)


class HashingReader:
    """Reads one regular file once, as a file object that upload code can read, seek and tell.

    A retry that seeks back is served the bytes again and they aren't hashed twice. Handing out the
    last byte compares the file with what it was when it was opened, so that a file that somebody
    writes to fails its upload before the store has all of it.

    :param path: the file; it is opened at once.
    :param on_read: called with a number of bytes before they are read for the first time; what it
        raises ends the upload.
    :raises SourceFileNotFoundError: if it isn't there.
    :raises SourceFileError: if it is a directory, FIFO, socket or device, or can't be read.
    """

    def __init__(self, path: str | os.PathLike[str], on_read: Callable[[int], None] | None = None) -> None:
        self.path = path if isinstance(path, Path) else Path(path)
        descriptor, self._opened = _open_regular_file(self.path)
        self._file = io.FileIO(descriptor, "rb")
        self.size = self._opened.st_size
        self._on_read = on_read
        self._position = 0
        self._hashed = 0
        self._sha256 = hashlib.sha256()
        if self.size == 0:
            self._check_unchanged()

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, or all that are left.

        :raises SourceFileChangedError: if the file is no longer what it was when it was opened.
        :raises SourceFileError: if the disk doesn't give it.
        """
        left = self.size - self._position
        wanted = left if size < 0 else min(size, left)
        if wanted == 0:
            return b""
        end = self._position + wanted
        if self._on_read and end > self._hashed:
            self._on_read(end - self._hashed)
        data = self._read(wanted)
        while len(data) < wanted:  # a system call may return less than it was asked for
            more = self._read(wanted - len(data))
            if not more:
                raise _file_changed(self.path)
            data += more
        if end > self._hashed:
            self._sha256.update(memoryview(data)[self._hashed - self._position :])
            self._hashed = end
        self._position = end
        if end == self.size:
            self._check_unchanged()
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move back to a byte that was handed out before, or to its end.

        :raises io.UnsupportedOperation: for a byte that hasn't been read: it would not be hashed.
        """
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        target = start + offset
        if not 0 <= target <= self._hashed:
            raise io.UnsupportedOperation(f"can't seek to {target}: only {self._hashed} bytes were read")
        self._file.seek(target)
        self._position = target
        return target

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def sha256(self) -> str:
        """Return the digest of the whole file in hex.

        :raises SourceFileError: if not every byte was read.
        """
        if self._hashed != self.size:
            raise SourceFileError(
                f"Only {self._hashed} of {self.size} bytes of {self.path} were read, so it has no sha256 yet."
            )
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> HashingReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _check_unchanged(self) -> None:
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise _file_changed(self.path)


class HashingSink:
    """Takes what a download writes to a file, hashes it and keeps nothing.

    :param on_read: called with each number of bytes that came; below 0 when a download begins again.
        What it raises ends the download.
    """

    def __init__(self, on_read: Callable[[int], None] | None = None) -> None:
        self.size = 0
        self._on_read = on_read
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Hash ``data``; return its length in bytes."""
        size = len(data)
        if self._on_read:
            self._on_read(size)
        self._sha256.update(data)
        self.size += size
        return size

    def seek(self, offset: int) -> int:
        """Go back to the beginning, and to nowhere else: a download that begins again is hashed again.

        :raises io.UnsupportedOperation: for any other place.
        """
        if offset != 0:
            raise io.UnsupportedOperation(f"can't seek to {offset}: what was written isn't kept")
        if self._on_read and self.size:
            self._on_read(-self.size)
        self.size = 0
        self._sha256 = hashlib.sha256()
        return 0

    def sha256(self) -> str:
        """Return the digest in hex of what was written."""
        return self._sha256.hexdigest()


def read_whole(path: str | os.PathLike[str], on_read: Callable[[int], None] | None = None, *, at_most: int) -> bytes:
    """Return a small file's content, in as few calls as it takes to see that it didn't change meanwhile.

    :param on_read: called with the file's length before it is read.
    :param at_most: how many bytes it had at most when it was found; one that has more now is changing.
    :raises SourceFileError: what ``HashingReader`` raises.
    """
    path = Path(path)
    descriptor, opened = _open_regular_file(path)
    try:
        if opened.st_size > at_most:
            raise _file_changed(path)
        if on_read:
            on_read(opened.st_size)
        try:
            # One byte more than there should be: it comes if somebody has added to the file.
            data = os.read(descriptor, opened.st_size + 1)
            now = os.fstat(descriptor)
        except OSError as error:
            raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(data) != opened.st_size or (now.st_size, now.st_mtime_ns) != (opened.st_size, opened.st_mtime_ns):
        raise _file_changed(path)
    return data


def file_not_found(path: Path) -> SourceFileNotFoundError:
    """Return the error for a file that isn't on this host."""
    return SourceFileNotFoundError(
        f"{path} isn't there on host {socket.gethostname()!r}. Another worker's disk isn't this one's: "
        "if another task wrote it, write it to a disk that all workers share, or export and stage in one task."
    )


def not_a_regular_file(path: Path, mode: int) -> SourceFileError:
    """Return the error for a path that is there but can't be read as a file."""
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    kind = next((name for test, name in kinds if test(mode)), "no regular file")
    return SourceFileError(f"{path} is {kind}; only regular files can be staged as one object.")


def _unreadable(path: Path, error: OSError) -> SourceFileError:
    return SourceFileError(f"{path} can't be read: {error.strerror}.")


def _file_changed(path: Path) -> SourceFileChangedError:
    return SourceFileChangedError(
        f"{path} changed while it was staged: stage it when its writer has finished (write to another name and rename)."
    )


def _open_regular_file(path: Path) -> tuple[int, os.stat_result]:
    try:
        # Without O_NONBLOCK, opening a FIFO waits for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise file_not_found(path) from None
    except OSError as error:
        raise SourceFileError(f"{path} can't be opened: {error.strerror}.") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise not_a_regular_file(path, status.st_mode)
    return descriptor, status
