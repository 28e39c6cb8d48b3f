"""A large file goes in parts: in order, several at a time, and the first failure stops the rest."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage.errors import SourceFileChangedError
from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage.parts import MIB, part_bytes_for, send_parts


@pytest.mark.parametrize(
    ("size", "part_bytes"),
    [
        (0, 8 * MIB),
        (8 * MIB, 8 * MIB),
        (9_000 * 8 * MIB, 8 * MIB),
        (9_000 * 8 * MIB + 1, 8 * MIB + 1),
    ],
)
def test_parts_are_8_mib_until_there_would_be_9000_of_them(size: int, part_bytes: int) -> None:
    assert part_bytes_for(size) == part_bytes


@given(st.integers(0, 50_000 * 4000 * MIB), st.integers(1, 64 * MIB))
def test_no_file_has_more_parts_than_s3_takes(size: int, at_least: int) -> None:
    part_bytes = part_bytes_for(size, at_least)
    assert part_bytes >= at_least
    assert -(-size // part_bytes) <= 9_000


def send_all(path: Path, part_bytes: int, threads: int) -> tuple[dict[int, bytes], list[str], str]:
    received: dict[int, bytes] = {}

    def send(number: int, data: bytes) -> str:
        received[number] = data
        return f"part {number}"

    with HashingReader(path) as reader:
        answers = send_parts(reader, send, part_bytes=part_bytes, threads=threads)
        return received, answers, reader.sha256()


@given(content=st.binary(min_size=1, max_size=300), part_bytes=st.integers(1, 100), threads=st.integers(1, 4))
def test_the_parts_joined_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, part_bytes: int, threads: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / "file"
    path.write_bytes(content)
    received, answers, digest = send_all(path, part_bytes, threads)
    assert b"".join(received[number] for number in sorted(received)) == content
    assert {len(data) for number, data in received.items() if number < len(received)} <= {part_bytes}
    assert answers == [f"part {number}" for number in range(1, len(received) + 1)]
    assert digest == sha256(content).hexdigest()


def test_parts_are_sent_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 40)
    together = threading.Barrier(4, timeout=10)

    def send(number: int, data: bytes) -> int:
        together.wait()  # breaks unless four parts are under way at once
        return number

    with HashingReader(tmp_path / "file") as reader:
        sent = send_parts(reader, send, part_bytes=10, threads=4)
    assert sent == [1, 2, 3, 4]


def test_no_more_is_read_than_is_sent_and_one_part(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    read_ahead: list[int] = []
    sent_bytes = 0

    with HashingReader(tmp_path / "file") as reader:

        def send(number: int, data: bytes) -> None:
            nonlocal sent_bytes
            read_ahead.append(reader.tell() - sent_bytes)
            sent_bytes += len(data)

        send_parts(reader, send, part_bytes=10, threads=1)
    assert sent_bytes == 100
    # The part that is sent and the one that waits; the reader may just have begun with the one after.
    assert max(read_ahead) <= 30


def test_the_first_failure_is_raised_and_the_rest_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    attempted: list[int] = []

    def send(number: int, data: bytes) -> int:
        attempted.append(number)
        if number == 2:
            raise ConnectionError("part 2 was refused")
        return number

    with HashingReader(tmp_path / "file") as reader, pytest.raises(ConnectionError, match="part 2 was refused"):
        send_parts(reader, send, part_bytes=10, threads=1)
    assert attempted == [1, 2]


def test_a_file_that_changes_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)

    def send(number: int, data: bytes) -> int:
        if number == 1:
            with path.open("ab") as file:
                file.write(b"more")
        return number

    with HashingReader(path) as reader, pytest.raises(SourceFileChangedError):
        send_parts(reader, send, part_bytes=10, threads=1)
