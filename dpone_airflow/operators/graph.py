"""Whether a DAG lets a cleanup delete files that are still needed, or hide a failure; and which stage is meant.

The stage asks before its first byte and the cleanup again before its first delete. Every refusal
prints the line to write. By which rules tasks run, and what wakes other DAGs:
https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#trigger-rules
https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/asset-scheduling.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from airflow.providers.common.compat.sdk import XComArg
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from dpone_airflow.operators.task_arguments import arguments_of
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.storage.errors import StagingGraphError

# An operator or a mapped operator of any Airflow that is supported.
Task: TypeAlias = Any

# The key of an XCom may be called as a task is.
_XCOM_KEY = re.compile(r"""\bkey\s*=\s*(['"]).*?\1""")
# Under these rules a task whose upstream failed doesn't run, and passes the failure on.
_FAILURE_PASSES_ON = {"all_success", "none_failed", "none_failed_min_one_success"}


def check_graph(stage: Task) -> None:
    """Refuse a DAG in which the cleanup of ``stage`` could hurt.

    :raises StagingGraphError: with the line to write.
    """
    for cleanup in _deleting_cleanups(stage):
        _no_instance_deletes_what_others_read(stage, cleanup)
        _every_consumer_comes_first(stage, cleanup)
        _no_failure_is_passed_over(stage, cleanup)
        _nothing_hangs_below(stage, cleanup)
        _no_other_dag_is_woken(stage, cleanup)


def stage_behind(manifest: Any) -> Task | None:
    """Return the stage operator whose output ``manifest`` is, also as a verify hands it on, or None.

    :raises StagingGraphError: if there are several.
    """
    stages = {stage.task_id: stage for stage in _stages_behind(manifest)}
    if len(stages) > 1:
        raise StagingGraphError(
            f"One task takes what one stage staged, and this one was given {', '.join(sorted(stages))}: write one for "
            "each."
        )
    return next(iter(stages.values()), None)


def stage_of(task: Task) -> Task | None:
    """Return the stage operator whose output ``task``, as the DAG file has it, was given as its manifest, or None.

    :raises StagingGraphError: if there are several.
    """
    return stage_behind(_arguments(task).get("manifest"))


def _stages_behind(manifest: Any) -> Iterator[Task]:
    from dpone_airflow.operators.stage import ObjectStorageStageOperator

    for operator, _ in XComArg.iter_xcom_references(manifest):
        if issubclass(_class_of(operator), ObjectStorageStageOperator):
            yield operator
        elif _hands_on(operator):
            yield from _stages_behind(_arguments(operator).get("manifest"))


def _class_of(task: Task) -> type:
    found: type = getattr(task, "operator_class", type(task))
    return found


def _hands_on(task: Task) -> bool:
    """Return whether the output of ``task`` is the manifest that it was given."""
    return bool(getattr(_class_of(task), "hands_manifest_on", False))


def _arguments(task: Task) -> dict[str, Any]:
    """Return the arguments of an operator, and of a mapped one also what it is expanded over."""
    arguments = arguments_of(task)
    if not hasattr(task, "partial_kwargs"):
        return arguments
    expanded = getattr(task.expand_input, "value", None)
    # What expand_kwargs() was given is one XCom for all arguments, the manifest perhaps among them.
    return arguments | (dict(expanded) if isinstance(expanded, Mapping) else {"manifest": expanded})


def _sources(stage: Task) -> list[Task]:
    """Return the tasks whose output is what ``stage`` staged: itself, and the verifies behind it."""
    sources = {stage.task_id: stage}
    waiting = [stage]
    while waiting:
        source = waiting.pop()
        for task in stage.dag.task_dict.values():
            if _hands_on(task) and task.task_id not in sources and _takes_output_of(task, source):
                sources[task.task_id] = task
                waiting.append(task)
    return list(sources.values())


def _takes_output_of(task: Task, source: Task) -> bool:
    given = _arguments(task).get("manifest")
    behind = {operator.task_id for operator, _ in XComArg.iter_xcom_references(given)}
    return source.task_id in behind or _pulls_from(task, source)


def cleanups_of(stage: Task) -> list[Task]:
    """Return the tasks of its DAG that clean up what ``stage`` staged, or keep it."""
    return [task for task in stage.dag.task_dict.values() if _cleans_up(task, stage)]


def is_cleaned_up_by_its_own_connection(stage: Task) -> bool | None:
    """Return whether a cleanup of its DAG deletes through the connection of ``stage``; None if no cleanup deletes."""
    deleting = list(_deleting_cleanups(stage))
    own = _arguments(stage).get("conn_id")
    return any(cleanup.conn_id in (None, own) for cleanup in deleting) if deleting else None


def _deleting_cleanups(stage: Task) -> Iterator[Task]:
    for task in cleanups_of(stage):
        if task.cleanup_policy != CleanupPolicy.RETAIN:
            yield task


def _cleans_up(task: Task, stage: Task) -> bool:
    """Return whether ``task`` is a cleanup of what ``stage`` staged, by its output or by a template."""
    if not hasattr(task, "stage_task_id"):
        return False
    return task.stage_task_id == stage.task_id or any(_pulls_from(task, source) for source in _sources(stage))


def _no_instance_deletes_what_others_read(stage: Task, cleanup: Task) -> None:
    """In a mapped task group each instance has a cleanup of its own, and so must have its own stage."""
    group = cleanup.get_closest_mapped_task_group()
    if group is not None and stage.get_closest_mapped_task_group() is not group:
        raise StagingGraphError(
            f"{cleanup.task_id!r} is in the mapped task group {group.group_id!r}, so each instance of it would delete "
            f"what all of them read, and {stage.task_id!r} isn't in it. Put the cleanup behind the task group, or the "
            "stage into it."
        )


def _every_consumer_comes_first(stage: Task, cleanup: Task) -> None:
    before = _relatives(cleanup, upstream=True)
    for task_id in sorted(_consumers(stage)):
        task = stage.dag.task_dict[task_id]
        if task_id in before or _cleans_up(task, stage):
            continue
        raise StagingGraphError(
            f"{cleanup.task_id!r} may delete what {stage.task_id!r} staged while {task_id!r} still reads it. "
            f"Write: {task_id} >> {cleanup.task_id}"
        )


def _consumers(stage: Task) -> set[str]:
    """Return the tasks that read the stage's output: those right behind it, and templates that pull it.

    Airflow itself puts a task that takes ``stage.output`` right behind the stage. What a verify hands
    on is the stage's output as well.
    """
    consumers: set[str] = set()
    for source in _sources(stage):
        consumers |= source.downstream_task_ids
        consumers |= {task.task_id for task in stage.dag.task_dict.values() if _pulls_from(task, source)}
    return consumers - {stage.task_id}


def _pulls_from(task: Task, stage: Task) -> bool:
    """Return whether a template of ``task`` pulls an XCom of ``stage``."""
    pull = re.compile(rf"xcom_pull\([^)]*['\"]{re.escape(stage.task_id)}['\"]")
    return any(pull.search(_XCOM_KEY.sub("", text)) for text in _templates(task))


def _templates(task: Task) -> Iterator[str]:
    if hasattr(task, "partial_kwargs"):  # a mapped operator holds its arguments in two places
        yield from _texts(task.partial_kwargs)
        yield from _texts(getattr(task.expand_input, "value", None))
        return
    for name in task.template_fields:
        yield from _texts(getattr(task, name, None))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _texts(item)


def _no_failure_is_passed_over(stage: Task, cleanup: Task) -> None:
    """A ``delete_on_success`` cleanup must not run when anything between it and the stage failed."""
    if cleanup.cleanup_policy != CleanupPolicy.DELETE_ON_SUCCESS or cleanup.trigger_rule not in _FAILURE_PASSES_ON:
        return
    tasks = stage.dag.task_dict
    between = _relatives(cleanup, upstream=True) & (_relatives(stage, upstream=False) | {stage.task_id})
    heard = _heard_by(cleanup)
    for task_id in sorted(between - heard):
        deaf = sorted(
            other
            for other in _relatives(tasks[task_id], upstream=False) & between
            if tasks[other].trigger_rule not in _FAILURE_PASSES_ON
        )
        raise StagingGraphError(
            f"{cleanup.task_id!r} would delete the files after {task_id!r} failed, because "
            f"{', '.join(map(repr, deaf))} runs whatever became of it "
            f"(trigger_rule {_text(tasks[deaf[0]].trigger_rule)}). "
            f"Write as well: {task_id} >> {cleanup.task_id}"
        )


def _heard_by(cleanup: Task) -> set[str]:
    """Return the tasks whose failure reaches ``cleanup``."""
    tasks = cleanup.dag.task_dict
    heard: set[str] = set()
    waiting = set(cleanup.upstream_task_ids)
    while waiting:
        task_id = waiting.pop()
        if task_id not in heard:
            heard.add(task_id)
            if tasks[task_id].trigger_rule in _FAILURE_PASSES_ON:
                waiting |= tasks[task_id].upstream_task_ids
    return heard


def _nothing_hangs_below(stage: Task, cleanup: Task) -> None:
    for task_id in sorted(_relatives(cleanup, upstream=False)):
        if not cleanup.dag.task_dict[task_id].is_teardown:
            above = next(iter(sorted(cleanup.upstream_task_ids - {stage.task_id})), stage.task_id)
            raise StagingGraphError(
                f"{task_id!r} hangs below {cleanup.task_id!r}, which runs by its own rule, so {task_id!r} could "
                f"run after a failed load. Write: {above} >> {task_id}, instead of {cleanup.task_id} >> {task_id}"
            )


def _no_other_dag_is_woken(stage: Task, cleanup: Task) -> None:
    if any(isinstance(outlet, asset_types()) for outlet in stage.outlets or ()):
        raise StagingGraphError(
            f"{stage.task_id!r} has an asset as its outlet: its event wakes other DAGs, and {cleanup.task_id!r} "
            "would delete the files under them. Keep them here and delete them in the DAG that loads them last. "
            f"Write: {stage.task_id}(cleanup_policy='retain') here, and there "
            "StagingCleanupOperator(manifest_uri=..., cleanup_policy='delete_on_success')"
        )


def asset_types() -> tuple[type, ...]:
    """Return what an outlet with an event of its own may be, in the Airflow that runs."""
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    if not AIRFLOW_V_3_0_PLUS:
        return (Asset, AssetAlias)
    from airflow.sdk.definitions.asset import AssetRef

    return (Asset, AssetAlias, AssetRef)


def _text(trigger_rule: Any) -> str:
    return str(getattr(trigger_rule, "value", trigger_rule))


def _relatives(task: Task, *, upstream: bool) -> set[str]:
    found: set[str] = set(task.get_flat_relative_ids(upstream=upstream))
    return found
