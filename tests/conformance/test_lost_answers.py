"""A write that was done though its answer got lost is known by its nonce, and is no conflict and no failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import ChecksumMismatchError, ObjectAlreadyExistsError, StorageError
from tests.conformance.stores import Store


@pytest.fixture(params=["emulator-s3", "seaweedfs", "seaweedfs-boto3", "azurite", "azurite-obstore", "fake-gcs-server"])
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Store:
    return started(request.param)


def lose_answers(client: Any, name: str, error: StorageError) -> None:
    """Let the client's own ``name`` (or its uploader's) do its work and then fail."""
    holder = client._uploader if client._uploader and hasattr(client._uploader, name) else client
    method = getattr(holder, name)

    def done_and_lost(*args: Any, **options: Any) -> Any:
        method(*args, **options)
        raise error

    setattr(holder, name, done_and_lost)


def test_a_create_that_finds_its_own_object_has_won(client: Any, base: ObjectStorageUri) -> None:
    uri = base.child("claim.json")
    lose_answers(client, "_put_small", ObjectAlreadyExistsError("It is there already.", uri=str(uri)))
    put = client.put_bytes(b"mine", uri, only_if_absent=True)
    assert put.etag == client.stat(uri).etag
    assert client.get_bytes(uri) == b"mine"


def test_a_create_that_finds_another_object_has_lost(client: Any, base: ObjectStorageUri) -> None:
    uri = base.child("claim.json")
    client.put_bytes(b"theirs", uri, only_if_absent=True)
    with pytest.raises(ObjectAlreadyExistsError, match="Somebody else wrote it first"):
        client.put_bytes(b"mine", uri, only_if_absent=True)
    assert client.get_bytes(uri) == b"theirs"


def test_a_large_file_that_came_through_is_no_failure(client: Any, base: ObjectStorageUri, file: Path) -> None:
    uri = base.child("large.bin")
    lost = StorageError("Could not complete the upload: NoSuchUpload.", uri=str(uri))
    lose_answers(client, "put_large" if client._uploader else "_put_large", lost)
    put = client.put_file(file, uri)
    found = client.stat(uri)
    assert (put.size_bytes, put.etag) == (found.size_bytes, found.etag)


def test_a_large_file_that_did_not_come_through_is_a_failure_though_another_is_there(
    client: Any, base: ObjectStorageUri, file: Path
) -> None:
    uri = base.child("large.bin")
    client.put_file(file, uri)

    def refused(*args: Any, **options: Any) -> Any:
        raise StorageError("Could not write it: SlowDown.", uri=str(uri))

    holder: Any = client._uploader or client
    setattr(holder, "put_large" if client._uploader else "_put_large", refused)
    with pytest.raises(StorageError, match="SlowDown"):
        client.put_file(file, uri)


def test_a_large_file_that_came_through_wrong_is_a_failure(client: Any, base: ObjectStorageUri, file: Path) -> None:
    uri = base.child("large.bin")
    wrong = ChecksumMismatchError("Its bytes changed on their way.", uri=str(uri))
    lose_answers(client, "put_large" if client._uploader else "_put_large", wrong)
    with pytest.raises(ChecksumMismatchError):
        client.put_file(file, uri)


def test_a_large_file_that_came_through_in_part_is_a_failure(client: Any, base: ObjectStorageUri, file: Path) -> None:
    uri = base.child("large.bin")
    lose_answers(client, "put_large" if client._uploader else "_put_large", StorageError("It is lost.", uri=str(uri)))
    stat = client.stat
    client.stat = lambda uri: replace(stat(uri), size_bytes=1)
    with pytest.raises(StorageError, match="It is lost"):
        client.put_file(file, uri)
