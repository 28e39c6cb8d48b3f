"""The doctor and lifecycle rules on real servers: wrong keys, buckets and rights, and what each store can't."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging.check import Check, Outcome
from dpone_airflow.staging.doctor import diagnose
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.bucket_settings import Unreadable
from dpone_airflow.storage.lifecycle import found_rules, rendered_rules, rule_for, rules_in, wanted_rules
from tests.conformance.stores import CONN_ID, Store, environment

OK, WARNING, FAILED, UNKNOWN = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNKNOWN
# The smallest part that S3 takes.
PART_BYTES = 5 * 1024 * 1024
# What isn't ok of a store as it is, each seen by running it.
KNOWN = {
    "SeaweedFS": {"lifecycle": WARNING},  # a new bucket has no rules
    "FakeGcsServer": {"checksum": WARNING, "public access": UNKNOWN},
    "GcpStorageEmulator": {"conditional put": FAILED},
}


def examined(client: ObjectStorageClient, base: str | ObjectStorageUri, *, short: bool = False) -> dict[str, Check]:
    client.part_bytes = PART_BYTES  # type: ignore[attr-defined]
    client.largest_put_bytes = 2 * PART_BYTES
    return {check.name: check for check in diagnose(client, str(base), short=short)}


def not_ok(checks: dict[str, Check]) -> dict[str, Outcome]:
    return {name: check.outcome for name, check in checks.items() if check.outcome is not OK}


def not_run(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.detail.startswith("Not run")}


def with_hook(store: Store, base: str, connection: dict[str, Any]) -> tuple[bool, str]:
    with environment(store.environment | {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection)}):
        return ObjectStorageHook(CONN_ID).test_connection(base)


def test_a_store_is_found_as_it_is_and_left_as_it_was(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri
) -> None:
    checks = examined(client, base)
    assert not_ok(checks) == KNOWN.get(type(store.server).__name__, {})
    assert client.engine in checks["put"].detail
    assert ("disk" in checks) is (store.server is None)
    assert client.list_prefix(base) == []
    assert client.list_uploads(base) == []
    batch = "one by one" if type(store.server).__name__ == "FakeGcsServer" else "in one batch"
    assert batch in checks["bulk delete"].detail


def test_the_hook_makes_the_short_form(store: Store, base: ObjectStorageUri, client: ObjectStorageClient) -> None:
    worked, message = with_hook(store, str(base), dict(store.connection))
    assert worked is store.keeps_conditions, message
    assert ("A sentinel was written" if worked else "conditional put: ") in message
    assert client.list_prefix(base) == []


@pytest.mark.parametrize("name", ["seaweedfs", "fake-gcs-server", "gcp-storage-emulator", "azurite"])
def test_a_missing_bucket_is_one_failure(started: Callable[[str], Store], name: str) -> None:
    store = started(name)
    elsewhere = replace(ObjectStorageUri.parse(store.root), bucket=f"missing-{uuid4().hex[:8]}", key="orders")
    checks = examined(store.client(), elsewhere)
    assert [name for name, outcome in not_ok(checks).items() if outcome is FAILED] == ["put"]
    assert checks["put"].action.endswith("#the-bucket-is-missing")
    assert not_run(checks) == set(checks) - {"client", "put"}


@pytest.mark.parametrize(
    ("name", "field", "cause"),
    [
        ("seaweedfs", "login", "There is no such access key"),
        ("seaweedfs-boto3", "login", "There is no such access key"),
        ("seaweedfs", "password", "The secret key doesn't belong to the access key"),
        ("azurite", "password", "The account key or the token isn't the account's"),
    ],
)
def test_a_wrong_key_is_one_failure_with_its_cause(
    started: Callable[[str], Store], base: ObjectStorageUri, name: str, field: str, cause: str
) -> None:
    store = started(name)
    wrong = ("AAAA" + store.connection[field][4:]) if name == "azurite" else "N0TTHEKEYN0TTHEKEY"
    connection = dict(store.connection) | {field: wrong}
    base = replace(base, bucket=ObjectStorageUri.parse(store.root).bucket)
    checks = examined(replace(store, connection=connection).client(), base)
    assert [name for name, outcome in not_ok(checks).items() if outcome is FAILED] == ["put"]
    assert cause in checks["put"].cause
    assert not_run(checks) == set(checks) - {"client", "put"}
    worked, message = with_hook(store, str(base), connection)
    assert not worked
    for secret in (wrong, store.connection["password"]):
        if field == "password":
            assert secret not in f"{checks} {message}"


@pytest.fixture
def base(request: pytest.FixtureRequest) -> ObjectStorageUri:
    """A prefix of this test's own, of the store that it is for."""
    if "store" in request.fixturenames:
        root = request.getfixturevalue("store").root
    else:
        name = request.node.callspec.params["name"]
        root = request.getfixturevalue("started")(name).root
    return ObjectStorageUri.parse(root).child(f"test-{uuid4().hex[:12]}")


