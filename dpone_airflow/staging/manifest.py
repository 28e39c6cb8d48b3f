"""The manifest: what was staged, as plain JSON that a loader, an auditor and a replay can trust."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from dpone_airflow.staging.plan import ObjectStorageStagingPlan, checked_child, run_prefix
from dpone_airflow.storage.errors import InvalidInputError, InvalidManifestError, InvalidUriError
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

#: The version this code writes; it is spelt out in a manifest once it is above 1.
SCHEMA_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
# What the manifests of one run's parts have in common.
_OF_THE_RUN = ("base_uri", "run_id", "dataset", "table", "file_format", "compression", "cleanup_policy")


@dataclass(frozen=True, slots=True)
class ObjectStorageStagingObject:
    """One staged file.

    :param uri: where it lies, as text.
    :param file_name: its POSIX path below the run prefix (and part).
    :param size_bytes: its length in bytes.
    :param sha256: digest of its content, 64 digits of lower-case hex.
    :param content_type: MIME type, when one was guessed or given; else None.
    :param etag: the store's version mark of just this content, without quotes; on GCS the generation, a number as
        text; None if it is unknown. https://cloud.google.com/storage/docs/metadata#generation-number
    """

    uri: str
    file_name: str
    size_bytes: int
    sha256: str
    content_type: str | None = None
    etag: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: the fields by name; what is unknown is left out."""
        fields: dict[str, Any] = {
            "uri": self.uri,
            "file_name": self.file_name,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
        }
        optional = {"content_type": self.content_type, "etag": self.etag}
        return fields | {key: value for key, value in optional.items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str = "object") -> ObjectStorageStagingObject:
        """Read what ``to_dict`` wrote.

        :param data: ``uri``, ``file_name`` and ``sha256`` (texts) and ``size_bytes`` (a whole number from 0), and it
            may have ``content_type`` and ``etag`` (texts).
        :param where: what messages call this object, e.g. ``objects[3]``.
        :raises InvalidManifestError: naming the key that is missing, unknown or wrong.
        """
        fields = _Fields(data, where)
        found = cls(
            uri=fields.text("uri"),
            file_name=fields.text("file_name"),
            size_bytes=fields.count("size_bytes"),
            sha256=fields.text("sha256"),
            content_type=fields.optional_text("content_type"),
            etag=fields.optional_text("etag"),
        )
        fields.refuse_unknown()
        if not is_sha256(found.sha256):
            raise InvalidManifestError(f"{where}.sha256 is {found.sha256!r}: it takes 64 digits of lower-case hex.")
        return found


