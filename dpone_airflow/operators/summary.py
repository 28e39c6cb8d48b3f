"""What a stage has done, as a few lines at the end of its task's log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.staging.progress import readable_bytes

if TYPE_CHECKING:
    from dpone_airflow.staging.service import StagedRun


def summary_of(staged: StagedRun, cleanups: Iterable[Any]) -> str:
    """Return the lines.

    :param cleanups: the tasks of the DAG that clean up after the stage.
    """
    manifest = staged.manifest
    lines = {
        "files": f"{manifest.object_count:,} ({staged.sent:,} new, {staged.kept:,} kept from an earlier try)",
        "bytes": f"{readable_bytes(manifest.total_size_bytes)} ({manifest.total_size_bytes:,})",
        "time": _time(staged),
        "prefix": f"{manifest.prefix}/",
        "manifest": str(staged.record.uri),
        "policy": str(manifest.cleanup_policy),
        "next": "; ".join(_next(cleanup) for cleanup in cleanups) or "the files stay: no task of this DAG cleans up",
    }
    width = max(map(len, lines))
    head = f"Staged {manifest.dataset}, {manifest.table}:"
    return "\n".join([head, *(f"  {name:<{width}}  {text}" for name, text in lines.items())])


def _time(staged: StagedRun) -> str:
    seconds = f"{staged.seconds:,.1f} s"
    if staged.kept or not staged.manifest.total_size_bytes or staged.seconds <= 0:
        return seconds  # what was kept wasn't sent, so size by time is no rate of anything
    return f"{seconds}, {readable_bytes(staged.manifest.total_size_bytes / staged.seconds)}/s"


def _next(cleanup: Any) -> str:
    policy = CleanupPolicy.of(cleanup.cleanup_policy)
    if policy is CleanupPolicy.RETAIN:
        return f"{cleanup.task_id!r} keeps them"
    if policy is CleanupPolicy.DELETE_ALWAYS:
        return f"{cleanup.task_id!r} deletes them, whatever happens before it"
    return f"{cleanup.task_id!r} deletes them if all before it succeeds, and else they stay"
