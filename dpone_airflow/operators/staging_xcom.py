"""What a stage task says before its first byte, and its cleanup reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.providers.common.compat.sdk import Context, XComArg, XComNotFound, conf

from dpone_airflow.operators.mapped_parts import part_of
from dpone_airflow.staging.actor import described
from dpone_airflow.staging.evidence import StagingWriter
from dpone_airflow.staging.plan import ObjectStorageStagingPlan, base_of
from dpone_airflow.staging.run_id import default_run_id, safe_run_id
from dpone_airflow.storage.errors import StagingGraphError

#: The XCom's key. It is readable when the stage then fails, and no template is rendered twice.
STAGING_XCOM_KEY = "dpone_staging"


@dataclass(frozen=True)
class StagingPlace:
    """Where a stage task, or one instance of it, stages."""

    base_uri: str
    run_id: str
    part: str | None = None
    conn_id: str | None = None
    storage_options: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def run_prefix(self) -> str:
        """The run's prefix, with its trailing slash."""
        return f"{self.base_uri}/{self.run_id}/"

    @property
    def prefix(self) -> str:
        """The prefix of this place: the run's, or the part's in it."""
        return self.run_prefix if self.part is None else f"{self.run_prefix}{self.part}/"


def announce(context: Context, plan: ObjectStorageStagingPlan, conn_id: str | None, options: Any) -> None:
    """Push where this task stages."""
    value: dict[str, Any] = {
        "base_uri": plan.base_uri,
        "run_id": plan.run_id,
        "part": plan.part,
        "conn_id": conn_id,
        "policy": str(plan.cleanup_policy),
    }
    if options:
        value["storage_options"] = dict(options)
    context["ti"].xcom_push(key=STAGING_XCOM_KEY, value=value)


def announced_place(context: Context, stage: Any) -> StagingPlace | None:
    """Return where ``stage`` staged in this DAG run, or None if it never came to say so.

    Instances of a mapped stage share one run prefix: all of them are one place, without a part.
    Inside a mapped task group, it is the place of this instance.

    :raises StagingGraphError: if instances staged to different runs.
    """
    try:
        pulled = XComArg(stage, key=STAGING_XCOM_KEY).resolve(context)
    except XComNotFound:
        return None
    if pulled is None:
        return None
    announced = [pulled] if isinstance(pulled, Mapping) else [item for item in pulled if item is not None]
    inside_group = context["ti"].map_index >= 0
    places = [
        StagingPlace(
            base_uri=item["base_uri"],
            run_id=item["run_id"],
            part=item["part"] if inside_group else None,
            conn_id=item["conn_id"],
            storage_options=item.get("storage_options"),
        )
        for item in announced
    ]
    if not places:
        return None
    if any(place != places[0] for place in places):
        runs = sorted({f"{place.base_uri}/{place.run_id}" for place in places})
        raise StagingGraphError(
            f"The instances of {stage.task_id!r} staged to {len(runs)} runs ({', '.join(runs[:3])}), and one cleanup "
            "takes one: give all instances the same base_uri, run_id and conn_id, or put the cleanup into their "
            "task group."
        )
    return places[0]


def announced_connection(context: Context, stage: Any) -> StagingPlace | None:
    """Return a place of ``stage`` in this DAG run for its connection and options, or None if it never said one.

    All instances of a mapped stage have the same: the first that comes will do.
    """
    try:
        pulled = XComArg(stage, key=STAGING_XCOM_KEY).resolve(context)
    except XComNotFound:
        return None
    if not isinstance(pulled, Mapping):
        pulled = next((item for item in pulled or () if item), None)
    if pulled is None:
        return None
    return StagingPlace(
        base_uri=pulled["base_uri"],
        run_id=pulled["run_id"],
        part=pulled["part"],
        conn_id=pulled["conn_id"],
        storage_options=pulled.get("storage_options"),
    )


def place_by_arguments(context: Context, stage: Any) -> StagingPlace | None:
    """Return where ``stage`` stages by its plain arguments, or None if they are templates.

    Airflow clears a task's XComs at each try: after a try that staged and one that died before it
    could say where, this is how the first one's files are found.
    """
    arguments = getattr(stage, "partial_kwargs", None) or vars(stage)
    base_uri, run_id, conn_id = (arguments.get(name) for name in ("base_uri", "run_id", "conn_id"))
    for value in (base_uri or "{{", run_id, conn_id):
        if value is not None and not (isinstance(value, str) and "{{" not in value and "{%" not in value):
            return None
    ti = context["ti"]
    return StagingPlace(
        base_uri=str(base_of(base_uri)),
        run_id=default_run_id(ti.dag_id, ti.run_id, stage.task_id) if run_id is None else safe_run_id(run_id),
        part=part_of(ti.map_index),
        conn_id=conn_id,
        storage_options=arguments.get("storage_options"),
    )


def actor_of(context: Context) -> dict[str, Any]:
    """Return what the evidence says of the task that writes a record."""
    ti = context["ti"]
    return described(writer_of(context, ti.task_id, ti.map_index), ti.try_number)


def writer_of(context: Context, task_id: str, map_index: int) -> StagingWriter:
    """Return the identity under which a task of this DAG run claims its prefix."""
    ti = context["ti"]
    return StagingWriter(
        deployment=conf.get("dpone", "deployment", fallback="") or "",
        dag_id=ti.dag_id,
        dag_run_id=ti.run_id,
        task_id=task_id,
        map_index=map_index,
    )
