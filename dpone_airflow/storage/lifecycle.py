"""Lifecycle rules of buckets: rendered for each cloud, and compared with what a bucket has.

Three things a rule can do for staging: abort uploads in parts that a killed worker left, drop the
older versions that a cleanup leaves in a versioned bucket, and delete everything below a base after
so many days. The last is a backstop: it deletes the evidence too, and knows of no load that still waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpone_airflow.storage.bucket_settings import Rule
from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

#: More than any upload takes, less than the parts of a killed one cost much.
DEFAULT_ABORT_DAYS = 2


class Deed(StrEnum):
    """What a rule does."""

    ABORT = "abort unfinished uploads"
    DROP_VERSIONS = "drop older versions"
    EXPIRE = "delete everything"


_NAMES = {
    Deed.ABORT: "dpone-abort-unfinished-uploads",
    Deed.DROP_VERSIONS: "dpone-drop-older-versions",
    Deed.EXPIRE: "dpone-delete-everything",
}
#: What a store does without being told.
#: https://cloud.google.com/storage/docs/resumable-uploads#session-uris
#: https://learn.microsoft.com/rest/api/storageservices/put-block#remarks
BY_ITSELF = {
    ObjectStorageProvider.GCS: "Google Cloud Storage drops an unfinished upload a week after it began, and bills none.",
    ObjectStorageProvider.AZURE_BLOB: "Azure drops the blocks of an unfinished upload a week after the last of them.",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule that a base is to have.

    :param deed: what it does.
    :param days: after how many days; None for any number.
    """

    deed: Deed
    days: int | None

    def __str__(self) -> str:
        return str(self.deed) if self.days is None else f"{self.deed} after {_count(self.days)}"


@dataclass(frozen=True, slots=True)
class Found:
    """What one rule of a bucket does.

    :param name: what the store calls it, or where it stands.
    :param deed: what it does.
    :param days: after how many days; None where it names a date, or no number.
    :param prefixes: the beginnings of the names that it is for; for Azure with the container before them.
    :param narrowed: whether it is only for some of those: by tags, sizes, versions.
    """

    name: str
    deed: Deed
    days: int | None
    prefixes: tuple[str, ...]
    narrowed: bool

    def covers(self, base: ObjectStorageUri) -> bool:
        """Return whether it is for everything below a base."""
        return not self.narrowed and any(_place(base).startswith(prefix) for prefix in self.prefixes)

    def touches(self, base: ObjectStorageUri) -> bool:
        """Return whether it is for anything below a base."""
        place = _place(base)
        return any(place.startswith(prefix) or prefix.startswith(place) for prefix in self.prefixes)

    def __str__(self) -> str:
        return f"rule {self.name!r}: {Wanted(self.deed, self.days)}"


def wanted_rules(
    base: ObjectStorageUri,
    *,
    abort_days: int | None,
    version_days: int | None = None,
    expire_days: int | None = None,
) -> list[Wanted]:
    """Return the rules that a base is to have; none to abort uploads where the store drops them by itself.

    :param abort_days: after how many days unfinished uploads are aborted; None for any number.
    :param version_days: after how many days older versions go; None for never.
    :param expire_days: after how many days everything goes; None for never.
    :raises InvalidOptionError: for a number of days below 1.
    """
    for name, days in (("days", abort_days), ("version days", version_days), ("expire days", expire_days)):
        if days is not None and days < 1:
            raise InvalidOptionError(f"{name} is {days}: give 1 or more.")
    rules = [] if base.provider in BY_ITSELF else [Wanted(Deed.ABORT, abort_days)]
    if version_days is not None:
        rules.append(Wanted(Deed.DROP_VERSIONS, version_days))
    if expire_days is not None:
        rules.append(Wanted(Deed.EXPIRE, expire_days))
    return rules


