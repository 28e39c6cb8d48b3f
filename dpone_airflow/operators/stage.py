"""The operator that stages files.

What only ``execute`` needs is imported when it runs: parsing a DAG shouldn't pay for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, Context

from dpone_airflow.operators.graph import check_graph
from dpone_airflow.staging.choices import Engine, ExactPrefix, IfExists, check_choice
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.storage.concurrency import checked_max_concurrency
from dpone_airflow.storage.errors import NoFilesMatchedError, StagingGraphError

if TYPE_CHECKING:
    from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
    from dpone_airflow.staging.plan import ObjectStorageStagingPlan
    from dpone_airflow.staging.sources import Files

_SHARED_BY_ALL_INSTANCES = ("base_uri", "run_id", "conn_id", "cleanup_policy", "storage_options")


class ObjectStorageStageOperator(BaseOperator):
    """Upload files below ``<base_uri>/<run_id>/`` and push a checksummed manifest to XCom.

    The connection's type chooses the store: ``aws``, ``google_cloud_platform``, ``wasb``, or the
    local emulator. Before its first byte the task says where it stages (XCom ``dpone_staging``),
    claims the prefix, and checks that the DAG's cleanup can't hurt.

    Mapped (``.partial(...).expand(files=...)``), each instance stages to its own part
    (``map-00003/``) of one run prefix.

    .. seealso:: ``docs/operators/stage.md``

    :param files: a path, a glob, a directory (its tree is kept), or a list of them. (templated)
    :param base_uri: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or
        ``azure://account/container/prefix``. (templated)
    :param dataset: what the files belong to. (templated)
    :param table: the table they will be loaded into. (templated)
    :param file_format: ``csv``, ``tsv``, ``parquet``, ... (templated)
    :param compression: ``none``, ``gzip``, ``zstd``, ... (templated)
    :param cleanup_policy: ``retain``, ``delete_on_success`` or ``delete_always``; read by the
        ``StagingCleanupOperator`` that takes this task's output.
    :param conn_id: by default the scheme's own: ``aws_default``, ``google_cloud_default`` or
        ``wasb_default``. (templated)
    :param run_id: one path segment; by default a slug of DAG id, DAG run id and task id, the same
        on every try. Characters that break readers are replaced, with a digest. (templated)
    :param content_type: MIME type of all files; by default guessed from each name. (templated)
    :param on_empty: when no file matches, ``fail`` or ``skip`` the task.
    :param if_exists: what an earlier try, or the run before a clear, has staged is kept where store
        and local file are still the same (``resume``), sent again (``replace``), or an error (``fail``).
    :param exact_prefix: objects below the prefix that this task doesn't stage are deleted
        (``enforce``), an error (``check``), or left alone (``off``).
    :param storage_options: encryption, ACL, storage class and the like, see ``docs/connections.md``.
        (templated)
    :param max_concurrency: files, or parts of a file, sent at the same time.
    :param engine: what uploads: obstore where it honours every setting of the connection and else
        the cloud's SDK (``auto``), ``obstore`` or an error, or always the ``sdk``.
    :param store_check: whether the store is given a checksum of every byte, to check it.
    :raises InvalidPlanError: at DAG parse, for an unknown ``cleanup_policy``.
    :raises InvalidOptionError: at DAG parse, for an unknown ``on_empty``, ``if_exists``,
        ``exact_prefix`` or ``engine``, or a ``max_concurrency`` below 1.
    """

    template_fields: Sequence[str] = (
        "files",
        "base_uri",
        "dataset",
        "table",
        "file_format",
        "compression",
        "conn_id",
        "run_id",
        "content_type",
        "storage_options",
    )
    template_fields_renderers = {"files": "py", "storage_options": "json"}  # noqa: RUF012 - Airflow's own form
    ui_color = "#e4f0e8"
    # While files are uploaded; an operator is copied before that, and an event can't be.
    _stop: threading.Event | None = None

    def __init__(
        self,
        *,
        files: Files,
        base_uri: str,
        dataset: str,
        table: str,
        file_format: str,
        compression: str = "none",
        cleanup_policy: str = CleanupPolicy.RETAIN,
        conn_id: str | None = None,
        run_id: str | None = None,
        content_type: str | None = None,
        on_empty: Literal["fail", "skip"] = "fail",
        if_exists: IfExists = "resume",
        exact_prefix: ExactPrefix = "enforce",
        storage_options: Mapping[str, Any] | None = None,
        max_concurrency: int = 8,
        engine: Engine = "auto",
        store_check: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (
            ("engine", engine),
            ("exact_prefix", exact_prefix),
            ("if_exists", if_exists),
            ("on_empty", on_empty),
        ):
            check_choice(name, value)
        self.files = files
        self.base_uri = base_uri
        self.dataset = dataset
        self.table = table
        self.file_format = file_format
        self.compression = compression
        self.cleanup_policy = str(CleanupPolicy.of(cleanup_policy))
        self.conn_id = conn_id
        self.run_id = run_id
        self.content_type = content_type
        self.on_empty = on_empty
        self.if_exists = if_exists
        self.exact_prefix = exact_prefix
        self.storage_options = storage_options
        self.max_concurrency = checked_max_concurrency(max_concurrency)
        self.engine = engine
        self.store_check = store_check

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the files.

        :raises StagingGraphError: if the DAG's cleanup could hurt; nothing was sent.
        :raises DponeAirflowError: see ``dpone_airflow.storage.errors``.
        """
        from dpone_airflow.operators.staging_xcom import announce

        self._refuse_expanded_place()
        check_graph(self.dag.task_dict[self.task_id])
        plan = self._plan(context)
        announce(context, plan, self.conn_id, self.storage_options)
        try:
            manifest = self._stage(context, plan)
        except NoFilesMatchedError as error:
            if self.on_empty == "skip":
                raise AirflowSkipException(str(error)) from error
            raise
        self.log.info(
            "Staged %d files, %d bytes, to %s/", manifest.object_count, manifest.total_size_bytes, manifest.prefix
        )
        return manifest.to_dict()

    def _stage(self, context: Context, plan: ObjectStorageStagingPlan) -> ObjectStorageStagingManifest:
        from dpone_airflow.hooks.object_storage import ObjectStorageHook
        from dpone_airflow.operators.mapped_parts import live_parts
        from dpone_airflow.operators.progress_display import progress_for
        from dpone_airflow.operators.rendered import rendered_files
        from dpone_airflow.operators.staging_xcom import writer_of
        from dpone_airflow.staging.service import ObjectStorageStagingService

        hook = ObjectStorageHook(
            self.conn_id,
            self.storage_options,
            max_concurrency=self.max_concurrency,
            engine=self.engine,
            store_check=self.store_check,
        )
        client = hook.get_client(plan.base_uri)
        stop = self._stop = threading.Event()
        service = ObjectStorageStagingService(
            client=client,
            writer=writer_of(context, self.task_id, context["ti"].map_index),
        )
        # The template of a task without a result renders to this text.
        files = None if self.files == "None" else self.files
        return service.stage_files(
            plan,
            rendered_files(files),
            content_type=self.content_type,
            if_exists=self.if_exists,
            exact_prefix=self.exact_prefix,
            live_parts=live_parts(context),
            stop=stop,
            progress=progress_for(client),
        )

    def on_kill(self) -> None:
        """Stop the upload: parts under way are dropped and what was staged is recorded for the next try."""
        if self._stop is not None:
            self._stop.set()

    def _plan(self, context: Context) -> ObjectStorageStagingPlan:
        from dpone_airflow.operators.mapped_parts import part_of
        from dpone_airflow.staging.plan import ObjectStorageStagingPlan
        from dpone_airflow.staging.run_id import default_run_id, safe_run_id

        ti = context["ti"]
        return ObjectStorageStagingPlan(
            base_uri=self.base_uri,
            run_id=(
                default_run_id(ti.dag_id, ti.run_id, self.task_id) if self.run_id is None else safe_run_id(self.run_id)
            ),
            dataset=self.dataset,
            table=self.table,
            file_format=self.file_format,
            compression=self.compression,
            cleanup_policy=self.cleanup_policy,
            part=part_of(ti.map_index),
        )

    def _refuse_expanded_place(self) -> None:
        """All instances of a mapped stage share one run prefix, which one cleanup can then take."""
        mapped = self.dag.task_dict[self.task_id]
        if not hasattr(mapped, "partial_kwargs"):
            return
        value = getattr(mapped.expand_input, "value", None)
        # expand() holds one mapping, expand_kwargs() one for each instance or an XCom that is not there yet.
        expanded = [value] if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else []
        names = [name for name in _SHARED_BY_ALL_INSTANCES if any(name in arguments for arguments in expanded)]
        if not names and "base_uri" not in mapped.partial_kwargs:
            names = ["base_uri"]  # it can only have come from the XCom that expand_kwargs() was given
        if names:
            raise StagingGraphError(
                f"{self.task_id!r} is expanded over {', '.join(names)}, and its instances share one run prefix. "
                f"Write: .partial({names[0]}=..., ...).expand(files=...), or one stage task for each {names[0]}."
            )
