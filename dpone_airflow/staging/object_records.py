"""Records with an entry for every staged object: JSON with one object a line, never whole in memory.

As a file:

    {"version": 1, "at": "...", "kind": "manifest", ..., "manifest": {..., "objects": [
    {"uri": "...", "file_name": "...", "size_bytes": 123, "sha256": "...", "etag": "..."},
    {"uri": ...}
    ]}}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpone_airflow.staging.manifest import ObjectStorageStagingObject
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import ObjectNotFoundError, redact
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)

# How the text of a record without objects ends: their list is the last thing in the last thing.
_EMPTY = "[]}}"
_NEEDED = {"file_name": str, "size_bytes": int, "sha256": str}
_OPENED, _CLOSED = "[", "]}}"


def write_record(
    client: ObjectStorageClient,
    uri: ObjectStorageUri,
    record: Mapping[str, Any],
    objects: Iterable[ObjectStorageStagingObject],
) -> ObjectStorageObject:
    """Write a record whose last value is its manifest, and fill the manifest's objects in.

    :raises StorageError: if the store refuses or fails.
    """
    record = dict(record)
    manifest = {key: value for key, value in record.pop("manifest").items() if key != "objects"}
    head = json.dumps(record | {"manifest": manifest | {"objects": []}}, ensure_ascii=False)
    as_json = json.JSONEncoder(ensure_ascii=False).encode
    with TemporaryDirectory(prefix="dpone-") as folder:
        path = Path(folder) / "record.json"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{head.removesuffix(_EMPTY)}{_OPENED}\n")
            separator = ""
            for item in objects:
                file.write(f"{separator}{as_json(item.to_dict())}")
                separator = ",\n"
            file.write(f"\n{_CLOSED}\n")
        if path.stat().st_size <= client.largest_put_bytes:  # as nearly all are: it doesn't wait for large files
            return client.put_bytes(path.read_bytes(), uri, content_type="application/json")
        return client.put_file(path, uri, content_type="application/json")


def read_records(
    client: ObjectStorageClient, uris: Sequence[ObjectStorageUri], storage_options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield every object of some records, if they were staged with ``storage_options``.

    What this version can't read is logged: its objects are then staged again.

    :raises StorageError: if the store refuses or fails.
    """
    with TemporaryDirectory(prefix="dpone-") as folder:

        def fetch(number: int, uri: ObjectStorageUri) -> Path | None:
            path = Path(folder) / f"{number}.json"
            try:
                client.get_file(uri, path)
            except ObjectNotFoundError:  # removed since it was listed
                return None
            return path

        with ThreadPoolExecutor(client.max_concurrency, thread_name_prefix="dpone-evidence") as pool:
            for uri, path in zip(uris, pool.map(fetch, count(), uris), strict=False):
                if path is None:
                    continue
                try:
                    yield from _objects(path, storage_options)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    # Not its repr: that of text in another encoding holds the whole of it.
                    kind, said = type(error).__name__, str(error)[:200]
                    log.warning("%s can't be read (%s: %s): what it records is staged again.", uri, kind, redact(said))
                path.unlink()


def _objects(path: Path, storage_options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        head = json.loads(file.readline().rstrip("\n").removesuffix(_OPENED) + _EMPTY)
        if head["storage_options"] != storage_options:
            return  # what lies there may be unencrypted, of another class, ...
        yield from _entries(file)


def objects_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every object of a record that was downloaded, whatever it was staged with.

    :raises ValueError: where it isn't as ``write_record`` writes it; or ``KeyError``, ``TypeError``,
        ``RecursionError``.
    """
    with path.open(encoding="utf-8", newline="\n") as file:
        file.readline()
        yield from _entries(file)


def _entries(file: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in file:
        text = line.rstrip("\n").removesuffix(",")
        if text not in ("", _CLOSED):
            yield _checked(json.loads(text))


def _checked(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise TypeError(f"{type(entry).__name__} for an object")
    for name, kind in _NEEDED.items():
        if not isinstance(entry[name], kind):
            raise TypeError(f"{type(entry[name]).__name__} for {name}")
    return entry