def rendered_rules(base: ObjectStorageUri, wanted: Sequence[Wanted]) -> dict[str, Any]:
    """Return the rules as the document that the cloud's own command takes.

    ``aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration``,
    ``gcloud storage buckets update --lifecycle-file``,
    ``az storage account management-policy create --policy``.

    :param wanted: each with a number of days.
    :raises InvalidOptionError: for a rule without one, or to abort uploads where the store has no such rule.
    """
    if base.provider in BY_ITSELF and any(rule.deed is Deed.ABORT for rule in wanted):
        raise InvalidOptionError(f"There is no rule to {Deed.ABORT} to render. {BY_ITSELF[base.provider]}")
    render = _RENDERED[base.provider]
    rules = [render(base, rule.deed, _days(rule)) for rule in wanted]
    if base.provider is ObjectStorageProvider.S3:
        return {"Rules": rules}
    if base.provider is ObjectStorageProvider.GCS:
        return {"lifecycle": {"rule": rules}}
    return {"rules": rules}


def rules_in(document: Any) -> Sequence[Rule]:
    """Return the rules of a document: one that was rendered here, or that a cloud's own command printed.

    :raises InvalidOptionError: if it has none in a form that is known.
    """
    found = document
    for key in ("policy", "lifecycle", "lifecycle_config"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("Rules", "rules", "rule") if key in found), None)
    if not isinstance(found, list) or not all(isinstance(rule, Mapping) for rule in found):
        raise InvalidOptionError(
            "The policy has no list of rules: give the JSON that the cloud's own command prints "
            '({"Rules": […]} for S3, {"rule": […]} for GCS, {"policy": {"rules": […]}} for Azure).'
        )
    return found


def found_rules(provider: ObjectStorageProvider, rules: Sequence[Rule]) -> list[Found]:
    """Return what the rules of a bucket do, as far as it is one of our deeds; rules that are off do nothing.

    :raises InvalidOptionError: for a rule that isn't of the store's form.
    """
    found: list[Found] = []
    for number, rule in enumerate(rules, 1):
        try:
            found += _READ[provider](rule, f"number {number}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidOptionError(
                f"Lifecycle rule number {number} isn't of the form that {provider} takes: {error!r}."
            ) from error
    return found


def rule_for(base: ObjectStorageUri, wanted: Wanted, found: Sequence[Found]) -> Found | None:
    """Return the rule that does what is wanted, for all below a base and as early."""
    for rule in found:
        early = wanted.days is None or (rule.days is not None and rule.days <= wanted.days)
        if rule.deed is wanted.deed and early and rule.covers(base):
            return rule
    return None


def _place(base: ObjectStorageUri) -> str:
    """Return what the names of objects below a base begin with, as rules write it."""
    if base.provider is ObjectStorageProvider.AZURE_BLOB:
        return f"{base.bucket}/{base.prefix}"
    return base.prefix


def _days(rule: Wanted) -> int:
    if rule.days is None:
        raise InvalidOptionError(f"The rule to {rule.deed} has no number of days: give one.")
    return rule.days


def _count(days: int) -> str:
    return f"{days} day{'' if days == 1 else 's'}"


# https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html


def _s3_rendered(base: ObjectStorageUri, deed: Deed, days: int) -> dict[str, Any]:
    rule = {"ID": _NAMES[deed], "Status": "Enabled", "Filter": {"Prefix": _place(base)}}
    if deed is Deed.ABORT:
        return rule | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
    if deed is Deed.DROP_VERSIONS:
        # A delete marker without versions below it goes as well.
        return rule | {
            "NoncurrentVersionExpiration": {"NoncurrentDays": days},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
        }
    return rule | {"Expiration": {"Days": days}}


