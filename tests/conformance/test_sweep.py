"""A sweep on every store: ages are those of its listings, and what is due goes, is proven and recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.staging.sweep_report import SweepReport
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from tests.conformance.stores import Store
from tests.crash.moments import before_sending

MONTH, DAY = timedelta(days=30), timedelta(days=1)


class Stager:
    """Stages two files of a base's runs."""

    def __init__(self, client: ObjectStorageClient, base: ObjectStorageUri, folder: Path) -> None:
        self.client = client
        self.base = base
        self.folder = folder
        for name in ("a.csv", "b.csv"):
            (folder / name).write_text(f"{name}\n")

    def stage(self, run_id: str, policy: str = "delete_on_success", part: str | None = None) -> None:
        plan = ObjectStorageStagingPlan(
            str(self.base), run_id, "shop", "orders", "csv", cleanup_policy=policy, part=part
        )
        writer = StagingWriter(dag_id="daily", dag_run_id=run_id, map_index=-1 if part is None else int(part[-1]))
        ObjectStorageStagingService(client=self.client, writer=writer).stage_files(plan, str(self.folder))

    def store_time(self) -> datetime:
        """Return the time by the store's clock."""
        probe = replace(self.base, key=f"{self.base.key}-clock")
        self.client.put_bytes(b"x", probe)
        at = self.client.stat(probe).modified_at
        self.client.delete_objects([probe])
        assert at is not None
        return at

    def next_second(self) -> datetime:
        """Return a time by the store's clock that is later than all before and earlier than all to come."""
        before = self.store_time()
        while (now := self.store_time()) < before + timedelta(seconds=1):
            pass  # some stores tell whole seconds
        return before + (now - before) / 2

    def left(self) -> set[str]:
        below = len(self.base.prefix)
        return {uri.key[below:] for uri in self.client.list_prefix(self.base)}


# Who uploads makes no difference to a sweep.
@pytest.fixture(
    params=["emulator-s3", "emulator-azure", "seaweedfs", "fake-gcs-server", "gcp-storage-emulator", "azurite"]
)
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Store:
    return started(request.param)


@pytest.fixture
def stager(client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path) -> Stager:
    return Stager(client, base, tmp_path)


def by_run(report: SweepReport) -> dict[str, tuple[str, str, int]]:
    return {run.run_id: (str(run.reason), run.state, run.objects) for run in report.swept}


def test_what_is_due_goes_and_nothing_else_and_a_dry_run_says_so_before(
    client: ObjectStorageClient, base: ObjectStorageUri, stager: Stager
) -> None:
    stager.stage("old")
    stager.stage("kept", "retain")
    for index in range(2):
        stager.stage("mapped", part=f"map-0000{index}")
    stager.stage("gone")
    clean_up_run(client, str(base), "gone", policy="delete_always")
    stager.stage("restaged")
    client.put_bytes(b"live", base.child("live/a.csv"))
    then = stager.next_second()
    stager.stage("young")
    stager.stage("restaged")  # by the same writer: it sends nothing and says that it goes on
    before = stager.left()

    options: dict[str, Any] = {"older_than": MONTH, "evidence_older_than": MONTH, "now": then + MONTH}
    dry = sweep_base(client, str(base), **options)
    assert stager.left() == before
    report = sweep_base(client, str(base), dry_run=False, by={"dag_id": "housekeeping"}, **options)
    assert dry.to_dict() | {"dry_run": False} == report.to_dict()
    assert report.failures == {}
    assert by_run(report) == {"old": ("older_than", "staged", 2), "mapped": ("older_than", "staged", 4)}
    assert dict(report.kept) == {"retained": 1, "young": 2}
    assert report.unclaimed == [f"{base}/live/"]
    assert [item.run_id for item in report.evidence] == ["gone"]
    gone = {name for name in before if name.startswith(("old/", "mapped/", "_manifests/gone"))}
    assert stager.left() == before - gone | {"_manifests/old/_run/cleanup.json", "_manifests/mapped/_run/cleanup.json"}
    record = json.loads(client.get_bytes(StagingEvidence(client, str(base), "old").cleanup_uri))
    assert (record["outcome"], record["reason"], record["by"]) == ("deleted", "swept", {"dag_id": "housekeeping"})
    assert sweep_base(client, str(base), dry_run=False, **options).totals()["runs"] == 0


