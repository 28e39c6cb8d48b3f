"""The operator that applies a cleanup policy.

What only ``execute`` needs is imported when it runs: parsing a DAG shouldn't pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, Context
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from dpone_airflow.operators.graph import check_graph, stage_behind
from dpone_airflow.operators.task_arguments import arguments_of
from dpone_airflow.staging.choices import check_count
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.storage.errors import DeleteIncompleteError, InvalidOptionError, StagingGraphError

if TYPE_CHECKING:
    from dpone_airflow.operators.cleanup_places import Manifest
    from dpone_airflow.operators.staging_xcom import StagingPlace
    from dpone_airflow.staging.cleanup import CleanupReport
    from dpone_airflow.staging.deletion import DeletionLimits
    from dpone_airflow.storage.client import ObjectStorageObject

_LOGGED = 100


class StagingCleanupOperator(BaseOperator):
    """Delete what a stage task staged, or keep it, as the policy says.

    - ``retain`` keeps everything; it runs by Airflow's default rule.
    - ``delete_on_success`` is an ``all_success`` task: it deletes after a successful load. A cleanup that fails,
      fails the run.
    - ``delete_always`` is ``all_done`` and a teardown: it deletes whatever happened, and can't turn a failed run
      green. In a DAG with ``fail_fast``, where Airflow refuses ``all_done``, it is ``all_done_setup_success``.

    One unmapped cleanup takes a plain or a mapped stage; inside a mapped task group each instance
    cleans its own part. A ``trigger_rule`` that is given wins over the policy's.
    https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#trigger-rules
    https://airflow.apache.org/docs/apache-airflow/stable/howto/setup-and-teardown.html

    .. seealso:: ``docs/cleanup.md``

    :param manifest: the output of an ``ObjectStorageStageOperator``, or of the
        ``StagingVerifyOperator`` behind it; or a manifest, its dict, its pointer or a list of those of a run's parts,
        whose run somebody must have claimed. (templated)
    :param manifest_uri: in its place, the URI of a stored manifest: what an asset event tells of the
        run that woke this DAG. Somebody must have claimed that run. (templated)
    :param cleanup_policy: ``retain``, ``delete_on_success`` or ``delete_always``; None for the one of the stage
        operator behind ``manifest``.
    :param base_uri: with ``run_id``: the run of another DAG; somebody must have claimed it. (templated)
    :param run_id: see ``base_uri``; made safe as the stage operator makes it. (templated)
    :param conn_id: None for the connection that the stage used, and without a stage for the scheme's own. (templated)
    :param storage_options: a dict, as the stage operator takes it; None for those that the stage used. (templated)
    :param dry_run: report and log what would be deleted, and delete nothing.
    :param max_objects: delete nothing if there are more objects than this; None for any number.
    :param max_bytes: likewise for their size, in bytes.
    :raises InvalidPlanError: at DAG parse, for an unknown policy.
    :raises InvalidOptionError: at DAG parse, for a ceiling that isn't a whole number from 0, for nothing to clean up,
        for a ``manifest_uri`` beside a ``manifest`` or a ``base_uri``, or for one of ``base_uri`` and ``run_id`` alone.
    :raises StagingGraphError: at DAG parse, if it can't be known what to clean up or by which policy.
    """

    trigger_rule: Any  # as Airflow sets it
    template_fields: Sequence[str] = ("manifest", "manifest_uri", "base_uri", "run_id", "conn_id", "storage_options")
    template_fields_renderers = {"manifest": "json"}  # noqa: RUF012 - Airflow's own form
    ui_color = "#f0e8e4"

    def __init__(
        self,
        *,
        manifest: Any = None,
        manifest_uri: str | None = None,
        cleanup_policy: str | None = None,
        base_uri: str | None = None,
        run_id: str | None = None,
        conn_id: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        max_objects: int | None = None,
        max_bytes: int | None = None,
        **kwargs: Any,
    ) -> None:
        for name, limit in (("max_objects", max_objects), ("max_bytes", max_bytes)):
            if limit is not None:
                check_count(name, limit, at_least=0)
        stage = stage_behind(manifest)
        policy = _policy_of(stage, cleanup_policy, kwargs.get("task_id"))
        if (stage is not None or manifest_uri is not None) and (base_uri is None or run_id is None):
            # Stage and record say themselves where the run is; one of the two may have come from default_args.
            base_uri = run_id = None
        if manifest_uri is not None and (manifest is not None or base_uri is not None):
            raise InvalidOptionError("manifest_uri names a run by itself: leave out manifest, base_uri and run_id.")
        if (base_uri is None) != (run_id is None):
            raise InvalidOptionError("base_uri and run_id name one run together: give both or none.")
        if manifest is None and manifest_uri is None and base_uri is None:
            raise InvalidOptionError(
                "There is nothing to clean up: give manifest=stage.output, or manifest_uri, or base_uri and run_id, of "
                "another DAG's run."
            )
        if policy is not CleanupPolicy.RETAIN:
            kwargs.setdefault("trigger_rule", _trigger_rule(policy, kwargs.get("dag") or _dag_around()))
        super().__init__(**kwargs)
        if policy is CleanupPolicy.DELETE_ALWAYS:
            self.is_teardown = True
        self.manifest = manifest
        self.manifest_uri = manifest_uri
        self.cleanup_policy = str(policy)
        self.base_uri = base_uri
        self.run_id = run_id
        self.conn_id = conn_id
        self.storage_options = storage_options
        self.dry_run = dry_run
        self.max_objects = max_objects
        self.max_bytes = max_bytes
        #: The stage task of this DAG whose output ``manifest`` is; None if it comes from elsewhere.
        self.stage_task_id = stage.task_id if stage is not None else None

    @classmethod
    def partial(cls, **kwargs: Any) -> NoReturn:
        """Refuse: a mapped cleanup would lose its trigger rule and delete one run many times.

        :param kwargs: not looked at.
        :raises StagingGraphError: always, with what to write.
        """
        raise StagingGraphError(
            "StagingCleanupOperator can't be expanded. One cleanup takes all instances of a mapped stage; write: "
            "StagingCleanupOperator(task_id=..., manifest=stage.output), also inside a mapped task group."
        )

    def as_teardown(self, **kwargs: Any) -> Any:
        """Make this task a teardown that keeps its policy's trigger rule.

        Airflow would set ``all_done_setup_success``, under which a failed stage leaves its partial
        uploads behind. A ``delete_on_success`` teardown that fails still fails the run.
        https://airflow.apache.org/docs/apache-airflow/stable/howto/setup-and-teardown.html

        :param kwargs: what Airflow's own takes: ``setups`` and ``on_failure_fail_dagrun``.
        :returns: this task.
        """
        rule = self.trigger_rule
        if self.cleanup_policy == CleanupPolicy.DELETE_ON_SUCCESS:
            kwargs.setdefault("on_failure_fail_dagrun", True)
        super().as_teardown(**kwargs)
        self.trigger_rule = rule
        return self

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply the policy; return what was deleted, which is this task's XCom ``return_value``.

        :param context: what Airflow gives a task.
        :returns: ``cleanup_policy`` and ``prefix`` (texts), ``deleted_objects``, ``deleted_bytes``, ``hidden_objects``
            and ``hidden_bytes`` (numbers; hidden is what the bucket keeps as older versions) and ``dry_run``: what
            ``CleanupReport.to_dict`` returns, of all parts together.
        :raises StagingGraphError: if deleting now could hurt; nothing was deleted.
        :raises InvalidInputError: for a rendered argument that can't be; nothing was deleted.
        :raises InvalidManifestError: if the manifest names another place, or ``manifest_uri`` is none of a stored
            manifest; nothing was deleted.
        :raises ClaimError: if the run isn't the stage's own; nothing was deleted.
        :raises OvertakenError: if a stage has begun there meanwhile. What was found is deleted, and recorded.
        :raises DeletionLimitError: if there is more than ``max_objects`` or ``max_bytes``; nothing was deleted.
        :raises DeleteIncompleteError: naming what is left; all else is gone.
        :raises MissingExtraError: if the cloud's provider isn't installed.
        :raises StorageError: if the store refuses or fails, also when the manifest's record can't be read.
        """
        from dpone_airflow.operators.cleanup_places import places_to_clean_up
        from dpone_airflow.staging.cleanup import CleanupReport

        stage = self.dag.task_dict[self.stage_task_id] if self.stage_task_id else None
        if stage is not None:
            check_graph(stage)
        manifests = self._manifests()
        places = places_to_clean_up(context, stage, manifests, self.base_uri, self.run_id)
        if self.cleanup_policy == CleanupPolicy.RETAIN:
            reports = [CleanupReport(self.cleanup_policy, place.prefix, dry_run=self.dry_run) for place in places]
        else:
            reports = self._clean_up_all(context, places, bool(manifests))
        report = CleanupReport(
            self.cleanup_policy,
            reports[0].prefix if len(reports) == 1 else places[0].run_prefix if places else "",
            sum(report.deleted_objects for report in reports),
            sum(report.deleted_bytes for report in reports),
            sum(report.hidden_objects for report in reports),
            sum(report.hidden_bytes for report in reports),
            self.dry_run,
        )
        self._tell(report, [item for report in reports for item in report.objects])
        return report.to_dict()

    def _tell(self, report: CleanupReport, objects: Sequence[ObjectStorageObject]) -> None:
        if self.dry_run:
            for item in objects[:_LOGGED]:
                self.log.info("Would delete %s (%d bytes)", item.uri, item.size_bytes)
            if len(objects) > _LOGGED:
                self.log.info("Would delete %d more", len(objects) - _LOGGED)
        prefix = report.prefix or "no prefix: the stage never came to say where it stages"
        if report.hidden_objects:
            self.log.info(
                "Policy %s: %s %d objects, %d bytes, below %s; the bucket keeps their older versions",
                report.cleanup_policy,
                "would hide" if self.dry_run else "hid",
                report.hidden_objects,
                report.hidden_bytes,
                prefix,
            )
            return
        self.log.info(
            "Policy %s: %s %d objects, %d bytes, below %s",
            report.cleanup_policy,
            "would delete" if self.dry_run else "deleted",
            report.deleted_objects,
            report.deleted_bytes,
            prefix,
        )

    def _manifests(self) -> list[Manifest]:
        """Return what says which run it is. A record is read; nothing else can say whose it is."""
        from dpone_airflow.hooks.object_storage import ObjectStorageHook
        from dpone_airflow.operators.mapped_outputs import some_at_a_time
        from dpone_airflow.staging.resolve import manifests_in, read_manifest
        from dpone_airflow.storage.uri import ObjectStorageUri

        if self.manifest_uri is None:
            given = manifests_in(some_at_a_time(self.manifest))
        else:
            given = [ObjectStorageUri.parse(self.manifest_uri)]
        hook = ObjectStorageHook(self.conn_id, self.storage_options, engine="sdk")
        return [read_manifest(str(item), hook) if isinstance(item, ObjectStorageUri) else item for item in given]

    def _clean_up_all(self, context: Context, places: Sequence[StagingPlace], was_staged: bool) -> list[CleanupReport]:
        from dpone_airflow.staging.deletion import DeletionLimits
        from dpone_airflow.storage.deletes import delete_incomplete

        limits = DeletionLimits(self.max_objects, self.max_bytes)
        if len(places) > 1:  # the limits are those of all together
            planned = [self._clean_up(context, place, was_staged, limits, dry_run=True) for place in places]
            limits.check(
                places[0].run_prefix,
                sum(len(report.objects) for report in planned),
                sum(item.size_bytes for report in planned for item in report.objects),
            )
            if self.dry_run:
                return planned
        reports: list[CleanupReport] = []
        left: dict[str, str] = {}
        cause: DeleteIncompleteError | None = None
        for place in places:
            try:
                reports.append(self._clean_up(context, place, was_staged, limits, dry_run=self.dry_run))
            except DeleteIncompleteError as error:  # of one part: the others go all the same
                left.update(error.left)
                cause = error
        if left:
            raise delete_incomplete(left) from cause
        return reports

    def _clean_up(
        self, context: Context, place: StagingPlace, was_staged: bool, limits: DeletionLimits, *, dry_run: bool
    ) -> CleanupReport:
        from dpone_airflow.hooks.object_storage import ObjectStorageHook
        from dpone_airflow.operators.staging_xcom import actor_of, writer_of
        from dpone_airflow.staging.cleanup import clean_up_run

        staged_by = None
        if self.stage_task_id:
            map_index = context["ti"].map_index if place.part is not None else -1
            staged_by = writer_of(context, self.stage_task_id, map_index)
        hook = ObjectStorageHook(
            self.conn_id or place.conn_id, self.storage_options or place.storage_options, engine="sdk"
        )
        try:
            return clean_up_run(
                hook.get_client(place.base_uri),
                place.base_uri,
                place.run_id,
                policy=self.cleanup_policy,
                part=place.part,
                staged_by=staged_by,
                must_be_claimed=was_staged,
                limits=limits,
                dry_run=dry_run,
                by=actor_of(context),
            )
        except DeleteIncompleteError as error:
            for uri, reason in list(error.left.items())[:_LOGGED]:
                self.log.error("Not deleted: %s (%s)", uri, reason)
            raise


