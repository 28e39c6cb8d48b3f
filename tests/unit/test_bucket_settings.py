"""What stores say of a bucket, in answers that no server here gives: recorded ones, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.storage.answers import store_error
from dpone_airflow.storage.bucket_settings import Unreadable, azure_settings, gcs_settings, s3_settings
from dpone_airflow.storage.errors import StorageError
from dpone_airflow.storage.uri import ObjectStorageUri

BUCKET = ObjectStorageUri.parse("s3://landing")
NONE_THERE = {
    "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
}
OPEN_ACL = {
    "Grants": [
        {"Grantee": {"ID": "me", "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"},
        {"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"},
        {"Grantee": {"URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"}, "Permission": "WRITE"},
    ]
}
RIGHTS = {
    "get_public_access_block": "s3:GetBucketPublicAccessBlock",
    "get_bucket_policy_status": "s3:GetBucketPolicyStatus",
    "get_bucket_acl": "s3:GetBucketAcl",
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
}


def s3(asked: list[str] | None = None, **answers: Any) -> Any:
    """Return what S3 tells with these answers; an int is a refusal with that status."""

    def ask(operation: str, words: str) -> Mapping[str, Any]:
        if asked is not None:
            asked.append(operation)
        answer = answers.get(operation)
        if isinstance(answer, dict):
            return answer
        if answer is None and operation not in NONE_THERE:
            return {}
        status = 404 if answer is None else answer
        code = NONE_THERE[operation] if answer is None else {403: "AccessDenied", 501: "NotImplemented"}[answer]
        raise store_error(f"look up {words} of", BUCKET, status, code, "No.")

    return s3_settings(ask)


def test_a_bucket_of_which_nothing_was_set_is_closed_and_keeps_nothing() -> None:
    told = s3()
    assert (told.public, told.kept, told.rules, told.versioned) == ([], "", (), False)


def test_what_opens_a_bucket_is_named() -> None:
    told = s3(get_bucket_policy_status={"PolicyStatus": {"IsPublic": True}}, get_bucket_acl=OPEN_ACL)
    assert told.public == ["its bucket policy", "an ACL that gives READ to everybody"]


def test_a_public_access_block_closes_what_policy_and_acl_open() -> None:
    block = {"PublicAccessBlockConfiguration": {"RestrictPublicBuckets": True, "IgnorePublicAcls": True}}
    asked: list[str] = []
    told = s3(
        asked,
        get_public_access_block=block,
        get_bucket_policy_status={"PolicyStatus": {"IsPublic": True}},
        get_bucket_acl=OPEN_ACL,
    )
    assert told.public == []
    assert "get_bucket_acl" not in asked


@pytest.mark.parametrize("switch", ["RestrictPublicBuckets", "IgnorePublicAcls"])
def test_a_block_of_one_kind_leaves_the_other_open(switch: str) -> None:
    told = s3(
        get_public_access_block={"PublicAccessBlockConfiguration": {switch: True, "BlockPublicPolicy": True}},
        get_bucket_policy_status={"PolicyStatus": {"IsPublic": True}},
        get_bucket_acl=OPEN_ACL,
    )
    assert len(told.public) == 1
    assert ("policy" in told.public[0]) is (switch == "IgnorePublicAcls")


@pytest.mark.parametrize("operation", sorted(RIGHTS))
def test_a_right_that_is_missing_is_named(operation: str) -> None:
    told = s3(**{operation: 403})
    settings = (told.public, told.kept, told.rules)
    missing = [setting.right for setting in settings if isinstance(setting, Unreadable)]
    # Where policy and ACL can be read, nobody needs the block.
    assert missing == ([] if operation == "get_public_access_block" else [RIGHTS[operation]])


def test_all_rights_that_are_missing_are_named() -> None:
    told = s3(get_bucket_policy_status=403, get_bucket_acl=403)
    assert isinstance(told.public, Unreadable)
    assert told.public.right == "s3:GetBucketPolicyStatus, s3:GetBucketAcl"


def test_what_is_seen_to_be_open_is_open_whatever_else_can_not_be_read() -> None:
    assert s3(get_bucket_policy_status=403, get_bucket_acl=OPEN_ACL).public == ["an ACL that gives READ to everybody"]


def test_a_question_that_the_store_does_not_know_is_no_right() -> None:
    told = s3(get_bucket_lifecycle_configuration=501)
    assert told.rules == Unreadable("This store doesn't know the question; it answers NotImplemented.")


@pytest.mark.parametrize(("status", "kept"), [("Enabled", "older versions"), ("Suspended", "suspended"), ("", "")])
def test_versioning_is_told(status: str, kept: str) -> None:
    told = s3(get_bucket_versioning={"Status": status} if status else {})
    assert kept in told.kept
    assert bool(told.kept) is bool(kept)
    assert told.versioned is (status == "Enabled")


# Google Cloud Storage.


def refused(action: str, uri: str, status: int, code: str) -> StorageError:
    return store_error(action, ObjectStorageUri.parse(uri), status, code, "No.")


def bucket(prevention: str = "inherited", versioning: bool = False, soft_delete: Any = None) -> Any:
    return SimpleNamespace(
        versioning_enabled=versioning,
        soft_delete_policy=soft_delete,
        iam_configuration=SimpleNamespace(public_access_prevention=prevention),
        lifecycle_rules=iter([{"action": {"type": "Delete"}, "condition": {"age": 3}}]),
    )


def policy(*members: str) -> Any:
    return SimpleNamespace(bindings=[{"role": "roles/storage.objectViewer", "members": set(members)}])


def unasked() -> Any:
    raise AssertionError("nobody needs to ask that")


def test_prevention_closes_a_bucket_without_a_look_at_its_policy() -> None:
    assert gcs_settings(lambda: bucket("enforced"), unasked).public == ()


def test_a_policy_for_everybody_opens_a_bucket() -> None:
    told = gcs_settings(bucket, lambda: policy("user:me@example.com", "allUsers", "allAuthenticatedUsers"))
    assert told.public == [
        "a policy that gives roles/storage.objectViewer to everybody who has a Google account",
        "a policy that gives roles/storage.objectViewer to everybody",
    ]
    assert gcs_settings(bucket, lambda: policy("allUsersOfUs@example.com")).public == []


def test_versions_and_soft_delete_are_told() -> None:
    told = gcs_settings(
        lambda: bucket(versioning=True, soft_delete={"retentionDurationSeconds": "604800"}), lambda: policy()
    )
    assert (told.kept, told.versioned) == ("older versions and everything for 7 days, soft deleted", True)
    assert told.rules == [{"action": {"type": "Delete"}, "condition": {"age": 3}}]
    assert gcs_settings(lambda: bucket(soft_delete={"retentionDurationSeconds": "0"}), lambda: policy()).kept == ""
    assert "1 day," in gcs_settings(lambda: bucket(soft_delete={"retentionDurationSeconds": 86400}), policy).kept  # type: ignore[operator]


def test_rights_that_are_missing_on_gcs_are_named() -> None:
    def no_bucket() -> Any:
        raise refused("look up the settings of", "gs://landing", 403, "Forbidden")

    def no_policy() -> Any:
        raise refused("look up the policy of", "gs://landing", 403, "Forbidden")

    told = gcs_settings(no_bucket, no_policy)
    for setting, right in (
        (told.kept, "storage.buckets.get"),
        (told.rules, "storage.buckets.get"),
        (told.public, "storage.buckets.getIamPolicy"),
    ):
        assert isinstance(setting, Unreadable)
        assert setting.right == right


# Azure.


def test_azures_settings_are_told() -> None:
    service = {"delete_retention_policy": SimpleNamespace(enabled=True, days=7)}
    told = azure_settings(lambda: SimpleNamespace(public_access="blob"), lambda: service)
    assert told.public == ["its access level, which is 'blob'"]
    assert told.kept == "everything for 7 days, soft deleted"
    assert isinstance(told.rules, Unreadable)

    off = {"delete_retention_policy": SimpleNamespace(enabled=False, days=None)}
    told = azure_settings(lambda: SimpleNamespace(public_access=None), lambda: off)
    assert (told.public, told.kept) == ([], "")


def test_rights_that_are_missing_on_azure_are_named() -> None:
    def no(action: str) -> Any:
        raise refused(action, "az://landing", 403, "AuthorizationPermissionMismatch")

    told = azure_settings(lambda: no("look up the settings of"), lambda: no("look up the blob service that has"))
    assert isinstance(told.public, Unreadable)
    assert told.public.right.endswith("blobServices/containers/read")
    assert isinstance(told.kept, Unreadable)
    assert told.kept.right.endswith("blobServices/read")
