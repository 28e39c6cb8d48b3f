"""What a task that writes XComs, or somebody who may write to the bucket, can make a cleanup and a verify do.

A stage that lies stands for whatever task wrote over its XComs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from tests.dags.conftest import BASE, RunDag

LIVE = ObjectStorageUri.parse("s3://landing/orders/live/customers.parquet")

LYING_STAGE = f"""
    BASE = {BASE!r}

    class LyingStage(ObjectStorageStageOperator):
        def __init__(self, *, place=None, output=None, agreeing=False, **kwargs):
            super().__init__(**kwargs)
            self.place, self.output_, self.agreeing = place, output, agreeing

        def execute(self, context):
            told = super().execute(context)
            if self.place is not None:
                lie = self.place
                if self.agreeing:
                    told |= lie | {{"object_count": 0, "total_size_bytes": 0, "objects": []}}
                if isinstance(lie, dict):
                    lie = {{"base_uri": BASE, "run_id": "x", "part": None, "conn_id": "emulator"}} | lie
                context["ti"].xcom_push(key="dpone_staging", value=lie)
            return told if self.output_ is None else self.output_

    def lying_stage(**changes):
        return LyingStage(**(dict(
            task_id="stage", base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
            conn_id="emulator", run_id="{{{{ run_id }}}}", files=FILES, cleanup_policy="delete_always",
        ) | changes))
    """


@pytest.fixture
def others(emulator: LocalObjectStorageClient, files: object) -> dict[str, object]:
    """Lay out what a lie could be about: live data that nobody claimed, and another's run; return its manifest."""
    emulator.put_bytes(b"live", LIVE)
    plan = ObjectStorageStagingPlan(BASE, "theirs", "shop", "orders", "csv")
    service = ObjectStorageStagingService(client=emulator, writer=StagingWriter(dag_id="other", task_id="stage"))
    return service.stage_files(plan, str(files)).to_dict()


@pytest.fixture
def everything(emulator: LocalObjectStorageClient) -> Callable[[], dict[str, str | None]]:
    """Return what there is of others: every object with its ETag."""

    def look() -> dict[str, str | None]:
        found = emulator.list_objects(ObjectStorageUri.parse("s3://landing"))
        ours = "/manual__", "/manual_"
        return {str(item.uri): item.etag for item in found if not any(mark in str(item.uri) for mark in ours)}

    return look


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"run_id": "theirs"}, "is claimed by another writer"),
        ({"run_id": "live"}, "No stage has claimed s3://landing/orders/live/"),
        ({"base_uri": "s3://landing", "run_id": "orders"}, "No stage has claimed s3://landing/orders/"),
        ({"base_uri": "s3://landing/orders/live", "run_id": "x"}, "No stage has claimed"),
        ({"run_id": ""}, "isn't what a stage pushes"),
        ({"run_id": ".."}, "isn't what a stage pushes"),
        ({"run_id": "theirs/.."}, "isn't what a stage pushes"),
        ({"run_id": None}, "isn't what a stage pushes"),
        ({"base_uri": ["s3://landing"]}, "isn't what a stage pushes"),
        ({"part": 7}, "isn't what a stage pushes"),
        ({"conn_id": {"root_dir": "/"}}, "isn't what a stage pushes"),
        ({"storage_options": "all"}, "isn't what a stage pushes"),
        ("s3://landing/orders/live", "isn't what a stage pushes"),
        ([{}], "isn't what a stage pushes"),
        (7, "isn't what a stage pushes"),
    ],
)
def test_a_forged_place_makes_a_cleanup_delete_nothing(
    run: RunDag,
    others: dict[str, object],
    everything: Callable[[], dict[str, str | None]],
    task_log: Callable[[], str],
    place: object,
    said: str,
) -> None:
    before = everything()
    # The manifest tells the same lie, or the cleanup would see already that the two don't agree.
    result = run(
        LYING_STAGE,
        f"""
        stage = lying_stage(place={place!r}, agreeing={"claimed" in said})
        load(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """,
    )
    assert (result.tasks["stage"], result.tasks["cleanup"]) == ("success", "failed")
    assert said in task_log()
    assert everything() == before


def test_a_forged_place_cannot_name_another_try_of_another_dag_run(
    run: RunDag, others: dict[str, object], everything: Callable[[], dict[str, str | None]], task_log: Callable[[], str]
) -> None:
    """The claim of one DAG run's stage is not that of another run of the same task."""
    body = """
        stage = lying_stage(place={place!r}, agreeing={place!r} is not None, run_id={run_id!r})
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, cleanup_policy={policy!r})
        load(stage.output) >> cleanup
        """
    first = run(LYING_STAGE, body.format(place=None, run_id="first", policy="retain"))
    assert first.tasks["cleanup"] == "success"
    before = everything()
    assert any("/orders/first/" in uri for uri in before)
    second = run(LYING_STAGE, body.format(place={"run_id": "first"}, run_id="second", policy="delete_always"))
    assert second.tasks["cleanup"] == "failed"
    assert "is claimed by another writer" in task_log()
    assert {uri: etag for uri, etag in everything().items() if "second" not in uri} == before


