"""What a store says of a bucket itself: who may read it, what it keeps of deleted objects, its lifecycle rules.

Staging needs none of these answers, and an identity that may only stage gets few of them. So what
can't be read is an answer too, with the right that it takes. What makes a bucket public, and what it keeps:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html
https://cloud.google.com/storage/docs/public-access-prevention
https://cloud.google.com/storage/docs/soft-delete
https://learn.microsoft.com/azure/storage/blobs/anonymous-read-access-overview
https://learn.microsoft.com/azure/storage/blobs/soft-delete-blob-overview
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from dpone_airflow.storage.errors import StorageAccessDeniedError, StorageError

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A setting that can't be told.

    :param reason: why not, as a sentence.
    :param right: the right that is missing, by the store's own name, if that is why.
    """

    reason: str
    right: str = ""


#: A lifecycle rule as the store's own JSON has it.
Rule: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """What the store says of one bucket.

    :param public: what lets everybody read or list it, one phrase each; nothing if nothing does.
    :param kept: what stays of deleted objects, e.g. ``older versions``; an empty text if nothing does.
    :param rules: the lifecycle rules.
    :param versioned: whether ``kept`` are versions, which stay until a lifecycle rule drops them.
    """

    public: Sequence[str] | Unreadable
    kept: str | Unreadable
    rules: Sequence[Rule] | Unreadable
    versioned: bool = False


# S3's operations: what each reads, in the words that storage.permissions knows, and the code for "there is none".
_S3 = {
    "get_public_access_block": ("the public access block", "NoSuchPublicAccessBlockConfiguration"),
    "get_bucket_policy_status": ("the policy status", "NoSuchBucketPolicy"),
    "get_bucket_acl": ("the ACL", ""),
    "get_bucket_versioning": ("the versioning", ""),
    "get_bucket_lifecycle_configuration": ("the lifecycle rules", "NoSuchLifecycleConfiguration"),
}
_S3_KEPT = {
    "Enabled": "older versions, under a delete marker",
    "Suspended": "the versions of the time before versioning was suspended",
}
_S3_EVERYBODY = {
    "http://acs.amazonaws.com/groups/global/AllUsers": "everybody",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": "everybody who has an AWS account",
}
_GCS_EVERYBODY = {"allUsers": "everybody", "allAuthenticatedUsers": "everybody who has a Google account"}
_AZURE_RULES = Unreadable(
    "An Azure account's management policy belongs to its resource, which a connection to its blobs can't read."
)
_UNKNOWN_CALLS = {"MethodNotAllowed", "NotImplemented", "UnsupportedOperation"}


def s3_settings(ask: Callable[[str, str], Mapping[str, Any]]) -> BucketSettings:
    """Return a bucket's settings.

    :param ask: makes one of S3's calls about the bucket; it is given the operation and what it is
        to read, in words, and raises StorageError.
    """

    def answer(operation: str) -> Mapping[str, Any] | Unreadable:
        words, none_there = _S3[operation]
        return _or_unreadable(lambda: ask(operation, words), {none_there: {}})

    versioning = answer("get_bucket_versioning")
    lifecycle = answer("get_bucket_lifecycle_configuration")
    status = "" if isinstance(versioning, Unreadable) else versioning.get("Status", "")
    return BucketSettings(
        public=_s3_public(answer),
        kept=versioning if isinstance(versioning, Unreadable) else _S3_KEPT.get(status, ""),
        rules=lifecycle if isinstance(lifecycle, Unreadable) else lifecycle.get("Rules", ()),
        versioned=status == "Enabled",
    )


