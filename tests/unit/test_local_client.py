"""What is truly the emulator's own; what every client does is in ``tests/conformance``."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage import (
    LocalObjectStorageClient,
    ObjectStorageClient,
    ObjectStorageProvider,
    ObjectStorageUri,
)
from dpone_airflow.storage.errors import (
    DeleteIncompleteError,
    DponeAirflowError,
    InvalidOptionError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    SourceFileChangedError,
    SourceFileError,
    StorageError,
)
from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage.uploader import UploadTarget

BASE = ObjectStorageUri.parse("s3://lake/base")


@pytest.fixture
def root(client: LocalObjectStorageClient) -> Path:
    return client.root_dir


def metadata_files(root: Path) -> list[Path]:
    return [path for path in (root / ".dpone" / "metadata").rglob("*") if path.is_file()]


def unfinished_files(root: Path) -> list[Path]:
    return list((root / ".dpone" / "unfinished").iterdir())


@pytest.fixture
def _threads_take_turns_often() -> Iterator[None]:
    """Let Python switch threads after almost every step, so that a race shows within a second."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@contextmanager
def meanwhile(*loops: object) -> Iterator[list[BaseException]]:
    """Run functions over and over in threads of their own while the block runs; collect what they raise."""
    stop = threading.Event()
    raised: list[BaseException] = []

    def repeat(loop: object) -> None:
        try:
            while not stop.is_set():
                loop()  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=repeat, args=(loop,), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield raised
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


# Where things lie.


def test_it_is_an_object_storage_client(client: LocalObjectStorageClient) -> None:
    assert isinstance(client, ObjectStorageClient)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://lake/a/b.csv", "s3/lake/a/b.csv"),
        ("gs://lake/a/b.csv", "gs/lake/a/b.csv"),
        ("az://lake/a/b.csv", "az/lake/a/b.csv"),
        ("azure://account/lake/a/b.csv", "azure/account/lake/a/b.csv"),
        ("s3://lake/ü 数据+x.csv", "s3/lake/ü 数据+x.csv"),
        ("s3://lake/100%.csv", "s3/lake/100%25.csv"),
    ],
)
def test_an_object_is_a_file_where_its_uri_says(
    client: LocalObjectStorageClient, root: Path, uri: str, path: str
) -> None:
    client.put_bytes(b"content", ObjectStorageUri.parse(uri))
    assert (root / path).read_bytes() == b"content"
    assert client.path_of(ObjectStorageUri.parse(uri)) == root / path
    assert client.list_prefix(ObjectStorageUri.parse(uri.rpartition("/")[0])) == [ObjectStorageUri.parse(uri)]


def test_the_four_forms_are_four_stores(client: LocalObjectStorageClient) -> None:
    uris = [
        ObjectStorageUri.parse(f"{start}/lake/key") for start in ("s3:/", "gs:/", "az:/", "azure://one", "azure://two")
    ]
    for uri in uris:
        client.put_bytes(str(uri).encode(), uri)
    assert [client.get_bytes(uri).decode() for uri in uris] == [str(uri) for uri in uris]


def test_a_relative_root_stays_where_it_was_when_the_client_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = LocalObjectStorageClient(root_dir="store")
    monkeypatch.chdir("/")
    client.put_bytes(b"x", BASE.child("key"))
    assert (tmp_path / "store/s3/lake/base/key").exists()


@pytest.mark.parametrize("arguments", [{"root_dir": ""}, {"max_concurrency": 0}, {"max_concurrency": -1}])
def test_impossible_arguments_are_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(arguments))):
        LocalObjectStorageClient(**({"root_dir": tmp_path} | arguments))  # type: ignore[arg-type]


# Keys and paths.

ANY_KEYS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["", ".", "..", "%", "%2E", "a", "/", "\\", "\0", "~", "CON", "é"]), max_size=6).map(
        "/".join
    ),
)


def uri_of(key: str, bucket: str = "lake") -> ObjectStorageUri:
    """Make a URI without the checks of ``parse``, as a listing does with whatever a bucket holds."""
    return ObjectStorageUri(ObjectStorageProvider.S3, bucket, key)


