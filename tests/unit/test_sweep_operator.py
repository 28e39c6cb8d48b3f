"""The sweep operator, parsed and executed: what it takes, and what its log says to whoever reads it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from dpone_airflow.operators import StagingSweepOperator
from dpone_airflow.staging import sweep
from dpone_airflow.staging.deletion import look_at
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import InvalidOptionError, StorageAccessDeniedError, SweepIncompleteError
from tests.unit.old_runs import BASE, DAY, HOUR, MONTH, Runs

Stored = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch, client: LocalObjectStorageClient) -> None:
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(client.root_dir)}}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))


@pytest.fixture
def runs(client: LocalObjectStorageClient) -> Runs:
    return Runs(client)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the task logs; outside of a task Airflow drops what isn't a warning."""
    monkeypatch.setattr(StagingSweepOperator, "log", logging.getLogger("a sweep task"))
    caplog.set_level("INFO")
    return caplog


def a_sweep(**arguments: Any) -> StagingSweepOperator:
    defaults: dict[str, Any] = {"task_id": "sweep", "base_uri": BASE, "older_than": "30d", "conn_id": "store"}
    with DAG("housekeeping", schedule=None):
        return StagingSweepOperator(**(defaults | arguments))


def executed(operator: StagingSweepOperator) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="housekeeping", run_id="manual__1", task_id="sweep", map_index=-1, try_number=1)
    report: dict[str, Any] = operator.execute({"ti": ti})
    return report


def test_it_deletes_nothing_unless_told_to(runs: Runs, stored: Stored) -> None:
    runs.stage("run-1", MONTH + DAY)
    before = stored()
    assert executed(a_sweep())["totals"]["runs"] == 1
    assert stored() == before
    assert executed(a_sweep(dry_run=False))["totals"]["runs"] == 1
    assert [name for name in stored() if "/_manifests/" not in name] == []


@pytest.mark.parametrize("older_than", ["30d", 30 * 86_400, "2592000", timedelta(days=30), "4w2d"])
def test_an_age_comes_in_any_form(runs: Runs, older_than: Any) -> None:
    runs.stage("run-1", MONTH + HOUR)
    runs.stage("run-2", MONTH - HOUR)
    assert [run["run_id"] for run in executed(a_sweep(older_than=older_than))["swept"]] == ["run-1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dry_run": "False"}, "dry_run is 'False': give True or False"),
        ({"include_retained": "False"}, "include_retained is 'False'"),
        ({"allow_bucket_root": None}, "allow_bucket_root is None"),
        ({"max_runs": -1}, "max_runs is -1: give a whole number from 0"),
        ({"max_objects": "10"}, "max_objects is '10'"),
        ({"max_bytes": 1.5}, "max_bytes is 1.5"),
    ],
)
def test_what_can_not_be_right_is_refused_when_the_dag_is_parsed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        a_sweep(**change)


def test_what_may_be_a_template_is_not_looked_at_when_the_dag_is_parsed() -> None:
    operator = a_sweep(base_uri="{{ params.base }}", older_than="{{ params.age }}", evidence_older_than="{{ x }}")
    with pytest.raises(InvalidOptionError, match="older_than is '{{ params.age }}'"):
        executed(operator)


@pytest.mark.parametrize("name", ["older_than", "overdue_after", "evidence_older_than"])
def test_an_age_that_is_none_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"{name} is 'a week'"):
        executed(a_sweep(**{name: "a week"}))


def test_every_template_field_is_an_attribute() -> None:
    operator = a_sweep()
    assert set(StagingSweepOperator.template_fields) == {
        "base_uri",
        "older_than",
        "overdue_after",
        "evidence_older_than",
        "conn_id",
        "storage_options",
    }
    assert all(hasattr(operator, name) for name in operator.template_fields)
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)


def test_the_log_says_what_went_what_stayed_and_why(
    runs: Runs, client: LocalObjectStorageClient, logged: pytest.LogCaptureFixture
) -> None:
    runs.stage("due", MONTH + DAY)
    runs.stage("overdue", 2 * DAY, policy="delete_always")
    runs.stage("too-much", MONTH + HOUR, files=9)
    runs.stage("young", DAY)
    runs.stage("kept", MONTH + DAY, policy="retain")
    runs.stage("gone", 13 * MONTH, cleaned=True)
    claim = runs.stage("broken").claim_uri
    client.put_bytes(b"?", claim)
    runs.make_old("broken", MONTH + DAY)
    client.put_bytes(b"live", ObjectStorageUri.parse(f"{BASE}/live/a.csv"))
    options: dict[str, Any] = {"overdue_after": "1d", "evidence_older_than": "1d", "max_objects": 8}
    executed(a_sweep(**options))
    assert f"Would delete {BASE}/due/: 2 objects, 6 B, last written to on " in logged.text
    assert "dry run       nothing was deleted; dry_run=False deletes" in logged.text
    logged.clear()
    executed(a_sweep(dry_run=False, **options))
    lines = logged.text
    assert "(old enough; policy delete_on_success, was staged)" in lines
    assert "(delete_always and never cleaned up; policy delete_always, was staged)" in lines
    assert f"Left for another sweep by max_objects: {BASE}/too-much/: 9 objects" in lines
    assert f"Not touched, for {claim} isn't a record of a claim" in lines
    assert f"No claim names these, so they were left: {BASE}/live/" in lines
    assert f"Sweep of {BASE}/, runs older than 30d, delete_always ones that nobody cleaned up 1d:" in lines
    assert "are gone      2 of 7 runs: 4 objects, 12 B" in lines
    assert "kept          1 to be retained, 1 young" in lines
    assert "evidence      3 records of 1 runs are gone" in lines


def test_the_log_names_what_failed_and_so_does_the_error(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    runs.stage("run-1", MONTH + DAY)
    runs.stage("run-2", MONTH + DAY)

    def refuse(client: Any, evidence: Any) -> Any:
        if evidence.prefix.key.endswith("run-1"):
            raise StorageAccessDeniedError("no right to list, sig=topsecret")
        return look_at(client, evidence)

    monkeypatch.setattr(sweep, "look_at", refuse)
    with pytest.raises(SweepIncompleteError, match=r"1 of the 2 runs .*run-1 \(no right to list, sig=\*\*\*\)"):
        executed(a_sweep(dry_run=False))
    assert "Could not sweep run-1: no right to list, sig=***" in logged.text
    assert f"Swept {BASE}/run-2/: 2 objects" in logged.text


def test_a_task_that_is_killed_begins_no_further_run(runs: Runs, stored: Stored) -> None:
    for number in range(20):
        runs.stage(f"run-{number:02d}", MONTH + DAY, files=1)
    operator = a_sweep(dry_run=False)
    operator.on_kill()  # before it began: nothing to stop

    class Killing(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            operator.on_kill()
            return super()._delete_batch(anywhere, keys)

    report = executed_with(operator, Killing(root_dir=runs.client.root_dir, max_concurrency=2))
    assert 1 <= report["counts"]["swept"] <= 3
    assert report["counts"]["swept"] + report["counts"]["postponed"] == 20
    assert {run["ceiling"] for run in report["postponed"]} == {"stopped"}
    assert len([name for name in stored() if "/_manifests/" not in name]) == report["counts"]["postponed"]


def executed_with(operator: StagingSweepOperator, client: LocalObjectStorageClient) -> dict[str, Any]:
    from dpone_airflow.hooks import ObjectStorageHook

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ObjectStorageHook, "get_client", lambda *_: client)
        return executed(operator)
