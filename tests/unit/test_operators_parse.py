"""What the operators are when a DAG file has been parsed: rules, marks and refusals, without any network."""

from __future__ import annotations

import copy
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskGroup

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator
from dpone_airflow.storage.errors import InvalidOptionError, InvalidPlanError, StagingGraphError

RULES = [
    ("retain", "all_success", False),
    ("delete_on_success", "all_success", False),
    ("delete_always", "all_done", True),
]
STAGE: dict[str, Any] = {
    "base_uri": "s3://lake/staging",
    "dataset": "sales",
    "table": "orders",
    "file_format": "csv",
}


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("parsed", schedule=None) as dag:
        yield dag


def a_stage(**kwargs: Any) -> ObjectStorageStageOperator:
    return ObjectStorageStageOperator(**({"task_id": "stage", "files": "/data/*.csv"} | STAGE | kwargs))


def rule(task: Any) -> str:
    """Return a trigger rule as a DAG author writes it, in any Airflow."""
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def stop_at_first_failure(name: str = "parsed") -> DAG:
    """Return a DAG that stops at its first failure: ``fail_fast``, or ``fail_stop`` before Airflow 3."""
    try:
        return DAG(name, schedule=None, fail_fast=True)
    except TypeError:
        return DAG(name, schedule=None, fail_stop=True)  # type: ignore[call-arg]


# Trigger rule and teardown mark.


@pytest.mark.parametrize(("policy", "trigger_rule", "teardown"), RULES)
@pytest.mark.usefixtures("dag")
def test_the_stages_policy_sets_rule_and_teardown_mark(policy: str, trigger_rule: str, teardown: bool) -> None:
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=a_stage(cleanup_policy=policy).output)
    assert (cleanup.cleanup_policy, rule(cleanup), cleanup.is_teardown) == (policy, trigger_rule, teardown)
    assert cleanup.stage_task_id == "stage"


@pytest.mark.parametrize(("policy", "trigger_rule", "teardown"), RULES)
@pytest.mark.usefixtures("dag")
def test_a_policy_that_is_given_wins_over_the_stages(policy: str, trigger_rule: str, teardown: bool) -> None:
    stage = a_stage(cleanup_policy="delete_always" if policy == "retain" else "retain")
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, cleanup_policy=policy)
    assert (cleanup.cleanup_policy, rule(cleanup), cleanup.is_teardown) == (policy, trigger_rule, teardown)


@pytest.mark.parametrize(("policy", "trigger_rule", "teardown"), RULES)
@pytest.mark.usefixtures("dag")
def test_a_mapped_stage_has_a_policy_too(policy: str, trigger_rule: str, teardown: bool) -> None:
    stage = ObjectStorageStageOperator.partial(task_id="stage", cleanup_policy=policy, **STAGE).expand(files=["a", "b"])
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    assert (cleanup.cleanup_policy, rule(cleanup), cleanup.is_teardown) == (policy, trigger_rule, teardown)
    assert cleanup.stage_task_id == "stage"


@pytest.mark.usefixtures("dag")
def test_a_mapped_stage_that_names_no_policy_retains() -> None:
    stage = ObjectStorageStageOperator.partial(task_id="stage", **STAGE).expand(files=["a", "b"])
    assert StagingCleanupOperator(task_id="cleanup", manifest=stage.output).cleanup_policy == "retain"


@pytest.mark.parametrize("mapped", [True, False])
def test_a_policy_from_default_args_is_the_stages_policy(mapped: bool) -> None:
    with DAG("parsed", schedule=None, default_args={"cleanup_policy": "delete_always"}):
        if mapped:
            output = ObjectStorageStageOperator.partial(task_id="stage", **STAGE).expand(files=["a"]).output
        else:
            output = a_stage().output
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=output)
    assert (cleanup.cleanup_policy, rule(cleanup), cleanup.is_teardown) == ("delete_always", "all_done", True)


@pytest.mark.usefixtures("dag")
def test_a_stage_in_a_task_group_is_known_by_its_whole_id() -> None:
    with TaskGroup("group"):
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=a_stage(cleanup_policy="delete_always").output)
    assert (cleanup.stage_task_id, rule(cleanup)) == ("group.stage", "all_done")


@pytest.mark.usefixtures("dag")
def test_a_subclass_of_the_stage_operator_is_a_stage() -> None:
    class ExportAndStage(ObjectStorageStageOperator):
        """An author's own."""

    stage = ExportAndStage(task_id="stage", files="a", cleanup_policy="delete_always", **STAGE)
    assert StagingCleanupOperator(task_id="cleanup", manifest=stage.output).cleanup_policy == "delete_always"