def _s3_found(rule: Rule, place: str) -> Iterator[Found]:
    if rule.get("Status") != "Enabled":
        return
    filters = dict(rule.get("Filter") or {})
    filters |= filters.pop("And", None) or {}
    prefix = filters.pop("Prefix", None) or rule.get("Prefix") or ""

    def found(deed: Deed, days: Any, narrowed: bool = False) -> Found:
        return Found(rule.get("ID") or place, deed, _whole(days), (prefix,), bool(filters) or narrowed)

    if "AbortIncompleteMultipartUpload" in rule:
        yield found(Deed.ABORT, rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
    if "NoncurrentVersionExpiration" in rule:
        noncurrent = rule["NoncurrentVersionExpiration"]
        yield found(Deed.DROP_VERSIONS, noncurrent["NoncurrentDays"], "NewerNoncurrentVersions" in noncurrent)
    expiration = rule.get("Expiration") or {}
    if "Days" in expiration or "Date" in expiration:
        yield found(Deed.EXPIRE, expiration.get("Days"))


# https://cloud.google.com/storage/docs/lifecycle


def _gcs_rendered(base: ObjectStorageUri, deed: Deed, days: int) -> dict[str, Any]:
    below = {"matchesPrefix": [_place(base)]} if _place(base) else {}
    if deed is Deed.DROP_VERSIONS:
        return {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": days} | below}
    return {"action": {"type": "Delete"}, "condition": {"age": days, "isLive": True} | below}


def _gcs_found(rule: Rule, place: str) -> Iterator[Found]:
    condition = dict(rule["condition"])
    action = rule["action"]["type"]
    prefixes = tuple(condition.pop("matchesPrefix", None) or ("",))
    live = condition.pop("isLive", None)
    deed = Deed.ABORT if action == "AbortIncompleteMultipartUpload" else Deed.EXPIRE
    days = condition.pop("age", None)
    if deed is Deed.EXPIRE and "daysSinceNoncurrentTime" in condition:
        deed, since, live = Deed.DROP_VERSIONS, condition.pop("daysSinceNoncurrentTime"), None
        # Both must hold, so the later of the two counts.
        days = max(since, days or 0)
    elif deed is Deed.EXPIRE and (live is False or condition.keys() & {"numNewerVersions", "noncurrentTimeBefore"}):
        deed, live = Deed.DROP_VERSIONS, None  # all of these are met by older versions alone
    if action in ("Delete", "AbortIncompleteMultipartUpload") and live is not False:
        yield Found(place, deed, _whole(days), prefixes, bool(condition))


# https://learn.microsoft.com/azure/storage/blobs/lifecycle-management-policy-structure


def _azure_rendered(base: ObjectStorageUri, deed: Deed, days: int) -> dict[str, Any]:
    actions = (
        {"version": {"delete": {"daysAfterCreationGreaterThan": days}}}
        if deed is Deed.DROP_VERSIONS
        else {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": days}}}
    )
    return {
        "enabled": True,
        "name": _NAMES[deed],
        "type": "Lifecycle",
        "definition": {
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [_place(base)]},
            "actions": actions,
        },
    }


def _azure_found(rule: Rule, place: str) -> Iterator[Found]:
    definition = rule["definition"]
    filters = definition.get("filters") or {}
    if rule.get("enabled") is False or "blockBlob" not in filters.get("blobTypes", ["blockBlob"]):
        return
    prefixes = tuple(filters.get("prefixMatch") or ("",))
    narrowed = bool(filters.get("blobIndexMatch"))
    for kind, deed in (("version", Deed.DROP_VERSIONS), ("baseBlob", Deed.EXPIRE)):
        delete = ((definition["actions"].get(kind) or {}).get("delete")) or {}
        told = [days for key, days in delete.items() if key.startswith("daysAfter") and days is not None]
        if told:
            yield Found(rule.get("name") or place, deed, _whole(max(told)), prefixes, narrowed)


_RENDERED: dict[ObjectStorageProvider, Callable[[ObjectStorageUri, Deed, int], dict[str, Any]]] = {
    ObjectStorageProvider.S3: _s3_rendered,
    ObjectStorageProvider.GCS: _gcs_rendered,
    ObjectStorageProvider.AZURE_BLOB: _azure_rendered,
}
_READ: dict[ObjectStorageProvider, Callable[[Rule, str], Iterator[Found]]] = {
    ObjectStorageProvider.S3: _s3_found,
    ObjectStorageProvider.GCS: _gcs_found,
    ObjectStorageProvider.AZURE_BLOB: _azure_found,
}


def _whole(days: Any) -> int | None:
    # Azure's command prints 30.0.
    return None if days is None else int(days)
