"""The distributed demo's verdict: everything has to be right for it to pass."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from demo.distributed.report import show
from demo.distributed.runs import Lost, Outcome, Size

FILES, ROWS = 6, 60


def good(**changes: Any) -> Outcome:
    outcome = Outcome(
        size=Size(instances=3, files_each=2),
        state="success",
        tasks=Counter({"extract success": 3, "cleanup success": 1}),
        spread=Counter({"worker-1": 2, "worker-2": 1}),
        stage_seconds=3.0,
        total_seconds=9.0,
        sent=FILES,
        in_parts=FILES,
        in_manifest=FILES,
        verified=FILES,
        loaded={"objects": FILES, "rows": ROWS, "distinct": ROWS, "total": ROWS * (ROWS - 1) // 2},
        compared={"listed": FILES, "named": FILES, "strays": 0, "missing": 0},
        deleted=FILES,
        left=0,
        unfinished_uploads=0,
    )
    return replace(outcome, **changes)


def lost(**changes: Any) -> Lost:
    return replace(Lost(1, "worker-2", 1, 20.0, 25.0, 30.0, "worker-1", 1), **changes)


def verdict(outcome: Outcome) -> tuple[bool, str]:
    console = Console(record=True, width=200, file=io.StringIO())
    return show(console, outcome, {"worker-1": 4.0}), console.export_text()


def test_a_good_run_passes_and_tells_the_rate_and_the_spread() -> None:
    passed, text = verdict(good())
    assert passed
    for shown in ("worker-1 2, worker-2 1", "2 objects/s", "60 written, 60 loaded", "All counts agree."):
        assert shown in text


def test_a_run_with_a_killed_worker_tells_how_its_instances_came_back() -> None:
    passed, text = verdict(good(killed="worker-2", lost=[lost()], sent=FILES - 1))
    assert passed
    assert "taken for dead after 20 s, queued again after 25 s, begun again on worker-1 after 30 s; sent 1 of 2" in text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"state": "failed"}, "state of the DAG run: failed, not success"),
        ({"tasks": Counter({"extract success": 2})}, "instances that succeeded: 2, not 3"),
        ({"in_parts": 5}, "objects in the parts' manifests: 5, not 6"),
        ({"in_manifest": 5}, "objects in the run's manifest: 5, not 6"),
        ({"verified": 5}, "objects verified: 5, not 6"),
        ({"compared": {"listed": 7, "strays": 1, "missing": 0}}, "strays listed before the cleanup: 1, not 0"),
        ({"compared": {"listed": 5, "strays": 0, "missing": 1}}, "objects missing before the cleanup: 1, not 0"),
        ({"compared": {}}, "objects listed before the cleanup: None, not 6"),
        ({"loaded": {}}, "rows loaded: None, not 60"),
        ({"loaded": {"objects": 6, "rows": 60, "distinct": 50, "total": 1770}}, "distinct rows loaded: 50, not 60"),
        ({"loaded": {"objects": 6, "rows": 60, "distinct": 60, "total": 1}}, "sum of the rows' numbers: 1, not 1770"),
        ({"deleted": 5}, "objects deleted: 5, not 6"),
        ({"left": 1}, "objects left: 1, not 0"),
        ({"unfinished_uploads": 1}, "unfinished uploads: 1, not 0"),
        ({"sent": 7}, "objects sent: 7, not 6"),
        ({"spread": Counter({"worker-1": 3})}, "the instances ran on 1 worker only"),
        ({"killed": "worker-2"}, "worker-2 was killed, and no instance had to come back"),
        (
            {"killed": "worker-2", "lost": [lost(back_on="worker-2")]},
            "instance 1 came back on worker-2, which was killed",
        ),
    ],
)
def test_anything_wrong_is_named_and_fails(changes: dict[str, Any], complaint: str) -> None:
    passed, text = verdict(good(**changes))
    assert not passed
    assert complaint in text