def _policy_of(stage: Any, given: str | None, task_id: Any) -> CleanupPolicy:
    if given is not None:
        return CleanupPolicy.of(given)
    if stage is None:
        # The rule by which a task runs is settled when its DAG is parsed, and a record is read when it runs.
        raise StagingGraphError(
            f"{task_id!r} takes no output of an ObjectStorageStageOperator whose policy it could follow: "
            "write cleanup_policy='retain', 'delete_on_success' or 'delete_always'."
        )
    return CleanupPolicy.of(arguments_of(stage).get("cleanup_policy", CleanupPolicy.RETAIN))


def _dag_around() -> Any:
    """Return the DAG of the ``with`` block around an operator. Airflow 3 passes it on; 2.11 must be asked."""
    if AIRFLOW_V_3_0_PLUS:
        return None
    from airflow.models.dag import DagContext

    return DagContext.get_current_dag()


def _trigger_rule(policy: CleanupPolicy, dag: Any) -> str:
    if policy is CleanupPolicy.DELETE_ON_SUCCESS:
        return "all_success"
    # Airflow refuses all_done in a DAG that stops at its first failure.
    fails_fast = getattr(dag, "fail_fast", False) or getattr(dag, "fail_stop", False)
    return "all_done_setup_success" if fails_fast else "all_done"
