"""A sweep deletes the claimed runs that are due, whole and proven, and nothing else; a dry run says exactly which."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpone_airflow.staging import ObjectStorageStagingPlan, StagingWriter
from dpone_airflow.staging.evidence import StagingEvidence, claim_run
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.staging.sweep_report import SweepReport
from dpone_airflow.staging.sweep_search import _claim_problem
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.client import UnfinishedUpload
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    InvalidOptionError,
    InvalidPlanError,
    InvalidUriError,
    StorageAccessDeniedError,
    StorageError,
    SweepIncompleteError,
)
from tests.unit.old_runs import BASE, DAY, HOUR, MONTH, NOW, Runs

Stored = Callable[..., list[str]]


@pytest.fixture
def runs(client: LocalObjectStorageClient) -> Runs:
    return Runs(client)


@pytest.fixture
def sweep(client: LocalObjectStorageClient) -> Callable[..., SweepReport]:
    def sweep_it(**options: Any) -> SweepReport:
        given: dict[str, Any] = {"older_than": MONTH, "dry_run": False, "now": NOW} | options
        return sweep_base(given.pop("client", client), given.pop("base_uri", BASE), **given)

    return sweep_it


Sweep = Callable[..., SweepReport]


def swept(report: SweepReport) -> dict[str, str]:
    return {run.run_id: str(run.reason) for run in report.swept}


def uri(name: str) -> ObjectStorageUri:
    return ObjectStorageUri.parse(f"{BASE}/{name}")


# What is due.


def test_a_run_goes_when_all_of_it_is_old_and_its_neighbours_stay(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    evidence = runs.stage("run-1", MONTH + DAY)
    runs.stage("run-10", MONTH - DAY)
    runs.stage("run-", DAY)
    left = [name for name in stored() if not name.startswith(f"{BASE}/run-1/")]
    report = sweep()
    assert swept(report) == {"run-1": "older_than"}
    assert report.kept == Counter(young=2)
    assert set(stored()) == {*left, str(evidence.cleanup_uri)}


def test_the_evidence_says_what_was_swept_and_by_whom(
    runs: Runs, sweep: Sweep, client: LocalObjectStorageClient
) -> None:
    evidence = runs.stage("run-1", MONTH + DAY, policy="delete_on_success")
    sweep(by={"dag_id": "housekeeping"})
    record = json.loads(client.get_bytes(evidence.cleanup_uri))
    assert {name: record[name] for name in ("kind", "outcome", "reason", "cleanup_policy", "deleted_objects")} == {
        "kind": "cleanup",
        "outcome": "deleted",
        "reason": "swept",
        "cleanup_policy": "delete_on_success",
        "deleted_objects": 2,
    }
    assert record["by"]["dag_id"] == "housekeeping"


@pytest.mark.parametrize("what", ["claim_uri", "manifest_uri", "alive_uri", "failure_uri", "object"])
def test_one_young_object_or_record_keeps_the_whole_run(runs: Runs, sweep: Sweep, stored: Stored, what: str) -> None:
    evidence = runs.stage("run-1", MONTH + DAY)
    place = uri("run-1/late.csv") if what == "object" else getattr(evidence, what)
    content = None if runs.client.exists(place) else b"{}"
    runs.write_at(place, NOW - MONTH + HOUR, content)
    before = stored()
    report = sweep()
    assert (swept(report), report.kept) == ({}, Counter(young=1))
    assert stored() == before


def test_a_checkpoint_of_a_stage_that_goes_on_keeps_its_run(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", MONTH + DAY)
    runs.write_at(evidence.write_checkpoint(1, []), NOW - MONTH + timedelta(minutes=1))
    assert swept(sweep()) == {}


def test_a_run_is_due_from_the_very_second(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH)
    assert swept(sweep(now=NOW - timedelta(seconds=1))) == {}
    assert swept(sweep(now=NOW + timedelta(seconds=1))) == {"run-1": "older_than"}


def test_a_run_is_as_old_as_the_newest_of_it_and_its_oldest_object_is_told_too(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", 13 * MONTH)
    runs.write_at(evidence.manifest_uri, NOW - MONTH - DAY)
    runs.write_at(uri("run-1/0.csv"), NOW - 14 * MONTH)
    (run,) = sweep().swept
    assert (run.oldest, run.newest) == (NOW - 14 * MONTH, NOW - MONTH - DAY)


def test_all_parts_go_together_or_none(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    for index in range(3):
        runs.stage("run-1", part=f"map-0000{index}")
    runs.make_old("run-1", MONTH + DAY)
    late = StagingEvidence(runs.client, BASE, "run-1", "map-00002").verify_uri
    runs.write_at(late, NOW - DAY, b'{"kind": "verify"}')
    assert swept(sweep()) == {}
    runs.client.delete_objects([late])
    report = sweep()
    assert [(run.run_id, run.objects, run.size_bytes) for run in report.swept] == [("run-1", 6, 18)]
    assert not [name for name in stored() if "/_manifests/" not in name]


@pytest.mark.parametrize(
    ("policy", "cleaned", "due"),
    [
        ("delete_always", False, {"run-1": "overdue"}),
        ("delete_always", True, {}),
        ("delete_on_success", False, {}),
        ("retain", False, {}),
    ],
)
def test_what_was_always_to_be_deleted_and_never_was_is_due_earlier(
    runs: Runs, sweep: Sweep, policy: str, cleaned: bool, due: dict[str, str]
) -> None:
    runs.stage("run-1", policy=policy, cleaned=cleaned)
    if cleaned:  # a late upload, after the cleanup
        runs.client.put_bytes(b"late", uri("run-1/late.csv"))
    runs.make_old("run-1", 2 * DAY)
    assert swept(sweep(overdue_after=3 * DAY)) == {}
    assert swept(sweep(overdue_after=DAY)) == due


def test_an_incomplete_cleanup_is_no_cleanup(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", policy="delete_always")
    evidence.write_cleanup({"outcome": "incomplete", "cleanup_policy": "delete_always", "left": {"a": "AccessDenied"}})
    runs.make_old("run-1", 2 * DAY)
    report = sweep(overdue_after=DAY)
    assert [(run.reason, run.state) for run in report.swept] == [("overdue", "cleanup_incomplete")]


def test_what_was_staged_again_after_its_cleanup_is_overdue_again(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", policy="delete_always", cleaned=True)
    runs.stage("run-1", 2 * DAY, policy="delete_always")
    assert swept(sweep(overdue_after=DAY)) == {"run-1": "overdue"}


@pytest.mark.parametrize("include_retained", [True, False])
def test_a_retained_run_is_kept_unless_it_is_asked_for(runs: Runs, sweep: Sweep, include_retained: bool) -> None:
    runs.stage("run-1", MONTH + DAY, policy="retain")
    report = sweep(include_retained=include_retained)
    assert [run.policy for run in report.swept] == (["retain"] if include_retained else [])
    assert report.kept == (Counter() if include_retained else Counter(retained=1))


@pytest.mark.parametrize("second", ["retain", "delete_always"])
def test_where_its_records_name_two_policies_retain_wins(runs: Runs, sweep: Sweep, second: str) -> None:
    """The DAG was changed, and its task cleared: the claim is the first one's, the manifest the second one's."""
    first = "delete_always" if second == "retain" else "retain"
    runs.stage("run-1", policy=first)
    runs.stage("run-1", MONTH + DAY, policy=second)
    assert (swept(sweep()), sweep().kept) == ({}, Counter(retained=1))


@pytest.mark.parametrize("second", ["delete_on_success", "delete_always"])
def test_only_what_was_always_to_be_deleted_is_overdue(runs: Runs, sweep: Sweep, second: str) -> None:
    first = "delete_always" if second == "delete_on_success" else "delete_on_success"
    runs.stage("run-1", policy=first)
    runs.stage("run-1", 2 * DAY, policy=second)
    assert swept(sweep(overdue_after=DAY)) == {}
    assert swept(sweep(older_than=2 * DAY)) == {"run-1": "older_than"}


def test_one_part_that_is_to_be_retained_keeps_the_run(runs: Runs, sweep: Sweep) -> None:
    for index, policy in enumerate(["delete_always", "retain"]):
        runs.stage("run-1", policy=policy, part=f"map-0000{index}")
    runs.make_old("run-1", MONTH + DAY)
    assert sweep().kept == Counter(retained=1)


def test_a_failed_stage_without_a_manifest_is_swept(runs: Runs, sweep: Sweep, client: LocalObjectStorageClient) -> None:
    plan = ObjectStorageStagingPlan(BASE, "run-1", "shop", "orders", "csv", cleanup_policy="delete_always")
    claim_run(client, plan, StagingWriter(dag_id="daily"))
    client.put_bytes(b"half", uri("run-1/half.csv"))
    runs.make_old("run-1", 2 * DAY)
    report = sweep(overdue_after=DAY)
    assert [(run.state, run.objects) for run in report.swept] == [("being_staged", 1)]


# What is never touched.


def test_what_no_claim_names_is_told_and_left(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    for name in ("live/data.csv", "run-1.bak/a.csv", "lonely.csv", "_manifests/nobody/_run/manifest.json"):
        runs.write_at(uri(name), NOW - 10 * MONTH, b"live")
    runs.write_at(uri("nobody/a.csv"), NOW - 10 * MONTH, b"live")
    claim = b'{"version": 1, "kind": "claim", "at": "2026-01-01", "writer": {}, "plan": {"cleanup_policy": "retain"}}'
    for name, content in (("_manifests/.no-run-id/_run.json", claim), (".no-run-id/a.csv", b"live")):
        runs.write_at(uri(name), NOW - 10 * MONTH, content)
    before = stored()
    report = sweep(include_retained=True, evidence_older_than=HOUR)
    assert report.unclaimed == [f"{BASE}/{name}/" for name in (".no-run-id", "live", "nobody", "run-1.bak")]
    assert (report.runs, swept(report), report.evidence) == (0, {}, [])
    assert stored() == before


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (b"not json", "isn't a record of a claim"),
        (b"{}", "isn't a record of a claim"),
        (b'{"version": 99, "kind": "claim", "at": "2026-01-01"}', "upgrade it"),
        (b'{"version": 1, "kind": "claim", "at": "2026-01-01"}', "no claim that this dpone-airflow can read"),
        ({"writer": {"who": "knows"}}, "no claim that this dpone-airflow can read"),
        ({"plan": {}}, "no claim that this dpone-airflow can read"),
        ({"plan": {"base_uri": BASE, "run_id": "run-1", "cleanup_policy": "burn"}}, "no claim that this"),
        ({"plan": {"base_uri": BASE, "run_id": "run-2", "cleanup_policy": "delete_always"}}, "claims another place"),
        (
            {"plan": {"base_uri": "s3://other/staging", "run_id": "run-1", "cleanup_policy": "delete_always"}},
            "claims another place: s3://other/staging/run-1/",
        ),
        ({"plan": {"base_uri": "nonsense", "run_id": "run-1", "cleanup_policy": "delete_always"}}, "no claim that"),
    ],
)
def test_a_run_whose_claim_does_not_hold_is_told_and_left(
    runs: Runs, sweep: Sweep, stored: Stored, claim: Any, reason: str
) -> None:
    evidence = runs.stage("run-1")
    if isinstance(claim, dict):
        claim = json.dumps(json.loads(runs.client.get_bytes(evidence.claim_uri)) | claim).encode()
    runs.client.put_bytes(claim, evidence.claim_uri)
    runs.make_old("run-1", 10 * MONTH)
    runs.stage("run-2", 10 * MONTH)
    before = [name for name in stored() if "run-1" in name]
    report = sweep(include_retained=True, evidence_older_than=DAY)
    assert [record.uri for record in report.unreadable] == [str(evidence.claim_uri)]
    assert reason in report.unreadable[0].reason
    assert swept(report) == {"run-2": "older_than"}
    assert [name for name in stored() if "run-1" in name] == before


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_plans = st.dictionaries(st.sampled_from(["base_uri", "run_id", "cleanup_policy", "part"]), _json)


@given(writer=_json, plan=_json | _plans)
def test_whatever_a_claim_says_it_holds_or_it_does_not(writer: Any, plan: Any) -> None:
    problem = _claim_problem({"writer": writer, "plan": plan}, ObjectStorageUri.parse(BASE), "run-1")
    assert problem is not None, "nothing of this kind names s3://lake/staging/run-1/"


def test_both_forms_of_an_azure_uri_are_one_place() -> None:
    plan = {"base_uri": "azure://account/container/base", "run_id": "run-1", "cleanup_policy": "retain"}
    claim = {"writer": {}, "plan": plan}
    assert _claim_problem(claim, ObjectStorageUri.parse("az://container/base"), "run-1") is None
    for other in ("gs://container/base", "azure://another/container/base"):
        assert "claims another place" in str(_claim_problem(claim, ObjectStorageUri.parse(other), "run-1"))


def test_a_part_whose_claim_can_not_be_read_keeps_the_run(runs: Runs, sweep: Sweep) -> None:
    for index in range(2):
        evidence = runs.stage("run-1", part=f"map-0000{index}")
    runs.client.put_bytes(b"?", evidence.claim_uri)
    runs.make_old("run-1", 10 * MONTH)
    report = sweep()
    assert ([record.uri for record in report.unreadable], swept(report)) == ([str(evidence.claim_uri)], {})


def test_a_run_that_is_the_base_of_others_is_left(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    runs.stage("run-1", MONTH + DAY)
    Runs(runs.client, f"{BASE}/run-1").stage("inner", MONTH + DAY)
    runs.make_old("run-1", MONTH + DAY)
    before = stored()
    assert sweep().kept == Counter(nested_base=1)
    assert stored() == before
    assert swept(sweep(base_uri=f"{BASE}/run-1")) == {"inner": "older_than"}


@pytest.mark.parametrize(
    ("base_uri", "kind", "message"),
    [
        ("s3://lake", InvalidOptionError, "is a whole bucket: .*allow_bucket_root=True"),
        ("s3://lake/", InvalidOptionError, "is a whole bucket"),
        ("azure://account/container", InvalidOptionError, "is a whole bucket"),
        ("s3://lake//x", InvalidUriError, "empty segment"),
        ("s3://lake/../x", InvalidUriError, "as a segment"),
        ("", InvalidUriError, "no scheme"),
        (f"{BASE}/_manifests", InvalidPlanError, "evidence"),
    ],
)
def test_what_can_not_be_a_base_is_refused(sweep: Sweep, base_uri: str, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        sweep(base_uri=base_uri)


def test_a_whole_bucket_is_swept_when_that_is_said(client: LocalObjectStorageClient, sweep: Sweep) -> None:
    Runs(client, "s3://lake").stage("run-1", MONTH + DAY)
    client.put_bytes(b"live", ObjectStorageUri.parse("s3://lake/live/a.csv"))
    report = sweep(base_uri="s3://lake", allow_bucket_root=True)
    assert (swept(report), report.unclaimed) == ({"run-1": "older_than"}, ["s3://lake/live/"])
    assert client.exists(ObjectStorageUri.parse("s3://lake/live/a.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"older_than": timedelta(minutes=59)}, "older_than is 59m: give at least 1h"),
        ({"older_than": timedelta(0)}, "older_than is 0s"),
        ({"older_than": -DAY}, "older_than is .*give at least 1h"),
        ({"overdue_after": timedelta(minutes=10)}, "overdue_after is 10m"),
        ({"evidence_older_than": timedelta(seconds=1)}, "evidence_older_than is 1s"),
        ({"older_than": timedelta(days=999_999)}, "older_than is 999999d, which reaches back past the year 1: give"),
        ({"older_than": timedelta.max, "overdue_after": DAY}, "older_than is .*past the year 1"),
        ({"evidence_older_than": timedelta.max}, "evidence_older_than is .*past the year 1"),
        ({"older_than": DAY, "overdue_after": 2 * DAY}, "overdue_after is 2d and older_than is 1d"),
        ({"max_runs": -1}, "max_runs is -1"),
        ({"max_objects": "10"}, "max_objects is '10'"),
        ({"max_bytes": True}, "max_bytes is True"),
        ({"now": datetime(2026, 11, 23)}, "no time zone"),
    ],
)
def test_an_option_that_can_not_be_right_is_refused_before_anything_is_asked(
    sweep: Sweep, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        sweep(client=None, **options)


def test_a_bucket_that_is_not_there_is_an_error_or_empty(sweep: Sweep) -> None:
    class Missing(LocalObjectStorageClient):
        def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
            raise BucketNotFoundError("no such bucket", uri=str(prefix))

    with pytest.raises(BucketNotFoundError), TemporaryDirectory() as folder:
        sweep(client=Missing(root_dir=folder))
    assert sweep().to_dict()["counts"]["runs"] == 0


# Ceilings.


@pytest.mark.parametrize(
    ("ceilings", "gone", "left"),
    [
        ({"max_runs": 2}, ["oldest", "older"], {"old": "max_runs"}),
        ({"max_runs": 0}, [], {"oldest": "max_runs", "older": "max_runs", "old": "max_runs"}),
        ({"max_objects": 3}, ["oldest", "old"], {"older": "max_objects"}),
        ({"max_bytes": 17}, ["oldest", "older"], {"old": "max_bytes"}),
        ({"max_bytes": 18}, ["oldest", "older", "old"], {}),
        ({"max_objects": 0, "max_runs": 1}, [], dict.fromkeys(["oldest", "older", "old"], "max_objects")),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_the_oldest_go_first_and_what_would_pass_a_ceiling_is_postponed(
    runs: Runs,
    sweep: Sweep,
    ceilings: dict[str, int],
    gone: list[str],
    left: dict[str, str],
    dry_run: bool,
    stored: Stored,
) -> None:
    runs.stage("old", MONTH + DAY, files=1)
    runs.stage("older", MONTH + 2 * DAY, files=3)
    runs.stage("oldest", MONTH + 3 * DAY, files=2)
    report = sweep(dry_run=dry_run, **ceilings)
    assert [run.run_id for run in report.swept] == gone
    assert {run.run_id: ceiling for run, ceiling in report.postponed} == left
    there = {name.split("/")[4] for name in stored() if "/_manifests/" not in name}
    assert there == ({"old", "older", "oldest"} if dry_run else set(left))


# Dry runs, reports.


def test_a_dry_run_deletes_nothing_and_says_what_the_real_one_does(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    runs.stage("due", MONTH + DAY)
    runs.stage("overdue", 2 * DAY, policy="delete_always")
    runs.stage("young", DAY)
    runs.stage("kept", MONTH + DAY, policy="retain")
    runs.stage("gone", 13 * MONTH, cleaned=True)
    runs.stage("too-much", MONTH + HOUR, files=6)
    runs.client.put_bytes(b"live", uri("live/a.csv"))
    runs.client.put_bytes(b"?", runs.stage("broken").claim_uri)
    runs.make_old("broken", MONTH + DAY)
    unfinished = runs.client.root_dir / ".dpone" / "unfinished" / "killed"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, ((NOW - MONTH - DAY).timestamp(),) * 2)
    before = stored()
    options: dict[str, Any] = {"overdue_after": DAY, "evidence_older_than": 12 * MONTH, "max_objects": 7}
    dry = sweep(dry_run=True, **options).to_dict()
    assert stored() == before
    assert unfinished.exists()
    real = sweep(**options).to_dict()
    assert dry.pop("dry_run") is True
    assert real.pop("dry_run") is False
    assert dry == real
    assert real["counts"] == {
        "runs": 7,
        "swept": 2,
        "kept": 2,
        "postponed": 1,
        "unclaimed": 1,
        "unreadable": 1,
        "aborted_uploads": 1,
        "evidence": 1,
        "evidence_records": 3,
        "evidence_bytes": real["counts"]["evidence_bytes"],
        "postponed_evidence": 0,
        "failures": 0,
    }
    assert not unfinished.exists()
    assert swept(sweep(**options)) == {"too-much": "older_than"}, "what was postponed has its turn at the next sweep"


def test_nothing_is_deleted_unless_that_is_said(runs: Runs, client: LocalObjectStorageClient, stored: Stored) -> None:
    runs.stage("run-1", MONTH + DAY)
    before = stored()
    assert swept(sweep_base(client, BASE, older_than=MONTH)) == {"run-1": "older_than"}
    assert stored() == before


def test_a_report_is_plain_json_with_totals_and_bounded_when_asked(runs: Runs, sweep: Sweep) -> None:
    for number in range(3):
        runs.stage(f"run-{number}", MONTH + (number + 1) * DAY, files=number + 1)
    whole = sweep(dry_run=True).to_dict()
    assert json.loads(json.dumps(whole)) == whole
    assert whole["totals"] == {
        "runs": 3,
        "objects": 6,
        "bytes": 18,
        "hidden_objects": 0,
        "hidden_bytes": 0,
        "oldest": (NOW - MONTH - 3 * DAY).isoformat(),
        "newest": (NOW - MONTH - DAY).isoformat(),
    }
    assert whole["swept"][0] == {
        "run_id": "run-2",
        "prefix": f"{BASE}/run-2/",
        "policy": "delete_on_success",
        "state": "staged",
        "reason": "older_than",
        "objects": 3,
        "bytes": 9,
        "hidden": False,
        "oldest": (NOW - MONTH - 3 * DAY).isoformat(),
        "newest": (NOW - MONTH - 3 * DAY).isoformat(),
    }
    assert (whole["older_than"], whole["overdue_after"], whole["evidence_older_than"]) == ("30d", "30d", None)
    bounded = sweep(dry_run=True).to_dict(named=1)
    assert (len(bounded["swept"]), bounded["totals"], bounded["counts"]) == (1, whole["totals"], whole["counts"])


def test_a_bucket_that_keeps_versions_is_said_to(runs: Runs, sweep: Sweep, client: LocalObjectStorageClient) -> None:
    class Versioned(LocalObjectStorageClient):
        def keeps_versions(self, anywhere: ObjectStorageUri) -> bool | None:
            return True

    evidence = runs.stage("run-1", MONTH + DAY)
    versioned = Versioned(root_dir=client.root_dir)
    dry, real = (sweep(client=versioned, dry_run=dry_run) for dry_run in (True, False))
    for report in (dry, real):
        assert [(run.objects, run.hidden) for run in report.swept] == [(2, True)]
        assert (report.totals()["hidden_objects"], report.totals()["hidden_bytes"]) == (2, 6)
    record = json.loads(client.get_bytes(evidence.cleanup_uri))
    assert (record["outcome"], record["hidden_objects"], record["deleted_objects"]) == ("hidden", 2, 0)


# What happens meanwhile, and what fails.


class Hooked(LocalObjectStorageClient):
    """Does something else right before a run is deleted: when its evidence folder is listed again."""

    def __init__(self, root_dir: Path, meanwhile: Callable[[], Any]) -> None:
        super().__init__(root_dir=root_dir)
        self._meanwhile = meanwhile

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        if prefix.key.endswith("_manifests/run-1"):
            self._meanwhile()
        return super().list_objects(prefix)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda runs, evidence: evidence.write_alive(),
        lambda runs, evidence: evidence.write_verify({"outcome": "verified"}),
        lambda runs, evidence: runs.stage("run-1"),
        lambda runs, evidence: runs.client.delete_objects([evidence.claim_uri]),
    ],
    ids=["a sign of life", "a verify", "a stage that begins again and ends", "its claim is removed"],
)
def test_a_run_that_changes_before_its_turn_is_kept(
    runs: Runs, sweep: Sweep, meanwhile: Callable[..., Any], stored: Stored
) -> None:
    evidence = runs.stage("run-1", MONTH + DAY)
    hooked = Hooked(runs.client.root_dir, lambda: meanwhile(runs, evidence))
    report = sweep(client=hooked)
    assert (swept(report), report.kept, report.failures) == ({}, Counter(changed=1), {})
    assert [name for name in stored() if name.startswith(f"{BASE}/run-1/")] == [
        f"{BASE}/run-1/0.csv",
        f"{BASE}/run-1/1.csv",
    ]
    assert not runs.client.exists(evidence.cleanup_uri)


def test_an_object_that_comes_before_its_runs_turn_keeps_it(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH + DAY)

    class Late(LocalObjectStorageClient):
        listed = 0

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            if prefix.key.endswith("staging/run-1"):
                self.listed += 1
                if self.listed == 2:
                    runs.client.put_bytes(b"late", uri("run-1/late.csv"))
            return super().list_objects(prefix)

    assert sweep(client=Late(root_dir=runs.client.root_dir)).kept == Counter(changed=1)
    assert runs.client.exists(uri("run-1/late.csv"))


class Refusing(LocalObjectStorageClient):
    """Refuses to delete, or to list, what belongs to run-1."""

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        refused = [key for key in keys if "/run-1/0" in key]
        super()._delete_batch(anywhere, [key for key in keys if key not in refused])
        return dict.fromkeys(refused, "AccessDenied: no right to delete, sig=topsecret")


class Blind(LocalObjectStorageClient):
    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        if prefix.key.endswith("staging/run-1"):
            raise StorageAccessDeniedError(f"Could not list {prefix}: no right", uri=str(prefix))
        return super().list_objects(prefix)


@pytest.mark.parametrize(("kind", "why"), [(Refusing, "run-1/0.csv (AccessDenied: no right"), (Blind, "no right")])
def test_a_run_that_fails_does_not_stop_the_others_and_is_named(
    runs: Runs, sweep: Sweep, stored: Stored, kind: type[LocalObjectStorageClient], why: str
) -> None:
    for number in range(3):
        runs.stage(f"run-{number}", MONTH + DAY)
    report = sweep(client=kind(root_dir=runs.client.root_dir))
    assert swept(report) == {"run-0": "older_than", "run-2": "older_than"}
    assert set(report.failures) == {"run-1"}
    assert why in report.failures["run-1"]
    with pytest.raises(SweepIncompleteError, match=r"^1 of the 3 runs below s3://lake/staging/ .*run-1 \(") as failed:
        report.check()
    assert failed.value.failures == report.failures
    assert "topsecret" not in str(failed.value) + json.dumps(report.to_dict())
    assert {name.split("/")[4] for name in stored() if "/_manifests/" not in name} == {"run-1"}
    assert swept(sweep()) == {"run-1": "older_than"}, "its failed deletion doesn't make it young"


def test_a_report_without_failures_raises_nothing(sweep: Sweep) -> None:
    sweep().check()


def test_a_sweep_that_is_stopped_begins_no_further_run(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    for number in range(3):
        runs.stage(f"run-{number}", MONTH + DAY)
    runs.stage("gone", 13 * MONTH, cleaned=True)
    before = stored()
    stop = threading.Event()
    stop.set()
    report = sweep(stop=stop, evidence_older_than=12 * MONTH)
    assert ([ceiling for _, ceiling in report.postponed], report.postponed_evidence) == (["stopped"] * 3, 1)
    assert stored() == before


def test_two_sweeps_at_once_delete_each_run_once_and_neither_fails(
    runs: Runs, client: LocalObjectStorageClient, stored: Stored
) -> None:
    for number in range(12):
        runs.stage(f"run-{number}", MONTH + DAY, files=3)
    reports: list[SweepReport] = []
    sweepers = [
        threading.Thread(
            target=lambda: reports.append(sweep_base(client, BASE, older_than=MONTH, dry_run=False, now=NOW))
        )
        for _ in range(2)
    ]
    for sweeper in sweepers:
        sweeper.start()
    for sweeper in sweepers:
        sweeper.join()
    assert [report.failures for report in reports] == [{}, {}]
    assert {run.run_id for report in reports for run in report.swept} == {f"run-{number}" for number in range(12)}
    assert not [name for name in stored() if "/_manifests/" not in name]


def test_what_the_store_tells_no_age_of_is_kept(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH + DAY)

    class Ageless(LocalObjectStorageClient):
        where = "_manifests"

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            for item in super().list_objects(prefix):
                yield replace(item, modified=None) if self.where in item.uri.key else item

    ageless = Ageless(root_dir=runs.client.root_dir)
    assert sweep(client=ageless).kept == Counter(age_unknown=1)
    ageless.where = "_run/manifest.json"
    assert sweep(client=ageless).kept == Counter(age_unknown=1)
    ageless.where = "/run-1/0.csv"
    assert sweep(client=ageless).kept == Counter(age_unknown=1)


def test_a_deletion_that_died_does_not_make_a_run_young(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", MONTH + DAY)
    evidence.write_deleting({"found_objects": 2})
    assert swept(sweep()) == {"run-1": "older_than"}


def test_a_part_that_is_called_cleanup_makes_its_run_young(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", part="map-1")
    runs.make_old("run-1", MONTH + DAY)
    runs.client.put_bytes(b"{}", uri("_manifests/run-1/cleanup.json"))
    assert sweep().kept == Counter(young=1)


def test_a_folder_that_a_store_lists_though_it_is_empty_is_no_object(runs: Runs, sweep: Sweep) -> None:
    """SeaweedFS goes on to list one for a while."""

    class Ghostly(LocalObjectStorageClient):
        def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
            return [*super().list_folders(prefix), "gone"]

    runs.stage("gone", 13 * MONTH, cleaned=True)
    ghostly = Ghostly(root_dir=runs.client.root_dir)
    assert sweep(client=ghostly).kept == Counter(empty=1)
    assert [item.run_id for item in sweep(client=ghostly, evidence_older_than=12 * MONTH).evidence] == ["gone"]


# Unfinished uploads.


class Uploading(LocalObjectStorageClient):
    """Has unfinished uploads with places, as S3 does."""

    def __init__(self, root_dir: Path, uploads: dict[str, timedelta]) -> None:
        super().__init__(root_dir=root_dir)
        self.uploads = {
            name: UnfinishedUpload(uri(name), name, None if age is None else NOW - age) for name, age in uploads.items()
        }

    def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
        return [upload for upload in self.uploads.values() if upload.uri.key.startswith(prefix.prefix)]

    def _abort(self, upload: UnfinishedUpload) -> bool:
        return self.uploads.pop(upload.upload_id, None) is not None


@pytest.mark.parametrize("dry_run", [True, False])
def test_old_uploads_below_claimed_runs_are_aborted_and_no_others(runs: Runs, sweep: Sweep, dry_run: bool) -> None:
    runs.stage("due", MONTH + DAY)
    runs.stage("kept", MONTH + DAY, policy="retain")
    runs.stage("young", DAY)
    runs.stage("alive", timedelta(minutes=10))
    runs.client.put_bytes(b"?", runs.stage("broken").claim_uri)
    runs.make_old("broken", MONTH + DAY)
    old = MONTH + HOUR
    client = Uploading(
        runs.client.root_dir,
        {
            "due/old": old,
            "kept/old": old,
            "kept/young": DAY,
            "young/old": old,
            "alive/old": old,
            "broken/old": old,
            "unclaimed/old": old,
            "kept-not/old": old,
            "_manifests/kept/_run/manifest.json": old,
        },
    )
    before = set(client.uploads)
    report = sweep(client=client, dry_run=dry_run)
    gone = {"due/old", "kept/old", "young/old"}
    assert report.aborted_uploads == len(gone)
    assert before - set(client.uploads) == (set() if dry_run else gone)


@pytest.mark.parametrize("where", ["run-1/big.bin", "_manifests/run-1/_run/manifest.json"])
@pytest.mark.parametrize("age", [DAY, None])
def test_a_young_upload_keeps_its_run(runs: Runs, sweep: Sweep, where: str, age: timedelta) -> None:
    runs.stage("run-1", MONTH + DAY)
    client = Uploading(runs.client.root_dir, {where: age})
    assert sweep(client=client).kept == Counter(uploading=1)
    assert set(client.uploads) == {where}


def test_a_killed_stages_upload_does_not_keep_an_overdue_run(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", 2 * DAY, policy="delete_always")
    client = Uploading(runs.client.root_dir, {"run-1/big.bin": 2 * DAY})
    assert swept(sweep(client=client, overdue_after=DAY)) == {"run-1": "overdue"}
    assert client.uploads == {}


def test_an_upload_that_begins_before_its_runs_turn_keeps_it(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH + DAY)

    class BeginsLate(Uploading):
        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            if prefix.key.endswith("_manifests/run-1"):
                self.uploads["run-1/big"] = UnfinishedUpload(uri("run-1/big"), "run-1/big", NOW)
            return super().list_objects(prefix)

    client = BeginsLate(runs.client.root_dir, {})
    assert sweep(client=client).kept == Counter(changed=1)
    assert set(client.uploads) == {"run-1/big"}


def test_without_the_right_to_list_uploads_the_runs_are_swept_and_it_is_said(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH + DAY)

    class NoRight(LocalObjectStorageClient):
        def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
            raise StorageAccessDeniedError("needs s3:ListBucketMultipartUploads")

    report = sweep(client=NoRight(root_dir=runs.client.root_dir))
    assert (swept(report), report.uploads_unknown) == (
        {"run-1": "older_than"},
        "needs s3:ListBucketMultipartUploads",
    )


def test_an_abort_that_fails_is_told(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH + DAY, policy="retain")

    class NoRight(Uploading):
        def _abort(self, upload: UnfinishedUpload) -> bool:
            raise StorageError("needs s3:AbortMultipartUpload")

    report = sweep(client=NoRight(runs.client.root_dir, {"run-1/big.bin": 2 * MONTH}))
    assert report.failures == {"run-1": "needs s3:AbortMultipartUpload"}


def test_what_could_not_be_aborted_below_a_run_that_goes_is_not_counted(runs: Runs, sweep: Sweep) -> None:
    runs.stage("run-1", MONTH + DAY)

    class NoRight(Uploading):
        def _abort(self, upload: UnfinishedUpload) -> bool:
            raise StorageAccessDeniedError("needs s3:AbortMultipartUpload")

    client = NoRight(runs.client.root_dir, {"run-1/big.bin": 2 * MONTH})
    report = sweep(client=client)
    assert (swept(report), report.aborted_uploads) == ({"run-1": "older_than"}, 0)
    assert set(client.uploads) == {"run-1/big.bin"}


@pytest.mark.parametrize("ceilings", [{}, {"max_runs": 0}])
def test_a_dry_run_counts_the_uploads_whose_place_nobody_knows_as_the_real_one_does(
    runs: Runs, sweep: Sweep, ceilings: dict[str, int]
) -> None:
    for number in range(2):
        runs.stage(f"run-{number}", MONTH + DAY)
    folder = runs.client.root_dir / ".dpone" / "unfinished"
    for name, age in (("old", MONTH + DAY), ("young", DAY)):
        folder.joinpath(name).touch()
        os.utime(folder / name, ((NOW - age).timestamp(),) * 2)
    dry, real = (sweep(dry_run=dry_run, **ceilings) for dry_run in (True, False))
    assert dry.aborted_uploads == real.aborted_uploads == (1 if ceilings else 2)
    assert [path.name for path in folder.iterdir()] == (["young"] if ceilings else [])


# Deletions that died when all was gone but the record of it.


def with_a_dead_deletion(runs: Runs, age: timedelta = 2 * HOUR) -> StagingEvidence:
    """Return the evidence of a run that a deletion was killed in after its last delete."""
    evidence = runs.stage("run-1", policy="delete_always")
    evidence.write_deleting({"found_objects": 2})
    runs.client.delete_objects(runs.client.list_prefix(uri("run-1")))
    runs.make_old("run-1", age)
    return evidence


def evidence_of(runs: Runs) -> dict[str, str | None]:
    folder = uri("_manifests/run-1")
    return {item.uri.key[len(folder.prefix) :]: item.etag for item in runs.client.list_objects(folder)}


class Ghostly(Uploading):
    """Goes on to list the run's folder, as SeaweedFS does for a while, so that its run is looked at closely."""

    def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
        return [*super().list_folders(prefix), "run-1"]