@given(key=ANY_KEYS, bucket=ANY_KEYS, account=st.none() | ANY_KEYS)
def test_no_key_bucket_or_account_leaves_the_root(key: str, bucket: str, account: str | None) -> None:
    client = LocalObjectStorageClient(root_dir="/the/root")
    uri = ObjectStorageUri(ObjectStorageProvider.AZURE_BLOB, bucket, key, account)
    try:
        path = client.path_of(uri)
    except DponeAirflowError:
        return  # too long for a file's name, or no valid Unicode
    below = path.relative_to("/the/root").parts
    assert below[0] in ("az", "azure")
    assert ".." not in below
    assert "." not in str(path).split("/")


@given(ANY_KEYS, ANY_KEYS)
def test_two_keys_never_share_a_file(one: str, other: str) -> None:
    client = LocalObjectStorageClient(root_dir="/the/root")
    if one != other:
        try:
            assert client.path_of(uri_of(one)) != client.path_of(uri_of(other))
        except StorageError:
            return


@given(ANY_KEYS.filter(lambda key: key != ""))
def test_any_key_is_listed_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    client = LocalObjectStorageClient(root_dir=tmp_path_factory.mktemp("store"))
    uri = uri_of(key)
    try:
        client.path_of(uri)
    except StorageError:
        return
    client.put_bytes(key.encode(), uri)
    assert client.list_prefix(uri_of("")) == [uri]
    assert client.get_bytes(uri) == key.encode()
    client.delete_objects([uri])
    assert client.list_prefix(uri_of("")) == []


def test_a_listing_is_sorted_by_key_as_a_stores_is(client: LocalObjectStorageClient) -> None:
    keys = ["a%b", "a-b", "a/b", "a/b/c", "a0", "aü", "b"]
    for key in keys:
        if key != "a/b":  # a/b is a folder here
            client.put_bytes(b"x", BASE.child(key))
    listed = [uri.key.removeprefix("base/") for uri in client.list_prefix(BASE)]
    assert listed == sorted(key for key in keys if key != "a/b")


def test_a_prefix_one_character_shorter_is_not_listed(client: LocalObjectStorageClient) -> None:
    client.put_bytes(b"x", BASE.child("run-1/a"))
    client.put_bytes(b"x", BASE.child("run-10/a"))
    assert client.list_prefix(BASE.child("run-1")) == [BASE.child("run-1/a")]
    assert client.list_prefix(BASE.child("run")) == []


def test_a_segment_that_no_disk_can_hold_is_an_error_that_says_so(client: LocalObjectStorageClient) -> None:
    client.put_bytes(b"x", BASE.child("x" * 255))
    with pytest.raises(StorageError, match="a segment of 256 bytes"):
        client.put_bytes(b"x", BASE.child("x" * 256))
    with pytest.raises(StorageError, match="Unicode"):
        client.put_bytes(b"x", uri_of("\ud800"))


def test_a_key_that_no_disk_can_hold_is_an_error_of_ours_whatever_is_asked(client: LocalObjectStorageClient) -> None:
    deep = uri_of("a/" * 2500 + "b")
    for ask in (client.stat, client.get_bytes, client.list_prefix, lambda uri: client.put_bytes(b"x", uri)):
        with pytest.raises(StorageError, match="too long"):
            ask(deep)


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c"), ("a/b/c", "a/b")])
@pytest.mark.parametrize("only_if_absent", [True, False])
def test_one_key_can_not_be_an_object_and_the_folder_of_another(
    client: LocalObjectStorageClient, root: Path, first: str, second: str, only_if_absent: bool
) -> None:
    client.put_bytes(b"first", BASE.child(first))
    with pytest.raises(StorageError, match="can't be both an object and the folder of another") as refused:
        client.put_bytes(b"second", BASE.child(second), only_if_absent=only_if_absent)
    assert type(refused.value) is StorageError
    assert client.list_prefix(BASE) == [BASE.child(first)]
    assert unfinished_files(root) == []
    assert len(metadata_files(root)) == 1


