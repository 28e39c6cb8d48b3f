"""From what a task was given (a manifest, the pointer to a stored one, a URI, or parts of a run) to a manifest.

An XCom carries a manifest of many objects as a *pointer*: its header, where its record lies among the
evidence, and the record's SHA-256.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

from dpone_airflow.staging.evidence import EVIDENCE_VERSION, evidence_folder
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, is_count, is_sha256
from dpone_airflow.staging.plan import EVIDENCE_FOLDER
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import InvalidManifestError
from dpone_airflow.storage.uri import ObjectStorageUri

_NAME = "manifest.json"
_URI, _SHA256 = "manifest_uri", "manifest_sha256"
# Of a mapped stage's mapped loader, and rendered to text on the way; no more than this is meant.
_MOST_LISTS = 10


class GivesClients(Protocol):
    """What a manifest's record is read through: an ``ObjectStorageHook``, or anything else that has clients."""

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        """Return the client for a URI."""


@dataclass(frozen=True)
class ManifestPointer:
    """A manifest without its objects, and where it lies whole.

    :param header: the manifest with no objects.
    :param object_count: how many it has where it is whole.
    :param total_size_bytes: their size.
    :param manifest_uri: its record.
    :param manifest_sha256: the digest of the record's bytes in hex.
    """

    header: ObjectStorageStagingManifest
    object_count: int
    total_size_bytes: int
    manifest_uri: str
    manifest_sha256: str

    @classmethod
    def to(cls, manifest: ObjectStorageStagingManifest, record_uri: str, record_sha256: str) -> ManifestPointer:
        """Return the pointer to a manifest that is recorded."""
        header = replace(manifest, object_count=0, total_size_bytes=0, objects=())
        return cls(header, manifest.object_count, manifest.total_size_bytes, record_uri, record_sha256)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: the manifest's own keys but ``objects``, and the record's place and digest."""
        fields = self.header.to_dict() | {
            "object_count": self.object_count,
            "total_size_bytes": self.total_size_bytes,
            _URI: self.manifest_uri,
            _SHA256: self.manifest_sha256,
        }
        del fields["objects"]
        return fields

    @property
    def base_uri(self) -> str:
        """The manifest's own."""
        return self.header.base_uri

    @property
    def run_id(self) -> str:
        """The manifest's own."""
        return self.header.run_id

    @property
    def part(self) -> str | None:
        """The manifest's own."""
        return self.header.part

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ManifestPointer:
        """Read what ``to_dict`` wrote.

        :raises InvalidManifestError: naming the key that is missing or wrong.
        """
        if not isinstance(data, Mapping):
            raise InvalidManifestError(f"A pointer to a manifest is {type(data).__name__}: it takes a JSON object.")
        fields = dict(data)
        uri, digest = (fields.pop(name, None) for name in (_URI, _SHA256))
        if not isinstance(uri, str) or not isinstance(digest, str):
            raise InvalidManifestError(f"A pointer to a manifest has {_URI} and {_SHA256}, both texts.")
        if not is_sha256(digest):
            raise InvalidManifestError(f"{_SHA256} is {digest[:80]!r}: it takes 64 digits of lower-case hex.")
        if "objects" in fields:
            raise InvalidManifestError(f"A manifest has objects or {_URI}, and this one has both.")
        count, size = (fields.get(name) for name in ("object_count", "total_size_bytes"))
        header = ObjectStorageStagingManifest.from_dict(
            fields | {"object_count": 0, "total_size_bytes": 0, "objects": []}
        )
        if not is_count(count) or not is_count(size):
            raise InvalidManifestError("object_count and total_size_bytes of a pointer are whole numbers from 0.")
        pointer = cls(header, count, size, uri, digest)
        if uri != str(manifest_uri_of(header)):
            raise InvalidManifestError(
                f"{_URI} is {uri!r}, and the record of this run lies at {manifest_uri_of(header)}: a manifest is never "
                "read from elsewhere."
            )
        return pointer


def manifest_uri_of(manifest: ObjectStorageStagingManifest) -> ObjectStorageUri:
    """Return where a manifest is recorded; for one that was merged, where that of a whole run would be.

    :param manifest: nothing is read: it needn't be recorded.
    :returns: ``<base_uri>/_manifests/<run_id>/_run/manifest.json``, or with the part's name for ``_run``.
    """
    return evidence_folder(manifest.base_uri, manifest.run_id, manifest.part).child(_NAME)


def resolve_manifest(value: Any, hook: GivesClients) -> ObjectStorageStagingManifest:
    """Return the manifest that ``value`` stands for.

    :param value: a manifest, its dict, the pointer that an XCom holds past ``xcom_max_objects`` (a dict without
        ``objects`` and with ``manifest_uri`` and ``manifest_sha256``), any of them as JSON text, the URI of a stored
        manifest (text or ``ObjectStorageUri``), or a list of any of these for a run's parts, which are merged.
    :param hook: what stored manifests are read through: an ``ObjectStorageHook``, or anything that has
        ``get_client(base_uri)``.
    :raises InvalidManifestError: if it is none, if parts don't belong together, or if a stored one isn't what it was
        when it was written.
    :raises InvalidUriError: for a URI that isn't one of the four forms.
    :raises ObjectNotFoundError: if there is no stored one.
    :raises StorageError: if a stored one can't be read.
    """
    found = [_whole(given, hook) for given in manifests_in(value)]
    return found[0] if len(found) == 1 else ObjectStorageStagingManifest.merge(found)


