"""The doctor on the emulator: what it looks at, what it says of each fault, and that it leaves nothing."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.hooks import LocalObjectStorageHook, ObjectStorageHook
from dpone_airflow.staging import doctor
from dpone_airflow.staging.check import Check, Outcome, summary, worst
from dpone_airflow.staging.doctor import _apart
from dpone_airflow.staging.likely_cause import cause_and_action, finding, is_final
from dpone_airflow.staging.run_records import find_records
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.answers import store_error
from dpone_airflow.storage.bucket_settings import BucketSettings, Unreadable
from dpone_airflow.storage.client import ObjectStorageObject, UnfinishedUpload
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import (
    ConnectionMismatchError,
    DeleteIncompleteError,
    EngineNotUsableError,
    InvalidOptionError,
    InvalidPlanError,
    InvalidUriError,
    MissingExtraError,
    StorageAccessDeniedError,
    StorageError,
)

BASE = "s3://lake/orders"
PLACE = ObjectStorageUri.parse(BASE)
SHORT = ["put", "conditional put", "list", "get", "delete", "disk"]
ALL = [
    *("client", "put", "conditional put", "stat", "clock", "list", "get", "delete", "checksum", "multipart"),
    *("multipart abort", "bulk delete", "public access", "lifecycle", "versions", "disk"),
]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def diagnose(client: LocalObjectStorageClient, base: str, *, short: bool = False) -> list[Check]:
    """Let the doctor look, with less to upload."""
    client.largest_put_bytes = 64 * 1024
    client.part_bytes = 16 * 1024
    return doctor.diagnose(client, base, short=short)


def looked(client: LocalObjectStorageClient, *, short: bool = False) -> dict[str, Check]:
    """Let the doctor look, and see that nothing is left."""
    checks = diagnose(client, BASE, short=short)
    assert LocalObjectStorageClient(client.root_dir).list_prefix(PLACE) == []
    return {check.name: check for check in checks}


def not_ok(checks: dict[str, Check]) -> dict[str, Outcome]:
    return {name: check.outcome for name, check in checks.items() if check.outcome is not Outcome.OK}


def denied(action: str, uri: ObjectStorageUri) -> StorageError:
    return store_error(action, uri, 403, "AccessDenied", "Access Denied.")


# What it looks at.


def test_all_is_well_with_a_directory_that_can_be_written(client: LocalObjectStorageClient) -> None:
    checks = looked(client)
    assert list(checks) == ALL
    assert not_ok(checks) == {}
    assert all(check.detail.endswith(".") and not check.cause and not check.action for check in checks.values())


def test_the_short_form_looks_at_what_decides_and_no_more(client: LocalObjectStorageClient) -> None:
    assert list(looked(client, short=True)) == SHORT


def test_the_client_says_which_engine_uploads_and_why(client: LocalObjectStorageClient) -> None:
    client.engine_note = "nothing else is there"
    assert looked(client)["client"].detail == (
        "LocalObjectStorageClient; dpone-airflow uploads, since nothing else is there."
    )


@pytest.mark.parametrize("base", ["s3://lake/orders/_manifests", "orders", "az://c/p?sig=abc"])
def test_a_base_that_can_not_be_one_is_refused_before_anything_is_written(
    client: LocalObjectStorageClient, base: str
) -> None:
    with pytest.raises((InvalidPlanError, InvalidUriError)):
        diagnose(client, base)
    assert not client.root_dir.exists()


def test_no_record_and_no_run_is_seen_while_the_sentinel_lies_there(root: Path) -> None:
    seen: list[tuple[Any, list[str]]] = []

    class Peeking(LocalObjectStorageClient):
        def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
            assert uri in self.list_prefix(PLACE)
            seen.append((find_records(self, BASE), self.list_folders(PLACE)))
            return super().get_bytes(uri, limit=limit)

    diagnose(Peeking(root), BASE)
    assert seen == [({}, ["_manifests"])]


@pytest.mark.parametrize("stopper", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("method", ["stat", "get_bytes", "list_uploads"])
def test_whatever_ends_it_the_sentinel_goes(root: Path, method: str, stopper: type[BaseException]) -> None:
    class Stopping(LocalObjectStorageClient):
        stopped = False

    def stop(self: Stopping, *_: Any, **__: Any) -> Any:
        if not self.stopped:
            self.stopped = True
            raise stopper
        return []

    setattr(Stopping, method, stop)
    client = Stopping(root)
    with pytest.raises(stopper):
        diagnose(client, BASE)
    assert client.stopped
    assert LocalObjectStorageClient(root).list_prefix(PLACE) == []


def test_what_lies_below_the_base_stays(client: LocalObjectStorageClient) -> None:
    kept = [
        PLACE.child("run-1/a.csv"),
        PLACE.child("_manifests/run-1/_run.json"),
        PLACE.child("_manifests/.dpone-doctor"),
    ]
    for uri in kept:
        client.put_bytes(b"x", uri)
    diagnose(client, BASE)
    assert sorted(client.list_prefix(PLACE)) == sorted(kept)


# What it says of a fault.


def test_a_second_create_that_is_not_refused_is_a_failure(root: Path) -> None:
    class Unconditional(LocalObjectStorageClient):
        def put_bytes(self, data: bytes, uri: ObjectStorageUri, **how: Any) -> ObjectStorageObject:
            return super().put_bytes(data, uri, **(how | {"only_if_absent": False}))

    checks = looked(Unconditional(root))
    assert not_ok(checks) == {"conditional put": Outcome.FAILED}
    assert "created twice" in checks["conditional put"].detail
    assert "both get it" in checks["conditional put"].cause


@pytest.mark.parametrize(("minutes", "told"), [(10, "behind"), (-10, "ahead of"), (600, "behind")])
def test_a_clock_that_is_off_is_a_warning(root: Path, minutes: int, told: str) -> None:
    class Elsewhen(LocalObjectStorageClient):
        def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
            return replace(super().stat(uri), modified=datetime.now(UTC) + timedelta(minutes=minutes))

    checks = looked(Elsewhen(root))
    assert not_ok(checks) == {"clock": Outcome.WARNING}
    seconds, rest = re.fullmatch(r"This host's clock is ([\d,]+) s (.*) the store's\.", checks["clock"].detail).groups()  # type: ignore[union-attr]
    assert (rest, abs(int(seconds.replace(",", "")) - abs(minutes) * 60) <= 2) == (told, True)


def test_a_store_that_tells_no_time_leaves_the_clock_unknown(root: Path) -> None:
    class Timeless(LocalObjectStorageClient):
        def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
            return replace(super().stat(uri), modified=None)

    assert not_ok(looked(Timeless(root))) == {"clock": Outcome.UNKNOWN}


@given(st.integers(0, 10**7), st.integers(0, 5_000), st.just(0.0) | st.floats(-5_000, 5_000))
def test_the_clocks_are_as_far_apart_as_they_are_but_for_the_second_that_a_store_cuts_off(
    start: int, took: int, ahead: float
) -> None:
    before = datetime.fromtimestamp(start / 1000, UTC)
    after = before + timedelta(milliseconds=took)
    by_the_store = before + timedelta(milliseconds=took / 2, seconds=ahead)
    told = _apart(before, by_the_store.replace(microsecond=0), after).total_seconds()
    assert abs(told - ahead) <= 1.01 + took / 1000
    if abs(ahead) < 0.001:
        assert told == 0


@pytest.mark.parametrize("status", [200, 400, 412])
def test_a_store_that_takes_a_wrong_checksum_is_a_warning(root: Path, status: int) -> None:
    class Answering(LocalObjectStorageClient):
        def _put_wrong(self, target: Any, data: bytes, digest: str) -> bool:
            if status == 200:
                self._put_small(target, data, digest, False)
                return True
            raise store_error("write", target.uri, status, "Bad", "No.")

    found = not_ok(looked(Answering(root)))
    assert found == ({} if status == 400 else {"checksum": Outcome.WARNING if status == 200 else Outcome.FAILED})


@pytest.mark.parametrize("where", ["get", "stat", "list"])
def test_an_object_that_comes_back_as_another_is_a_failure(root: Path, where: str) -> None:
    class Wrong(LocalObjectStorageClient):
        looking = True

        def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
            return super().get_bytes(uri, limit=limit)[where == "get" :]

        def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
            found = super().stat(uri)
            return replace(found, size_bytes=found.size_bytes + (where == "stat"))

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            for item in super().list_objects(prefix):
                if where != "list" or not item.uri.key.endswith("/object"):
                    yield item

    checks = diagnose(Wrong(root), BASE)
    (failed,) = [check for check in checks if check.outcome is Outcome.FAILED]
    assert failed.name == where
    assert failed.action.endswith("docs/runbook.md#the-prefix-isnt-what-was-uploaded")


def test_a_delete_that_only_says_so_is_a_failure(root: Path) -> None:
    class Forgetful(LocalObjectStorageClient):
        def delete_objects(self, uris: Sequence[ObjectStorageUri]) -> None:
            pass

    found = {check.name: check for check in diagnose(Forgetful(root), BASE)}
    assert not_ok(found) == {
        "delete": Outcome.FAILED,
        "multipart": Outcome.UNKNOWN,
        "bulk delete": Outcome.UNKNOWN,
        "sentinel": Outcome.WARNING,
    }
    assert "still lists it" in found["delete"].detail
    assert found["bulk delete"].detail == "Not run, because delete failed."
    left = LocalObjectStorageClient(root).list_prefix(PLACE)
    assert len(left) >= 3
    assert all(str(uri) in found["sentinel"].detail for uri in left)


def test_a_delete_that_is_refused_names_the_right_and_what_is_left(root: Path) -> None:
    class Refusing(LocalObjectStorageClient):
        def delete_objects(self, uris: Sequence[ObjectStorageUri]) -> None:
            raise delete_incomplete({str(uri): str(denied("delete", uri)) for uri in uris})

    found = {check.name: check for check in diagnose(Refusing(root), BASE)}
    assert found["delete"].outcome is Outcome.FAILED
    assert "s3:DeleteObject" in found["delete"].detail
    assert "docs/runbook.md#something-is-left" in found["delete"].action
    assert found["sentinel"].outcome is Outcome.WARNING


def test_what_was_refused_is_not_called_left(root: Path) -> None:
    class Nothing(LocalObjectStorageClient):
        """May do nothing, not even look."""

        def put_bytes(self, data: bytes, uri: ObjectStorageUri, **_: Any) -> ObjectStorageObject:
            raise denied("write", uri)

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            raise denied("list", prefix)

        def delete_objects(self, uris: Sequence[ObjectStorageUri]) -> None:
            raise delete_incomplete({str(uri): str(denied("delete", uri)) for uri in uris})

    checks = {check.name: check for check in diagnose(Nothing(root), BASE)}
    assert [name for name, outcome in not_ok(checks).items() if outcome is Outcome.FAILED] == ["put", "conditional put"]
    assert "sentinel" not in checks


def test_rights_that_only_the_doctor_lacks_are_unknown_and_named(root: Path) -> None:
    class Limited(LocalObjectStorageClient):
        def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
            return BucketSettings(
                public=Unreadable("No.", "s3:GetBucketAcl"),
                kept=Unreadable("No.", "s3:GetBucketVersioning"),
                rules=Unreadable("No.", "s3:GetLifecycleConfiguration"),
            )

        def free_bytes(self) -> int | None:
            return None

        def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
            raise denied("list the unfinished uploads below", prefix)

    checks = looked(Limited(root))
    assert not_ok(checks) == dict.fromkeys(
        ("multipart abort", "public access", "lifecycle", "versions"), Outcome.UNKNOWN
    )
    assert "s3:ListBucketMultipartUploads" in checks["multipart abort"].cause
    assert "s3:GetBucketAcl" in checks["public access"].cause
    assert "s3:GetLifecycleConfiguration" in checks["lifecycle"].cause
    assert "s3:GetBucketVersioning" in checks["versions"].cause
    assert worst(checks.values()) is Outcome.UNKNOWN


def test_an_upload_that_stays_open_is_a_warning(root: Path) -> None:
    class Leaving(LocalObjectStorageClient):
        asked = 0

        def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
            self.asked += 1
            return [UnfinishedUpload(prefix.child("stopped"), str(number), None) for number in range(self.asked)]

        def abort_uploads(self, prefix: ObjectStorageUri, **_: Any) -> int:
            raise denied("abort an upload of", prefix)

    checks = looked(Leaving(root))
    assert not_ok(checks) == {"multipart abort": Outcome.WARNING}
    assert "s3:AbortMultipartUpload" in checks["multipart abort"].action


@pytest.mark.parametrize(("scheme", "written"), [("az", True), ("s3", False), ("gs", False)])
def test_on_azure_the_blob_is_written_so_that_no_block_of_it_stays(root: Path, scheme: str, written: bool) -> None:
    """Azurite drops the blocks with a delete already, so it can't show it."""
    puts: list[str] = []

    class Noting(LocalObjectStorageClient):
        def put_bytes(self, data: bytes, uri: ObjectStorageUri, **how: Any) -> ObjectStorageObject:
            puts.append(uri.key.rpartition("/")[2])
            return super().put_bytes(data, uri, **how)

    base = f"{scheme}://lake/orders"
    assert [check for check in diagnose(Noting(root), base) if check.outcome is not Outcome.OK] == []
    assert ("stopped" in puts) is written
    assert LocalObjectStorageClient(root).list_prefix(ObjectStorageUri.parse(base)) == []


