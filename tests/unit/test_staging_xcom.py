"""What a stage task says before its first byte; how it is read back is shown by real DAG runs in ``tests/dags``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dpone_airflow.operators.staging_xcom import STAGING_XCOM_KEY, announce, part_of, writer_of
from dpone_airflow.staging import ObjectStorageStagingPlan, StagingWriter

MakePlan = Callable[..., ObjectStorageStagingPlan]


class TaskInstance:
    """As much of Airflow's own as is looked at here: it keeps what is pushed."""

    dag_id = "daily"
    run_id = "manual__1"

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def context() -> Any:
    return {"ti": TaskInstance()}


def test_the_stage_says_where_it_stages_in_plain_json(context: Any, make_plan: MakePlan) -> None:
    announce(context, make_plan(part="map-00003"), "my_conn", None)
    (value,) = context["ti"].pushed.values()
    assert list(context["ti"].pushed) == [STAGING_XCOM_KEY] == ["dpone_staging"]
    assert value == {
        "base_uri": "s3://lake/staging",
        "run_id": "run-1",
        "part": "map-00003",
        "conn_id": "my_conn",
        "policy": "delete_on_success",
    }
    assert json.loads(json.dumps(value)) == value
    assert type(value["policy"]) is str


def test_storage_options_are_said_only_where_there_are_some(context: Any, make_plan: MakePlan) -> None:
    announce(context, make_plan(), None, {"StorageClass": "STANDARD_IA"})
    assert context["ti"].pushed["dpone_staging"]["storage_options"] == {"StorageClass": "STANDARD_IA"}
    announce(context, make_plan(), None, {})
    assert "storage_options" not in context["ti"].pushed["dpone_staging"]


@pytest.mark.parametrize(
    ("map_index", "part"), [(-1, None), (0, "map-00000"), (3, "map-00003"), (123_456, "map-123456")]
)
def test_a_mapped_instance_has_a_part_of_its_own(map_index: int, part: str | None) -> None:
    assert part_of(map_index) == part


def test_the_writer_is_the_task_in_its_dag_run(context: Any) -> None:
    assert writer_of(context, "stage", 3) == StagingWriter(
        deployment="", dag_id="daily", dag_run_id="manual__1", task_id="stage", map_index=3
    )


def test_the_deployment_keeps_airflows_that_share_a_bucket_apart(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DPONE__DEPLOYMENT", "production-eu")
    assert writer_of(context, "stage", -1).deployment == "production-eu"
