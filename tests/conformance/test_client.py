"""What every client does, whatever its store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from dpone_airflow.storage import ObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    InvalidUriError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    SourceFileChangedError,
    SourceFileError,
)
from dpone_airflow.storage.hashing import HashingReader
from tests.conformance.stores import Store

NAMES = [
    "plain.tsv",
    "a+b=c%25.tsv",
    "spaces and  two.csv",
    "naïve-数据-🚀.csv",
    "dt=2026-11-22/part-0.parquet",
    "quo'te\"s&<xml>;,@!$()[]{}~^`|.txt",
    "trailing space .txt",
    ".hidden",
    "_SUCCESS",
    "long-" + "x" * 190 + ".bin",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_comes_back_byte_for_byte(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path, name: str
) -> None:
    content = name.encode() * 3
    source = tmp_path / "source"
    source.write_bytes(content)
    uri = base.child(store.name(name))

    put = client.put_file(source, uri, content_type="text/x-conformance")

    assert put == ObjectStorageObject(
        uri, len(content), sha256(content).hexdigest(), "text/x-conformance", client.stat(uri).etag
    )
    assert client.list_prefix(base) == [uri]
    assert client.get_bytes(uri) == content
    got = client.get_file(uri, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert got == put


def test_a_file_in_parts_comes_back_byte_for_byte(
    client: ObjectStorageClient, base: ObjectStorageUri, file: Path, tmp_path: Path
) -> None:
    uri = base.child("large.bin")
    put = client.put_file(file, uri, content_type="application/x-large")

    digest = sha256(file.read_bytes()).hexdigest()
    assert put.sha256 == digest
    assert put.size_bytes == file.stat().st_size
    assert client.stat(uri).content_type == "application/x-large"
    assert client.get_file(uri, tmp_path / "copy").sha256 == digest
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()


def test_an_empty_file_is_an_object(client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    client.put_file(tmp_path / "empty", base.child("empty"))
    assert client.stat(base.child("empty")).size_bytes == 0
    assert client.get_bytes(base.child("empty")) == b""


@pytest.mark.parametrize(("limit", "comes"), [(1, 1), (1_000, 1_000), (4_096, 4_096), (5_000, 4_096)])
def test_of_an_object_just_its_beginning_can_be_read(
    client: ObjectStorageClient, base: ObjectStorageUri, limit: int, comes: int
) -> None:
    content = bytes(range(256)) * 16
    client.put_bytes(content, base.child("long.bin"))
    assert client.get_bytes(base.child("long.bin"), limit=limit) == content[:comes]
    with pytest.raises(ObjectNotFoundError, match=r"missing\.bin"):
        client.get_bytes(base.child("missing.bin"), limit=limit)


def test_a_listing_tells_the_etag_that_the_put_told(
    client: ObjectStorageClient, base: ObjectStorageUri, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"small")
    put = {client.put_file(tmp_path / "small", base.child("small")), client.put_file(file, base.child("large"))}
    listed = set(client.list_objects(base))

    assert all(item.etag and '"' not in item.etag and not item.etag.startswith("W/") for item in put | listed)
    assert {(item.uri, item.size_bytes, item.etag) for item in listed} == {
        (item.uri, item.size_bytes, item.etag) for item in put
    }


def test_a_new_content_has_a_new_etag(client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    uri = base.child("object")
    etags = [client.put_bytes(content, uri).etag for content in (b"one", b"two", b"six")]
    assert len(set(etags)) == 3
    assert client.get_bytes(uri) == b"six"


def test_what_is_not_there_is_an_error_that_names_it(
    client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    missing = base.child("missing")
    assert not client.exists(missing)
    for read in (client.stat, client.get_bytes, lambda uri: client.get_file(uri, tmp_path / "copy")):
        with pytest.raises(ObjectNotFoundError, match=str(missing)):
            read(missing)
    assert list(tmp_path.iterdir()) == []
    assert list(client.list_objects(missing)) == []
    assert client.delete_prefix(missing) == 0
    client.delete_objects([missing])


def test_a_create_loses_to_what_is_there(store: Store, client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    uri = base.child("claim.json")
    client.put_bytes(b"first", uri, only_if_absent=True)
    if store.keeps_conditions:
        with pytest.raises(ObjectAlreadyExistsError, match=str(uri)):
            client.put_bytes(b"second", uri, only_if_absent=True)
        assert client.get_bytes(uri) == b"first"
    else:
        client.put_bytes(b"second", uri, only_if_absent=True)
        assert client.get_bytes(uri) == b"second", "this server keeps conditions now: say so in its Store"


def test_of_many_creates_at_once_one_wins(store: Store, client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    if not store.keeps_conditions:
        return  # what it does instead is shown by the test above
    uri = base.child("race.json")

    def create(number: int) -> int | None:
        try:
            client.put_bytes(f"writer {number}".encode(), uri, only_if_absent=True)
        except ObjectAlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(create, range(8)) if number is not None]
    assert len(winners) == 1
    assert client.get_bytes(uri) == f"writer {winners[0]}".encode()


def test_listing_and_deleting_reach_past_one_page_and_one_batch(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri
) -> None:
    uris = [base.child("run-1").child(f"{number:05d}.csv") for number in range(store.beyond_a_page)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda uri: client.put_bytes(b"x", uri), uris))
    neighbour = base.child("run-10").child("stays.csv")
    client.put_bytes(b"x", neighbour)

    assert sorted(client.list_prefix(base.child("run-1"))) == uris
    assert client.delete_prefix(base.child("run-1")) == store.beyond_a_page
    assert client.list_prefix(base) == [neighbour]


def test_aborting_unfinished_uploads_leaves_every_object(
    client: ObjectStorageClient, base: ObjectStorageUri, file: Path
) -> None:
    client.put_file(file, base.child("large"))
    client.put_bytes(b"x", base.child("small"))
    assert client.abort_uploads(base) == 0
    assert client.stat(base.child("large")).size_bytes == file.stat().st_size
    assert client.get_bytes(base.child("small")) == b"x"
    assert client.abort_uploads(base.child("nothing-here")) == 0


def test_a_whole_bucket_is_never_deleted(store: Store, client: ObjectStorageClient, base: ObjectStorageUri) -> None:
    client.put_bytes(b"x", base.child("object"))
    for whole in (store.root, f"{store.root}/"):
        with pytest.raises(InvalidUriError, match="whole bucket"):
            client.delete_prefix(ObjectStorageUri.parse(whole))
    assert client.exists(base.child("object"))


def test_markers_and_empty_segments_are_listed_and_deleted_where_the_store_keeps_them(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri
) -> None:
    run = base.child("run")
    odd = [replace(run, key=f"{run.key}/file")]
    if store.keeps_markers:
        odd.append(replace(run, key=f"{run.key}/"))
    if store.keeps_empty_segments:
        odd.append(replace(run, key=f"{run.key}//twice"))
    for uri in odd:
        client.put_bytes(str(uri).encode(), uri)

    assert sorted(client.list_prefix(run)) == sorted(odd)
    assert [client.get_bytes(uri) for uri in odd] == [str(uri).encode() for uri in odd]
    assert client.delete_prefix(run) == len(odd)
    assert client.list_prefix(run) == []


def test_a_bucket_that_is_not_there_is_named(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path
) -> None:
    elsewhere = replace(base, bucket="no-such-bucket-anywhere")
    (tmp_path / "file").write_bytes(b"x")
    if not store.misses_buckets:
        client.put_file(tmp_path / "file", elsewhere.child("file"))
        assert client.exists(elsewhere.child("file"))
        return
    with pytest.raises(BucketNotFoundError, match="no-such-bucket-anywhere"):
        client.put_file(tmp_path / "file", elsewhere.child("file"))
    with pytest.raises(BucketNotFoundError, match="no-such-bucket-anywhere"):
        list(client.list_objects(elsewhere))


class _Growing(HashingReader):
    """A file that somebody appends to while it is read."""

    def read(self, size: int = -1) -> bytes:
        with self.path.open("ab") as other_writer:
            other_writer.write(b"!")
        return super().read(size)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_file_that_changes_while_it_is_sent_leaves_nothing_behind(
    client: ObjectStorageClient,
    base: ObjectStorageUri,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: str,
) -> None:
    (tmp_path / "small").write_bytes(b"small")
    monkeypatch.setattr("dpone_airflow.storage.readers.HashingReader", _Growing)
    with pytest.raises(SourceFileChangedError, match="changed while it was staged"):
        client.put_file({"small": tmp_path / "small", "large": file}[size], base.child("object"))
    assert not client.exists(base.child("object"))


def test_a_directory_is_no_file(client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path) -> None:
    with pytest.raises(SourceFileError, match="is a directory"):
        client.put_file(tmp_path, base.child("object"))
    assert client.list_prefix(base) == []