@pytest.mark.parametrize("kind", [Uploading, Ghostly])
def test_what_a_deletion_did_that_died_is_recorded(runs: Runs, sweep: Sweep, kind: type[Uploading]) -> None:
    evidence = with_a_dead_deletion(runs, MONTH + DAY)
    client = kind(runs.client.root_dir, {"run-1x/big.bin": HOUR})
    before = evidence_of(runs)
    assert sweep(client=client, dry_run=True).kept == Counter(empty=1)
    assert evidence_of(runs) == before
    report = sweep(client=client)
    assert (report.kept, report.failures, report.aborted_uploads) == (Counter(empty=1), {}, 0)
    record = json.loads(runs.client.get_bytes(evidence.cleanup_uri))
    named = ("outcome", "reason", "cleanup_policy", "prefix", "deleted_objects", "hidden_objects")
    assert [record[name] for name in named] == ["deleted", "swept", "delete_always", f"{BASE}/run-1/", 0, 0]
    before.pop("_run/deleting.json")
    after = evidence_of(runs)
    assert after.pop("_run/cleanup.json")
    assert after == before


@pytest.mark.parametrize("kind", [Uploading, Ghostly])
@pytest.mark.parametrize("sign", ["alive", "claim of a part", "upload", "upload of a record", "upload of unknown age"])
def test_a_stage_at_work_where_a_deletion_died_is_left_alone(
    runs: Runs, sweep: Sweep, kind: type[Uploading], sign: str
) -> None:
    """It has begun again, and sends a large file: there is no object yet."""
    evidence = with_a_dead_deletion(runs, MONTH + DAY)
    uploads: dict[str, Any] = {"run-1/big.bin": MONTH + HOUR}
    if sign == "alive":
        runs.write_at(evidence.alive_uri, NOW - timedelta(minutes=50), b"{}")
    elif sign == "claim of a part":
        runs.write_at(uri("_manifests/run-1/map-00000.json"), NOW - timedelta(minutes=50), b"{}")
    elif sign == "upload":
        uploads["run-1/big.bin"] = timedelta(minutes=1)
    elif sign == "upload of a record":
        uploads = {"_manifests/run-1/_run/manifest.json": timedelta(minutes=1)}
    else:
        uploads["run-1/big.bin"] = None
    client = kind(runs.client.root_dir, uploads)
    before = evidence_of(runs)
    report = sweep(client=client)
    assert (report.aborted_uploads, report.failures) == (0, {})
    assert evidence_of(runs) == before
    assert set(client.uploads) == set(uploads)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda evidence, client: evidence.write_alive(),
        lambda evidence, client: evidence.write_deleting({"found_objects": 7}),
        lambda evidence, client: client.delete_objects([evidence.claim_uri]),
        lambda evidence, client: client.begin("run-1/big.bin"),
    ],
    ids=["a stage begins", "another deletion begins", "its claim is removed", "an upload begins"],
)
def test_a_deletion_that_died_is_not_recorded_where_something_begins_before_its_turn(
    runs: Runs, sweep: Sweep, meanwhile: Callable[..., Any]
) -> None:
    evidence = with_a_dead_deletion(runs)
    seen: list[dict[str, str | None]] = []

    class Beginning(Uploading):
        def begin(self, name: str) -> None:
            self.uploads[name] = UnfinishedUpload(uri(name), name, NOW)

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            if prefix == evidence.prefix:
                meanwhile(evidence, self)
                seen.append(evidence_of(runs))
            return super().list_objects(prefix)

    client = Beginning(runs.client.root_dir, {})
    report = sweep(client=client)
    assert (report.aborted_uploads, report.failures) == (0, {})
    assert [evidence_of(runs)] == seen
    assert set(client.uploads) <= {"run-1/big.bin"}


