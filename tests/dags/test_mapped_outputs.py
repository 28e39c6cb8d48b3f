"""What the instances of a mapped stage pushed is read some at a time: how many requests to Airflow 3 that takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from dpone_airflow.operators import mapped_outputs
from dpone_airflow.operators.mapped_outputs import some_at_a_time
from dpone_airflow.storage import LocalObjectStorageClient
from tests.dags.conftest import RunDag

AT_ONCE, INSTANCES = 3, 7
BODY = """
@task
def export():
    return [[f"{FILES}/a.csv"]] * INSTANCES

stage = ObjectStorageStageOperator.partial(
    task_id="stage", base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
    conn_id="emulator", cleanup_policy="delete_always",
).expand(files=export())
verify = StagingVerifyOperator(task_id="verify", manifest=stage.output)
cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
verify >> cleanup
"""
# The verify reads the manifests, and the first slice of the places; the cleanup reads all of both.
SLICES = 3 + 1 + 3 + 3


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What tasks ask Airflow for, by kind. Airflow 2.11 has no such server: it reads its database."""
    found: Counter[str] = Counter()
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

        send = InProcessSupervisorComms.send

        def counted(self: Any, msg: Any) -> Any:
            found[type(msg).__name__] += 1
            return send(self, msg)

        monkeypatch.setattr(InProcessSupervisorComms, "send", counted)
    return found


@pytest.mark.usefixtures("files")
def test_verify_and_cleanup_ask_for_some_instances_at_a_time(
    run: RunDag, emulator: LocalObjectStorageClient, asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_outputs, "AT_ONCE", AT_ONCE)
    result = run(BODY.replace("INSTANCES", str(INSTANCES)))
    assert result.state == "success"
    assert result.xcoms["verify"]["object_count"] == INSTANCES
    assert result.xcoms["cleanup"]["deleted_objects"] == INSTANCES
    assert asked["GetXComSequenceItem"] == 0
    assert asked["GetXComSequenceSlice"] == (SLICES if AIRFLOW_V_3_0_PLUS else 0)


def test_what_is_no_such_sequence_stays_as_it_is() -> None:
    for value in (None, "text", {"a": 1}, [1, 2], (Path("a"),)):
        assert some_at_a_time(value) is value
