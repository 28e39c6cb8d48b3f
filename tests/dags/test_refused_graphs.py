"""DAGs in which a cleanup could hurt: the stage refuses before its first byte, the cleanup deletes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dags.conftest import RunDag

GRAPHS = {
    "forgotten load >> cleanup": (
        "delete_always",
        """
        load(stage.output)
        """,
        "Write: load >> cleanup",
    ),
    "a loader that takes the prefix and no output": (
        "delete_on_success",
        """
        @task
        def copy_prefix():
            pass
        stage >> copy_prefix()
        """,
        "Write: copy_prefix >> cleanup",
    ),
    "a template that pulls the manifest elsewhere": (
        "delete_on_success",
        """
        class Copy(BaseOperator):
            template_fields = ("sql",)
            def __init__(self, sql, **kwargs):
                super().__init__(**kwargs)
                self.sql = sql
            def execute(self, context):
                pass
        Copy(task_id="copy", sql="{{ ti.xcom_pull(task_ids='stage')['objects'] }}")
        """,
        "Write: copy >> cleanup",
    ),
    "an all_done notifier in between": (
        "delete_on_success",
        """
        @task(trigger_rule="all_done")
        def notify():
            pass
        load(stage.output) >> notify() >> cleanup
        """,
        "Write as well: load >> cleanup",
    ),
    "a task below the cleanup": (
        "delete_always",
        """
        @task
        def publish():
            pass
        load(stage.output) >> cleanup >> publish()
        """,
        "Write: load >> publish",
    ),
    "an asset that wakes other DAGs": (
        "delete_on_success",
        """
        stage.outlets.append(Asset("s3://landing/orders"))
        load(stage.output) >> cleanup
        """,
        "cleanup_policy='retain'",
    ),
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_refused_before_the_first_byte(
    run: RunDag, staged: Callable[[], list[str]], task_log: Callable[[], str], graph: str
) -> None:
    policy, tasks, line_to_write = GRAPHS[graph]
    result = run(
        f"""
        stage = stage_task(files=FILES, cleanup_policy={policy!r})
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """,
        tasks,
    )
    output = task_log()
    assert line_to_write in output
    assert "StagingGraphError" in output
    assert result.tasks["stage"] == "failed"
    assert result.tasks["cleanup"] in ("failed", "upstream_failed")
    assert result.state == "failed"
    assert staged() == []


@pytest.mark.parametrize("names", [["a.csv"], ["a.csv", "b.csv"]])
def test_a_cleanup_in_a_group_that_is_expanded_over_the_output_is_refused(
    run: RunDag, staged: Callable[[], list[str]], task_log: Callable[[], str], names: list[str]
) -> None:
    result = run(
        f"""
        stage = ObjectStorageStageOperator.partial(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator", cleanup_policy="delete_on_success",
        ).expand(files=[FILES + "/" + name for name in {names}])

        @task_group
        def load_one(manifest):
            load(manifest) >> StagingCleanupOperator(task_id="cleanup", manifest=manifest)

        load_one.expand(manifest=stage.output)
        """
    )
    assert "Put the cleanup behind the task group, or the stage into it." in task_log()
    assert result.tasks["stage[0]"] == "failed"
    assert staged() == []


def test_a_graph_that_was_changed_after_staging_is_refused_by_the_cleanup(
    run: RunDag, staged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpone_airflow.operators.stage.check_graph", lambda stage: None)
    result = run(
        """
        stage = stage_task(files=FILES, cleanup_policy="delete_on_success")
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        load(stage.output)
        """
    )
    assert result.tasks == {"stage": "success", "load": "success", "cleanup": "failed"}
    assert staged() == ["a.csv", "b.csv", "c.csv"]


ALLOWED = {
    "a notifier beside the load's own edge": """
        @task(trigger_rule="all_done")
        def notify():
            pass
        loaded = load(stage.output)
        loaded >> notify() >> cleanup
        loaded >> cleanup
    """,
    "publish beside the cleanup": """
        @task
        def publish():
            pass
        loaded = load(stage.output)
        loaded >> [cleanup, publish()]
    """,
    "two loaders, both before the cleanup": """
        load(stage.output) >> cleanup
        load.override(task_id="load_too")(stage.output) >> cleanup
    """,
    "a pull of another task's XCom with a key that is called as the stage is": """
        class Tell(BaseOperator):
            template_fields = ("text",)
            def __init__(self, text, **kwargs):
                super().__init__(**kwargs)
                self.text = text
            def execute(self, context):
                pass
        load(stage.output) >> cleanup
        Tell(task_id="tell", text="{{ ti.xcom_pull(task_ids='other', key='stage') }}")
    """,
    "a loader in a task group": """
        with TaskGroup("warehouse"):
            loaded = load(stage.output)
        loaded >> cleanup
    """,
}


@pytest.mark.parametrize("graph", ALLOWED)
@pytest.mark.parametrize("policy", ["delete_on_success", "delete_always"])
def test_allowed(run: RunDag, staged: Callable[[], list[str]], graph: str, policy: str) -> None:
    result = run(
        f"""
        stage = stage_task(files=FILES, cleanup_policy={policy!r})
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """,
        ALLOWED[graph],
    )
    assert set(result.tasks.values()) == {"success"}
    assert staged() == []
