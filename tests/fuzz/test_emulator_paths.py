"""Whatever the key: a file below the emulator's root, another one for every other key, and a listing gives it back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageProvider, ObjectStorageUri
from dpone_airflow.storage.errors import StorageError
from tests.fuzz.choices import HOSTILE, Choices
from tests.fuzz.folders import fresh_folder
from tests.fuzz.fuzzed import fuzzed, told

KEYS = ("orders/run-1/a.csv", "a//b", "a/", "/a", "%", "a/%%/b", "%25", "..", ".", "a/%2E", "")
SEGMENTS = ("a", "A", "", "%", "%%", ".", "..", "%2E", "%2F", "%25", "\\", "%5C", "%5c", "b", "\0", "%00")
BUCKETS = ("landing", "..", ".", "", "a/b", "%2F", ".dpone")
ACCOUNTS = (None, None, "account", "..", "landing", ".dpone")


def _key(choices: Choices) -> str:
    if choices.number(2):
        return choices.changed_text(choices.of(KEYS))
    return "/".join(choices.of(SEGMENTS) for _ in range(choices.number(5)))


def _two_uris(choices: Choices) -> list[ObjectStorageUri]:
    """Return what the constructor takes, as the listing of somebody else's bucket may bring it."""
    one = ObjectStorageUri(
        choices.of(list(ObjectStorageProvider)),
        choices.changed_text(choices.of(BUCKETS), 1),
        _key(choices),
        choices.of(ACCOUNTS),
    )
    kind = choices.number(4)
    if kind == 0:  # a slash moves
        account, bucket, key = one.account, f"{one.bucket}/{one.key}", ""
    elif kind == 1:
        account, bucket, key = None, one.account or "account", f"{one.bucket}/{one.key}"
    else:
        account, bucket, key = one.account, one.bucket, choices.changed_text(one.key, 1) if kind == 2 else _key(choices)
    return [one, ObjectStorageUri(one.provider, bucket, key, account)]


@fuzzed(_two_uris)
def test_any_key_is_a_file_below_the_root_and_another_for_every_other_key(two: list[ObjectStorageUri]) -> None:
    client = LocalObjectStorageClient(root_dir="/root/of/buckets")
    paths = []
    for uri in two:
        try:
            path = client.path_of(uri)
        except StorageError:
            continue
        paths.append(path)
        below = path.relative_to(client.root_dir).parts
        assert ".." not in below
        assert below[0] in ("s3", "gs", "az", "azure")
        assert os.path.normpath(path) == str(path)
        assert b"\0" not in os.fsencode(path)
    # Only Azure has accounts: a URI with one is written azure:// whatever its provider.
    places = [(uri.scheme, uri.account, uri.bucket, uri.key) for uri in two]
    assert len(paths) < 2 or (paths[0] == paths[1]) is (places[0] == places[1])


@fuzzed(lambda choices: list({_key(choices) for _ in range(1 + choices.number(3))}), within=fresh_folder)
def test_any_key_that_is_written_is_listed_read_and_deleted_again(keys: list[str], folder: Path) -> None:
    bucket = ObjectStorageUri.parse("s3://landing")
    outside = folder / "outside"
    outside.write_bytes(b"mine")
    client = LocalObjectStorageClient(root_dir=folder / "root", max_concurrency=1)
    written = {}
    for key in keys:
        uri = ObjectStorageUri(bucket.provider, bucket.bucket, key)
        try:
            client.put_bytes(key.encode("utf-8", "surrogatepass"), uri)
        except StorageError:  # too long, no Unicode, or the folder of another
            continue
        written[key] = uri
    listed = client.list_prefix(bucket)
    assert sorted(uri.key for uri in listed) == sorted(written)
    for key, uri in written.items():
        assert client.get_bytes(uri) == key.encode()
    for uri in listed:
        client._delete_one(uri)
    assert client.list_prefix(bucket) == []
    assert outside.read_bytes() == b"mine"
    assert set(os.listdir(folder)) <= {"outside", "root"}


_HAND_MADE = [
    name
    for name in (
        *(b"%2E", b"%2F", b"%2f", b"%", b"%%", b"%25", b"%41", b"%5C", b"\\", b"a", b"\xff", b"\xc3", b"%C3", b"a%"),
        *(piece.encode(errors="ignore").translate(None, b"\0/")[:200] for piece in HOSTILE),
    )
    if name not in (b"", b".", b"..")
]


def _paths(choices: Choices) -> list[list[bytes]]:
    def name() -> bytes:
        if choices.number(2):
            return choices.of(_HAND_MADE)
        return b"%%%02X" % choices.number(256) if choices.number(2) else bytes([1 + choices.number(46), 64])

    return [[name() for _ in range(1 + choices.number(3))] for _ in range(1 + choices.number(3))]


@fuzzed(_paths, within=fresh_folder)
def test_any_file_put_there_by_hand_is_listed_as_the_key_that_leads_to_it_or_refused(
    paths: list[list[bytes]], within: Path
) -> None:
    bucket = ObjectStorageUri.parse("s3://landing")
    folder = Path(tempfile.mkdtemp(dir=within))
    client = LocalObjectStorageClient(root_dir=folder, max_concurrency=1)
    top = folder / "s3" / "landing"
    there = set()
    for names in paths:
        path = Path(top, *map(os.fsdecode, names))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (FileExistsError, NotADirectoryError):
            continue
        if path.is_file():
            there.add(path)
    try:
        listed = client.list_prefix(bucket)
    except StorageError as error:
        told(error)
        return
    assert sorted(client.path_of(uri) for uri in listed) == sorted(there)