def test_a_killed_stages_run_is_overdue_with_its_unfinished_upload(
    client: ObjectStorageClient, base: ObjectStorageUri, stager: Stager
) -> None:
    stager.stage("overdue", "delete_always")
    stager.stage("kept", "retain")
    has_uploads = hasattr(client, "_s3")
    if has_uploads:
        for name in ("overdue/big", "kept/big", "elsewhere/big"):
            client._s3.create_multipart_upload(Bucket=base.bucket, Key=base.child(name).key)  # type: ignore[attr-defined]
    then = stager.next_second()
    early = sweep_base(client, str(base), older_than=MONTH, overdue_after=DAY, dry_run=False, now=then)
    assert (by_run(early), early.aborted_uploads) == ({}, 0)
    report = sweep_base(client, str(base), older_than=MONTH, overdue_after=DAY, dry_run=False, now=then + 2 * DAY)
    assert by_run(report) == {"overdue": ("overdue", "staged", 2)}
    left = {upload.uri.key for upload in client.list_uploads(base)}
    assert left == ({base.child("kept/big").key, base.child("elsewhere/big").key} if has_uploads else set())
    later = sweep_base(client, str(base), older_than=MONTH, dry_run=False, now=then + 2 * MONTH)
    assert (later.aborted_uploads, by_run(later)) == (int(has_uploads), {})
    left = {upload.uri.key for upload in client.list_uploads(base)}
    assert left == ({base.child("elsewhere/big").key} if has_uploads else set())
    client.abort_uploads(base)


# gcp-storage-emulator ignores conditions: there the retry makes its claim anew, and takes itself for a first try.
@pytest.mark.parametrize("store", ["emulator-s3", "seaweedfs", "fake-gcs-server", "azurite"], indirect=True)
def test_a_stage_that_begins_again_where_a_deletion_died_is_left_alone(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, stager: Stager
) -> None:
    (stager.folder / "b.csv").unlink()  # would be sent beside the other, and be an object already
    stager.stage("run-1")
    evidence = StagingEvidence(client, str(base), "run-1")
    evidence.write_deleting({"found_objects": 2})
    client.delete_objects(client.list_prefix(evidence.prefix))  # and there it was killed
    hour_later = stager.next_second() + timedelta(hours=1)
    has_uploads = hasattr(client, "_s3")
    reports = []

    def sweep() -> None:
        if has_uploads:
            client._s3.create_multipart_upload(Bucket=base.bucket, Key=evidence.prefix.child("big").key)  # type: ignore[attr-defined]
        options: dict[str, Any] = {"older_than": timedelta(hours=1), "now": hour_later}
        reports.append(sweep_base(store.client(), str(base), dry_run=False, **options))

    before_sending(client, "a.csv", sweep)
    stager.stage("run-1")  # is overtaken if the sweep leaves a record
    (report,) = reports
    assert (report.failures, report.aborted_uploads, report.kept.total(), report.swept) == ({}, 0, 1, [])
    assert len(client.list_uploads(base)) == int(has_uploads)
    records = {"_manifests/run-1/_run.json", "_manifests/run-1/_run/manifest.json"}
    assert stager.left() == {"run-1/a.csv", *records}
    client.abort_uploads(base)


def test_a_bucket_that_keeps_versions_hides_what_is_swept(started: Any, tmp_path: Path) -> None:
    bucket = f"versioned-{uuid4().hex[:8]}"
    client = replace(started("seaweedfs"), root=f"s3://{bucket}").client()
    s3 = client._s3
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    stager = Stager(client, ObjectStorageUri.parse(f"s3://{bucket}/base"), tmp_path)
    stager.stage("old")
    now = stager.next_second() + MONTH
    dry = sweep_base(client, str(stager.base), older_than=MONTH, now=now)
    report = sweep_base(client, str(stager.base), older_than=MONTH, dry_run=False, now=now)
    assert dry.to_dict() | {"dry_run": False} == report.to_dict()
    assert [(run.objects, run.hidden) for run in report.swept] == [(2, True)]
    assert report.totals()["hidden_objects"] == 2
    versions = s3.list_object_versions(Bucket=bucket, Prefix="base/old/")
    hidden = {"base/old/a.csv", "base/old/b.csv"}
    assert hidden == {version["Key"] for version in versions["Versions"]}
    assert hidden <= {marker["Key"] for marker in versions["DeleteMarkers"]}
