"""What ``docs/permissions.md`` allows is enough, and with one right less the error names it.

The policies and SAS letters are read from the page and applied as they stand there. Google's are held
against the calls that the client makes, for nothing here enforces them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.check import Outcome
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.doctor import diagnose
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.resolve import manifest_uri_of, read_manifest
from dpone_airflow.staging.rights import check_may_delete
from dpone_airflow.staging.run_records import find_records
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.staging.verify import verify_staged
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.client import BaseObjectStorageClient
from dpone_airflow.storage.errors import DeleteIncompleteError, StorageAccessDeniedError
from dpone_airflow.storage.permissions import missing_permission
from dpone_airflow.storage.s3 import S3ObjectStorageClient
from tests.conformance.stores import Store

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "permissions.md").read_text()
BUCKET, BASE = "landing", "orders"
POLICIES: dict[str, dict[str, Any]] = {
    who: json.loads(text) for who, text in re.findall(r"<!-- policy: s3 (\S+) -->\n```json\n(.*?)```", PAGE, re.S)
}
REFUSALS = (StorageAccessDeniedError, DeleteIncompleteError)


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of the first table below a heading of the page, without its head."""
    section = PAGE.partition(f"\n{heading}\n")[2]
    table = section[section.index("\n| ") :].partition("\n\n")[2 if section.startswith("\n\n|") else 0]
    for line in table.strip().splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("| ").split(" | ")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@dataclass(frozen=True)
class Place:
    """A base that an administrator may do anything in, and a way to somebody who may not."""

    store: Store
    admin: ObjectStorageClient
    base: ObjectStorageUri


@dataclass
class Run:
    """One run of a place, as an administrator has left it."""

    plan: ObjectStorageStagingPlan
    files: Path
    manifest: ObjectStorageStagingManifest | None = None

    @property
    def writer(self) -> StagingWriter:
        return StagingWriter(task_id="stage", dag_run_id=self.plan.run_id)

    def stage(self, client: ObjectStorageClient, **options: Any) -> ObjectStorageStagingManifest:
        return ObjectStorageStagingService(client=client, writer=self.writer).stage_files(
            self.plan, self.files, **options
        )


@pytest.fixture(scope="module")
def places(started: Callable[[str], Store]) -> Callable[[str], Place]:
    """Return the bucket and the base that the page is about, in a store."""

    @cache
    def place_in(name: str) -> Place:
        store = started(name)
        store.server.create_bucket(BUCKET)
        root = store.root.rpartition("/")[0] + f"/{BUCKET}"
        store = replace(store, root=root)
        return Place(store, store.client(), ObjectStorageUri.parse(root).child(BASE))

    return place_in


@pytest.fixture
def place(places: Callable[[str], Place], request: pytest.FixtureRequest) -> Iterator[Place]:
    place = places(getattr(request, "param", "seaweedfs"))
    yield place
    place.admin.delete_prefix(place.base)


@pytest.fixture
def run(place: Place, tmp_path: Path) -> Run:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(f"{number}\n")
    plan = ObjectStorageStagingPlan(str(place.base), f"run-{uuid4().hex[:8]}", "d", "t", "csv")
    return Run(plan, tmp_path)


# Each does what an operator does, with a run that wants every right of that operator.


def stage(client: ObjectStorageClient, run: Run) -> None:
    run.stage(client)


def stage_only(client: ObjectStorageClient, run: Run) -> None:
    run.stage(client, exact_prefix="check")


def verify(client: ObjectStorageClient, run: Run) -> None:
    verify_staged(client, _manifest_from_the_evidence(client, run))


def verify_sha256(client: ObjectStorageClient, run: Run) -> None:
    verify_staged(client, _manifest_from_the_evidence(client, run), "sha256")


def cleanup(client: ObjectStorageClient, run: Run) -> None:
    report = clean_up_run(
        client, run.plan.base_uri, run.plan.run_id, policy="delete_always", staged_by=run.writer, must_be_claimed=True
    )
    assert report.deleted_objects == 3


def sweep(client: ObjectStorageClient, run: Run) -> None:
    report = sweep_base(
        client,
        run.plan.base_uri,
        older_than=timedelta(days=1),
        include_retained=True,
        dry_run=False,
        now=datetime.now(UTC) + timedelta(days=2),
    ).to_dict()
    assert not report["failures"], report["failures"]
    assert run.plan.run_id in {swept["run_id"] for swept in report["swept"]}