def test_what_another_writer_left_unfinished_is_not_the_doctors(root: Path) -> None:
    class Old(LocalObjectStorageClient):
        def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
            return [UnfinishedUpload(prefix, "1", None)]

        def abort_uploads(self, prefix: ObjectStorageUri, **_: Any) -> int:
            return 0

    assert not_ok(looked(Old(root))) == {}


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_a_store_that_lists_no_uploads_leaves_the_abort_unknown(root: Path, status: int, code: str) -> None:
    class Mute(LocalObjectStorageClient):
        def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
            raise store_error("list the unfinished uploads below", prefix, status, code, "No.")

    assert not_ok(looked(Mute(root))) == {"multipart abort": Outcome.UNKNOWN}


def test_an_upload_that_a_stop_does_not_end_is_a_failure(root: Path) -> None:
    class Whole(LocalObjectStorageClient):
        def put_file(self, content: Any, uri: ObjectStorageUri, **_: Any) -> ObjectStorageObject:
            return super().put_file(content, uri)

    assert not_ok(looked(Whole(root))) == {"multipart abort": Outcome.FAILED}


def settings(**told: Any) -> type[LocalObjectStorageClient]:
    class Bucket(LocalObjectStorageClient):
        def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
            return BucketSettings(**({"public": (), "kept": "", "rules": [ABORT]} | told))

        def free_bytes(self) -> int | None:
            return None

    return Bucket