@pytest.mark.parametrize("policy", ["retain", "delete_on_success", "delete_always"])
@pytest.mark.usefixtures("dag")
def test_a_trigger_rule_that_the_author_gives_wins(policy: str) -> None:
    stage = a_stage(cleanup_policy=policy)
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, trigger_rule="none_failed")
    assert rule(cleanup) == "none_failed"
    assert cleanup.is_teardown is (policy == "delete_always")


@pytest.mark.parametrize(("policy", "trigger_rule", "_teardown"), RULES)
@pytest.mark.usefixtures("dag")
def test_as_teardown_keeps_the_policys_rule(policy: str, trigger_rule: str, _teardown: bool) -> None:
    stage = a_stage(cleanup_policy=policy)
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    assert cleanup.as_teardown(setups=stage) is cleanup
    assert (rule(cleanup), cleanup.is_teardown, stage.is_setup) == (trigger_rule, True, True)


@pytest.mark.usefixtures("dag")
def test_as_teardown_keeps_the_authors_rule() -> None:
    stage = a_stage(cleanup_policy="delete_on_success")
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, trigger_rule="none_failed")
    assert rule(cleanup.as_teardown(setups=stage)) == "none_failed"


@pytest.mark.parametrize(
    ("policy", "fails_the_run"), [("retain", False), ("delete_on_success", True), ("delete_always", False)]
)
@pytest.mark.usefixtures("dag")
def test_a_failed_teardown_fails_the_run_where_a_plain_cleanup_would(policy: str, fails_the_run: bool) -> None:
    stage = a_stage(cleanup_policy=policy)
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output).as_teardown(setups=stage)
    assert cleanup.on_failure_fail_dagrun is fails_the_run


@pytest.mark.usefixtures("dag")
def test_the_author_may_say_otherwise_of_a_failed_teardown() -> None:
    stage = a_stage(cleanup_policy="delete_on_success")
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    assert cleanup.as_teardown(setups=stage, on_failure_fail_dagrun=False).on_failure_fail_dagrun is False


@pytest.mark.parametrize("how", ["inside with", "as an argument"])
@pytest.mark.parametrize(
    ("policy", "trigger_rule"),
    [("retain", "all_success"), ("delete_on_success", "all_success"), ("delete_always", "all_done_setup_success")],
)
def test_a_dag_that_stops_at_its_first_failure_takes_every_policy(how: str, policy: str, trigger_rule: str) -> None:
    dag = stop_at_first_failure()
    if how == "inside with":
        with dag:
            stage = a_stage(cleanup_policy=policy)
            cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    else:
        stage = a_stage(cleanup_policy=policy, dag=dag)
        cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output, dag=dag)
    assert rule(cleanup) == trigger_rule
    assert cleanup.is_teardown is (policy == "delete_always")


@pytest.mark.usefixtures("dag")
def test_the_cleanup_comes_after_its_stage() -> None:
    stage = a_stage()
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    assert cleanup.upstream_task_ids == {"stage"}


# What is refused when the file is parsed.


@pytest.mark.parametrize("policy", ["delete", "", "RETAIN", None, 7])
@pytest.mark.usefixtures("dag")
def test_an_unknown_policy_is_refused(policy: Any) -> None:
    with pytest.raises(InvalidPlanError, match="write one of 'retain', 'delete_on_success', 'delete_always'"):
        a_stage(cleanup_policy=policy)
    if policy is not None:
        with pytest.raises(InvalidPlanError, match="cleanup_policy"):
            StagingCleanupOperator(task_id="cleanup", manifest=a_stage(task_id="other").output, cleanup_policy=policy)


@pytest.mark.usefixtures("dag")
def test_an_unknown_policy_of_a_mapped_stage_is_refused() -> None:
    stage = ObjectStorageStageOperator.partial(task_id="stage", cleanup_policy="delete", **STAGE).expand(files=["a"])
    with pytest.raises(InvalidPlanError, match="cleanup_policy 'delete'"):
        StagingCleanupOperator(task_id="cleanup", manifest=stage.output)


