"""The bytes that are hashed are the bytes that are handed out, and a file that changes is no manifest."""

from __future__ import annotations

import errno
import io
import os
import socket
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage.errors import SourceFileChangedError, SourceFileError, SourceFileNotFoundError
from dpone_airflow.storage.hashing import HashingReader, read_whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(b"0123456789")
    return path


def later(path: Path) -> None:
    """Move a file's time on, as a write does that comes a moment later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize("content", [b"", b"x", b"0123456789" * 1000])
def test_the_digest_is_that_of_the_whole_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with HashingReader(tmp_path / "file") as reader:
        assert reader.size == len(content)
        assert reader.read() == content
        assert reader.sha256() == sha256(content).hexdigest()


@given(sizes=st.lists(st.integers(-1, 700), min_size=1), back=st.lists(st.integers(0, 600), max_size=5))
def test_whatever_is_read_and_read_again_is_hashed_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], back: list[int]
) -> None:
    content = os.urandom(600)
    path = tmp_path_factory.mktemp("hashing") / "file"
    path.write_bytes(content)
    with HashingReader(path) as reader:
        for index, size in enumerate([*sizes, -1]):
            start = reader.tell()
            data = reader.read(size)
            assert data == content[start:][: size if size >= 0 else None]
            assert reader.tell() == start + len(data)
            if index < len(back):
                reader.seek(min(back[index], reader.tell()))
        reader.read()
        assert reader.sha256() == sha256(content).hexdigest()


def test_a_retry_seeks_back_and_gets_the_same_bytes(path: Path) -> None:
    with HashingReader(path) as reader:
        assert reader.read(6) == b"012345"
        assert reader.seek(2) == 2
        assert reader.read() == b"23456789"
        assert reader.seek(-3, os.SEEK_CUR) == 7
        assert reader.seek(0, os.SEEK_END) == 10
        assert reader.read() == b""
        assert reader.sha256() == sha256(b"0123456789").hexdigest()


@pytest.mark.parametrize(
    ("offset", "whence"), [(1, os.SEEK_SET), (0, os.SEEK_END), (1, os.SEEK_CUR), (-1, os.SEEK_SET)]
)
def test_nobody_seeks_past_what_was_hashed(path: Path, offset: int, whence: int) -> None:
    with HashingReader(path) as reader, pytest.raises(io.UnsupportedOperation, match="only 0 bytes were read"):
        reader.seek(offset, whence)


def test_there_is_no_digest_before_the_last_byte(path: Path) -> None:
    with HashingReader(path) as reader:
        reader.read(9)
        with pytest.raises(SourceFileError, match="Only 9 of 10 bytes"):
            reader.sha256()


def test_a_file_that_is_overwritten_while_it_is_read_is_refused(path: Path) -> None:
    with HashingReader(path) as reader:
        reader.read(5)
        path.write_bytes(b"abcdefghij")
        later(path)
        with pytest.raises(SourceFileChangedError, match=r"file\.bin changed while it was staged"):
            reader.read()


def test_a_file_that_grows_while_it_is_read_is_refused(path: Path) -> None:
    with HashingReader(path) as reader:
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(SourceFileChangedError, match="write to another name and rename"):
            reader.read()


def test_a_file_that_shrinks_while_it_is_read_is_refused(path: Path) -> None:
    with HashingReader(path) as reader:
        os.truncate(path, 3)
        with pytest.raises(SourceFileChangedError):
            reader.read()


def test_a_file_that_shrank_is_noticed_by_the_first_read_that_finds_less(path: Path) -> None:
    with HashingReader(path) as reader:
        os.truncate(path, 3)
        with pytest.raises(SourceFileChangedError):
            reader.read(5)


def test_every_file_is_closed_again(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        with HashingReader(path) as reader:
            reader.read()
        with pytest.raises(SourceFileError):
            HashingReader(tmp_path / "fifo")
    assert len(os.listdir("/dev/fd")) == before


def test_a_file_that_is_replaced_by_a_rename_is_read_as_it_was(path: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"another")
    with HashingReader(path) as reader:
        os.replace(tmp_path / "new", path)
        assert reader.read() == b"0123456789"


def test_a_missing_file_names_the_host_and_says_that_disks_are_not_shared(tmp_path: Path) -> None:
    with pytest.raises(SourceFileNotFoundError) as refused:
        HashingReader(tmp_path / "missing.csv")
    assert "missing.csv" in str(refused.value)
    assert socket.gethostname() in str(refused.value)
    assert "Another worker's disk isn't this one's" in str(refused.value)


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path has a hundred characters at most
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        for path, said in [
            (tmp_path, "is a directory"),
            (tmp_path / "fifo", "is a FIFO"),
            (Path("/dev/null"), "is a device"),
            (tmp_path / "socket", "can't be opened"),
        ]:
            with pytest.raises(SourceFileError, match=said):
                HashingReader(path)


class BrokenDisk(io.FileIO):
    """A file that opens, and of which nothing can be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle")


def test_what_the_disk_does_not_give_is_told_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "FileIO", BrokenDisk)
    with HashingReader(path) as reader, pytest.raises(SourceFileError, match=rf"^{path} can't be read: Stale file h"):
        reader.read()


def test_what_the_disk_does_not_give_is_told_of_a_small_file_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(SourceFileError, match=rf"^{path} can't be read: Input/output error\.$"):
        read_whole(path, at_most=100)


def test_an_error_of_who_is_told_is_none_of_the_disk(path: Path) -> None:
    def told(size: int) -> None:
        raise OSError("no checkpoint can be written")

    with pytest.raises(OSError, match="^no checkpoint can be written$"):
        read_whole(path, told, at_most=100)


@pytest.mark.parametrize(("at_most", "is_read"), [(10, True), (9, False)])
def test_a_small_file_that_has_grown_large_is_not_read_into_memory(path: Path, at_most: int, is_read: bool) -> None:
    if is_read:
        assert read_whole(path, at_most=at_most) == b"0123456789"
    else:
        with pytest.raises(SourceFileChangedError, match="changed while it was staged"):
            read_whole(path, at_most=at_most)