ACTS: dict[str, Callable[[ObjectStorageClient, Run], None]] = {
    "stage": stage,
    "stage-only": stage_only,
    "verify": verify,
    "verify-sha256": verify_sha256,
    "cleanup": cleanup,
    "sweep": sweep,
}


def _manifest_from_the_evidence(client: ObjectStorageClient, run: Run) -> ObjectStorageStagingManifest:
    class Hook:
        def get_client(self, base_uri: str) -> ObjectStorageClient:
            return client

    assert run.manifest is not None
    return read_manifest(str(manifest_uri_of(run.manifest)), Hook())


def prepare(place: Place, run: Run, who: str) -> None:
    """Leave the run as that operator finds it; for a stage, as an earlier try of it did."""
    if who.startswith("stage"):
        (run.files / "0.csv").rename(run.files.parent / f"{run.plan.run_id}.later")
        run.stage(place.admin)
        (run.files.parent / f"{run.plan.run_id}.later").rename(run.files / "0.csv")
        if who == "stage":
            place.admin.put_bytes(b"x", run.plan.prefix.child("left-by-an-earlier-try.csv"))
    else:
        run.manifest = run.stage(place.admin)


def listed(place: Place, run: Run) -> list[tuple[str, str | None]]:
    return [(str(item.uri), item.etag) for item in place.admin.list_objects(run.plan.prefix)]


def check_nothing_happened(place: Place, run: Run, who: str, before: list[tuple[str, str | None]]) -> None:
    after = listed(place, run)
    if who == "stage":
        assert set(after) <= set(before), "what an earlier try left may have gone, and nothing was sent"
        assert [uri for uri, _ in after if not uri.endswith("left-by-an-earlier-try.csv")]
    else:
        assert after == before, "nothing was sent, and nothing deleted"


# Amazon S3: SeaweedFS enforces policies of its users.


class Users:
    """Makes users of SeaweedFS, and clients that they have."""

    def __init__(self, store: Store) -> None:
        import boto3

        self._store = store
        self._session = boto3.Session()  # what a client costs is mostly the reading of its model
        self._iam = self.service("iam", store)

    def service(self, name: str, store: Store) -> Any:
        return self._session.client(
            name,
            endpoint_url=store.connection["extra"]["endpoint_url"],
            region_name=store.connection["extra"]["region_name"],
            aws_access_key_id=store.connection["login"],
            aws_secret_access_key=store.connection["password"],
        )

    def store(self, policy: Mapping[str, Any]) -> Store:
        """Return the store as somebody sees it who may do just that."""
        name = f"user-{uuid4().hex[:12]}"
        self._iam.create_user(UserName=name)
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        made = self._iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))
        self._iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
        connection = dict(self._store.connection) | {"login": key["AccessKeyId"], "password": key["SecretAccessKey"]}
        return replace(self._store, connection=connection)

    def client(self, policy: Mapping[str, Any]) -> ObjectStorageClient:
        return S3ObjectStorageClient(self.service("s3", self.store(policy)))


@pytest.fixture(scope="module")
def users(places: Callable[[str], Place]) -> Users:
    return Users(places("seaweedfs").store)


def without(policy: Mapping[str, Any], right: str) -> dict[str, Any]:
    less = [
        statement | {"Action": [action for action in statement["Action"] if action != right]}
        if statement["Effect"] == "Allow"
        else statement
        for statement in policy["Statement"]
    ]
    return dict(policy) | {"Statement": [statement for statement in less if statement["Action"]]}


ONE_LESS = [(who, names(right)[0], outcome) for who, right, outcome in rows("### Without one of them")]


