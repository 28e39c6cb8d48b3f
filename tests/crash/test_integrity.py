"""Bytes that aren't what was hashed never get a manifest: on every client, behind the proxy of the fault tests."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dpone_airflow.staging.verify import verify_staged
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import (
    ChecksumMismatchError,
    PrefixMismatchError,
    SourceFileChangedError,
    StagingVerifyError,
)
from dpone_airflow.storage.hashing import HashingReader
from tests.crash.moments import after_sending
from tests.crash.work import plan, recorded, service
from tests.faults.columns import COLUMNS, behind_proxies
from tests.faults.proxy import Answer, Exchange, Request, Rule

MARK = b"these very bytes"
# Azure through obstore has no checksum, and says so: store_check=False.
CHECKED = sorted(set(COLUMNS) - {"azure-obstore"})


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with behind_proxies(tmp_path_factory.mktemp("servers")) as get:
        yield get


@pytest.fixture
def base() -> Callable[[str], ObjectStorageUri]:
    return lambda root: ObjectStorageUri.parse(root).child(f"test-{uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that every client sends in parts, with the mark in its third MiB and in its third part."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    content = bytearray(os.urandom(12 * 1024 * 1024))
    for place in (2 * 1024 * 1024 + 17, 11 * 1024 * 1024):
        content[place : place + len(MARK)] = MARK
    path.write_bytes(content)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.csv"
    path.write_bytes(b"1," + MARK + b"\n")
    return path


def flip_mark(exchange: Exchange) -> None:
    """One bit of the file changes on its way, at every try."""
    exchange.send(exchange.forward(exchange.request.body.replace(MARK, MARK[:-1] + bytes([MARK[-1] ^ 1]))))


def sends_mark(request: Request) -> bool:
    return MARK in request.body


_SAID = re.compile(rb'("(?:crc32c|md5Hash)": *")[^"]+')


def tell_another_checksum(exchange: Exchange) -> None:
    """The store says that it has other bytes than were sent."""
    answer = exchange.forward()
    answer = Answer(answer.status, _SAID.sub(rb"\g<1>AAAAAA==", answer.body), answer.headers, answer.length)
    for name in ("x-amz-checksum-sha256", "Content-MD5", "x-ms-content-crc64"):
        if answer.header(name):
            answer = answer.with_header(name, "AAAAAAAAAAAAAAAAAAAAAA==")
    exchange.send(answer)


def is_there(proxy_client: Any, base: ObjectStorageUri) -> list[str]:
    return [uri.key.removeprefix(base.child("run-1").prefix) for uri in proxy_client.list_prefix(base.child("run-1"))]


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("column", CHECKED)
def test_a_bit_that_flips_on_its_way_is_caught(
    behind: Any, base: Any, small: Path, large: Path, column: str, size: str
) -> None:
    place = behind(column)
    client, where = place.client(), base(place.root)
    with place.proxy.injecting(Rule(flip_mark, sends_mark, times=None)), pytest.raises(ChecksumMismatchError):
        service(client).stage_files(plan(where), {"small": small, "large": large}[size])
    assert recorded(client, where) is None
    assert client.list_uploads(where) == []
    assert service(client).stage_files(plan(where), small).object_count == 1, "the next try"


def test_where_the_store_is_given_no_checksum_a_verify_finds_it(behind: Any, base: Any, small: Path) -> None:
    place = behind("azure-obstore")
    client, where = place.client(), base(place.root)
    with place.proxy.injecting(Rule(flip_mark, sends_mark, times=None)):
        manifest = service(client).stage_files(plan(where), small)
    with pytest.raises(StagingVerifyError, match="1 changed"):
        verify_staged(client, manifest, "sha256")


# obstore hands on nothing of an answer but the ETag, which the last listing is compared with; Azurite's answer to a
# block names no checksum.
@pytest.mark.parametrize(
    ("column", "size"),
    [
        (column, size)
        for column in CHECKED
        for size in ("small", "large")
        if "obstore" not in column and (column, size) != ("azure-sdk", "large")
    ],
)
def test_a_store_that_tells_another_checksum_is_not_believed(
    behind: Any, base: Any, small: Path, large: Path, column: str, size: str
) -> None:
    place = behind(column)
    client, where = place.client(), base(place.root)
    with (
        place.proxy.injecting(Rule(tell_another_checksum, sends_mark, times=None)),
        pytest.raises(ChecksumMismatchError),
    ):
        service(client).stage_files(plan(where), {"small": small, "large": large}[size])
    assert recorded(client, where) is None


@pytest.fixture(params=["emulator", *COLUMNS])
def anywhere(request: pytest.FixtureRequest, behind: Any, tmp_path: Path) -> tuple[Any, str]:
    """A client and a URI of its bucket."""
    if request.param == "emulator":
        client: Any = LocalObjectStorageClient(tmp_path / "root")
        client.part_bytes = client.largest_put_bytes = 1024 * 1024
        return client, "s3://lake"
    place = behind(request.param)
    return place.client(), place.root


def test_an_object_that_lost_its_end_is_caught(anywhere: tuple[Any, str], base: Any, small: Path) -> None:
    client, root = anywhere
    where = base(root)
    put = client.put_bytes
    after_sending(client, "small.csv", lambda: put(small.read_bytes()[:-3], where.child("run-1/small.csv")))
    with pytest.raises(PrefixMismatchError, match=r"small\.csv has 16 bytes, not 19"):
        service(client).stage_files(plan(where), small)
    assert recorded(client, where) is None


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def rewrite(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[::-1])


@pytest.mark.parametrize("change", [truncate, append, rewrite])
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_file_that_changes_while_it_is_staged_is_caught(
    anywhere: tuple[Any, str],
    base: Any,
    small: Path,
    large: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: str,
    change: Callable[[Path], None],
) -> None:
    client, root = anywhere
    where = base(root)
    path = tmp_path / "file.bin"
    path.write_bytes({"small": small, "large": large}[size].read_bytes())
    reads = iter(range(100))

    class Changing(HashingReader):
        """Of a large file, which changes after its first part."""

        def read(self, size: int = -1) -> bytes:
            if self.path == path and next(reads) == 1:
                change(path)
            return super().read(size)

    def changing_read(descriptor: int, length: int) -> bytes:
        """Of a small one, which changes when it has been opened."""
        if length in (small.stat().st_size, small.stat().st_size + 1):
            change(path)
        return os.pread(descriptor, length, 0)

    monkeypatch.setattr("dpone_airflow.storage.readers.HashingReader", Changing)
    if size == "small":
        monkeypatch.setattr("dpone_airflow.storage.hashing.os.read", changing_read)
    with pytest.raises(SourceFileChangedError, match=r"file\.bin changed while it was staged"):
        service(client).stage_files(plan(where), path)
    assert recorded(client, where) is None
    assert is_there(client, where) == []
    assert client.list_uploads(where) == []