@dataclass(frozen=True)
class ObjectStorageStagingManifest:
    """Everything that one stage call put into a store, in the order of its files.

    :param provider: which store the URIs name.
    :param base_uri: the plan's, without a trailing slash.
    :param run_id: the plan's.
    :param dataset: the plan's.
    :param table: the plan's.
    :param file_format: the plan's.
    :param compression: the plan's.
    :param cleanup_policy: the plan's.
    :param object_count: how many ``objects`` there are.
    :param total_size_bytes: the sum of their sizes in bytes.
    :param objects: one entry a file.
    :param part: the plan's; None for the whole run.
    :param schema_version: of the JSON form, from 1; only ``from_dict`` looks whether it is one that this version knows.
    :raises InvalidManifestError: if counts don't add up, two objects share a URI, or an object
        isn't at ``<base_uri>/<run_id>/[<part>/]<file_name>``.
    """

    provider: ObjectStorageProvider
    base_uri: str
    run_id: str
    dataset: str
    table: str
    file_format: str
    compression: str
    cleanup_policy: str
    object_count: int
    total_size_bytes: int
    objects: tuple[ObjectStorageStagingObject, ...]
    part: str | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        plan = self._checked_plan()
        if self.object_count != len(self.objects):
            raise InvalidManifestError(
                f"object_count is {self.object_count} and objects has {len(self.objects)} entries: they must agree."
            )
        total = sum(item.size_bytes for item in self.objects)
        if self.total_size_bytes != total:
            raise InvalidManifestError(
                f"total_size_bytes is {self.total_size_bytes} and the objects add up to {total}: they must agree."
            )
        seen: set[str] = set()
        prefix = plan.prefix
        for index, item in enumerate(self.objects):
            try:
                place = str(checked_child(prefix, item.file_name))
            except InvalidInputError as error:
                raise InvalidManifestError(f"objects[{index}].file_name: {error}") from error
            if item.uri != place:
                raise InvalidManifestError(
                    f"objects[{index}].uri is {item.uri!r}, and a file {item.file_name!r} of this manifest lies at "
                    f"{place}: nothing outside the run prefix can be in it."
                )
            if item.uri in seen:
                raise InvalidManifestError(f"objects[{index}].uri {item.uri} is there twice.")
            seen.add(item.uri)

    @classmethod
    def of(
        cls, plan: ObjectStorageStagingPlan, objects: Iterable[ObjectStorageStagingObject]
    ) -> ObjectStorageStagingManifest:
        """Return the manifest of a plan whose files are staged.

        :param plan: where they went and what they are.
        :param objects: one entry a file, in the order that the manifest shall have.
        :raises InvalidManifestError: if one isn't at its place below the plan's prefix, or is there twice.
        """
        staged = tuple(objects)
        return cls(
            provider=plan.provider,
            base_uri=plan.base_uri,
            run_id=plan.run_id,
            dataset=plan.dataset,
            table=plan.table,
            file_format=plan.file_format,
            compression=plan.compression,
            cleanup_policy=plan.cleanup_policy,
            object_count=len(staged),
            total_size_bytes=sum(item.size_bytes for item in staged),
            objects=staged,
            part=plan.part,
        )

    @classmethod
    def merge(cls, manifests: Iterable[ObjectStorageStagingManifest]) -> ObjectStorageStagingManifest:
        """Return one manifest of a whole run for those of its parts.

        A file of a part is then called ``map-00003/<its name>``: the name below the run prefix. A
        manifest of a whole run is returned as it is.

        :param manifests: one a part, in any order; or just one of a whole run.
        :returns: a manifest without a part, its objects in the order of the parts' names.
        :raises InvalidManifestError: if there is none, if they are of several runs or don't agree on what
            was staged, if a part is there twice, or if one covers the whole run already.
        """
        found = list(manifests)
        if not found:
            raise InvalidManifestError("There is no manifest to merge: the stage gave none.")
        first = found[0]
        if len(found) == 1 and first.part is None:
            return first
        parts: set[str] = set()
        for manifest in found:
            for name in _OF_THE_RUN:
                if getattr(manifest, name) != getattr(first, name):
                    raise InvalidManifestError(
                        f"Manifests of one run are merged, and their {name} differs: {getattr(first, name)!r} and "
                        f"{getattr(manifest, name)!r}."
                    )
            if manifest.part is None:
                raise InvalidManifestError(
                    f"A manifest of the whole run {manifest.prefix}/ can't be merged with {len(found) - 1} others: "
                    "give those of its parts, or it alone."
                )
            if manifest.part in parts:
                raise InvalidManifestError(
                    f"The part {manifest.part} of {first.base_uri}/{first.run_id}/ is there twice: give each once."
                )
            parts.add(manifest.part)
        objects = tuple(
            replace(item, file_name=f"{manifest.part}/{item.file_name}")
            for manifest in sorted(found, key=lambda manifest: manifest.part or "")
            for item in manifest.objects
        )
        return replace(
            first,
            part=None,
            object_count=len(objects),
            total_size_bytes=sum(item.size_bytes for item in objects),
            objects=objects,
            schema_version=max(manifest.schema_version for manifest in found),
        )

    @property
    def prefix(self) -> ObjectStorageUri:
        """The place that the objects lie below: the run prefix, or the part's in it; without a trailing slash."""
        return run_prefix(self.base_uri, self.run_id, self.part)

    def to_dict(self, *, objects: bool = True) -> dict[str, Any]:
        """Return plain JSON with the keys in the contract's order; what is unknown is left out.

        Texts, but for ``object_count`` and ``total_size_bytes`` (numbers) and ``objects`` (a list of what
        ``ObjectStorageStagingObject.to_dict`` returns). ``schema_version`` is there only above 1.

        :param objects: False for an empty list in their place.
        """
        fields: dict[str, Any] = {
            "provider": str(self.provider),
            "base_uri": self.base_uri,
            "run_id": self.run_id,
            "dataset": self.dataset,
            "table": self.table,
            "file_format": self.file_format,
            "compression": self.compression,
            "cleanup_policy": str(self.cleanup_policy),
            "object_count": self.object_count,
            "total_size_bytes": self.total_size_bytes,
            "objects": [item.to_dict() for item in self.objects] if objects else [],
        }
        if self.part is not None:
            fields["part"] = self.part
        if self.schema_version > 1:
            fields["schema_version"] = self.schema_version
        return fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ObjectStorageStagingManifest:
        """Read what ``to_dict`` wrote.

        :param data: a JSON object with the contract's keys and no others; ``part`` and ``schema_version`` may be
            missing.
        :raises InvalidManifestError: naming the key that is missing, unknown or wrong.
        """
        fields = _Fields(data, "")
        version = fields.count("schema_version", default=1)
        if not 1 <= version <= SCHEMA_VERSION:
            raise InvalidManifestError(
                f"schema_version is {version}, and this dpone-airflow reads up to {SCHEMA_VERSION}: upgrade it."
            )
        provider = fields.text("provider")
        if provider not in list(ObjectStorageProvider):
            raise InvalidManifestError(
                f"provider is {provider!r}: it takes {', '.join(repr(str(known)) for known in ObjectStorageProvider)}."
            )
        found = cls(
            provider=ObjectStorageProvider(provider),
            base_uri=fields.text("base_uri"),
            run_id=fields.text("run_id"),
            dataset=fields.text("dataset"),
            table=fields.text("table"),
            file_format=fields.text("file_format"),
            compression=fields.text("compression"),
            cleanup_policy=fields.text("cleanup_policy"),
            object_count=fields.count("object_count"),
            total_size_bytes=fields.count("total_size_bytes"),
            objects=tuple(
                ObjectStorageStagingObject.from_dict(item, where=f"objects[{index}]")
                for index, item in enumerate(fields.items("objects"))
            ),
            part=fields.optional_text("part"),
            schema_version=version,
        )
        fields.refuse_unknown()
        return found

    def _checked_plan(self) -> ObjectStorageStagingPlan:
        try:
            plan = ObjectStorageStagingPlan(
                base_uri=self.base_uri,
                run_id=self.run_id,
                dataset=self.dataset,
                table=self.table,
                file_format=self.file_format,
                compression=self.compression,
                cleanup_policy=self.cleanup_policy,
                part=self.part,
            )
        except InvalidUriError as error:
            raise InvalidManifestError(f"base_uri: {error}") from error
        except InvalidInputError as error:
            raise InvalidManifestError(f"This is no manifest of a stage: {error}") from error
        if plan.base_uri != self.base_uri:
            raise InvalidManifestError(f"base_uri is {self.base_uri!r}: write {plan.base_uri!r}.")
        if plan.provider != self.provider:
            raise InvalidManifestError(
                f"provider is {str(self.provider)!r} and base_uri {self.base_uri!r} is one of {str(plan.provider)!r}: "
                "they must agree."
            )
        return plan