@pytest.mark.parametrize(("there", "absent"), [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")])
def test_what_lies_above_or_below_an_object_is_simply_not_there(
    client: LocalObjectStorageClient, there: str, absent: str
) -> None:
    client.put_bytes(b"x", BASE.child(there))
    assert not client.exists(BASE.child(absent))
    with pytest.raises(ObjectNotFoundError):
        client.get_bytes(BASE.child(absent))
    client.delete_objects([BASE.child(absent)])
    assert client.exists(BASE.child(there))


# Files that were put there by hand.


def test_a_file_that_was_put_there_by_hand_is_an_object(client: LocalObjectStorageClient, root: Path) -> None:
    path = root / "s3/lake/base/by-hand.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    uri = BASE.child("by-hand.csv")

    found = client.stat(uri)
    assert (found.uri, found.size_bytes, found.sha256, found.content_type) == (uri, 7, None, None)
    assert [(item.uri, item.size_bytes, item.etag) for item in client.list_objects(BASE)] == [(uri, 7, found.etag)]
    assert client.get_bytes(uri) == b"by hand"
    assert client.get_file(uri, root / "copy").sha256 == sha256(b"by hand").hexdigest()
    with pytest.raises(ObjectAlreadyExistsError, match=r"by-hand\.csv"):
        client.put_bytes(b"mine", uri, only_if_absent=True)
    assert client.delete_prefix(BASE) == 1
    assert not path.exists()


def test_an_object_that_is_overwritten_by_hand_is_another_version(client: LocalObjectStorageClient, root: Path) -> None:
    uri = BASE.child("a")
    put = client.put_bytes(b"staged", uri, content_type="text/plain")
    client.path_of(uri).write_bytes(b"by hand")
    found = client.stat(uri)
    assert found.etag != put.etag
    assert (found.sha256, found.content_type) == (None, None)


@pytest.mark.parametrize("name", ["100%.csv", "%zz", "a%2", "%41", "%%"])
def test_a_hand_placed_name_that_stands_for_no_key_is_an_error_that_names_it(
    client: LocalObjectStorageClient, root: Path, name: str
) -> None:
    path = root / "s3/lake/base" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    with pytest.raises(StorageError) as refused:
        client.list_prefix(BASE)
    assert str(path) in str(refused.value)


# Writing.


def test_the_metadata_is_kept(client: LocalObjectStorageClient) -> None:
    put = client.put_bytes(b"content", BASE.child("a"), content_type="text/x-odd; charset=ü")
    assert client.stat(BASE.child("a")) == put
    assert (put.size_bytes, put.sha256) == (7, sha256(b"content").hexdigest())
    assert put.content_type == "text/x-odd; charset=ü"


def test_the_metadata_says_in_plain_json_what_it_is_about(client: LocalObjectStorageClient, root: Path) -> None:
    client.put_bytes(b"content", BASE.child("a"), content_type="text/plain")
    (notes,) = metadata_files(root)
    told = json.loads(notes.read_text())
    assert told.pop("nonce")
    assert told == {
        "uri": "s3://lake/base/a",
        "sha256": sha256(b"content").hexdigest(),
        "content_type": "text/plain",
    }


def test_the_metadata_of_old_versions_is_dropped(client: LocalObjectStorageClient, root: Path) -> None:
    for number in range(20):
        client.put_bytes(b"x" * number, BASE.child("a"))
    assert len(metadata_files(root)) == 1
    assert client.stat(BASE.child("a")).size_bytes == 19


def test_equal_contents_that_are_written_twice_have_two_etags(client: LocalObjectStorageClient) -> None:
    etags = [client.put_bytes(b"same", BASE.child("a")).etag for _ in range(20)]
    assert len(set(etags)) == 20


@pytest.mark.parametrize("part_bytes", [1000, 7])
def test_a_write_that_fails_half_way_leaves_what_was_there(root: Path, tmp_path: Path, part_bytes: int) -> None:
    class FailingClient(LocalObjectStorageClient):
        """Loses its disk when a file is almost written."""

        def _put_large(self, target: UploadTarget, reader: HashingReader, *more: object) -> str | None:
            reader.read(part_bytes)
            with path.open("ab") as file:
                file.write(b"somebody else writes to the file")
            return super()._put_large(target, reader, *more)  # type: ignore[arg-type]

    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    client = FailingClient(root_dir=root, part_bytes=part_bytes)
    before = client.put_bytes(b"before", BASE.child("a"), content_type="text/plain")
    with pytest.raises(SourceFileChangedError):
        client.put_file(path, BASE.child("a"))
    assert client.stat(BASE.child("a")) == before
    assert client.get_bytes(BASE.child("a")) == b"before"
    assert unfinished_files(root) == []


def test_a_file_in_parts_is_the_file(root: Path, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "file").write_bytes(content)
    client = LocalObjectStorageClient(root_dir=root, part_bytes=1000)
    client.put_bytes(b"what was there before", BASE.child("a"))
    put = client.put_file(tmp_path / "file", BASE.child("a"), content_type="text/plain")
    assert put.sha256 == sha256(content).hexdigest()
    assert client.stat(BASE.child("a")) == put
    got = client.get_file(BASE.child("a"), tmp_path / "copy")
    assert got == put
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_above_the_stores_limit_is_refused_before_its_first_byte(tmp_path: Path, root: Path) -> None:
    class SmallStore(LocalObjectStorageClient):
        max_object_bytes = 10

    (tmp_path / "file").write_bytes(b"x" * 11)
    client = SmallStore(root_dir=root)
    with pytest.raises(SourceFileError, match="has 11 bytes and the store of s3://lake/base/a takes 10 at most"):
        client.put_file(tmp_path / "file", BASE.child("a"))
    assert client.list_prefix(BASE) == []


# Several at a time.


def test_a_reader_sees_the_old_object_or_the_new_one_and_never_half_of_one(client: LocalObjectStorageClient) -> None:
    uri = BASE.child("a")
    contents = [bytes([letter]) * size for letter, size in zip(b"abcd", (1, 300_000, 70_000, 0), strict=True)]
    client.put_bytes(contents[0], uri)
    digests = {sha256(content).hexdigest(): len(content) for content in contents}
    reads = 0

    def read() -> None:
        nonlocal reads
        assert client.get_bytes(uri) in contents
        found = client.stat(uri)
        assert found.sha256 is not None, "no metadata"
        assert digests[found.sha256] == found.size_bytes, "the metadata of another version"
        (listed,) = client.list_objects(BASE)
        assert listed.size_bytes in digests.values()
        reads += 1

    with meanwhile(read, read) as raised:
        for number in range(400):
            client.put_bytes(contents[number % 4], uri)
        while reads < 50 and not raised:
            client.put_bytes(contents[reads % 4], uri)
    assert raised == []


def test_a_download_during_a_write_is_one_whole_version(client: LocalObjectStorageClient, tmp_path: Path) -> None:
    uri = BASE.child("a")
    contents = [b"a" * 100_000, b"b" * 50_000]
    client.put_bytes(contents[0], uri)
    with meanwhile(lambda: [client.put_bytes(content, uri) for content in contents]) as raised:
        for _ in range(100):
            got = client.get_file(uri, tmp_path / "copy")
            content = (tmp_path / "copy").read_bytes()
            assert content in contents
            assert got.sha256 == sha256(content).hexdigest()
    assert raised == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["copy"]


def test_of_many_creates_one_wins_and_the_others_are_told(client: LocalObjectStorageClient, root: Path) -> None:
    threads = 8

    def create(number: int) -> int | None:
        together.wait()
        try:
            client.put_bytes(f"writer {number}".encode(), uri, only_if_absent=True)
        except ObjectAlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(threads) as pool:
        for number in range(30):
            uri = BASE.child(f"race-{number}")
            together = threading.Barrier(threads, timeout=30)
            winners = [winner for winner in pool.map(create, range(threads)) if winner is not None]
            assert len(winners) == 1
            assert client.get_bytes(uri) == f"writer {winners[0]}".encode()
            assert client.stat(uri).sha256 == sha256(f"writer {winners[0]}".encode()).hexdigest()
    assert len(metadata_files(root)) == 30
    assert unfinished_files(root) == []


def test_many_writers_of_one_key_leave_one_whole_version_with_its_metadata(client: LocalObjectStorageClient) -> None:
    threads = 8

    def put(number: int) -> None:
        together.wait()
        client.put_bytes(bytes([number]) * (number + 1), uri, content_type=f"text/{number}")

    with ThreadPoolExecutor(threads) as pool:
        for number in range(60):
            uri = BASE.child(f"race-{number}")
            together = threading.Barrier(threads, timeout=30)
            list(pool.map(put, range(threads)))
            content = client.get_bytes(uri)
            found = client.stat(uri)
            assert found.sha256 == sha256(content).hexdigest()
            assert found.content_type == f"text/{content[0]}"


@pytest.mark.usefixtures("_threads_take_turns_often")
def test_writing_while_another_deletes_the_last_neighbour_works(client: LocalObjectStorageClient) -> None:
    """A delete removes empty folders, and a write makes them: neither trips over the other."""
    one, other, third = (BASE.child(f"x/y/{name}") for name in ("one", "other", "third"))

    def come_and_go(uri: ObjectStorageUri) -> None:
        client.put_bytes(b"other", uri)
        client.delete_objects([uri])

    with meanwhile(lambda: come_and_go(other), lambda: come_and_go(third)) as raised:
        for _ in range(500):
            put = client.put_bytes(b"one", one)
            assert client.stat(one) == put
            client.delete_objects([one])
    assert raised == []


@pytest.mark.usefixtures("_threads_take_turns_often")
def test_writing_a_key_while_another_deletes_it_works(client: LocalObjectStorageClient) -> None:
    uri = BASE.child("x/a")
    delete = lambda: client.delete_objects([uri])  # noqa: E731
    with meanwhile(delete, delete) as raised:
        for _ in range(1000):
            client.put_bytes(b"content", uri, content_type="text/plain")
    put = client.put_bytes(b"content", uri, content_type="text/plain")
    assert raised == []
    assert client.stat(uri) == put


@pytest.fixture
def rename_waits(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Hold the first write back just before the rename that makes it visible: (it is there, let it go on)."""
    there, go_on = threading.Event(), threading.Event()
    rename = os.replace

    def slow_rename(source: str, target: str) -> None:
        if not there.is_set():
            there.set()
            assert go_on.wait(30)
        rename(source, target)

    monkeypatch.setattr(os, "replace", slow_rename)
    return there, go_on


@pytest.mark.parametrize("in_between", ["another write", "a delete"])
def test_a_slow_write_keeps_its_metadata_whatever_happens_in_between(
    client: LocalObjectStorageClient, rename_waits: tuple[threading.Event, threading.Event], in_between: str
) -> None:
    uri = BASE.child("a")
    there, go_on = rename_waits
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.put_bytes, b"slow", uri, content_type="text/slow")
        assert there.wait(30)
        if in_between == "a delete":
            client.delete_objects([uri])
        else:
            client.put_bytes(b"quick", uri, content_type="text/quick")
        go_on.set()
        put = slow.result(30)
    assert client.get_bytes(uri) == b"slow"
    assert client.stat(uri) == put


# Deleting.


def test_empty_folders_and_metadata_vanish_with_their_last_object(client: LocalObjectStorageClient, root: Path) -> None:
    for key in ("run-1/dt=1/a", "run-1/dt=2/b", "run-2/c"):
        client.put_bytes(b"x", BASE.child(key))
    assert client.delete_prefix(BASE.child("run-1")) == 2
    assert sorted(path.name for path in (root / "s3/lake/base").iterdir()) == ["run-2"]
    assert len(metadata_files(root)) == 1
    assert client.delete_prefix(BASE) == 1
    assert list((root / "s3/lake").iterdir()) == []
    assert list((root / ".dpone/metadata").glob("*/*")) == []


def test_what_can_not_be_deleted_is_named_with_the_reason_and_the_rest_is_gone(root: Path) -> None:
    class Locked(LocalObjectStorageClient):
        """Refuses to delete what is called locked."""

        rounds = 0

        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            type(self).rounds += 1
            locked = [key for key in keys if "locked" in key]
            super()._delete_batch(anywhere, [key for key in keys if key not in locked])
            return dict.fromkeys(locked, "a lease is held")

    client = Locked(root_dir=root)
    for key in ("a", "b", "locked"):
        client.put_bytes(b"x", BASE.child(key))
    with pytest.raises(DeleteIncompleteError, match="1 objects could not be deleted") as failed:
        client.delete_prefix(BASE)
    assert failed.value.left == {"s3://lake/base/locked": "a lease is held"}
    assert "s3://lake/base/locked (a lease is held)" in str(failed.value)
    assert client.list_prefix(BASE) == [BASE.child("locked")]
    assert Locked.rounds > 1, "a refused delete is tried again"


def test_what_the_file_system_refuses_is_named_and_the_rest_is_gone(client: LocalObjectStorageClient) -> None:
    client.put_bytes(b"x", BASE.child("a"))
    with pytest.raises(DeleteIncompleteError, match="a segment of 300 bytes") as failed:
        client.delete_objects([BASE.child("a"), BASE.child("x" * 300)])
    assert list(failed.value.left) == [str(BASE.child("x" * 300))]
    assert client.list_prefix(BASE) == []


def test_a_delete_that_only_says_that_it_worked_is_found_out(root: Path) -> None:
    class Liar(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            return {}

    client = Liar(root_dir=root)
    client.put_bytes(b"x", BASE.child("a"))
    with pytest.raises(DeleteIncompleteError, match="still listed after its delete"):
        client.delete_prefix(BASE)


def test_deletes_go_in_batches_of_the_stores_limit(root: Path) -> None:
    batches: list[int] = []

    class Batches(LocalObjectStorageClient):
        delete_batch_size = 3

        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            batches.append(len(keys))
            return super()._delete_batch(anywhere, keys)

    client = Batches(root_dir=root)
    for number in range(7):
        client.put_bytes(b"x", BASE.child(str(number)))
    assert client.delete_prefix(BASE) == 7
    assert sorted(batches) == [1, 3, 3]


def test_reading_what_the_store_says_is_something_else_is_an_error(
    client: LocalObjectStorageClient, root: Path, tmp_path: Path
) -> None:
    """The metadata says one checksum, the bytes have another: a disk that lies."""
    uri = BASE.child("a")
    client.put_bytes(b"content", uri)
    (notes,) = metadata_files(root)
    notes.write_text(json.dumps(json.loads(notes.read_text()) | {"sha256": "0" * 64}))
    with pytest.raises(StorageError, match="came back with 7 bytes and sha256 ed7002b4"):
        client.get_file(uri, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


# A root that can't be one.


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    client = LocalObjectStorageClient(root_dir=tmp_path / "file")
    with pytest.raises(StorageError) as refused:
        client.put_bytes(b"x", BASE.child("a"))
    assert str(tmp_path / "file") in str(refused.value)
    assert not isinstance(refused.value, ObjectNotFoundError)


def test_the_constructor_touches_nothing(tmp_path: Path) -> None:
    LocalObjectStorageClient(root_dir=tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_reading_from_a_root_that_is_not_there_finds_nothing(client: LocalObjectStorageClient, root: Path) -> None:
    assert client.list_prefix(BASE) == []
    assert not client.exists(BASE.child("a"))
    assert client.delete_prefix(BASE) == 0
    assert not root.exists()


def test_any_provider_is_served(client: LocalObjectStorageClient) -> None:
    for provider in ObjectStorageProvider:
        uri = replace(BASE, provider=provider)
        client.check(uri)
        client.put_bytes(b"x", uri.child("a"))
        assert client.exists(uri.child("a"))