ABORT = {
    "ID": "tidy",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
}
EXPIRE = {"ID": "short", "Status": "Enabled", "Filter": {"Prefix": "ord"}, "Expiration": {"Days": 1}}


def test_an_open_bucket_is_a_warning_that_says_what_opens_it(root: Path) -> None:
    checks = looked(settings(public=["its bucket policy", "an ACL"])(root))
    assert not_ok(checks) == {"public access": Outcome.WARNING}
    assert checks["public access"].detail == "The bucket is open to everybody, by its bucket policy and an ACL."


def test_a_bucket_without_a_rule_for_stale_uploads_is_a_warning_with_the_line_to_write(root: Path) -> None:
    checks = looked(settings(rules=[ABORT | {"Status": "Disabled"}])(root))
    assert not_ok(checks) == {"lifecycle": Outcome.WARNING}
    assert f"lifecycle render {BASE}" in checks["lifecycle"].action
    assert looked(settings()(root))["lifecycle"].detail == (
        "The bucket has rule 'tidy': abort unfinished uploads after 3 days."
    )


def test_a_rule_that_deletes_what_is_staged_is_mentioned(root: Path) -> None:
    found = looked(settings(rules=[ABORT, EXPIRE])(root))["lifecycle"]
    assert found.outcome is Outcome.OK
    assert "Mind rule 'short': delete everything after 1 day" in found.detail


