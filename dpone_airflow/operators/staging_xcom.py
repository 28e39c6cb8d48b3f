"""What a stage task says before its first byte, and its cleanup reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow.providers.common.compat.sdk import Context, XComArg, XComNotFound, conf

from dpone_airflow.operators.mapped_outputs import some_at_a_time
from dpone_airflow.operators.mapped_parts import part_of
from dpone_airflow.operators.task_arguments import arguments_of
from dpone_airflow.staging.actor import described
from dpone_airflow.staging.evidence import StagingWriter
from dpone_airflow.staging.plan import ObjectStorageStagingPlan, base_of
from dpone_airflow.staging.run_id import check_part, check_run_id, default_run_id, safe_run_id
from dpone_airflow.storage.errors import InvalidInputError, InvalidManifestError, StagingGraphError

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
    :raises InvalidManifestError: if what was announced isn't what a stage announces.
    """
    try:
        pulled = XComArg(stage, key=STAGING_XCOM_KEY).resolve(context)
    except XComNotFound:
        return None
    if pulled is None:
        return None
    announced = [item for item in _instances(pulled) if item is not None]
    inside_group = context["ti"].map_index >= 0
    places = [_place_in(item, stage) for item in announced]
    if not inside_group:
        places = [replace(place, part=None) for place in places]
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
    announced = next((item for item in _instances(pulled) if item is not None), None)
    return None if announced is None else _place_in(announced, stage)


def _instances(pulled: Any) -> Iterable[Any]:
    """Return what each instance of a stage announced, one after the other as they are read."""
    is_sequence = isinstance(pulled, Iterable) and not isinstance(pulled, (Mapping, str))
    return some_at_a_time(pulled) if is_sequence else (pulled,)


def _place_in(announced: Any, stage: Any) -> StagingPlace:
    """Read what ``announce`` has pushed. Any task of the DAG may have written it since.

    :raises InvalidManifestError: if it isn't that.
    """
    try:
        place = StagingPlace(
            base_uri=str(base_of(announced["base_uri"])),
            run_id=check_run_id(announced["run_id"]),
            part=check_part(announced["part"]),
            conn_id=announced["conn_id"],
            storage_options=announced.get("storage_options"),
        )
        if not isinstance(place.conn_id, str | None) or not isinstance(place.storage_options, Mapping | None):
            raise TypeError("conn_id is no text, or storage_options is no mapping")
    except (LookupError, TypeError, AttributeError, InvalidInputError) as error:
        raise InvalidManifestError(
            f"The XCom {STAGING_XCOM_KEY} of {stage.task_id!r} isn't what a stage pushes ({type(error).__name__}: "
            f"{str(error)[:200]}). Nothing was deleted: find what wrote it, and clear {stage.task_id!r}."
        ) from error
    return place


def place_by_arguments(context: Context, stage: Any) -> StagingPlace | None:
    """Return where ``stage`` stages by its plain arguments, or None if they are templates.

    Airflow clears a task's XComs at each try: after a try that staged and one that died before it
    could say where, this is how the first one's files are found.
    https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/xcoms.html
    """
    arguments = arguments_of(stage)
    place: list[Any] = [arguments.get(name) for name in ("base_uri", "run_id", "conn_id")]
    base_uri, run_id, conn_id = place
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
