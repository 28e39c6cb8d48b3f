"""What is to be staged, and where: everything but the files themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.staging.run_id import check_part, check_run_id
from dpone_airflow.storage.errors import InvalidPlanError
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

#: The folder beside the run prefixes that holds the evidence.
EVIDENCE_FOLDER = "_manifests"


@dataclass(frozen=True)
class ObjectStorageStagingPlan:
    """Where a set of files goes and what it is.

    :param base_uri: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or
        ``azure://account/container/prefix``; a trailing slash is dropped.
    :param run_id: one safe path segment, 1 to 200 characters of ``A-Z a-z 0-9 . _ = -``; the objects go to
        ``<base_uri>/<run_id>/``. ``staging.run_id.safe_run_id`` makes one of any text.
    :param dataset: what the files belong to, for the loader and for people; any text that isn't blank.
    :param table: the table that they will be loaded into; any text that isn't blank.
    :param file_format: ``csv``, ``tsv``, ``parquet``, ...; any text that isn't blank. Nothing is converted.
    :param compression: ``none``, ``gzip``, ``zstd``, ...; any text that isn't blank. Nothing is compressed.
    :param cleanup_policy: a ``CleanupPolicy`` or its name: ``retain``, ``delete_on_success`` or ``delete_always``.
    :param part: when several writers share a run, one safe path segment below the run prefix, 1 to 100 characters of
        ``A-Z a-z 0-9 _ = -``; None for the whole run.
    :raises InvalidUriError: for a ``base_uri`` that isn't one.
    :raises InvalidPlanError: for anything else that can't be used, and a ``base_uri`` among evidence.
    """

    base_uri: str
    run_id: str
    dataset: str
    table: str
    file_format: str
    compression: str = "none"
    cleanup_policy: str = CleanupPolicy.RETAIN
    part: str | None = None

    def __post_init__(self) -> None:
        base = base_of(self.base_uri)
        object.__setattr__(self, "base_uri", str(base))
        check_run_id(self.run_id)
        check_part(self.part)
        object.__setattr__(self, "cleanup_policy", CleanupPolicy.of(self.cleanup_policy))
        for name in ("dataset", "table", "file_format", "compression"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip() or value.encode(errors="ignore").decode() != value:
                raise InvalidPlanError(f"{name} is {value!r}: give a text that says what is staged.")

    @property
    def provider(self) -> ObjectStorageProvider:
        """The store that ``base_uri`` names."""
        return ObjectStorageUri.parse(self.base_uri).provider

    @property
    def prefix(self) -> ObjectStorageUri:
        """What this plan's objects go below: the run prefix, or the part's in it; without a trailing slash."""
        return run_prefix(self.base_uri, self.run_id, self.part)

    def uri_of(self, file_name: str) -> ObjectStorageUri:
        """Return where a file of that name goes.

        :param file_name: its POSIX path below the run prefix (and part).
        :raises InvalidUriError: if the name makes no safe key.
        :raises InvalidPlanError: if it looks like evidence, which a cleanup would leave alone.
        """
        return checked_child(self.prefix, file_name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: the arguments as texts, by name; ``part`` is left out when there is none."""
        fields: dict[str, Any] = {
            "base_uri": self.base_uri,
            "run_id": self.run_id,
            "dataset": self.dataset,
            "table": self.table,
            "file_format": self.file_format,
            "compression": self.compression,
            "cleanup_policy": str(self.cleanup_policy),
        }
        return fields | ({"part": self.part} if self.part is not None else {})


def checked_child(prefix: ObjectStorageUri, file_name: str) -> ObjectStorageUri:
    """Return where a file of that name goes below a run prefix.

    :raises InvalidUriError: if the name makes no safe key.
    :raises InvalidPlanError: if it looks like evidence, which a cleanup would leave alone.
    """
    if EVIDENCE_FOLDER in file_name and EVIDENCE_FOLDER in file_name.split("/"):
        raise InvalidPlanError(
            f"{file_name!r} can't be staged: a folder {EVIDENCE_FOLDER} is where evidence is kept. Rename it."
        )
    return prefix.child(file_name)


def base_of(base_uri: str) -> ObjectStorageUri:
    """Return the URI that runs and their evidence lie below.

    :raises InvalidUriError: if it isn't one of the four forms.
    :raises InvalidPlanError: if it lies among the evidence of another base.
    """
    parsed = ObjectStorageUri.parse(base_uri)
    base = replace(parsed, key=parsed.key.removesuffix("/"))
    if EVIDENCE_FOLDER in base.key.split("/"):
        raise InvalidPlanError(
            f"base_uri {base} lies in a {EVIDENCE_FOLDER} folder, where the evidence is kept: choose another prefix."
        )
    return base


def run_prefix(base_uri: str, run_id: str, part: str | None = None) -> ObjectStorageUri:
    """Return the place that a run's objects, or one part's, lie below.

    :raises InvalidUriError: if ``base_uri`` isn't one of the four forms.
    :raises InvalidPlanError: if ``run_id`` or ``part`` can't be used.
    """
    prefix = base_of(base_uri).child(check_run_id(run_id))
    return prefix if check_part(part) is None else prefix.child(str(part))