def test_a_rule_of_a_form_that_is_not_known_leaves_it_unknown(root: Path) -> None:
    checks = looked(
        settings(rules=[{"Status": "Enabled", "Expiration": {"Days": "soon"}}], versioned=True, kept="x")(root)
    )
    assert not_ok(checks) == {"lifecycle": Outcome.UNKNOWN}


def test_versions_that_nothing_drops_are_a_warning(root: Path) -> None:
    kept: dict[str, Any] = {"kept": "older versions", "versioned": True}
    checks = looked(settings(**kept)(root))
    assert not_ok(checks) == {"versions": Outcome.WARNING}
    assert "--version-days" in checks["versions"].action
    drop = {"Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}}
    checks = looked(settings(**kept, rules=[ABORT, drop])(root))
    assert not_ok(checks) == {}
    assert "drop older versions after 3 days" in checks["versions"].detail


def test_what_answers_about_objects_say_of_versions_counts_where_the_bucket_says_nothing(root: Path) -> None:
    unread = Unreadable("No.", "s3:GetBucketVersioning")
    bucket = settings(kept=unread)
    bucket.keeps_versions = lambda self, anywhere: True  # type: ignore[method-assign]
    assert "keeps older versions" in looked(bucket(root))["versions"].detail


def test_a_disk_that_is_nearly_full_is_a_warning(root: Path) -> None:
    class Full(LocalObjectStorageClient):
        def free_bytes(self) -> int | None:
            return 100 * 1024**2

    checks = looked(Full(root))
    assert not_ok(checks) == {"disk": Outcome.WARNING}
    assert checks["disk"].detail == "0.1 GiB are free."


def test_a_disk_that_can_not_be_looked_at_ends_no_other_check(root: Path) -> None:
    class Locked(LocalObjectStorageClient):
        def free_bytes(self) -> int | None:
            raise PermissionError(errno.EACCES, "Permission denied")

    checks = looked(Locked(root))
    assert not_ok(checks) == {"disk": Outcome.UNKNOWN}
    assert checks["disk"].detail == "The emulator's directory can't be looked at: Permission denied."
    assert checks["public access"].detail == "The emulator's files are for whoever the file system lets read them."


def test_the_room_on_the_disk_is_told_before_the_root_is_there(root: Path) -> None:
    free = LocalObjectStorageClient(root / "not" / "yet").free_bytes()
    assert free is not None
    assert abs(free - os.statvfs(root.parent).f_bavail * os.statvfs(root.parent).f_frsize) < 1024**3


@pytest.fixture
def ordinary_user(tmp_path: Path) -> Iterator[None]:
    """Whoever runs the tests, without what root may do."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("ordinary_user")
def test_a_root_that_is_read_only_fails_once_and_the_rest_is_not_run(tmp_path: Path) -> None:
    # The user of the fixture owns nothing in it.
    folder = tmp_path / "read-only"
    if os.geteuid() != 65534:
        folder.mkdir(mode=0o555)
    checks = {check.name: check for check in diagnose(LocalObjectStorageClient(folder), BASE)}
    assert checks["put"].outcome is Outcome.FAILED
    assert "PermissionError" in checks["put"].detail
    assert "may not do that in the emulator's directory" in checks["put"].cause
    assert {checks[name].detail for name in ("stat", "list", "get", "delete", "multipart", "bulk delete")} == {
        "Not run, because put failed."
    }
    assert "sentinel" not in checks


@pytest.mark.parametrize(
    ("status", "code"), [(403, "InvalidAccessKeyId"), (404, "NoSuchBucket"), (None, "EndpointConnectionError")]
)
def test_after_what_ends_everything_nothing_else_is_asked(root: Path, status: int | None, code: str) -> None:
    asked: list[str] = []

    class Gone(LocalObjectStorageClient):
        def _calls(self, *_: Any, **__: Any) -> Any:
            asked.append("a request")
            raise store_error("write", PLACE, status, code, "No.")

        put_bytes = delete_objects = list_objects = list_uploads = bucket_settings = put_file = stat = _calls

    checks = {check.name: check for check in diagnose(Gone(root), BASE)}
    assert {name for name, check in checks.items() if check.detail == "Not run, because put failed."} == set(ALL) - {
        "client",
        "put",
        "disk",
    }
    assert (list(checks), asked) == (ALL, ["a request"])


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = {check.name: check for check in diagnose(LocalObjectStorageClient(tmp_path / "file"), BASE)}
    assert found["put"].outcome is Outcome.FAILED
    assert str(tmp_path / "file") in found["put"].detail
    assert "a file lies where a folder must be" in found["put"].cause


# From an error to its cause.


def answer(status: int | None, code: str) -> StorageError:
    return store_error("write", PLACE, status, code, "Words.")


CAUSES: list[tuple[Exception, str, str, bool]] = [
    (answer(403, "InvalidAccessKeyId"), "no such access key", "the-store-refuses-the-credentials", True),
    (answer(403, "SignatureDoesNotMatch"), "secret key doesn't belong", "the-store-refuses-the-credentials", True),
    (answer(400, "ExpiredToken"), "has run out", "the-store-refuses-the-credentials", True),
    (answer(None, "NoCredentials"), "holds no credentials", "the-store-refuses-the-credentials", True),
    (answer(403, "AuthorizationFailure"), "firewall", "the-store-refuses-the-credentials", True),
    (answer(401, "Unauthorized"), "aren't accepted", "the-store-refuses-the-credentials", True),
    (answer(403, "RequestTimeTooSkewed"), "clock is wrong", "the-doctor-finds-something", True),
    (answer(403, "AccessDenied"), "lacks the right s3:PutObject", "the-store-refuses-the-credentials", False),
    (answer(404, "NoSuchBucket"), "no such bucket", "the-bucket-is-missing", True),
    (answer(None, "EndpointConnectionError"), "is away", "the-store-doesnt-answer", True),
    (answer(None, "GenericError"), "is away", "the-store-doesnt-answer", True),
    (answer(503, "SlowDown"), "busy", "the-store-doesnt-answer", False),
    (answer(400, "MalformedXML"), "doesn't take the request", "the-store-doesnt-answer", False),
    (answer(400, "BadDigest"), "change on their way", "the-checksum-is-wrong", False),
    (answer(404, "NoSuchKey"), "something else deletes", "the-prefix-isnt-what-was-uploaded", False),
    (DeleteIncompleteError("No."), "right to delete", "something-is-left", False),
    (MissingExtraError("gcp", "gs:// URIs"), "extra", "an-extra-is-missing", False),
    (ConnectionMismatchError("no 'root_dir'"), "where the buckets are", "the-connection-cant-be-made", False),
    (ConnectionMismatchError("of another type"), "two stores", "uri-and-connection-dont-fit", False),
    (EngineNotUsableError("No."), "obstore can't", "obstore-cant-upload-here", False),
    (InvalidOptionError("No."), "can't be meant", "a-name-or-file-cant-be-staged", False),
    (ValueError("Unable to find a region"), "isn't defined here", "the-connection-cant-be-made", False),
]


def anchors() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", (DOCS / "runbook.md").read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("error", "cause", "section", "final"), CAUSES)
def test_an_error_has_a_cause_and_a_section_of_the_runbook(
    error: Exception, cause: str, section: str, final: bool
) -> None:
    told, action = cause_and_action(error)
    assert cause in told
    assert action.endswith(f": docs/runbook.md#{section}")
    assert section in anchors()
    assert is_final(error) is final


def test_every_section_that_an_action_names_is_in_the_runbook() -> None:
    sources = Path(__file__).parents[2] / "dpone_airflow" / "staging"
    named: set[str] = set()
    for name in ("doctor.py", "doctor_bucket.py", "likely_cause.py"):
        text = (sources / name).read_text()
        named |= set(re.findall(r'"((?:[a-z]+-){2,}[a-z]+)"', text)) | set(re.findall(r"RUNBOOK\}([a-z-]+)", text))
    assert len(named) > 12
    assert named <= anchors()


def test_a_finding_shows_no_secret() -> None:
    found = finding("put", StorageError("https://c.blob.core.windows.net/x?sig=c2VjcmV0 AccountKey=abc123=="))
    assert "c2VjcmV0" not in str(found)
    assert "abc123" not in str(found)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], "ok"),
        (["ok", "unknown"], "unknown"),
        (["unknown", "warning"], "warning"),
        (["warning", "failed"], "failed"),
    ],
)
def test_the_worst_outcome_counts(outcomes: list[str], expected: str) -> None:
    assert worst(Check("x", Outcome(outcome), "") for outcome in outcomes) == expected


def test_a_summary_names_what_failed_or_what_is_to_be_known() -> None:
    ok, bad = Check("put", Outcome.OK, "Fine."), Check("list", Outcome.FAILED, "No.", "c", "a")
    assert summary([ok, bad, Check("get", Outcome.UNKNOWN, "Not run.")], "All well.") == (False, "list: No.")
    assert summary([ok, Check("disk", Outcome.OK, "9 GiB are free.")], "All well.") == (
        True,
        "All well. 9 GiB are free.",
    )
    assert summary([ok, Check("x", Outcome.WARNING, "Mind.")], "All well.") == (True, "All well. Mind.")


# The hooks.


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def define(conn_id: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"port": 0} | fields))

    return define


LOCAL = "dpone_local_object_storage"


def test_a_connection_is_tested_below_a_base(connect: Callable[..., None], root: Path) -> None:
    connect("mine", conn_type=LOCAL, extra={"root_dir": str(root)})
    worked, message = ObjectStorageHook("mine").test_connection(BASE)
    assert worked
    assert message.startswith(f"A sentinel was written, created, listed, read and deleted below {BASE}.")
    assert "GiB are free." in message
    assert LocalObjectStorageClient(root).list_prefix(PLACE) == []


def test_a_connection_alone_names_no_place_to_write_to(connect: Callable[..., None], root: Path) -> None:
    connect("mine", conn_type=LOCAL, extra={"root_dir": str(root)})
    worked, message = ObjectStorageHook("mine").test_connection()
    assert not worked
    assert "base_uri" in message
    assert not root.exists()


@pytest.mark.parametrize(
    ("fields", "uri", "told"),
    [
        (None, BASE, "isn't defined"),
        ({"conn_type": "aws"}, "gs://lake/x", "needs a connection of type 'google_cloud_platform'"),
        ({"conn_type": LOCAL, "extra": {}}, BASE, "no 'root_dir'"),
    ],
)
def test_a_connection_that_makes_no_client_is_the_only_finding(
    connect: Callable[..., None], fields: dict[str, Any] | None, uri: str, told: str
) -> None:
    if fields is not None:
        connect("mine", **fields)
    (found,) = ObjectStorageHook("mine").diagnose(uri)
    assert (found.name, found.outcome) == ("connection", Outcome.FAILED)
    assert told in found.detail
    assert "docs/runbook.md#" in found.action
    worked, message = ObjectStorageHook("mine").test_connection(uri)
    assert not worked
    assert told in message


def test_whatever_the_official_hook_raises_is_a_finding(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    connect("mine", conn_type="aws", extra={"profile_name": "nobody"})
    (found,) = ObjectStorageHook("mine").diagnose(BASE)
    assert found.outcome is Outcome.FAILED
    assert "nobody" in found.detail


def test_a_base_uri_with_a_secret_in_it_is_refused_without_it(connect: Callable[..., None]) -> None:
    worked, message = ObjectStorageHook("mine").test_connection("az://c/p?sig=c2VjcmV0")
    assert not worked
    assert "c2VjcmV0" not in message


def test_the_emulators_button_tells_the_room_on_the_disk(connect: Callable[..., None], root: Path) -> None:
    connect("mine", conn_type=LOCAL, extra={"root_dir": str(root)})
    worked, message = LocalObjectStorageHook("mine").test_connection()
    assert worked
    assert re.fullmatch(rf"Objects can be written, read and deleted below {root}\. [\d,.]+ GiB are free\.", message), (
        message
    )


def test_an_engine_is_explained_by_the_hook(connect: Callable[..., None]) -> None:
    connect("mine", conn_type="aws", login="key", password="secret", extra={"endpoint_url": "http://127.0.0.1:1"})
    assert ObjectStorageHook("mine").get_client(BASE).engine_note == "it honours every setting of the connection"
    assert ObjectStorageHook("mine", engine="sdk").get_client(BASE).engine_note == "engine='sdk' asks for it"
    refused = ObjectStorageHook("mine", {"ACL": "private"}).get_client(BASE)
    assert (refused.engine, refused.engine_note) == ("boto3", "obstore can't honour the storage option ACL")


def test_a_missing_right_is_never_final() -> None:
    error = StorageAccessDeniedError("No.", status=403, code="AccessDenied", permission="s3:ListBucket")
    assert is_final(error) is False