class _Fields:
    """Takes typed values out of a JSON object, naming the key in every complaint."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self._where = f"{where}." if where else ""
        if not isinstance(data, Mapping):
            raise InvalidManifestError(
                f"{where or 'A manifest'} is {type(data).__name__}: it takes a JSON object with text keys."
            )
        self._left = dict(data)

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if key in self._left else None

    def count(self, key: str, default: int | None = None) -> int:
        if default is not None and key not in self._left:
            return default
        value = self._take(key)
        if not is_count(value):
            raise self._wrong(key, value, "a whole number from 0")
        return value

    def items(self, key: str) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, (list, tuple)):
            raise self._wrong(key, value, "a list")
        return list(value)

    def refuse_unknown(self) -> None:
        if self._left:
            names = ", ".join(f"{self._where}{key}" for key in self._left)
            raise InvalidManifestError(f"{names} is no key of a manifest of schema version {SCHEMA_VERSION}.")

    def _take(self, key: str) -> Any:
        if key not in self._left:
            raise InvalidManifestError(f"The manifest has no {self._where}{key}, which it must have.")
        return self._left.pop(key)

    def _wrong(self, key: str, value: Any, takes: str) -> InvalidManifestError:
        return InvalidManifestError(f"{self._where}{key} is {type(value).__name__} {_brief(value)}: it takes {takes}.")


def is_count(value: object) -> TypeGuard[int]:
    """Return whether a value is a number of files or bytes, as a record or a manifest may have it."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_sha256(text: str) -> bool:
    """Return whether a text is a digest as a record or a manifest may have it."""
    return _SHA256.fullmatch(text) is not None


def _brief(value: Any) -> str:
    try:
        return repr(str(value)[:80])
    except (ValueError, RecursionError):  # a number of too many digits, lists in lists
        return "that is too long to be shown"