@pytest.mark.parametrize("on_empty", ["ignore", "", None, True])
@pytest.mark.usefixtures("dag")
def test_an_unknown_on_empty_is_refused(on_empty: Any) -> None:
    with pytest.raises(InvalidOptionError, match="write 'fail' or 'skip'"):
        a_stage(on_empty=on_empty)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("engine", "write 'auto', 'obstore' or 'sdk'"),
        ("if_exists", "write 'resume', 'replace' or 'fail'"),
        ("exact_prefix", "write 'enforce', 'check' or 'off'"),
    ],
)
@pytest.mark.parametrize("value", ["other", "", None, True, "AUTO", "Fail", " off"])
@pytest.mark.usefixtures("dag")
def test_an_unknown_choice_is_refused_and_the_choices_are_named(name: str, choices: str, value: Any) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        a_stage(**{name: value})
    assert str(refused.value) == f"{name} is {value!r}: {choices}."


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("engine", ["auto", "obstore", "sdk"]),
        ("if_exists", ["resume", "replace", "fail"]),
        ("exact_prefix", ["enforce", "check", "off"]),
        ("on_empty", ["fail", "skip"]),
    ],
)
@pytest.mark.usefixtures("dag")
def test_every_choice_is_taken(name: str, choices: list[str]) -> None:
    for choice in choices:
        assert getattr(a_stage(task_id=choice, **{name: choice}), name) == choice


@pytest.mark.usefixtures("dag")
def test_what_is_not_chosen_resumes_is_exact_checked_and_takes_what_is_fastest() -> None:
    stage = a_stage()
    assert (stage.if_exists, stage.exact_prefix, stage.engine, stage.store_check) == ("resume", "enforce", "auto", True)
    assert (stage.on_empty, stage.max_concurrency) == ("fail", 8)


@pytest.mark.parametrize("max_concurrency", [True, "8", 8.0, None])
@pytest.mark.usefixtures("dag")
def test_a_max_concurrency_that_is_no_whole_number_is_refused(max_concurrency: Any) -> None:
    with pytest.raises(InvalidOptionError, match=f"max_concurrency is {max_concurrency!r}: give a whole number from 1"):
        a_stage(max_concurrency=max_concurrency)


@pytest.mark.parametrize("max_concurrency", [0, -1])
@pytest.mark.usefixtures("dag")
def test_an_impossible_max_concurrency_is_refused(max_concurrency: int) -> None:
    with pytest.raises(InvalidOptionError, match="max_concurrency"):
        a_stage(max_concurrency=max_concurrency)


@pytest.mark.usefixtures("dag")
def test_an_expanded_cleanup_is_refused_with_what_to_write() -> None:
    with pytest.raises(StagingGraphError, match=r"write: StagingCleanupOperator\(task_id=\.\.\., manifest=stage"):
        StagingCleanupOperator.partial(task_id="cleanup").expand(manifest=[{}])


@pytest.mark.parametrize("given", [{"base_uri": "s3://lake/staging"}, {"run_id": "run-1"}])
@pytest.mark.usefixtures("dag")
def test_base_uri_and_run_id_go_together(given: dict[str, str]) -> None:
    with pytest.raises(InvalidOptionError, match="give both or none"):
        StagingCleanupOperator(task_id="cleanup", cleanup_policy="delete_always", **given)


@pytest.mark.usefixtures("dag")
def test_a_cleanup_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="There is nothing to clean up"):
        StagingCleanupOperator(task_id="cleanup", cleanup_policy="delete_always")


@pytest.mark.parametrize("manifest", ["{{ ti.xcom_pull('stage') }}", {"provider": "s3"}])
@pytest.mark.usefixtures("dag")
def test_a_manifest_from_elsewhere_needs_a_policy(manifest: Any) -> None:
    with pytest.raises(StagingGraphError, match="write cleanup_policy='retain', 'delete_on_success' or"):
        StagingCleanupOperator(task_id="cleanup", manifest=manifest)


@pytest.mark.usefixtures("dag")
def test_the_output_of_another_operator_needs_a_policy() -> None:
    class Other(BaseOperator):
        """No stage."""

    other = Other(task_id="other")
    with pytest.raises(StagingGraphError, match="takes no output of an ObjectStorageStageOperator"):
        StagingCleanupOperator(task_id="cleanup", manifest=other.output)
    cleanup = StagingCleanupOperator(task_id="other_cleanup", manifest=other.output, cleanup_policy="delete_always")
    assert (cleanup.stage_task_id, rule(cleanup)) == (None, "all_done")