def test_to_record_a_deletion_that_died_aborts_no_upload(runs: Runs, sweep: Sweep) -> None:
    evidence = with_a_dead_deletion(runs)

    class BeginsLast(Uploading):
        begun = False

        def put_bytes(self, *args: Any, **options: Any) -> Any:
            if not self.begun:
                self.uploads["run-1/big.bin"] = UnfinishedUpload(uri("run-1/big.bin"), "run-1/big.bin", NOW)
            self.begun = True
            return super().put_bytes(*args, **options)

    client = BeginsLast(runs.client.root_dir, {})
    sweep(client=client)
    assert runs.client.exists(evidence.cleanup_uri)
    assert set(client.uploads) == {"run-1/big.bin"}


def test_a_deletion_that_died_is_not_recorded_in_a_base_that_was_copied(runs: Runs, sweep: Sweep) -> None:
    evidence = with_a_dead_deletion(runs)
    claim = json.loads(runs.client.get_bytes(evidence.claim_uri))
    claim["plan"]["base_uri"] = "s3://other/staging"
    runs.write_at(evidence.claim_uri, NOW - 2 * HOUR, json.dumps(claim).encode())
    before = evidence_of(runs)
    for dry_run in (True, False):
        report = sweep(dry_run=dry_run)
        assert [record.uri for record in report.unreadable] == [str(evidence.claim_uri)]
        assert (report.kept, report.failures) == (Counter(), {})
    assert evidence_of(runs) == before