def _s3_public(answer: Callable[[str], Mapping[str, Any] | Unreadable]) -> Sequence[str] | Unreadable:
    block = answer("get_public_access_block")
    switches = {} if isinstance(block, Unreadable) else block.get("PublicAccessBlockConfiguration", {})
    found: list[str] = []
    unread: list[Unreadable] = []
    if not switches.get("RestrictPublicBuckets"):
        status = answer("get_bucket_policy_status")
        if isinstance(status, Unreadable):
            unread.append(status)
        elif status.get("PolicyStatus", {}).get("IsPublic"):
            found.append("its bucket policy")
    if not switches.get("IgnorePublicAcls"):
        acl = answer("get_bucket_acl")
        if isinstance(acl, Unreadable):
            unread.append(acl)
        else:
            for grant in acl.get("Grants", ()):
                group = grant.get("Grantee", {}).get("URI", "")
                if group in _S3_EVERYBODY:
                    found.append(f"an ACL that gives {grant.get('Permission', 'rights')} to {_S3_EVERYBODY[group]}")
    # A block that can't be read may still be there, so it only matters where something else can't be read either.
    return found if found or not unread else _joined(unread)


def gcs_settings(reload: Callable[[], Any], policy: Callable[[], Any]) -> BucketSettings:
    """Return a bucket's settings.

    :param reload: returns the SDK's bucket, freshly read; raises StorageError.
    :param policy: returns the bucket's IAM policy; raises StorageError.
    """
    bucket = _or_unreadable(reload)
    if isinstance(bucket, Unreadable):
        return BucketSettings(_gcs_public(policy), bucket, bucket)
    kept = []
    if bucket.versioning_enabled:
        kept.append("older versions")
    seconds = int((bucket.soft_delete_policy or {}).get("retentionDurationSeconds") or 0)
    if seconds:
        kept.append(f"everything for {_days(seconds)}, soft deleted")
    prevented = bucket.iam_configuration.public_access_prevention == "enforced"
    return BucketSettings(
        public=() if prevented else _gcs_public(policy),
        kept=" and ".join(kept),
        rules=[dict(rule) for rule in bucket.lifecycle_rules],
        versioned=bool(bucket.versioning_enabled),
    )


def _gcs_public(policy: Callable[[], Any]) -> Sequence[str] | Unreadable:
    found = _or_unreadable(policy)
    if isinstance(found, Unreadable):
        return found
    return [
        f"a policy that gives {binding['role']} to {_GCS_EVERYBODY[member]}"
        for binding in found.bindings
        for member in sorted(binding["members"])
        if member in _GCS_EVERYBODY
    ]


def azure_settings(container: Callable[[], Any], service: Callable[[], Any]) -> BucketSettings:
    """Return a container's settings.

    :param container: returns the SDK's properties of the container; raises StorageError.
    :param service: returns the SDK's properties of the account's blob service; raises StorageError.
    """
    properties = _or_unreadable(container)
    public: Sequence[str] | Unreadable
    if isinstance(properties, Unreadable):
        public = properties
    else:
        level = str(properties.public_access or "")
        public = [f"its access level, which is {level!r}"] if level else []
    found = _or_unreadable(service)
    kept: str | Unreadable
    if isinstance(found, Unreadable):
        kept = found
    else:
        retention = found["delete_retention_policy"]
        kept = f"everything for {retention.days} days, soft deleted" if retention and retention.enabled else ""
    return BucketSettings(public, kept, _AZURE_RULES)


def _or_unreadable(ask: Callable[[], _Answer], none_there: Mapping[str, _Answer] | None = None) -> _Answer | Unreadable:
    """Return an answer, what the code of a refusal stands for, or why there is none."""
    try:
        return ask()
    except StorageError as error:
        if none_there and error.code and error.code in none_there:
            return none_there[error.code]
        if isinstance(error, StorageAccessDeniedError):
            return Unreadable(str(error), error.permission)
        if error.code in _UNKNOWN_CALLS or error.status in (404, 405, 501):
            return Unreadable(f"This store doesn't know the question; it answers {error.code or error.status}.")
        return Unreadable(str(error))


def _joined(unread: Sequence[Unreadable]) -> Unreadable:
    rights = dict.fromkeys(each.right for each in unread if each.right)
    return Unreadable(" ".join(each.reason for each in unread), ", ".join(rights))


def _days(seconds: int) -> str:
    days = seconds / 86_400
    return f"{days:g} day{'' if days == 1 else 's'}"