def manifests_in(value: Any) -> list[ObjectStorageStagingManifest | ManifestPointer | ObjectStorageUri]:
    """Return what ``value`` holds, and read nothing: manifests, pointers to stored ones, and their URIs.

    :raises InvalidManifestError: for anything else.
    """
    return _found_in(value, _MOST_LISTS)


def _found_in(value: Any, lists: int) -> list[ObjectStorageStagingManifest | ManifestPointer | ObjectStorageUri]:
    """Return what ``value`` holds, which may be in so many lists, or texts, one in the other."""
    if lists < 0:
        raise InvalidManifestError("The manifest lies in too many lists: give one list with those of a run's parts.")
    if value is None:
        return []
    if isinstance(value, (ObjectStorageStagingManifest, ManifestPointer, ObjectStorageUri)):
        return [value]
    if isinstance(value, str):
        text = value.strip()
        if "://" in text and text[0] not in "{[(":
            return [ObjectStorageUri.parse(text)]
        return _found_in(_literal(text), lists - 1)
    if isinstance(value, Mapping):
        return [ManifestPointer.from_dict(value) if _URI in value else ObjectStorageStagingManifest.from_dict(value)]
    if not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        raise InvalidManifestError(
            f"The manifest is {type(value).__name__}: give the output of a stage task, or the URI of a stored manifest."
        )
    return [given for item in value for given in _found_in(item, lists - 1)]


def _whole(
    given: ObjectStorageStagingManifest | ManifestPointer | ObjectStorageUri, hook: GivesClients
) -> ObjectStorageStagingManifest:
    if isinstance(given, ManifestPointer):
        return read_manifest(given.manifest_uri, hook, given.manifest_sha256)
    if isinstance(given, ObjectStorageUri):
        return read_manifest(str(given), hook)
    return given


def _literal(text: str) -> Any:
    """Return what a rendered JSON or Python literal stands for.

    :raises InvalidManifestError: if it is neither.
    """
    if not text:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    raise InvalidManifestError(f"The manifest is the text {text[:80]!r}, which is no JSON object and no URI.")


def read_manifest(uri: str, hook: GivesClients, digest: str | None = None) -> ObjectStorageStagingManifest:
    """Return the manifest that is stored at ``uri``.

    :param digest: what the SHA-256 of the record must be, in hex.
    :raises InvalidManifestError: if the record has another one, isn't a manifest's, or lies where no
        stage puts it.
    :raises StorageError: if it can't be read.
    """
    place = ObjectStorageUri.parse(uri)
    if [*place.key.split("/")[-4:-3], *place.key.split("/")[-1:]] != [EVIDENCE_FOLDER, _NAME]:
        # By its name, before it is read: it could be any object, of any size.
        raise InvalidManifestError(
            f"{uri} is no record of a staged manifest: give the URI of a manifest.json below {EVIDENCE_FOLDER}/."
        )
    content = hook.get_client(uri).get_bytes(place)
    if digest is not None and sha256(content).hexdigest() != digest:
        raise InvalidManifestError(
            f"{uri} has sha256 {sha256(content).hexdigest()}, and the pointer to it says {digest}: the run was staged "
            "anew since, or somebody changed the record. Run the stage again, and what follows it."
        )
    manifest = _manifest_in(uri, content)
    if manifest_uri_of(manifest) != place:
        raise InvalidManifestError(
            f"{uri} holds the manifest of another place, {manifest.prefix}/, whose record lies at "
            f"{manifest_uri_of(manifest)}: read it there."
        )
    return manifest


def manifest_of_record(where: str, record: Any) -> ObjectStorageStagingManifest:
    """Return the manifest that a record of the evidence holds.

    :param where: what messages call the record.
    :raises InvalidManifestError: if it is no record of a manifest, of a later version, or can't be used.
    """
    try:
        kind, version, manifest = record["kind"], record["version"], record["manifest"]
    except (KeyError, TypeError) as error:
        raise _no_record(where, error) from error
    if not isinstance(version, int) or version > EVIDENCE_VERSION:
        raise InvalidManifestError(
            f"{where} is of evidence version {version!r}, and this dpone-airflow reads up to {EVIDENCE_VERSION}: "
            "upgrade it."
        )
    if kind != "manifest":
        raise InvalidManifestError(f"{where} is a record of kind {kind!r}: give the URI of a manifest.json.")
    try:
        return ObjectStorageStagingManifest.from_dict(manifest)
    except InvalidManifestError as error:
        raise InvalidManifestError(f"{where} can't be used: {error}") from error


def _manifest_in(uri: str, content: bytes) -> ObjectStorageStagingManifest:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _no_record(uri, error) from error
    return manifest_of_record(uri, record)


def _no_record(where: str, error: Exception) -> InvalidManifestError:
    return InvalidManifestError(
        f"{where} is no record of a staged manifest ({type(error).__name__}): give the URI of a manifest.json below "
        f"{EVIDENCE_FOLDER}/."
    )