@pytest.mark.usefixtures("dag")
def test_one_cleanup_for_two_stages_is_refused() -> None:
    one, other = a_stage(task_id="one"), a_stage(task_id="other")
    with pytest.raises(StagingGraphError, match="given one, other: write one for each"):
        StagingCleanupOperator(task_id="cleanup", manifest=one.output.zip(other.output))


@pytest.mark.usefixtures("dag")
def test_another_dags_run_is_named_by_base_uri_and_run_id() -> None:
    cleanup = StagingCleanupOperator(
        task_id="cleanup", base_uri="s3://lake/staging", run_id="run-1", cleanup_policy="delete_on_success"
    )
    assert (cleanup.stage_task_id, rule(cleanup), cleanup.is_teardown) == (None, "all_success", False)


@pytest.mark.parametrize("expanded", ["base_uri", "run_id", "conn_id", "cleanup_policy"])
@pytest.mark.usefixtures("dag")
def test_a_stage_that_is_expanded_over_its_place_is_refused_before_anything_else(expanded: str) -> None:
    """All instances share one run prefix: they can't be in two bases or runs."""
    value = {"base_uri": "s3://lake/staging", "cleanup_policy": "retain"}.get(expanded, "x")
    shared = {key: value for key, value in STAGE.items() if key != expanded}
    mapped = ObjectStorageStageOperator.partial(task_id="stage", **shared).expand(files=["a"], **{expanded: [value]})
    instance = mapped.unmap({"files": "a", expanded: value})
    with pytest.raises(StagingGraphError, match=rf"Write: \.partial\({expanded}=\.\.\., \.\.\.\)\.expand\(files="):
        instance.execute({})


# Killing.


@pytest.mark.usefixtures("dag")
def test_a_task_that_is_killed_before_it_stages_has_nothing_to_stop() -> None:
    stage = a_stage()
    stage.on_kill()
    stage.on_kill()
    assert stage._stop is None


@pytest.mark.usefixtures("dag")
def test_a_task_that_is_killed_stops_what_it_stages() -> None:
    stage, other = a_stage(), a_stage(task_id="other")
    stage._stop = threading.Event()
    other._stop = threading.Event()
    stage.on_kill()
    assert (stage._stop.is_set(), other._stop.is_set()) == (True, False)


@pytest.mark.usefixtures("dag")
def test_an_operator_can_be_copied_as_airflow_does() -> None:
    """An event can't be: there is none before the task stages."""
    assert copy.deepcopy(a_stage())._stop is None


# Parsing is free.


def test_parsing_opens_no_connection_and_reads_no_template(monkeypatch: pytest.MonkeyPatch, dag: DAG) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a DAG file was parsed and something asked for the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files="{{ params.files }}",
        base_uri="{{ var.value.base_uri }}",
        dataset="{{ dag.dag_id }}",
        table="{{ params.table }}",
        file_format="{{ params.format }}",
        compression="{{ params.compression }}",
        conn_id="no_such_connection",
        run_id="{{ run_id }}",
        content_type="{{ params.content_type }}",
        storage_options={"NoSuchOption": "{{ params.key }}"},
        cleanup_policy="delete_always",
    )
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    assert dag.task_dict == {"stage": stage, "cleanup": cleanup}


@pytest.mark.parametrize("operator", [ObjectStorageStageOperator, StagingCleanupOperator])
def test_every_template_field_is_an_attribute_and_no_ending_makes_a_file_of_one(dag: DAG, operator: type) -> None:
    stage = a_stage()
    task = stage if operator is ObjectStorageStageOperator else operator(task_id="cleanup", manifest=stage.output)
    assert all(hasattr(task, field) for field in task.template_fields)
    assert set(task.template_fields_renderers) <= set(task.template_fields)
    assert tuple(task.template_ext) == ()


def test_all_that_an_author_would_template_is_templated() -> None:
    assert set(ObjectStorageStageOperator.template_fields) == {
        "files",
        "base_uri",
        "dataset",
        "table",
        "file_format",
        "compression",
        "conn_id",
        "run_id",
        "content_type",
        "source_conn_id",
        "storage_options",
    }
    assert set(StagingCleanupOperator.template_fields) == {
        "manifest",
        "manifest_uri",
        "base_uri",
        "run_id",
        "conn_id",
        "storage_options",
    }


def test_the_stage_comes_after_the_task_whose_output_are_its_files(dag: DAG) -> None:
    class Export(BaseOperator):
        """Writes files."""

    stage = a_stage(files=Export(task_id="export").output)
    assert stage.upstream_task_ids == {"export"}
