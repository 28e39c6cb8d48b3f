"""Content from elsewhere is read once, hashed as it is handed out, and refused when it isn't what was listed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.storage import LocalObjectStorageClient
from dpone_airflow.storage.errors import (
    DuplicateFileNameError,
    SourceFileChangedError,
    SourceFileError,
    SourceFileNotFoundError,
)
from dpone_airflow.storage.readers import sha256_of
from dpone_airflow.storage.remote_file import RemoteFile, RemoteReader

MIB = 1024 * 1024
PLAN = ObjectStorageStagingPlan("s3://lake/orders", "run-1", "shop", "orders", "csv")


class Dribble(io.RawIOBase):
    """A stream that gives less than it is asked for, as a socket does."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, self._most))


def remote(data: bytes, *, name: str = "a.csv", known: bool = True, most: int = 1 << 30) -> RemoteFile:
    def open_it() -> BinaryIO:
        return Dribble(data, most)  # type: ignore[return-value]

    return RemoteFile(name, len(data) if known else None, open_it, shown=f"sftp://host/{name}")


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 50), st.integers(1, 70), st.integers(0, 400))
def test_what_is_handed_out_is_the_content_and_its_hash(
    data: bytes, known: bool, most: int, at_once: int, ahead: int
) -> None:
    told: list[int] = []
    with RemoteReader(remote(data, known=known, most=most), told.append, ahead=ahead) as reader:
        pieces = []
        while piece := reader.read(at_once):
            assert len(piece) <= at_once
            pieces.append(piece)
        assert b"".join(pieces) == data
        assert reader.size == reader.tell() == len(data) == sum(told)
        assert reader.sha256() == sha256(data).hexdigest()


@given(st.binary(max_size=100), st.booleans(), st.integers(0, 100))
def test_a_seek_to_the_beginning_begins_anew(data: bytes, known: bool, first: int) -> None:
    with RemoteReader(remote(data, known=known)) as reader:
        reader.read(first)
        assert reader.seek(0) == 0
        assert reader.read() == data
        assert reader.sha256() == sha256(data).hexdigest()


@pytest.mark.parametrize(("offset", "whence"), [(1, os.SEEK_SET), (-2, os.SEEK_CUR), (0, os.SEEK_END)])
def test_any_other_place_can_not_be_sought(offset: int, whence: int) -> None:
    with RemoteReader(remote(b"12345")) as reader:
        reader.read(3)
        assert reader.seek(0, os.SEEK_CUR) == 3
        with pytest.raises(io.UnsupportedOperation, match="from its beginning to its end"):
            reader.seek(offset, whence)


@pytest.mark.parametrize("size", [0, 4, 6])
def test_what_is_of_another_length_than_it_was_listed_with_is_refused(size: int) -> None:
    file = RemoteFile("a.csv", size, lambda: io.BytesIO(b"12345"), shown="sftp://host/a.csv")
    with pytest.raises(SourceFileChangedError, match=f"sftp://host/a.csv isn't of the {size} bytes"):
        sha256_of(file)


def test_one_that_was_listed_as_empty_and_is_not_is_refused_before_it_is_staged(
    service: ObjectStorageStagingService, tmp_path: Path
) -> None:
    file = RemoteFile("a.csv", 0, lambda: io.BytesIO(b"id\n1\n"), shown="sftp://host/a.csv")
    with pytest.raises(SourceFileChangedError, match=r"a\.csv isn't of the 0 bytes"):
        service.stage_files(PLAN, [file])
    assert not list((tmp_path / "store").rglob("a.csv"))


