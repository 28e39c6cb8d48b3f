"""The lines at the end of a stage's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.operators.summary import summary_of
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.staging.service import StagedRun

MakePlan = Callable[..., ObjectStorageStagingPlan]


@pytest.fixture
def staged(service: ObjectStorageStagingService, make_plan: MakePlan, write: Callable[..., Any]) -> StagedRun:
    files = [write(f"{name}.csv", b"x" * 1024) for name in "abc"]
    return replace(service.stage(make_plan(), files), seconds=2.0)


def cleanup(policy: str) -> Any:
    return SimpleNamespace(task_id="tidy", cleanup_policy=policy)


def test_all_lines(staged: StagedRun) -> None:
    assert summary_of(staged, [cleanup("delete_on_success")]) == (
        "Staged sales, orders:\n"
        "  files     3 (3 new, 0 kept from an earlier try)\n"
        "  bytes     3.0 KiB (3,072)\n"
        "  time      2.0 s, 1.5 KiB/s\n"
        "  prefix    s3://lake/staging/run-1/\n"
        "  manifest  s3://lake/staging/_manifests/run-1/_run/manifest.json\n"
        "  policy    delete_on_success\n"
        "  next      'tidy' deletes them if all before it succeeds, and else they stay"
    )


@pytest.mark.parametrize(
    ("cleanups", "says"),
    [
        ([], "the files stay: no task of this DAG cleans up"),
        ([cleanup("retain")], "'tidy' keeps them"),
        ([cleanup("delete_always")], "'tidy' deletes them, whatever happens before it"),
    ],
)
def test_what_happens_next(staged: StagedRun, cleanups: list[Any], says: str) -> None:
    assert summary_of(staged, cleanups).endswith(f"  next      {says}")


def test_no_rate_for_what_was_not_sent(
    staged: StagedRun, service: ObjectStorageStagingService, make_plan: MakePlan, write: Callable[..., Any]
) -> None:
    files = [write(f"{name}.csv", b"x" * 1024) for name in "abcd"]
    lines = summary_of(service.stage(make_plan(), files), []).splitlines()
    assert lines[1] == "  files     4 (1 new, 3 kept from an earlier try)"
    assert "/s" not in lines[3]