def test_a_forged_manifest_makes_a_cleanup_delete_nothing(
    run: RunDag, others: dict[str, object], everything: Callable[[], dict[str, str | None]], task_log: Callable[[], str]
) -> None:
    before = everything()
    result = run(
        LYING_STAGE,
        f"""
        stage = lying_stage(output={others!r})
        load(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """,
    )
    assert result.tasks["cleanup"] == "failed"
    assert "Nothing was deleted: give it the manifest of its own stage" in task_log()
    assert everything() == before


@pytest.mark.parametrize("given", ["manifest", "parts", "unclaimed"])
def test_a_forged_manifest_makes_a_verify_record_nothing_in_the_evidence_of_another_run(
    run: RunDag,
    others: dict[str, object],
    everything: Callable[[], dict[str, str | None]],
    task_log: Callable[[], str],
    given: str,
) -> None:
    nothing = {"object_count": 0, "total_size_bytes": 0, "objects": []}
    forged: object = others
    if given == "parts":  # what is merged would be written as the manifest of that run
        forged = [others | nothing | {"part": part} for part in ("map-00000", "map-00001")]
    if given == "unclaimed":
        forged = others | nothing | {"run_id": "live"}
    before = everything()
    result = run(
        LYING_STAGE,
        f"""
        stage = lying_stage(output={forged!r}, cleanup_policy="retain")
        StagingVerifyOperator(task_id="verify", manifest=stage.output, conn_id="emulator")
        """,
    )
    assert (result.tasks["stage"], result.tasks["verify"]) == ("success", "failed")
    assert ("No stage has claimed" if given == "unclaimed" else "is claimed by another writer") in task_log()
    assert everything() == before


def test_a_manifest_from_elsewhere_needs_a_claim_and_reaches_just_its_own_run(
    run: RunDag, others: dict[str, object], emulator: LocalObjectStorageClient, task_log: Callable[[], str]
) -> None:
    """Whose it is can't be known there: that a claimed run goes is what such a cleanup is for."""
    body = """
        StagingCleanupOperator(
            task_id="cleanup", manifest={manifest!r}, conn_id="emulator", cleanup_policy="delete_on_success",
        )
        """
    unclaimed = others | {"run_id": "live", "object_count": 0, "total_size_bytes": 0, "objects": []}
    assert run(body.format(manifest=unclaimed)).tasks["cleanup"] == "failed"
    assert "No stage has claimed s3://landing/orders/live/" in task_log()
    assert run(body.format(manifest=others)).tasks["cleanup"] == "success"
    left = [str(item.uri) for item in emulator.list_objects(ObjectStorageUri.parse(BASE))]
    assert str(LIVE) in left
    assert not [uri for uri in left if uri.startswith(f"{BASE}/theirs/")]


def test_a_forged_claim_of_other_keys_or_types_touches_nothing(
    run: RunDag, others: dict[str, object], emulator: LocalObjectStorageClient, task_log: Callable[[], str]
) -> None:
    claim = ObjectStorageUri.parse(f"{BASE}/_manifests/live/_run.json")
    unknown = asdict(StagingWriter()) | {"x": 1}
    records: list[object] = [[], {"writer": [], "plan": {}}, {"writer": unknown, "plan": {}}]
    for record in records:
        emulator.put_bytes(json.dumps(record).encode(), claim)
        result = run(
            f"""
            StagingCleanupOperator(
                task_id="cleanup", base_uri={BASE!r}, run_id="live", conn_id="emulator",
                cleanup_policy="delete_on_success",
            )
            """
        )
        assert result.tasks["cleanup"] == "failed"
        assert "is no claim that this dpone-airflow can read" in task_log()
    assert emulator.get_bytes(LIVE) == b"live"


def test_a_forged_record_of_a_manifest_is_not_what_its_pointer_says(
    run: RunDag, emulator: LocalObjectStorageClient, task_log: Callable[[], str]
) -> None:
    """Somebody with write access changes the record between the stage and the verify."""
    result = run(
        """
        @task
        def forge(manifest):
            from dpone_airflow.hooks import ObjectStorageHook
            from dpone_airflow.storage import ObjectStorageUri

            client = ObjectStorageHook("emulator").get_client(manifest["base_uri"])
            uri = ObjectStorageUri.parse(manifest["manifest_uri"])
            client.put_bytes(client.get_bytes(uri).replace(b"a.csv", b"z.csv"), uri)

        stage = stage_task(files=FILES, xcom_max_objects=0)
        forge(stage.output) >> StagingVerifyOperator(task_id="verify", manifest=stage.output)
        """
    )
    assert result.tasks["verify"] == "failed"
    assert "the run was staged anew since, or somebody changed the record" in task_log()
