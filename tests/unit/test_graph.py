"""A DAG in which a cleanup could hurt is refused, and the refusal prints the line to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, BaseOperator, TaskGroup, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator
from dpone_airflow.operators.graph import check_graph, is_cleaned_up_by_its_own_connection
from dpone_airflow.storage.errors import StagingGraphError

DELETING = ["delete_on_success", "delete_always"]


class Work(BaseOperator):
    """Any task: a load, a notifier, a publish."""

    template_fields: Sequence[str] = ("argument", "number")

    def __init__(self, argument: Any = None, number: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.argument = argument
        self.number = number

    def execute(self, context: Any) -> None:
        """Do nothing."""


def a_stage(policy: str = "delete_on_success", task_id: str = "stage", **kwargs: Any) -> ObjectStorageStageOperator:
    arguments: dict[str, Any] = {
        "files": "/data/*.csv",
        "base_uri": "s3://lake/staging",
        "dataset": "sales",
        "table": "orders",
        "file_format": "csv",
    }
    return ObjectStorageStageOperator(task_id=task_id, cleanup_policy=policy, **(arguments | kwargs))


def a_cleanup(stage: Any, task_id: str = "cleanup", **kwargs: Any) -> StagingCleanupOperator:
    return StagingCleanupOperator(task_id=task_id, manifest=stage.output, **kwargs)


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("graph", schedule=None) as dag:
        yield dag


def check(dag: DAG, stage_id: str = "stage") -> None:
    check_graph(dag.task_dict[stage_id])


@contextmanager
def refused(*said: str) -> Iterator[None]:
    with pytest.raises(StagingGraphError) as error:
        yield
    for words in said:
        assert words in str(error.value)


# Whose credentials delete.


@pytest.mark.parametrize(
    ("stage_conn", "cleanups", "by_its_own"),
    [
        (None, [{}], True),
        ("writer", [{}], True),
        ("writer", [{"conn_id": "writer"}], True),
        ("writer", [{"conn_id": "deleter"}], False),
        (None, [{"conn_id": "deleter"}], False),
        ("writer", [{"conn_id": "deleter"}, {}], True),
        ("writer", [{"conn_id": "deleter", "cleanup_policy": "retain"}], None),
        ("writer", [], None),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_whether_a_cleanup_deletes_with_the_credentials_of_the_stage_is_known(
    dag: DAG, stage_conn: str | None, cleanups: list[dict[str, Any]], by_its_own: bool | None, mapped: bool
) -> None:
    if mapped:
        stage: Any = ObjectStorageStageOperator.partial(
            task_id="stage",
            base_uri="s3://lake/staging",
            dataset="sales",
            table="orders",
            file_format="csv",
            cleanup_policy="delete_always",
            conn_id=stage_conn,
        ).expand(files=["/data/a.csv", "/data/b.csv"])
    else:
        stage = a_stage("delete_always", conn_id=stage_conn)
    for number, arguments in enumerate(cleanups):
        a_cleanup(stage, task_id=f"cleanup-{number}", **arguments)
    assert is_cleaned_up_by_its_own_connection(dag.task_dict["stage"]) is by_its_own


# What is fine.


@pytest.mark.parametrize("policy", [*DELETING, "retain"])
def test_stage_load_cleanup_is_fine(dag: DAG, policy: str) -> None:
    stage = a_stage(policy)
    load = Work(task_id="load", argument=stage.output)
    load >> a_cleanup(stage)
    check(dag)


@pytest.mark.parametrize("policy", DELETING)
def test_a_teardown_is_fine(dag: DAG, policy: str) -> None:
    stage = a_stage(policy)
    load = Work(task_id="load", argument=stage.output)
    load >> a_cleanup(stage).as_teardown(setups=stage)
    check(dag)


def test_a_stage_without_a_cleanup_is_fine(dag: DAG) -> None:
    Work(task_id="load", argument=a_stage("delete_always").output)
    check(dag)


def test_a_cleanup_alone_is_fine(dag: DAG) -> None:
    a_cleanup(a_stage())
    check(dag)


def test_several_consumers_before_the_cleanup_are_fine(dag: DAG) -> None:
    stage = a_stage()
    loads = [Work(task_id=f"load_{number}", argument=stage.output) for number in range(3)]
    loads >> a_cleanup(stage)
    check(dag)


def test_a_consumer_that_comes_before_through_others_is_fine(dag: DAG) -> None:
    stage = a_stage()
    Work(task_id="load", argument=stage.output) >> Work(task_id="check") >> a_cleanup(stage)
    check(dag)


def test_publishing_beside_the_cleanup_is_fine(dag: DAG) -> None:
    stage = a_stage("delete_always")
    load = Work(task_id="load", argument=stage.output)
    load >> [a_cleanup(stage), Work(task_id="publish")]
    check(dag)


def test_a_notifier_beside_the_cleanup_is_fine(dag: DAG) -> None:
    stage = a_stage()
    load = Work(task_id="load", argument=stage.output)
    load >> [a_cleanup(stage), Work(task_id="notify", trigger_rule="all_done")]
    check(dag)


def test_a_notifier_in_between_is_fine_when_the_cleanup_hears_of_the_load_itself(dag: DAG) -> None:
    stage = a_stage()
    load, notify, cleanup = (
        Work(task_id="load", argument=stage.output),
        Work(task_id="notify", trigger_rule="all_done"),
        a_cleanup(stage),
    )
    load >> notify >> cleanup
    load >> cleanup
    check(dag)


@pytest.mark.parametrize("rule", ["none_failed", "none_failed_min_one_success"])
def test_a_rule_in_between_that_passes_a_failure_on_is_fine(dag: DAG, rule: str) -> None:
    stage = a_stage()
    load = Work(task_id="load", argument=stage.output)
    load >> Work(task_id="join", trigger_rule=rule) >> a_cleanup(stage)
    check(dag)


def test_a_notifier_in_between_is_fine_for_delete_always(dag: DAG) -> None:
    """It deletes after a failed load as well: that is its policy."""
    stage = a_stage("delete_always")
    load = Work(task_id="load", argument=stage.output)
    load >> Work(task_id="notify", trigger_rule="all_done") >> a_cleanup(stage)
    check(dag)


def test_a_branch_is_fine_with_none_failed(dag: DAG) -> None:
    stage = a_stage()
    loads = [Work(task_id=f"load_{number}", argument=stage.output) for number in range(2)]
    branch = Work(task_id="branch")
    branch >> loads >> a_cleanup(stage, trigger_rule="none_failed")
    check(dag)


def test_two_stages_with_a_cleanup_each_are_fine(dag: DAG) -> None:
    for name in ("orders", "customers"):
        stage = a_stage(task_id=f"stage_{name}")
        Work(task_id=f"load_{name}", argument=stage.output) >> a_cleanup(stage, f"cleanup_{name}")
    check(dag, "stage_orders")
    check(dag, "stage_customers")


def test_what_happens_to_another_stages_files_is_not_this_ones_business(dag: DAG) -> None:
    orders, customers = a_stage(task_id="orders"), a_stage(task_id="customers")
    Work(task_id="load_orders", argument=orders.output) >> a_cleanup(orders, "cleanup_orders")
    Work(task_id="load_customers", argument=customers.output)
    a_cleanup(customers, "cleanup_customers")
    check(dag, "orders")
    with refused("load_customers >> cleanup_customers"):
        check(dag, "customers")


def test_another_teardown_below_a_cleanup_is_fine(dag: DAG) -> None:
    stage = a_stage("delete_always")
    cluster = Work(task_id="create_cluster")
    load = Work(task_id="load", argument=stage.output)
    drop = Work(task_id="drop_cluster").as_teardown(setups=cluster)
    cluster >> load >> a_cleanup(stage) >> drop
    check(dag)


def test_a_retaining_cleanup_may_stand_anywhere(dag: DAG) -> None:
    stage = a_stage("retain", outlets=[Asset("s3://lake/orders")])
    Work(task_id="load", argument=stage.output)
    a_cleanup(stage) >> Work(task_id="publish")
    check(dag)


def test_a_stage_whose_asset_wakes_others_is_fine_without_a_deleting_cleanup(dag: DAG) -> None:
    Work(task_id="load", argument=a_stage(outlets=[Asset("s3://lake/orders")]).output)
    check(dag)


def test_a_mapped_stage_and_a_mapped_load_are_fine(dag: DAG) -> None:
    stage = ObjectStorageStageOperator.partial(
        task_id="stage",
        base_uri="s3://lake/staging",
        dataset="sales",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_always",
    ).expand(files=["a.csv", "b.csv"])
    Work.partial(task_id="load").expand(argument=stage.output) >> a_cleanup(stage)
    check(dag)


def test_a_stage_in_a_task_group_is_fine(dag: DAG) -> None:
    with TaskGroup("group"):
        stage = a_stage()
        Work(task_id="load", argument=stage.output) >> a_cleanup(stage)
    check(dag, "group.stage")


# A consumer that may still read.


@pytest.mark.parametrize("policy", DELETING)
def test_a_forgotten_load_before_the_cleanup_is_refused(dag: DAG, policy: str) -> None:
    stage = a_stage(policy)
    Work(task_id="load", argument=stage.output)
    a_cleanup(stage)
    with refused("'load' still reads it", "Write: load >> cleanup"):
        check(dag)


def test_a_forgotten_load_is_refused_for_a_teardown_as_well(dag: DAG) -> None:
    stage = a_stage("delete_always")
    Work(task_id="load", argument=stage.output)
    a_cleanup(stage).as_teardown(setups=stage)
    with refused("Write: load >> cleanup"):
        check(dag)


def test_one_forgotten_consumer_of_several_is_named(dag: DAG) -> None:
    stage = a_stage()
    first, _second = (Work(task_id=f"load_{number}", argument=stage.output) for number in (1, 2))
    first >> a_cleanup(stage)
    with refused("Write: load_2 >> cleanup"):
        check(dag)


def test_a_task_behind_the_stage_is_taken_for_a_consumer(dag: DAG) -> None:
    stage = a_stage()
    stage >> Work(task_id="load")
    a_cleanup(stage)
    with refused("Write: load >> cleanup"):
        check(dag)


def test_a_decorated_consumer_is_seen(dag: DAG) -> None:
    @task
    def load(manifest: dict[str, Any]) -> None:
        """Do nothing."""

    stage = a_stage()
    load(stage.output)
    a_cleanup(stage)
    with refused("Write: load >> cleanup"):
        check(dag)


def test_a_mapped_consumer_is_seen(dag: DAG) -> None:
    stage = a_stage()
    Work.partial(task_id="load").expand(argument=stage.output)
    a_cleanup(stage)
    with refused("Write: load >> cleanup"):
        check(dag)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ti.xcom_pull('stage') }}",
        '{{ ti.xcom_pull(task_ids="stage")["objects"] }}',
        "{{ task_instance.xcom_pull(task_ids='stage', key='dpone_staging')['run_id'] }}",
        "{{ ti.xcom_pull(task_ids=['other', 'stage']) }}",
        "{% set m = ti.xcom_pull('stage') %}{{ m.base_uri }}",
    ],
)
@pytest.mark.parametrize("place", [lambda text: text, lambda text: [{"a": [text]}], lambda text: {"a": (text, 1)}])
def test_a_template_that_pulls_the_output_is_a_consumer(dag: DAG, template: str, place: Callable[[str], Any]) -> None:
    stage = a_stage()
    load = Work(task_id="load", argument=place(template))
    cleanup = a_cleanup(stage)
    with refused("Write: load >> cleanup"):
        check(dag)
    load >> cleanup
    check(dag)


@pytest.mark.parametrize("expanded", [True, False])
def test_a_template_of_a_mapped_task_that_pulls_the_output_is_a_consumer(dag: DAG, expanded: bool) -> None:
    template = "{{ ti.xcom_pull('stage')['base_uri'] }}"
    if expanded:
        Work.partial(task_id="load").expand(argument=[f"{template}/a", f"{template}/b"])
    else:
        Work.partial(task_id="load", argument=template).expand(number=[1, 2])
    a_cleanup(a_stage())
    with refused("Write: load >> cleanup"):
        check(dag)


def test_a_template_that_pulls_another_tasks_output_is_no_consumer(dag: DAG) -> None:
    for number, text in enumerate(["{{ ti.xcom_pull('stage_2') }}", "{{ ti.xcom_pull('my.stage') }}", "'stage'"]):
        Work(task_id=f"other_{number}", argument=text)
    a_cleanup(a_stage())
    check(dag)


def test_a_consumer_in_a_task_group_is_named_with_it(dag: DAG) -> None:
    stage = a_stage()
    with TaskGroup("loads"):
        Work(task_id="load", argument=stage.output)
    a_cleanup(stage)
    with refused("Write: loads.load >> cleanup"):
        check(dag)


# A failure that the cleanup doesn't hear of.


@pytest.mark.parametrize(
    "rule", ["all_done", "always", "none_skipped", "one_success", "one_done", "all_failed", "one_failed"]
)
def test_a_notifier_that_hides_a_failed_load_is_refused(dag: DAG, rule: str) -> None:
    stage = a_stage()
    load = Work(task_id="load", argument=stage.output)
    load >> Work(task_id="notify", trigger_rule=rule) >> a_cleanup(stage)
    with refused("after 'load' failed", "'notify'", rule, "Write as well: load >> cleanup"):
        check(dag)


def test_a_notifier_further_away_hides_a_failed_load_too(dag: DAG) -> None:
    stage = a_stage()
    load = Work(task_id="load", argument=stage.output)
    notify = Work(task_id="notify", trigger_rule="all_done")
    load >> Work(task_id="check") >> notify >> Work(task_id="archive") >> a_cleanup(stage)
    with refused("'notify'", "trigger_rule all_done", ">> cleanup"):
        check(dag)


def test_one_hidden_load_of_two_is_refused(dag: DAG) -> None:
    stage = a_stage()
    heard, hidden = (Work(task_id=name, argument=stage.output) for name in ("heard", "hidden"))
    cleanup = a_cleanup(stage)
    heard >> cleanup
    hidden >> Work(task_id="notify", trigger_rule="all_done") >> cleanup
    with refused("after 'hidden' failed", "Write as well: hidden >> cleanup"):
        check(dag)


def test_a_cleanup_that_the_author_let_run_past_failures_is_the_authors_choice(dag: DAG) -> None:
    stage = a_stage()
    Work(task_id="load", argument=stage.output) >> a_cleanup(stage, trigger_rule="all_done")
    check(dag)


def test_a_cleanup_is_the_authors_choice_with_none_skipped_too(dag: DAG) -> None:
    """Under none_skipped a task runs after a failure, so there is nothing that a notifier could hide."""
    stage = a_stage()
    load = Work(task_id="load", argument=stage.output)
    load >> Work(task_id="notify", trigger_rule="all_done") >> a_cleanup(stage, trigger_rule="none_skipped")
    check(dag)


# Something that hangs below the cleanup.


@pytest.mark.parametrize("policy", DELETING)
def test_a_task_below_a_deleting_cleanup_is_refused(dag: DAG, policy: str) -> None:
    stage = a_stage(policy)
    load = Work(task_id="load", argument=stage.output)
    load >> a_cleanup(stage) >> Work(task_id="publish")
    with refused("'publish' hangs below 'cleanup'", "Write: load >> publish, instead of cleanup >> publish"):
        check(dag)


def test_the_line_to_write_names_the_load_and_never_the_stage(dag: DAG) -> None:
    stage = a_stage("delete_always", task_id="a_stage")
    load = Work(task_id="z_load", argument=stage.output)
    load >> a_cleanup(stage) >> Work(task_id="publish")
    with refused("Write: z_load >> publish"):
        check(dag, "a_stage")


def test_a_task_that_hangs_below_through_another_teardown_is_refused(dag: DAG) -> None:
    stage = a_stage("delete_always")
    cluster = Work(task_id="create_cluster")
    load = Work(task_id="load", argument=stage.output)
    drop = Work(task_id="drop_cluster").as_teardown(setups=cluster)
    cluster >> load >> a_cleanup(stage) >> drop >> Work(task_id="publish")
    with refused("'publish' hangs below"):
        check(dag)


# Other DAGs that are woken.


@pytest.mark.parametrize("policy", DELETING)
@pytest.mark.parametrize("outlet", [Asset("s3://lake/orders"), AssetAlias("orders")], ids=["asset", "alias"])
def test_a_stage_whose_asset_wakes_other_dags_is_not_deleted_under_them(dag: DAG, policy: str, outlet: Any) -> None:
    stage = a_stage(policy, outlets=[outlet])
    Work(task_id="load", argument=stage.output) >> a_cleanup(stage)
    with refused("wakes other DAGs", "cleanup_policy='retain'", "cleanup_policy='delete_on_success'"):
        check(dag)


def test_an_asset_that_is_named_by_a_reference_wakes_other_dags_too(dag: DAG) -> None:
    """``Asset.ref`` is there from Airflow 3 on; on 2.11 an asset itself takes its place."""
    outlet = Asset.ref(name="orders") if hasattr(Asset, "ref") else Asset("s3://lake/orders")
    stage = a_stage(outlets=[outlet])
    Work(task_id="load", argument=stage.output) >> a_cleanup(stage)
    with refused("wakes other DAGs"):
        check(dag)


def test_a_loads_own_asset_is_its_own_business(dag: DAG) -> None:
    stage = a_stage()
    Work(task_id="load", argument=stage.output, outlets=[Asset("s3://lake/orders")]) >> a_cleanup(stage)
    check(dag)


def test_a_mapped_stage_whose_asset_wakes_other_dags_is_refused(dag: DAG) -> None:
    stage = ObjectStorageStageOperator.partial(
        task_id="stage",
        base_uri="s3://lake/staging",
        dataset="sales",
        table="orders",
        file_format="csv",
        cleanup_policy="delete_always",
        outlets=[Asset("s3://lake/orders")],
    ).expand(files=["a.csv", "b.csv"])
    Work.partial(task_id="load").expand(argument=stage.output) >> a_cleanup(stage)
    with refused("wakes other DAGs"):
        check(dag)


# Cleanups that name the run otherwise.


def test_a_cleanup_whose_manifest_is_a_template_is_checked_like_any_other(dag: DAG) -> None:
    a_stage()
    Work(task_id="load", argument="{{ ti.xcom_pull('stage') }}")
    StagingCleanupOperator(
        task_id="cleanup", manifest="{{ ti.xcom_pull('stage') }}", cleanup_policy="delete_on_success"
    )
    with refused("Write: load >> cleanup"):
        check(dag)


def test_base_uri_and_run_id_beside_a_stages_output_switch_no_check_off(dag: DAG) -> None:
    stage = a_stage(run_id="run-1")
    Work(task_id="load", argument=stage.output)
    a_cleanup(stage, base_uri="s3://lake/staging", run_id="run-1")
    with refused("Write: load >> cleanup"):
        check(dag)