# S3: rights, policies, rules.


class _S3:
    """A new bucket of SeaweedFS, and boto3 to set it up with."""

    def __init__(self, store: Store) -> None:
        import boto3

        self.store = store
        self.name = f"doctor-{uuid4().hex[:8]}"
        store.server.create_bucket(self.name)
        self.base = f"s3://{self.name}/orders"
        self.boto3 = boto3.client(
            "s3",
            endpoint_url=store.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=store.server.access_key,
            aws_secret_access_key=store.server.secret_key,
        )

    def policy(self, effect: str, action: str, *, below: bool = True) -> None:
        arn = f"arn:aws:s3:::{self.name}"
        statement = {
            "Effect": effect,
            "Principal": "*",
            "Action": action,
            "Resource": [arn, f"{arn}/*"] if below else [arn],
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.boto3.put_bucket_policy(Bucket=self.name, Policy=document)

    def client(self, **options: Any) -> ObjectStorageClient:
        return replace(self.store, root=self.base).client(**options)


@pytest.fixture
def s3(started: Callable[[str], Store]) -> _S3:
    return _S3(started("seaweedfs"))


NEEDS_AN_OBJECT = {
    *("stat", "clock", "list", "get", "delete", "checksum", "multipart", "multipart abort", "bulk delete"),
}


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ("s3:GetObject", {"stat": FAILED, "clock": UNKNOWN, "get": FAILED}),
        # SeaweedFS wants that for the policy status too.
        ("s3:ListBucket", {"list": FAILED, "public access": UNKNOWN}),
        ("s3:ListBucketMultipartUploads", {"multipart abort": UNKNOWN}),
        ("s3:GetBucketAcl", {"public access": UNKNOWN}),
        ("s3:GetBucketVersioning", {"versions": UNKNOWN}),
        ("s3:GetLifecycleConfiguration", {"lifecycle": UNKNOWN}),
    ],
)
def test_a_right_that_is_denied_is_named_and_only_what_staging_needs_fails(
    s3: _S3, right: str, expected: dict[str, Outcome]
) -> None:
    s3.policy("Deny", right)
    checks = examined(s3.client(), s3.base)
    assert not_ok(checks) == {"lifecycle": WARNING} | expected
    first = next(iter(expected))
    assert right in checks[first].cause
    assert "docs/runbook.md#" in checks[first].action
    s3.boto3.delete_bucket_policy(Bucket=s3.name)
    assert s3.client().list_prefix(ObjectStorageUri.parse(s3.base)) == []


def test_without_the_right_to_write_nothing_else_is_tried(s3: _S3) -> None:
    s3.policy("Deny", "s3:PutObject")
    checks = examined(s3.client(), s3.base)
    assert {name for name, outcome in not_ok(checks).items() if outcome is FAILED} == {"put", "conditional put"}
    assert not_run(checks) == NEEDS_AN_OBJECT
    assert "s3:PutObject" in checks["put"].cause
    assert "s3:PutObject" in checks["conditional put"].cause


@pytest.mark.parametrize("engine", ["obstore", "sdk"])
def test_an_upload_that_may_not_be_aborted_is_a_warning(s3: _S3, engine: str) -> None:
    s3.policy("Deny", "s3:AbortMultipartUpload")
    checks = examined(s3.client(engine=engine), s3.base)
    assert not_ok(checks) == {"lifecycle": WARNING, "multipart abort": WARNING}
    assert "still there" in checks["multipart abort"].detail
    s3.boto3.delete_bucket_policy(Bucket=s3.name)
    assert s3.client().abort_uploads(ObjectStorageUri.parse(s3.base)) == 1


def test_an_open_bucket_is_a_warning(s3: _S3) -> None:
    s3.policy("Allow", "s3:GetObject")
    s3.boto3.put_bucket_acl(Bucket=s3.name, ACL="public-read")
    checks = examined(s3.client(), s3.base, short=False)
    assert not_ok(checks) == {"lifecycle": WARNING, "public access": WARNING}
    assert checks["public access"].detail == (
        "The bucket is open to everybody, by its bucket policy and an ACL that gives READ to everybody."
    )