def test_what_is_read_at_once_is_not_copied() -> None:
    content = os.urandom(1000)

    class Whole(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return content

    with RemoteReader(RemoteFile("a.csv", None, Whole)) as reader:  # type: ignore[arg-type]
        assert reader.read(1000) is content


@pytest.mark.parametrize("closing_fails", [False, True])
def test_a_stream_that_can_not_be_read_ahead_is_closed(closing_fails: bool) -> None:
    opened: list[Breaks] = []

    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

        def close(self) -> None:
            super().close()
            if closing_fails:
                raise OSError(32, "Broken pipe")

    def open_it() -> BinaryIO:
        opened.append(Breaks())
        return opened[0]

    with pytest.raises(SourceFileError, match="can't be read: Input/output error"):
        RemoteReader(RemoteFile("a.csv", None, open_it), ahead=10)
    assert opened[0].closed


def test_a_hash_before_the_end_is_an_error() -> None:
    for known in (True, False):
        with RemoteReader(remote(b"12345", known=known)) as reader:
            reader.read(2)
            with pytest.raises(SourceFileError, match="Only 2 bytes of sftp://host/a.csv were read"):
                reader.sha256()


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (FileNotFoundError(2, "No such file"), SourceFileNotFoundError, "sftp://host/a.csv isn't there"),
        (PermissionError(13, "Permission denied"), SourceFileError, "can't be read: Permission denied"),
        (ConnectionResetError(), SourceFileError, "can't be read: ConnectionResetError"),
    ],
)
def test_what_can_not_be_opened_or_read_is_named(error: OSError, expected: type[Exception], message: str) -> None:
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise error

    def refuse() -> BinaryIO:
        raise error

    for opens in (refuse, Breaks):
        file = RemoteFile("a.csv", 5, opens, shown="sftp://host/a.csv")
        with pytest.raises(expected, match=message):
            sha256_of(file)


@pytest.fixture
def service(tmp_path: Path) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(
        client=LocalObjectStorageClient(tmp_path / "store", max_concurrency=3), writer=StagingWriter(task_id="stage")
    )


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, MIB, 16 * MIB, 16 * MIB + 1, 40 * MIB])
def test_remote_files_are_staged_as_local_ones_are(
    service: ObjectStorageStagingService, tmp_path: Path, size: int, known: bool
) -> None:
    data = os.urandom(size)
    (tmp_path / "local.csv").write_bytes(data)
    files: list[Any] = [remote(data, known=known), tmp_path / "local.csv"]
    manifest = service.stage_files(PLAN, files)
    there, local = manifest.objects
    assert (there.file_name, there.size_bytes, there.sha256) == ("a.csv", local.size_bytes, local.sha256)


def test_a_retry_reads_them_again_and_sends_nothing_that_is_there(
    service: ObjectStorageStagingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [remote(b"first", name="a.csv"), remote(os.urandom(17 * MIB), name="b.csv", known=False)]
    first = service.stage(PLAN, files)
    again = service.stage(PLAN, files)
    assert (first.sent, first.kept, again.sent, again.kept) == (2, 0, 0, 2)
    assert again.manifest == first.manifest
    changed = service.stage(PLAN, [remote(b"other", name="a.csv"), files[1]])
    assert (changed.sent, changed.kept) == (1, 1)


def test_one_that_changes_while_it_is_staged_leaves_nothing(
    service: ObjectStorageStagingService, tmp_path: Path
) -> None:
    for size in (5, 20 * MIB):
        file = RemoteFile("a.csv", size, lambda: io.BytesIO(b"123"))
        with pytest.raises(SourceFileChangedError, match=r"a\.csv isn't of"):
            service.stage_files(PLAN, [file])
    assert not list((tmp_path / "store").rglob("a.csv"))


def test_names_are_checked_as_those_of_local_files(service: ObjectStorageStagingService) -> None:
    with pytest.raises(DuplicateFileNameError, match="sftp://host/a.csv"):
        service.stage_files(PLAN, [remote(b"1"), remote(b"2")])


def test_a_generator_may_yield_them(service: ObjectStorageStagingService) -> None:
    opened: list[str] = []

    def noted(name: str) -> Callable[[], BinaryIO]:
        def open_it() -> BinaryIO:
            opened.append(name)
            return io.BytesIO(b"12345")

        return open_it

    manifest = service.stage_files(PLAN, (RemoteFile(name, 5, noted(name)) for name in ("a", "b")))
    assert [item.file_name for item in manifest.objects] == ["a", "b"]
    assert sorted(opened) == ["a", "b"]
