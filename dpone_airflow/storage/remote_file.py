"""Content that isn't on this host's disk: opened where it lies, hashed on the way, never landed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

from dpone_airflow.storage.errors import (
    SourceFileChangedError,
    SourceFileError,
    SourceFileNotFoundError,
    printable_cause,
    redact,
)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file that a stage reads from elsewhere: streamed to the store, hashed on the way, never on this host's disk.

    :param file_name: its POSIX path below the run prefix (and part), e.g. ``dt=2026-11-22/part-0.csv``.
    :param size_bytes: its length, or None if that is only known at its end: it then goes in larger parts, and with
        the default part size may have up to 281 GiB. One that turns out longer or shorter than it was said to be is a
        ``SourceFileChangedError``.
    :param open: a function without arguments that returns a binary file object, at its beginning. It is called in
        whichever thread, and again for each further try; an ``OSError`` of it, or of its ``read``, becomes a
        ``SourceFileError``.
    :param shown: what messages call it; by default, an empty text, its name. It may hold no secret.
    """

    file_name: str
    size_bytes: int | None
    open: Callable[[], BinaryIO]
    shown: str = ""

    def __str__(self) -> str:
        return self.shown or self.file_name


class RemoteReader:
    """Reads a remote file once, hashing what it hands out.

    A seek to the beginning opens it again and hashes it anew: what is sent is what is hashed.

    :param file: it is opened at once. One whose size isn't known is read as far as ``ahead`` bytes,
        so that at least of a smaller one it is.
    :param on_read: called with a number of bytes before they are handed out.
    :raises SourceFileError: if it can't be opened or read.
    """

    def __init__(self, file: RemoteFile, on_read: Callable[[int], None] | None = None, *, ahead: int = 0) -> None:
        self.path = str(file)
        self.size = file.size_bytes
        self._file = file
        self._on_read = on_read
        self._ahead = ahead
        self._open()

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, or all that are left.

        :raises SourceFileChangedError: if it is shorter or longer than it was said to be.
        :raises SourceFileError: if it can't be read.
        """
        wanted = size
        if self.size is not None:
            left = self.size - self._position
            wanted = left if size < 0 else min(size, left)
        if self._on_read and wanted > 0:
            self._on_read(wanted if self.size is not None else 0)
        data = self._take(wanted)
        self._sha256.update(data)
        self._position += len(data)
        if self.size is None:
            if self._on_read:
                self._on_read(len(data))
            if wanted < 0 or len(data) < wanted:
                self.size = self._position
        elif len(data) < wanted or (self._position == self.size and self._take(1)):
            raise SourceFileChangedError(
                f"{self.path} isn't of the {self.size} bytes that it was listed with: stage it when its writer has "
                "finished."
            )
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go back to the beginning, or stay.

        :raises io.UnsupportedOperation: for any other place.
        """
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, -1)
        if target == self._position:
            return target
        if target != 0:
            raise io.UnsupportedOperation(f"can't seek to {target}: {self.path} is read from its beginning to its end")
        self.close()
        self._open()
        return 0

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def sha256(self) -> str:
        """Return the digest of the whole content in hex.

        :raises SourceFileError: if not every byte was read.
        """
        if self._position != self.size:
            raise SourceFileError(f"Only {self._position} bytes of {self.path} were read, so it has no sha256 yet.")
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> RemoteReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._position = 0
        self._sha256 = hashlib.sha256()
        try:
            self._stream = self._file.open()
        except OSError as error:
            raise _unreadable(self.path, error) from printable_cause(error)
        self._unread = b""
        if self.size is None and self._ahead:
            try:
                self._unread = self._take(self._ahead)
            except BaseException:
                with suppress(OSError):  # what the reading failed with is what is told
                    self.close()
                raise
            if len(self._unread) < self._ahead:
                self.size = len(self._unread)

    def _take(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the stream, fewer only at its end."""
        if size < 0:
            size = 1 << 62
        pieces = [self._unread[:size]] if self._unread else []
        self._unread = self._unread[size:]
        missing = size - sum(map(len, pieces))
        try:
            while missing > 0 and (piece := self._stream.read(min(missing, 1 << 30))):
                pieces.append(piece)
                missing -= len(piece)
        except OSError as error:
            raise _unreadable(self.path, error) from printable_cause(error)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unreadable(shown: str, error: OSError) -> SourceFileError:
    if isinstance(error, FileNotFoundError):
        return SourceFileNotFoundError(f"{shown} isn't there.")
    return SourceFileError(f"{shown} can't be read: {redact(error.strerror or '') or type(error).__name__}.")