def test_rendered_rules_are_taken_and_found_again(s3: _S3) -> None:
    base = ObjectStorageUri.parse(s3.base)
    s3.boto3.put_bucket_versioning(Bucket=s3.name, VersioningConfiguration={"Status": "Enabled"})
    client = s3.client()
    assert not_ok(examined(client, s3.base)) == {"lifecycle": WARNING, "versions": WARNING}

    wanted = wanted_rules(base, abort_days=2, version_days=7, expire_days=90)
    rules = rendered_rules(base, wanted)
    s3.boto3.put_bucket_lifecycle_configuration(Bucket=s3.name, LifecycleConfiguration=rules)
    told = client.bucket_settings(base).rules
    assert not isinstance(told, Unreadable)
    found = found_rules(base.provider, told)
    assert all(rule_for(base, rule, found) for rule in wanted)
    checks = examined(client, s3.base)
    assert not_ok(checks) == {}
    assert "abort unfinished uploads after 2 days" in checks["lifecycle"].detail
    assert "Mind rule 'dpone-delete-everything'" in checks["lifecycle"].detail
    assert "drop older versions after 7 days" in checks["versions"].detail


def test_a_clock_that_is_half_an_hour_off_is_the_cause(s3: _S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own clock is moved; the refusal is the server's."""
    import botocore.auth

    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *given, **how: now(*given, **how) + datetime.timedelta(minutes=30)
    )
    checks = examined(s3.client(engine="sdk"), s3.base)
    assert checks["put"].outcome is FAILED
    assert "RequestTimeTooSkewed" in checks["put"].detail
    assert "clock is wrong" in checks["put"].cause
    assert not_run(checks) == set(checks) - {"client", "put"}


def test_a_server_that_knows_no_public_access_block_is_judged_by_policy_and_acl(s3: _S3) -> None:
    settings = s3.client().bucket_settings(ObjectStorageUri.parse(s3.base))
    assert (settings.public, settings.kept, settings.rules) == ([], "", ())


# Google Cloud Storage.


def test_rules_of_gcs_are_taken_and_found_again(started: Callable[[str], Store]) -> None:
    """fake-gcs-server keeps none."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    store = started("gcp-storage-emulator")
    name = f"doctor-{uuid4().hex[:8]}"
    store.server.create_bucket(name)
    base = ObjectStorageUri.parse(f"gs://{name}/orders")
    wanted = wanted_rules(base, abort_days=None, version_days=7, expire_days=90)
    with environment(store.environment):
        bucket = storage.Client(project="p", credentials=AnonymousCredentials()).bucket(name)
    bucket.lifecycle_rules = rules_in(rendered_rules(base, wanted))
    bucket.patch()
    client = replace(store, root=str(base)).client()
    told = client.bucket_settings(base).rules
    assert not isinstance(told, Unreadable)
    found = found_rules(base.provider, told)
    assert all(rule_for(base, rule, found) for rule in wanted)
    assert "Mind rule 'number 2'" in examined(client, base)["lifecycle"].detail


# Azure.


def sas(store: Store, letters: str) -> ObjectStorageClient:
    """Return a client whose token has only these rights on the container."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    token = generate_container_sas(
        store.server.account,
        ObjectStorageUri.parse(store.root).bucket,
        account_key=store.server.key,
        permission=ContainerSasPermissions.from_string(letters),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )
    connection = {"conn_type": "wasb", "host": store.server.endpoint, "extra": {"sas_token": token}}
    return replace(store, connection=connection).client()


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("rwdl", {}),
        ("rwl", {"delete": FAILED, "multipart": UNKNOWN, "bulk delete": UNKNOWN, "sentinel": WARNING}),
        ("rwd", {"list": FAILED}),
    ],
)
@pytest.mark.parametrize("name", ["azurite"])
def test_a_token_with_a_right_less_fails_where_it_is_missing(
    started: Callable[[str], Store], base: ObjectStorageUri, letters: str, expected: dict[str, Outcome], name: str
) -> None:
    store = started(name)
    checks = examined(sas(store, letters), base)
    # No container's token may read the properties of the container or of the account's service.
    assert not_ok(checks) == {"public access": UNKNOWN, "versions": UNKNOWN} | expected
    whole = store.client()
    left = whole.list_prefix(base)
    assert bool(left) is ("d" not in letters)
    if left:
        assert "blobs/delete (in a SAS: d)" in checks["delete"].detail
        assert all(str(uri) in checks["sentinel"].detail for uri in left)
        assert whole.delete_prefix(base) == len(left)
    if "l" not in letters:
        assert "(in a SAS: l)" in checks["list"].cause


def test_an_open_container_is_a_warning(started: Callable[[str], Store]) -> None:
    from azure.storage.blob import BlobServiceClient

    store = started("azurite")
    name = f"doctor-{uuid4().hex[:8]}"
    store.server.create_bucket(name)
    service = BlobServiceClient.from_connection_string(store.server.connection_string)
    service.get_container_client(name).set_container_access_policy({}, public_access="container")
    checks = examined(store.client(), f"az://{name}/orders")
    assert not_ok(checks) == {"public access": WARNING}
    assert "access level, which is 'container'" in checks["public access"].detail
