"""Files that come while they are staged, and content that lies elsewhere: the same over every client."""

from __future__ import annotations

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import (
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    StagingWriter,
    manifest_uri_of,
    resolve_manifest,
)
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import SourceFileChangedError
from dpone_airflow.storage.remote_file import RemoteFile

MIB = 1024 * 1024


def plan(base: ObjectStorageUri) -> ObjectStorageStagingPlan:
    return ObjectStorageStagingPlan(str(base), "run-1", "d", "t", "csv")


def service(client: ObjectStorageClient) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(client=client, writer=StagingWriter("test", "dag", "run", "stage"))


def remote(name: str, data: bytes, *, known: bool) -> RemoteFile:
    return RemoteFile(name, len(data) if known else None, lambda: io.BytesIO(data))


def test_what_a_generator_yields_is_staged_and_a_retry_sends_nothing_again(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path, file: Path
) -> None:
    def extract() -> Iterator[Any]:
        for number in range(10):
            path = tmp_path / f"part-{number}.csv"
            path.write_text(f"{number}\n" * 100)
            yield path
            if number == 4:
                yield file

    first = service(client).stage(plan(base), extract())
    assert (first.manifest.object_count, first.sent, first.kept) == (11, 11, 0)
    by_name = {item.file_name: item for item in first.manifest.objects}
    assert by_name["large.bin"].sha256 == sha256(file.read_bytes()).hexdigest()
    again = service(client).stage(plan(base), extract(), delete_local=True)
    assert (again.manifest, again.sent, again.kept) == (first.manifest, 0, 11)
    assert not file.exists()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("mib", [0, 1, 21, 70])
def test_content_from_elsewhere_is_what_comes_back(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path, mib: int, known: bool
) -> None:
    data = b"".join(number.to_bytes(4, "big") * (MIB // 4) for number in range(mib)) + b"odd"
    [item] = service(client).stage_files(plan(base), remote("a.bin", data, known=known)).objects
    assert (item.size_bytes, item.sha256) == (len(data), sha256(data).hexdigest())
    client.get_file(ObjectStorageUri.parse(item.uri), tmp_path / "back")
    assert sha256((tmp_path / "back").read_bytes()).hexdigest() == item.sha256


@pytest.mark.parametrize("said", [40 * MIB, 18 * MIB, 5])
def test_content_of_another_length_than_it_was_said_to_be_leaves_no_object(
    client: ObjectStorageClient, base: ObjectStorageUri, said: int
) -> None:
    wrong = RemoteFile("a.bin", said, lambda: io.BytesIO(bytes(20 * MIB)))
    with pytest.raises(SourceFileChangedError, match=r"a\.bin isn't of"):
        service(client).stage_files(plan(base), wrong)
    assert client.list_prefix(plan(base).prefix) == []
    assert client.abort_uploads(base) == 0


def test_a_stored_manifest_is_read_back_by_its_uri(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    class Hook:
        def get_client(self, base_uri: str) -> ObjectStorageClient:
            return client

    for number in range(20):
        (tmp_path / f"{number}.csv").write_text(str(number))
    staged = service(client).stage(plan(base), str(tmp_path / "*.csv"))
    assert staged.record.uri == manifest_uri_of(staged.manifest)
    assert staged.record.sha256 == sha256(client.get_bytes(staged.record.uri)).hexdigest()
    assert resolve_manifest(str(staged.record.uri), Hook()) == staged.manifest
