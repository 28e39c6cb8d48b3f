"""The records below ``<base>/_manifests/``: found by one listing, read several at once, and never trusted.

Anybody who may write to the bucket can have written them, and another version of this package may
have. What can't be read is said with its URI; it is no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpone_airflow.staging.evidence import EVIDENCE_VERSION
from dpone_airflow.staging.manifest import SCHEMA_VERSION, is_count
from dpone_airflow.staging.object_records import objects_of
from dpone_airflow.staging.plan import EVIDENCE_FOLDER, base_of
from dpone_airflow.staging.record_form import NewerRecordError, check_form, check_version
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import (
    ChecksumMismatchError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    redact,
)
from dpone_airflow.storage.uri import ObjectStorageUri

#: Of a larger record just so many bytes are read: its header, without what it lists.
HEAD_BYTES = 64 * 1024
_WHOLE_RUN = "_run"
_ENDING = ".json"
# By the names of their files; a checkpoint is named after its try.
_KINDS = {
    "manifest": "manifest",
    "failed": "failure",
    "verify": "verify",
    "deleting": "deleting",
    "cleanup": "cleanup",
}
_CLAIM = "claim"
_CHECKPOINT_STEM = "staged-"


@dataclass(frozen=True)
class UnreadableRecord:
    """A record that this version can't read, or may not.

    :param uri: where it lies.
    :param reason: what is wrong with it, as the end of a sentence that begins with "It".
    """

    uri: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON."""
        return {"uri": self.uri, "reason": self.reason}


@dataclass(frozen=True)
class Record:
    """A record, without the objects that it lists.

    :param uri: where it lies.
    :param at: when it was written.
    :param fields: its keys, as far as they are within its first ``HEAD_BYTES``.
    :param cut_at: the last key of one that is longer: there may be more of what it holds, and keys after it. None if
        ``fields`` are all that there is.
    """

    uri: ObjectStorageUri
    at: datetime
    fields: Mapping[str, Any]
    cut_at: str | None = None


@dataclass
class Place:
    """The records of a run, or of one part of it, as a listing shows them.

    :param listed: claim, manifest, failure, verify, deleting and cleanup, by kind.
    :param checkpoints: the last one of each try.
    """

    listed: dict[str, ObjectStorageObject] = field(default_factory=dict)
    checkpoints: dict[str, ObjectStorageObject] = field(default_factory=dict)


def find_records(
    client: ObjectStorageClient, base_uri: str, run_id: str | None = None
) -> dict[str, dict[str | None, Place]]:
    """Return what is recorded below a base, by run id and part; part None stands for the run as a whole.

    What doesn't have the name of a record is left out.

    :param run_id: only this run.
    :raises StorageError: if the store refuses the listing or fails.
    """
    top = base_of(base_uri).child(EVIDENCE_FOLDER)
    return records_in(client.list_objects(top if run_id is None else top.child(run_id)), top)


def records_in(items: Iterable[ObjectStorageObject], top: ObjectStorageUri) -> dict[str, dict[str | None, Place]]:
    """Return the records among ``items``, which a listing of the evidence folder ``top`` has found, in like manner."""
    below = len(top.prefix)
    runs: dict[str, dict[str | None, Place]] = {}
    for item in items:
        segments = item.uri.key[below:].split("/")
        stem = segments[-1].removesuffix(_ENDING)
        if stem == segments[-1]:
            continue
        if len(segments) == 2:
            _place(runs, segments[0], stem).listed[_CLAIM] = item
        elif len(segments) == 3 and stem in _KINDS:
            _place(runs, segments[0], segments[1]).listed[_KINDS[stem]] = item
        elif len(segments) == 3 and stem.startswith(_CHECKPOINT_STEM):
            of_try, _, _ = stem.rpartition("-")
            checkpoints = _place(runs, segments[0], segments[1]).checkpoints
            if of_try not in checkpoints or checkpoints[of_try].uri < item.uri:  # they count upwards
                checkpoints[of_try] = item
    return runs


def _place(runs: dict[str, dict[str | None, Place]], run_id: str, name: str) -> Place:
    return runs.setdefault(run_id, {}).setdefault(None if name == _WHOLE_RUN else name, Place())


def read_heads(
    client: ObjectStorageClient, wanted: Iterable[tuple[str, ObjectStorageObject]], *, threads: int | None = None
) -> dict[ObjectStorageUri, Record | UnreadableRecord]:
    """Read records of the kinds given, several at once. What is gone since it was listed is left out.

    :param threads: how many at once; by default the client's ``max_concurrency``.
    :raises StorageError: if the store fails. A refusal of one record makes just that one unreadable.
    """

    def read(kind_and_item: tuple[str, ObjectStorageObject]) -> Record | UnreadableRecord | None:
        return _read_head(client, *kind_and_item)

    wanted = list(wanted)
    with ThreadPoolExecutor(threads or client.max_concurrency, thread_name_prefix="dpone-report") as pool:
        found = pool.map(read, wanted)
        return {item.uri: head for (_, item), head in zip(wanted, found, strict=True) if head is not None}


