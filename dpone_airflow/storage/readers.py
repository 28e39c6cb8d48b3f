"""What uploads read from: a file of this host, or one that lies elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage.remote_file import RemoteFile, RemoteReader

#: The path of a local file, or a remote one.
Content: TypeAlias = str | os.PathLike[str] | RemoteFile
_HASHED_AT_ONCE = 1024 * 1024


class Reader(Protocol):
    """Hands out content once and hashes what it hands out."""

    @property
    def size(self) -> int | None:
        """The length in bytes; None as long as it isn't known."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next ``size`` bytes, or all that are left."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move back, as far as the content can."""

    def tell(self) -> int:
        """Return the position of the next byte."""

    def sha256(self) -> str:
        """Return the digest of the whole content in hex, once all of it was read."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class TimedReader:
    """Notes when it is made and when it is first read from: an upload in parts of it begins in between.

    Both by this host's monotonic clock.

    :param reader: what it reads from.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.made_at = monotonic()
        self.read_at: float | None = None

    @property
    def size(self) -> int | None:
        return self._reader.size

    def read(self, size: int = -1, /) -> bytes:
        if self.read_at is None:
            self.read_at = monotonic()
        return self._reader.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def sha256(self) -> str:
        return self._reader.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._reader.__exit__(kind, error, trace)


def open_reader(content: Content, on_read: Callable[[int], None] | None = None, *, ahead: int = 0) -> Reader:
    """Open local or remote content.

    :param on_read: called with a number of bytes before they are read; what it raises ends the upload.
    :param ahead: of remote content whose size isn't known, so many bytes are read at once.
    :raises SourceFileError: if it can't be read.
    """
    if isinstance(content, RemoteFile):
        return RemoteReader(content, on_read, ahead=ahead)
    return HashingReader(content, on_read)


def sha256_of(content: Content, on_read: Callable[[int], None] | None = None) -> str:
    """Return the digest of a file in hex.

    :raises SourceFileError: if it can't be read.
    """
    with open_reader(content, on_read) as reader:
        while reader.read(_HASHED_AT_ONCE):
            pass
        return reader.sha256()
