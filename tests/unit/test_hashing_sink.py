"""What a download writes is hashed as it comes, and nothing of it is kept."""

from __future__ import annotations

import io
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage.hashing import HashingSink


@given(chunks=st.lists(st.binary(max_size=50), max_size=20))
def test_the_digest_is_that_of_all_that_was_written(chunks: list[bytes]) -> None:
    counted: list[int] = []
    sink = HashingSink(counted.append)
    for chunk in chunks:
        assert sink.write(chunk) == len(chunk)
    whole = b"".join(chunks)
    assert (sink.size, sink.sha256()) == (len(whole), sha256(whole).hexdigest())
    assert counted == [len(chunk) for chunk in chunks]


def test_a_download_that_begins_again_is_hashed_again() -> None:
    counted: list[int] = []
    sink = HashingSink(counted.append)
    sink.write(b"half of i")
    assert sink.seek(0) == 0
    sink.write(b"all of it")
    assert (sink.size, sink.sha256()) == (9, sha256(b"all of it").hexdigest())
    assert sum(counted) == 9


def test_no_other_place_can_be_gone_back_to() -> None:
    sink = HashingSink()
    sink.write(b"abc")
    with pytest.raises(io.UnsupportedOperation, match="isn't kept"):
        sink.seek(1)


def test_what_the_caller_raises_ends_the_download() -> None:
    def stop(size_bytes: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        HashingSink(stop).write(b"x")