def read_objects(
    client: ObjectStorageClient, uri: ObjectStorageUri, count: int
) -> Iterator[dict[str, Any] | UnreadableRecord]:
    """Yield the objects of a manifest's record, one after the other; they are never all in memory.

    If it breaks off, or has another number of objects than its header says, the last thing to come
    is an ``UnreadableRecord``.

    :raises StorageError: if the store fails.
    """
    with TemporaryDirectory(prefix="dpone-") as folder:
        path = Path(folder) / "record.json"
        try:
            client.get_file(uri, path)
        except (ObjectNotFoundError, StorageAccessDeniedError, ChecksumMismatchError) as error:
            yield UnreadableRecord(str(uri), f"can't be read: {error}")
            return
        number = 0
        try:
            for entry in objects_of(path):
                if not is_count(entry["size_bytes"]):
                    raise ValueError(f"a size of {str(entry['size_bytes'])[:40]} bytes")
                number += 1
                yield entry
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield UnreadableRecord(str(uri), f"can't be read past its first {number:,} objects: {_described(error)}")
            return
        if number != count:
            yield UnreadableRecord(str(uri), f"lists {number:,} objects, and its header says {count:,}")


def _read_head(client: ObjectStorageClient, kind: str, item: ObjectStorageObject) -> Record | UnreadableRecord | None:
    cut = item.size_bytes > HEAD_BYTES
    try:
        content = client.get_bytes(item.uri, limit=HEAD_BYTES if cut else None)
    except ObjectNotFoundError:
        return None
    except StorageAccessDeniedError as error:
        return UnreadableRecord(str(item.uri), f"can't be read: {error}")
    try:
        record = _checked(kind, item.uri, _parsed(content, cut))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return UnreadableRecord(str(item.uri), f"isn't a record of a {kind}: {_described(error)}")
    except NewerRecordError as newer:
        return UnreadableRecord(str(item.uri), str(newer))
    return replace(record, cut_at=list(record.fields)[-1]) if cut else record


def _parsed(content: bytes, cut: bool) -> dict[str, Any]:
    fields = leading_members(content.decode(errors="ignore")) if cut else json.loads(content)
    if not isinstance(fields, dict):
        raise TypeError(f"it is {type(fields).__name__} and no JSON object")
    return fields


def _checked(kind: str, uri: ObjectStorageUri, fields: dict[str, Any]) -> Record:
    check_form(fields, kind, EVIDENCE_VERSION)
    if kind == "manifest":
        header = fields["manifest"]
        check_version({"schema_version": 1} | header, "schema_version", SCHEMA_VERSION)
        for name in ("object_count", "total_size_bytes"):
            if not is_count(header[name]):
                raise ValueError(f"its {name} is {str(header[name])[:40]!r}")
        fields = fields | {"manifest": {key: value for key, value in header.items() if key != "objects"}}
    return Record(uri, moment(fields["at"]), fields)


def moment(text: Any) -> datetime:
    """Return the moment that a record names, in UTC.

    :raises ValueError: if it is none.
    :raises TypeError: if it isn't text.
    """
    found = datetime.fromisoformat(text)
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is no moment of this era") from None


def leading_members(text: str) -> dict[str, Any]:
    """Return the members of a JSON object whose text breaks off, as far as they are complete.

    The last one, if it is an object or a list that breaks off, has its own leading members or items.

    :raises ValueError: if the text isn't the beginning of an object.
    """
    decode = json.JSONDecoder().raw_decode
    at = _after(text, 0, "{")
    members: dict[str, Any] = {}
    while True:
        try:
            key, end = decode(text, _space(text, at))
            begin = _space(text, _after(text, end, ":"))
        except (ValueError, IndexError):
            return members
        try:
            value, end = decode(text, begin)
            # A number at the very end may go on where the text was cut.
            at = _after(text, end, ",")
        except (ValueError, IndexError):
            if text.startswith("{", begin):
                members[key] = leading_members(text[begin:])
            elif text.startswith("[", begin):
                members[key] = _leading_items(text, begin)
            return members
        members[key] = value


def _leading_items(text: str, begin: int) -> list[Any]:
    """Return the items of a list that begins there and breaks off, as far as they are complete."""
    decode = json.JSONDecoder().raw_decode
    at = _after(text, begin, "[")
    items: list[Any] = []
    while True:
        try:
            item, end = decode(text, _space(text, at))
            at = _after(text, end, ",")
        except (ValueError, IndexError):
            return items
        items.append(item)


def _after(text: str, at: int, mark: str) -> int:
    at = _space(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"there is no {mark!r} where one must be")
    return at + 1


def _space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _described(error: Exception) -> str:
    text = f"there is no {error}" if isinstance(error, KeyError) else str(error)
    return redact(text[:200]) or type(error).__name__