def test_the_page_says_of_every_right_of_every_operator_what_is_without_it() -> None:
    told = {(who, right) for who, right, _ in ONE_LESS}
    in_policies = {
        (who, action)
        for who in ACTS
        for statement in POLICIES[who]["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
    }
    assert told == {pair for pair in in_policies if pair[0] != "sweep"}, "a sweep wants what a cleanup wants"
    assert {action for who, action in in_policies if who == "sweep"} == {
        action for who, action in in_policies if who == "cleanup"
    }
    assert set(POLICIES) == {*ACTS, "everything", "doctor", "reader"}


@pytest.mark.parametrize("engine", ["obstore", "sdk"])
@pytest.mark.parametrize("who", ACTS)
def test_the_policy_of_an_operator_is_enough_for_it(
    place: Place, users: Users, run: Run, who: str, engine: str
) -> None:
    prepare(place, run, who)
    client = users.store(POLICIES[who]).client(engine=engine) if engine == "obstore" else users.client(POLICIES[who])
    ACTS[who](client, run)
    left = {uri.rpartition("/")[2] for uri, _ in listed(place, run)}
    assert left == (set() if who in ("cleanup", "sweep") else {"0.csv", "1.csv", "2.csv"})


def test_one_policy_is_enough_for_all_of_them(place: Place, users: Users, run: Run) -> None:
    client = users.client(POLICIES["everything"])
    run.manifest = run.stage(client)
    for who in ACTS:
        ACTS[who](client, run)
        if who == "cleanup":
            run.stage(client)
    assert listed(place, run) == []


@pytest.mark.parametrize("engine", ["obstore", "sdk"])
def test_the_policy_of_a_stage_is_enough_for_a_file_in_parts(
    place: Place, users: Users, file: Path, tmp_path: Path, engine: str
) -> None:
    client = users.store(POLICIES["stage"]).client(engine=engine)
    plan = ObjectStorageStagingPlan(str(place.base), f"large-{engine}", "d", "t", "csv")
    manifest = ObjectStorageStagingService(client=client).stage_files(plan, file)
    assert manifest.total_size_bytes == file.stat().st_size


@pytest.mark.parametrize(("who", "right", "outcome"), ONE_LESS)
def test_with_one_right_less_the_error_names_it(
    place: Place,
    users: Users,
    run: Run,
    caplog: pytest.LogCaptureFixture,
    who: str,
    right: str,
    outcome: str,
) -> None:
    client = users.client(without(POLICIES[who], right))
    if outcome.startswith("a first try works"):
        first = Run(replace(run.plan, run_id=f"{run.plan.run_id}-first"), run.files)
        ACTS[who](client, first)
        outcome = outcome.partition("; a retry ")[2]
    prepare(place, run, who)
    before = listed(place, run)
    if outcome.startswith("works"):
        with caplog.at_level(logging.INFO):
            ACTS[who](client, run)
        if right == "s3:ListBucketMultipartUploads":
            assert "may be left, give the bucket a lifecycle rule for them" in caplog.text
            assert f"needs {right} on it" in caplog.text
        return
    with pytest.raises(REFUSALS) as refused:
        ACTS[who](client, run)
    said = str(refused.value)
    assert right in said
    assert f"{place.base}/" in said
    assert "grant" in said.lower() or "Remove what holds them" in said
    check_nothing_happened(place, run, who, before)


def test_a_cleanup_that_may_not_delete_says_so_in_the_evidence_and_counts_nothing(
    place: Place, users: Users, run: Run
) -> None:
    prepare(place, run, "cleanup")
    client = users.client(without(POLICIES["cleanup"], "s3:DeleteObject"))
    with pytest.raises(DeleteIncompleteError) as refused:
        cleanup(client, run)
    assert len(refused.value.left) == 3
    assert all("s3:DeleteObject" in reason for reason in refused.value.left.values())
    record = ObjectStorageUri.parse(f"{place.base}/_manifests/{run.plan.run_id}/_run/cleanup.json")
    said = json.loads(place.admin.get_bytes(record))
    assert (said["outcome"], said["deleted_objects"], said["left"]) == ("incomplete", 0, dict(refused.value.left))


@pytest.mark.parametrize("policy", ["delete_on_success", "delete_always"])
def test_a_stage_whose_cleanup_could_not_delete_is_refused_before_its_first_upload(
    place: Place, users: Users, run: Run, policy: str
) -> None:
    run.plan = replace(run.plan, cleanup_policy=policy)
    client = users.client(POLICIES["stage-only"])
    with pytest.raises(StorageAccessDeniedError, match=r"^No file was sent .* Grant s3:DeleteObject"):
        run.stage(client, exact_prefix="check")
    assert listed(place, run) == []
    failure = ObjectStorageUri.parse(f"{place.base}/_manifests/{run.plan.run_id}/_run/failed.json")
    assert "s3:DeleteObject" in json.loads(place.admin.get_bytes(failure))["message"]


def test_a_stage_needs_no_right_to_delete_where_its_cleanup_has_a_connection_of_its_own(
    place: Place, users: Users, run: Run
) -> None:
    run.plan = replace(run.plan, cleanup_policy="delete_on_success")
    client = users.client(POLICIES["stage-only"])
    run.stage(client, exact_prefix="check", cleans_up=False)
    cleanup(users.client(POLICIES["cleanup"]), run)
    assert listed(place, run) == []


def test_the_identity_of_a_cleanup_can_delete_no_evidence(place: Place, users: Users, run: Run) -> None:
    prepare(place, run, "cleanup")
    assert run.manifest is not None
    client = users.client(POLICIES["cleanup"])
    with pytest.raises(DeleteIncompleteError, match="it needs s3:DeleteObject"):
        client.delete_objects([manifest_uri_of(run.manifest)])
    assert place.admin.exists(manifest_uri_of(run.manifest))


@pytest.mark.parametrize("who", ACTS)
def test_no_policy_reaches_beyond_its_base(place: Place, users: Users, who: str) -> None:
    elsewhere = ObjectStorageUri.parse(f"s3://{BUCKET}/other/file.csv")
    place.admin.put_bytes(b"live", elsewhere)
    client = users.client(POLICIES[who])
    for ask in (
        lambda: list(client.list_objects(replace(elsewhere, key="other"))),
        lambda: client.get_bytes(elsewhere),
        lambda: client.put_bytes(b"x", elsewhere),
        lambda: client.delete_objects([elsewhere]),
    ):
        with pytest.raises(REFUSALS):
            ask()
    assert place.admin.get_bytes(elsewhere) == b"live"


def test_the_policy_of_the_doctor_is_enough_for_it(place: Place, users: Users) -> None:
    found = diagnose(users.client(POLICIES["doctor"]), str(place.base))
    assert not [check for check in found if check.outcome is Outcome.FAILED]
    lacking = {right for check in found for right in re.findall(r"lacks the right ([\w:]+)", check.cause)}
    # SeaweedFS tells the status of a policy to those alone who may do everything.
    assert lacking <= {"s3:GetBucketPolicyStatus"}


@pytest.mark.parametrize("right", ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_the_doctor_names_the_right_that_a_stage_will_lack(place: Place, users: Users, right: str) -> None:
    found = diagnose(users.client(without(POLICIES["doctor"], right)), str(place.base))
    failed = [check for check in found if check.outcome is Outcome.FAILED]
    assert failed
    assert any(right in f"{check.detail} {check.cause}" for check in failed)


def test_who_reads_the_evidence_reads_nothing_else(place: Place, users: Users, run: Run) -> None:
    prepare(place, run, "cleanup")
    client = users.client(POLICIES["reader"])
    assert run.manifest == _manifest_from_the_evidence(client, run)
    assert run.plan.run_id in find_records(client, str(place.base))
    with pytest.raises(StorageAccessDeniedError, match="s3:GetObject"):
        client.get_bytes(run.plan.prefix.child("0.csv"))


def test_a_stage_that_may_not_delete_leaves_its_checkpoints_and_says_so(
    place: Place, users: Users, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(place, run, "stage-only")
    with caplog.at_level(logging.INFO):
        stage_only(users.client(POLICIES["stage-only"]), run)
    assert re.search(r"Old records below .* stay, and are read no more: .*s3:DeleteObject", caplog.text)


def test_asking_for_the_right_to_delete_is_one_small_request(place: Place, users: Users, run: Run) -> None:
    s3 = users.service("s3", place.store)
    sent: list[Any] = []
    s3.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    check_may_delete(S3ObjectStorageClient(s3), run.plan)
    assert [request.method for request in sent] == ["POST"]
    assert len(sent[0].body) < 400


def test_in_a_bucket_that_keeps_versions_it_leaves_one_delete_marker(place: Place, users: Users, run: Run) -> None:
    s3 = users.service("s3", place.store)
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    plan = replace(run.plan, base_uri="s3://versioned/orders")
    check_may_delete(S3ObjectStorageClient(s3), plan)
    found = s3.list_object_versions(Bucket="versioned", Prefix=plan.prefix.prefix)
    assert len(found.get("DeleteMarkers", ())) == 1
    assert "Versions" not in found


# Azure: Azurite enforces the letters, the scope and the expiry of a SAS.

LETTERS = {who: names(letters)[-1] for who, _, letters in rows("## Azure Blob Storage")}


def with_sas(store: Store, letters: str, *, container: str = BUCKET, hours: int = 1) -> Store:
    from azure.storage.blob import generate_container_sas

    token = generate_container_sas(
        store.server.account,
        container,
        store.server.key,
        permission="".join(letter for letter in "rwdl" if letter in letters),
        expiry=datetime.now(UTC) + timedelta(hours=hours),
    )
    return replace(
        store, connection={"conn_type": "wasb", "host": store.server.endpoint, "extra": {"sas_token": token}}
    )


def test_the_page_has_letters_for_every_operator() -> None:
    assert set(LETTERS) == {*ACTS, "doctor", "reader"}


@pytest.mark.parametrize("place", ["azurite"], indirect=True)
@pytest.mark.parametrize("who", ACTS)
def test_the_letters_of_an_operator_are_enough_for_it(place: Place, run: Run, who: str) -> None:
    prepare(place, run, who)
    ACTS[who](with_sas(place.store, LETTERS[who]).client(), run)
    assert bool(listed(place, run)) is (who not in ("cleanup", "sweep"))


@pytest.mark.parametrize("place", ["azurite"], indirect=True)
@pytest.mark.parametrize(
    ("who", "letter"), [(who, letter) for who in ACTS if who != "sweep" for letter in LETTERS[who]]
)
def test_with_one_letter_less_the_error_names_it(place: Place, run: Run, who: str, letter: str) -> None:
    prepare(place, run, who)
    before = listed(place, run)
    client = with_sas(place.store, LETTERS[who].replace(letter, "")).client()
    with pytest.raises(REFUSALS) as refused:
        ACTS[who](client, run)
    action = {"r": "read", "l": "read", "w": "write", "d": "delete"}[letter]
    assert f"/containers/blobs/{action} (in a SAS: {letter})" in str(refused.value)
    assert f"{place.base}/" in str(refused.value)
    check_nothing_happened(place, run, who, before)


@pytest.mark.parametrize("place", ["azurite"], indirect=True)
def test_the_letters_of_the_doctor_are_enough_for_it(place: Place) -> None:
    found = diagnose(with_sas(place.store, LETTERS["doctor"]).client(), str(place.base))
    assert not [check for check in found if check.outcome is Outcome.FAILED]


@pytest.mark.parametrize("place", ["azurite"], indirect=True)
@pytest.mark.parametrize("other", [{"container": "other"}, {"hours": -1}])
def test_a_token_of_another_container_or_of_yesterday_is_a_matter_of_credentials(
    place: Place, run: Run, other: dict[str, Any]
) -> None:
    with pytest.raises(StorageAccessDeniedError, match="Check the credentials") as refused:
        run.stage(with_sas(place.store, "rwdl", **other).client())
    assert refused.value.permission == ""
    assert listed(place, run) == []


# Google: which calls are made is seen, and what IAM says to them isn't.

GOOGLE = {who: set(names(permissions)) for who, permissions in rows("## Google Cloud Storage")}


@contextmanager
def permissions_of_calls(of: ObjectStorageUri) -> Iterator[set[str]]:
    """Collect the permissions that the calls of a ``with`` block want."""
    wanted: set[str] = set()
    calling = BaseObjectStorageClient._calling

    def recorded(self: Any, action: str, uri: ObjectStorageUri, **options: Any) -> Any:
        wanted.add(missing_permission(action, of.provider, ""))
        return calling(self, action, uri, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseObjectStorageClient, "_calling", recorded)
        yield wanted


@pytest.mark.parametrize("place", ["fake-gcs-server"], indirect=True)
@pytest.mark.parametrize("who", ACTS)
def test_google_is_asked_for_what_the_page_says(place: Place, run: Run, who: str) -> None:
    prepare(place, run, who)
    with permissions_of_calls(place.base) as wanted:
        ACTS[who](place.store.client(), run)
    wanted.discard("storage.buckets.get")  # for the report only, and nothing fails without it
    # Who writes a record again deletes the one before.
    assert GOOGLE[who.removesuffix("-sha256")] - wanted <= {"storage.objects.delete"}
    assert wanted <= GOOGLE[who.removesuffix("-sha256")]
