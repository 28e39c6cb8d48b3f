"""The operator that deletes what runs of all DAGs have left behind below a base.

What only ``execute`` needs is imported when it runs: parsing a DAG shouldn't pay for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, Context

from dpone_airflow.staging.choices import check_count, check_flag

if TYPE_CHECKING:
    from dpone_airflow.staging.sweep_report import SweepReport

_NAMED = 100


class StagingSweepOperator(BaseOperator):
    """Delete the runs below a base that are old, or say which they are.

    A run is a prefix that a claim names. It is as old as the newest of its objects and records, by the store's
    clock. It goes as a whole, all parts together:

    - ``retain``: never, unless ``include_retained`` is true.
    - ``delete_on_success``: from ``older_than`` on.
    - ``delete_always``: from ``older_than`` on; from ``overdue_after`` on if no cleanup has deleted it.

    Prefixes that no claim names are only reported. Unfinished uploads in parts that are older than ``older_than``
    are aborted. A run that fails doesn't stop the others; at the end the task fails and names it.

    .. seealso:: ``docs/operators/sweep.md``

    :param base_uri: the base that runs are staged below, as the stage operator takes it. (templated)
    :param older_than: the age from which a run goes, at least an hour: a timedelta, a number of seconds, or text such
        as ``30d``, ``12h``, ``1d12h`` or ``3600``; units are ``w d h m s``. (templated)
    :param overdue_after: the age, in the same forms and at least an hour, from which a ``delete_always`` run goes that
        no cleanup has deleted; None for ``older_than``. (templated)
    :param evidence_older_than: the age, in the same forms and at least an hour, from which the evidence of runs
        without objects goes; None to keep it. (templated)
    :param conn_id: the Airflow connection; None for the scheme's own. (templated)
    :param storage_options: a dict of what the store wants with each request, see ``docs/connections.md``; None for
        nothing. (templated)
    :param dry_run: delete nothing, and report what would be deleted. True unless you say otherwise.
    :param include_retained: delete ``retain`` runs as well.
    :param max_runs: how many runs may go at a time, the oldest first; None for any number.
    :param max_objects: likewise, how many objects and records.
    :param max_bytes: likewise, how many bytes.
    :param allow_bucket_root: whether ``base_uri`` may be a whole bucket.
    :raises InvalidOptionError: at DAG parse, for a ``max_…`` that isn't a whole number from 0, or a flag that isn't
        a bool.
    """

    template_fields: Sequence[str] = (
        "base_uri",
        "older_than",
        "overdue_after",
        "evidence_older_than",
        "conn_id",
        "storage_options",
    )
    template_fields_renderers = {"storage_options": "json"}  # noqa: RUF012 - Airflow's own form
    ui_color = "#f0e8e4"
    # While it deletes; an operator is copied before that, and an event can't be.
    _stop: threading.Event | None = None

    def __init__(
        self,
        *,
        base_uri: str,
        older_than: timedelta | str | float,
        overdue_after: timedelta | str | float | None = None,
        evidence_older_than: timedelta | str | float | None = None,
        conn_id: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        dry_run: bool = True,
        include_retained: bool = False,
        max_runs: int | None = None,
        max_objects: int | None = None,
        max_bytes: int | None = None,
        allow_bucket_root: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, ceiling in (("max_runs", max_runs), ("max_objects", max_objects), ("max_bytes", max_bytes)):
            if ceiling is not None:
                check_count(name, ceiling, at_least=0)
        flags = {"dry_run": dry_run, "include_retained": include_retained, "allow_bucket_root": allow_bucket_root}
        for name, flag in flags.items():
            check_flag(name, flag)
        self.base_uri = base_uri
        self.older_than = older_than
        self.overdue_after = overdue_after
        self.evidence_older_than = evidence_older_than
        self.conn_id = conn_id
        self.storage_options = storage_options
        self.dry_run = dry_run
        self.include_retained = include_retained
        self.max_runs = max_runs
        self.max_objects = max_objects
        self.max_bytes = max_bytes
        self.allow_bucket_root = allow_bucket_root

    def execute(self, context: Context) -> dict[str, Any]:
        """Sweep; return what went, what stayed and why, as this task's XCom ``return_value``.

        With ``dry_run``, the figures are what would have gone. Of each list the first hundred are named; ``totals`` and
        ``counts`` are of all.

        :param context: what Airflow gives a task.
        :returns: a dict of what it went by (``base_uri``, ``dry_run``, ``at``, ``older_than``, ``overdue_after``,
            ``evidence_older_than``, ``include_retained``), figures by name (``totals`` of what went, in runs, objects
            and bytes; ``counts`` of the lists; ``kept``, by reason), lists (``swept`` and ``postponed``, a dict each
            run; ``unclaimed``, prefixes; ``unreadable``, a dict each record; ``evidence``, a dict each run),
            ``failures`` (what went wrong, by run id) and ``uploads_unknown`` (text or None).
            ``docs/operators/sweep.md`` shows one.
        :raises InvalidInputError: for a base or an age that can't be right; nothing was deleted.
        :raises MissingExtraError: if the cloud's provider isn't installed; nothing was deleted.
        :raises StorageError: if the store refuses a listing of the base or of its evidence; nothing was deleted.
        :raises SweepIncompleteError: naming the runs that failed; the others are gone.
        """
        from dpone_airflow.hooks.object_storage import ObjectStorageHook
        from dpone_airflow.operators.staging_xcom import actor_of
        from dpone_airflow.staging.durations import parse_duration
        from dpone_airflow.staging.sweep import sweep_base

        stop = self._stop = threading.Event()
        older_than = parse_duration("older_than", self.older_than)
        earlier, evidence = (
            None if age is None else parse_duration(name, age)
            for name, age in (
                ("overdue_after", self.overdue_after),
                ("evidence_older_than", self.evidence_older_than),
            )
        )
        hook = ObjectStorageHook(self.conn_id, self.storage_options, engine="sdk")
        report = sweep_base(
            hook.get_client(self.base_uri),
            self.base_uri,
            older_than=older_than,
            overdue_after=earlier,
            evidence_older_than=evidence,
            dry_run=self.dry_run,
            include_retained=self.include_retained,
            max_runs=self.max_runs,
            max_objects=self.max_objects,
            max_bytes=self.max_bytes,
            allow_bucket_root=self.allow_bucket_root,
            by=actor_of(context),
            stop=stop,
        )
        self._tell(report)
        report.check()
        return report.to_dict(named=_NAMED)

    def on_kill(self) -> None:
        """Begin no further run; those that are being deleted are deleted."""
        if self._stop is not None:
            self._stop.set()

    def _tell(self, report: SweepReport) -> None:
        from dpone_airflow.staging.sweep_report import summary_lines

        if self.dry_run:
            for run in report.swept[:_NAMED]:
                self.log.info("Would delete %s", run)
        for run, ceiling in report.postponed[:_NAMED]:
            self.log.warning("Left for another sweep by %s: %s", ceiling, run)
        for record in report.unreadable[:_NAMED]:
            self.log.warning("Not touched, for %s %s", record.uri, record.reason)
        for run_id, why in list(report.failures.items())[:_NAMED]:
            self.log.error("Could not sweep %s: %s", run_id, why)
        if report.unclaimed:
            self.log.warning("No claim names these, so they were left: %s", _some(report.unclaimed))
        if report.uploads_unknown is not None:
            self.log.warning("Unfinished uploads were not looked for: %s", report.uploads_unknown)
        self.log.info("%s", "\n".join(summary_lines(report)))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