def test_a_deletion_that_may_still_go_on_is_not_recorded(runs: Runs, sweep: Sweep) -> None:
    evidence = with_a_dead_deletion(runs)
    runs.write_at(evidence.deleting_uri, NOW - timedelta(minutes=50))
    before = evidence_of(runs)
    assert sweep().kept == Counter(empty=1)
    assert evidence_of(runs) == before


# Evidence.


def test_old_evidence_of_a_run_without_objects_goes_and_the_claim_last(
    runs: Runs, sweep: Sweep, stored: Stored, client: LocalObjectStorageClient
) -> None:
    runs.stage("gone", 13 * MONTH, cleaned=True)
    runs.stage("young", 11 * MONTH, cleaned=True)
    runs.stage("there", 13 * MONTH, policy="retain")
    runs.client.put_bytes(b"{}", uri("_manifests/gone/_run/redshift.json"))
    runs.make_old("gone", 13 * MONTH)
    deleted: list[list[str]] = []

    class Noting(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            deleted.append(keys)
            return super()._delete_batch(anywhere, keys)

    before = stored()
    assert sweep().evidence == []
    report = sweep(client=Noting(root_dir=client.root_dir), evidence_older_than=12 * MONTH)
    assert [(item.run_id, item.records) for item in report.evidence] == [("gone", 4)]
    assert report.kept == Counter(empty=1, retained=1)
    assert deleted[-1] == ["staging/_manifests/gone/_run.json"]
    assert set(before) - set(stored()) == {name for name in before if "/gone/" in name}


def test_a_run_that_was_just_swept_keeps_its_evidence(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", 13 * MONTH)
    assert sweep(evidence_older_than=HOUR).evidence == []
    assert runs.client.exists(evidence.claim_uri)
    assert sweep(evidence_older_than=HOUR, now=datetime.now(UTC) + 2 * HOUR).counts()["evidence_records"] == 3
    assert runs.client.list_prefix(ObjectStorageUri.parse("s3://lake")) == []


def test_a_sweep_of_evidence_that_dies_is_finished_by_the_next(runs: Runs, sweep: Sweep, stored: Stored) -> None:
    class Dies(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            super()._delete_batch(anywhere, keys[:1])
            raise KeyboardInterrupt

    runs.stage("run-1", 13 * MONTH, cleaned=True)
    with pytest.raises(KeyboardInterrupt):
        sweep(client=Dies(root_dir=runs.client.root_dir), evidence_older_than=12 * MONTH)
    assert len(stored()) == 2
    report = sweep(evidence_older_than=12 * MONTH)
    assert ([item.records for item in report.evidence], stored()) == ([2], [])


@pytest.mark.parametrize("what", ["object", "record"])
def test_evidence_of_a_run_that_begins_again_stays(runs: Runs, sweep: Sweep, what: str) -> None:
    evidence = runs.stage("run-1", 13 * MONTH, cleaned=True)

    def begin_again() -> None:
        if what == "record":
            evidence.write_alive()
        else:
            runs.write_at(uri("run-1/a.csv"), NOW - 14 * MONTH, b"old and back again")

    hooked = Hooked(runs.client.root_dir, begin_again)
    report = sweep(client=hooked, evidence_older_than=12 * MONTH)
    assert (report.evidence, report.kept) == ([], Counter(changed=1))
    assert runs.client.exists(evidence.claim_uri)
    assert runs.client.exists(evidence.manifest_uri)


def test_a_record_that_comes_while_the_evidence_goes_keeps_its_claim(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", 13 * MONTH, cleaned=True)

    class BeginsAgain(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            evidence.write_failure({"error": "StorageError"})
            return super()._delete_batch(anywhere, keys)

    report = sweep(client=BeginsAgain(root_dir=runs.client.root_dir), evidence_older_than=12 * MONTH)
    assert (report.evidence, report.kept, report.failures) == ([], Counter(changed=1), {})
    assert runs.client.exists(evidence.claim_uri)
    assert runs.client.exists(evidence.failure_uri)


def test_evidence_that_can_not_be_deleted_is_named_and_keeps_its_claim(runs: Runs, sweep: Sweep) -> None:
    evidence = runs.stage("run-1", 13 * MONTH, cleaned=True)

    class Keeps(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            return super()._delete_batch(anywhere, [key for key in keys if not key.endswith("manifest.json")])

    report = sweep(client=Keeps(root_dir=runs.client.root_dir), evidence_older_than=12 * MONTH)
    assert "_run/manifest.json (listed after the delete)" in report.failures["run-1"]
    assert runs.client.exists(evidence.claim_uri)


def test_ceilings_hold_for_evidence_too(runs: Runs, sweep: Sweep) -> None:
    for number in range(3):
        runs.stage(f"gone-{number}", (15 - number) * MONTH, cleaned=True)
    runs.stage("due", MONTH + DAY)
    report = sweep(evidence_older_than=12 * MONTH, max_runs=2)
    assert (list(swept(report)), [item.run_id for item in report.evidence], report.postponed_evidence) == (
        ["due"],
        ["gone-0"],
        2,
    )


# How much is asked.


def test_one_listing_of_the_evidence_and_no_look_at_what_is_young(runs: Runs, sweep: Sweep) -> None:
    for number in range(20):
        runs.stage(f"young-{number}", DAY)
        runs.stage(f"gone-{number}", 13 * MONTH, cleaned=True)
    requests: Counter[str] = Counter()

    class Counting(LocalObjectStorageClient):
        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            requests["list"] += 1
            return super().list_objects(prefix)

        def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
            requests["folders"] += 1
            return super().list_folders(prefix)

        def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
            requests["get"] += 1
            return super().get_bytes(uri, limit=limit)

    sweep(client=Counting(root_dir=runs.client.root_dir))
    assert requests == Counter(list=1, folders=1)


# Any base at all.

_ages = st.sampled_from([timedelta(0), 2 * HOUR, DAY, MONTH, 13 * MONTH])
_runs = st.lists(
    st.fixed_dictionaries(
        {
            "policy": st.sampled_from(["retain", "delete_on_success", "delete_always"]),
            "records": _ages,
            "objects": st.lists(_ages, max_size=3),
            "cleaned": st.booleans(),
            "claim": st.sampled_from(["good", "good", "good", "none", "broken"]),
        }
    ),
    max_size=4,
)
_options = st.fixed_dictionaries(
    {
        "older_than": st.sampled_from([20 * DAY, MONTH]),
        "overdue_after": st.sampled_from([None, HOUR, 2 * DAY]),
        "include_retained": st.booleans(),
        "evidence_older_than": st.sampled_from([None, HOUR, 12 * MONTH]),
        "max_objects": st.sampled_from([None, 0, 3]),
    }
)


@given(made=_runs, options=_options)
@settings(max_examples=80)
def test_whatever_lies_there_just_what_is_due_goes(made: list[dict[str, Any]], options: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        client = LocalObjectStorageClient(root_dir=folder)
        runs = Runs(client)
        for number, run in enumerate(made):
            _make(runs, f"run-{number}", run)
        everything = set(client.list_prefix(ObjectStorageUri.parse("s3://lake")))
        dry = sweep_base(client, BASE, now=NOW, **options)
        assert set(client.list_prefix(ObjectStorageUri.parse("s3://lake"))) == everything
        real = sweep_base(client, BASE, now=NOW, dry_run=False, **options)
        assert replace(dry, dry_run=False) == real
        assert real.failures == {}
        due = {f"run-{number}": run for number, run in enumerate(made) if _is_due(run, options)}
        gone = set(swept(real))
        assert gone | {run.run_id for run, _ in real.postponed} == set(due)
        if options["max_objects"] is not None:
            assert real.totals()["objects"] + real.counts()["evidence_records"] <= options["max_objects"]
        left = set(client.list_prefix(ObjectStorageUri.parse("s3://lake")))
        without_evidence = {item.run_id for item in real.evidence}
        for place in everything - left:
            segments = place.key.split("/")
            assert segments[1] in gone or (segments[1] == "_manifests" and segments[2] in without_evidence)
        for number, run in enumerate(made):
            name = f"run-{number}"
            assert name not in gone or not any(place.key.startswith(f"staging/{name}/") for place in left)
            if name in without_evidence:
                assert (run["objects"], run["claim"]) == ([], "good")
                assert run["records"] >= options["evidence_older_than"]


def _make(runs: Runs, run_id: str, made: dict[str, Any]) -> None:
    plan = ObjectStorageStagingPlan(BASE, run_id, "shop", "orders", "csv", cleanup_policy=made["policy"])
    evidence = claim_run(runs.client, plan, StagingWriter(dag_id="daily")).evidence
    if made["cleaned"]:
        evidence.write_cleanup({"outcome": "deleted", "cleanup_policy": made["policy"]})
    if made["claim"] == "broken":
        runs.client.put_bytes(b"{", evidence.claim_uri)
    if made["claim"] == "none":
        runs.client.delete_objects([evidence.claim_uri])
    runs.make_old(run_id, made["records"])
    for number, age in enumerate(made["objects"]):
        runs.write_at(uri(f"{run_id}/{number}.csv"), NOW - age, b"abc")


def _is_due(run: dict[str, Any], options: dict[str, Any]) -> bool:
    if run["claim"] != "good" or not run["objects"]:
        return False
    if run["policy"] == "retain" and not options["include_retained"]:
        return False
    age = min([run["records"], *run["objects"]])
    overdue = run["policy"] == "delete_always" and not run["cleaned"]
    limit = options["overdue_after"] or options["older_than"] if overdue else options["older_than"]
    return bool(age >= limit)
