"""The operator that stages files.

What only ``execute`` needs is imported when it runs: parsing a DAG shouldn't pay for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, Context

from dpone_airflow.links.staged_files import StagedFilesLink, push_link
from dpone_airflow.operators.graph import check_graph, cleanups_of, is_cleaned_up_by_its_own_connection
from dpone_airflow.operators.task_arguments import arguments_of
from dpone_airflow.staging.choices import Engine, ExactPrefix, IfExists, check_choice, check_count
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.storage.concurrency import checked_max_concurrency
from dpone_airflow.storage.errors import NoFilesMatchedError, StagingGraphError

if TYPE_CHECKING:
    from dpone_airflow.staging.plan import ObjectStorageStagingPlan
    from dpone_airflow.staging.service import StagedRun, StageOptions
    from dpone_airflow.staging.sources import File, Files

_SHARED_BY_ALL_INSTANCES = ("base_uri", "run_id", "conn_id", "cleanup_policy", "storage_options")


class ObjectStorageStageOperator(BaseOperator):
    """Upload files below ``<base_uri>/<run_id>/`` and push a checksummed manifest to XCom.

    The connection's type chooses the store: ``aws``, ``google_cloud_platform``, ``wasb``, or the
    local emulator. Before its first byte the task says where it stages (XCom ``dpone_staging``),
    claims the prefix, and checks that the DAG's cleanup can't hurt.

    Mapped (``.partial(...).expand(files=...)``), each instance stages to its own part
    (``map-00003/``) of one run prefix.
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html

    .. seealso:: ``docs/operators/stage.md``

    :param files: a path, a glob, a directory (its tree is kept), or a list of them; also an
        ``ObjectStoragePath`` or a URI (``sftp://``, ``gs://``, ...), which is streamed. A text that is a list in JSON
        or Python, as a template renders one, is read as that list. (templated)
    :param base_uri: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or
        ``azure://account/container/prefix``. (templated)
    :param dataset: what the files belong to; any text. (templated)
    :param table: the table they will be loaded into; any text. (templated)
    :param file_format: ``csv``, ``tsv``, ``parquet``, ...; any text, nothing is converted. (templated)
    :param compression: ``none``, ``gzip``, ``zstd``, ...; any text, nothing is compressed. (templated)
    :param cleanup_policy: ``retain``, ``delete_on_success`` or ``delete_always``; read by the
        ``StagingCleanupOperator`` that takes this task's output.
    :param conn_id: the Airflow connection; None for the scheme's own: ``aws_default``, ``google_cloud_default`` or
        ``wasb_default``. (templated)
    :param run_id: one path segment of up to 200 bytes; None for a slug of DAG id, DAG run id and task id, the same
        on every try. Characters that break readers are replaced, with a digest. (templated)
    :param content_type: MIME type of all files; None to guess each one's from its name. (templated)
    :param source_conn_id: the connection that URIs in ``files`` are read with; None for what Airflow's filesystems
        take without one. (templated)
    :param on_empty: when no file matches, ``fail`` or ``skip`` the task.
    :param if_exists: what an earlier try, or the run before a clear, has staged is kept where store
        and local file are still the same (``resume``), sent again (``replace``), or an error (``fail``).
    :param exact_prefix: objects below the prefix that this task doesn't stage are deleted
        (``enforce``), an error (``check``), or left alone (``off``).
    :param storage_options: a dict of encryption, ACL, storage class and the like, by the names that the cloud's SDK
        has for them, see ``docs/connections.md``; None for none. (templated)
    :param max_concurrency: files, or parts of a file, sent at the same time, from 1.
    :param engine: what uploads: obstore where it honours every setting of the connection and else
        the cloud's SDK (``auto``), ``obstore`` or an error, or always the ``sdk``.
    :param store_check: whether the store is given a checksum of every byte, to check it.
    :param xcom_max_objects: with more files than that, the XCom holds the manifest's header and
        a pointer to where the manifest is stored, see ``dpone_airflow.staging.resolve_manifest``; 0 for always.
    :raises InvalidPlanError: at DAG parse, for an unknown ``cleanup_policy``.
    :raises InvalidOptionError: at DAG parse, for an unknown ``on_empty``, ``if_exists``,
        ``exact_prefix`` or ``engine``, a ``max_concurrency`` below 1, or an ``xcom_max_objects`` below 0.
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
        "source_conn_id",
        "storage_options",
    )
    template_fields_renderers = {"files": "py", "storage_options": "json"}  # noqa: RUF012 - Airflow's own form
    operator_extra_links = (StagedFilesLink(),)
    ui_color = "#e4f0e8"
    # While files are uploaded; an operator is copied before that, and an event can't be.
    _stop: threading.Event | None = None
    # What was staged, for whoever asks once it is done.
    _staged: StagedRun | None = None
    _endpoint_url: str | None = None

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
        source_conn_id: str | None = None,
        on_empty: Literal["fail", "skip"] = "fail",
        if_exists: IfExists = "resume",
        exact_prefix: ExactPrefix = "enforce",
        storage_options: Mapping[str, Any] | None = None,
        max_concurrency: int = 8,
        engine: Engine = "auto",
        store_check: bool = True,
        xcom_max_objects: int = 1000,
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
        check_count("xcom_max_objects", xcom_max_objects, at_least=0)
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
        self.source_conn_id = source_conn_id
        self.on_empty = on_empty
        self.if_exists = if_exists
        self.exact_prefix = exact_prefix
        self.storage_options = storage_options
        self.max_concurrency = checked_max_concurrency(max_concurrency)
        self.engine = engine
        self.store_check = store_check
        self.xcom_max_objects = xcom_max_objects

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the files; return the manifest, which is this task's XCom ``return_value``.

        Two more XComs are there from before the first byte, also when the task then fails: ``dpone_staging``, a dict
        of ``base_uri``, ``run_id``, ``part``, ``conn_id`` and ``policy`` (texts or None) and the ``storage_options`` if
        there are any; and ``dpone_staged_files``, the address of the prefix in the store's console, if it has one.

        A task that fails is tried again, or cleared, and goes on from what is staged.

        :param context: what Airflow gives a task.
        :returns: up to ``xcom_max_objects`` files, what ``ObjectStorageStagingManifest.to_dict`` returns; above, the
            same without ``objects`` and with ``manifest_uri`` and ``manifest_sha256``, the place of the stored manifest
            and the SHA-256 of its bytes in hex, both texts.
        :raises StagingGraphError: if the DAG's cleanup could hurt, or the task is expanded over what all instances
            share; nothing was sent.
        :raises InvalidInputError: for a rendered argument that can't be; nothing was sent.
        :raises MissingExtraError: if the cloud's provider isn't installed.
        :raises AirflowSkipException: with ``on_empty="skip"``, if no file matches.
        :raises SourceFileError: for files that are missing, no files, changing, or of one name.
        :raises ClaimError: if the prefix is another task's, or holds what nobody has claimed.
        :raises StagingStoppedError: if the task was killed.
        :raises StorageError: if the store refuses or fails.
        """
        from dpone_airflow.operators.asset_events import describe_outlets
        from dpone_airflow.operators.manifest_xcom import manifest_xcom
        from dpone_airflow.operators.source_name import name_instance
        from dpone_airflow.operators.staging_xcom import announce
        from dpone_airflow.operators.summary import summary_of
        from dpone_airflow.storage.options import checked_options

        self._refuse_expanded_place()
        task = self.dag.task_dict[self.task_id]
        check_graph(task)
        plan = self._plan(context)
        # What is announced stays in Airflow's database: nothing that isn't on the list may get there.
        checked_options(plan.provider, self.storage_options)
        announce(context, plan, self.conn_id, self.storage_options)
        name_instance(context, self.files)
        try:
            staged = self._stage(context, plan)
        except NoFilesMatchedError as error:
            if self.on_empty == "skip":
                raise AirflowSkipException(str(error)) from error
            raise
        self._staged = staged
        describe_outlets(context, self.outlets or (), staged)
        self.log.info("%s", summary_of(staged, cleanups_of(task)))
        return manifest_xcom(staged.manifest, staged.record, self.xcom_max_objects)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what OpenLineage's listener tells of this task, or None if nothing was staged.

        One output dataset for the run prefix, however many files there are.
        https://airflow.apache.org/docs/apache-airflow-providers-openlineage/stable/guides/developer.html

        :param task_instance: not looked at; the listener gives it.
        :returns: an ``OperatorLineage``; None also where OpenLineage's provider isn't installed whole, which is logged.
        """
        from dpone_airflow.operators.source_name import listed_files

        if self._staged is None:
            return None
        try:
            from dpone_airflow.operators.lineage import lineage_of

            return lineage_of(self._staged.manifest, self._endpoint_url, listed_files(self.files))
        except ImportError:
            self.log.warning("OpenLineage is told nothing of this task: its provider isn't installed whole.")
            return None

    def _stage(self, context: Context, plan: ObjectStorageStagingPlan) -> StagedRun:
        from dpone_airflow.hooks.object_storage import ObjectStorageHook
        from dpone_airflow.operators.mapped_parts import live_parts
        from dpone_airflow.operators.progress_display import progress_for
        from dpone_airflow.operators.staging_xcom import actor_of, writer_of
        from dpone_airflow.staging.service import ObjectStorageStagingService

        hook = ObjectStorageHook(
            self.conn_id,
            self.storage_options,
            max_concurrency=self.max_concurrency,
            engine=self.engine,
            store_check=self.store_check,
        )
        client = hook.get_client(plan.base_uri)
        self._endpoint_url = client.endpoint_url
        push_link(context, hook, client, plan.prefix)
        stop = self._stop = threading.Event()
        service = ObjectStorageStagingService(
            client=client,
            writer=writer_of(context, self.task_id, context["ti"].map_index),
            by=actor_of(context),
        )
        options = self._stage_options()
        options["live_parts"] = live_parts(context)
        options["cleans_up"] = is_cleaned_up_by_its_own_connection(self.dag.task_dict[self.task_id])
        options["stop"] = stop
        options["progress"] = progress_for(client)
        return service.stage(plan, self._files_to_stage(context), **options)

    def _stage_options(self) -> StageOptions:
        return {
            "content_type": self.content_type,
            "if_exists": self.if_exists,
            "exact_prefix": self.exact_prefix,
        }

    def _files_to_stage(self, context: Context) -> Files:
        return self._all_of(self.files)

    def _all_of(self, files: Any) -> list[File]:
        """Return the files of entries that are all known: remote ones without a file are named as they were given."""
        from dpone_airflow.staging.sources import shown_files

        entries = self._entries_of(files)
        found = self._with_remote_ones(entries)
        if entries and not found:
            raise NoFilesMatchedError(f"No file to stage: {shown_files(entries)} matched none where they lie.")
        return found

    @staticmethod
    def _entries_of(files: Any) -> list[Any]:
        from dpone_airflow.operators.rendered import rendered_files

        # The template of a task without a result renders to this text.
        return list(rendered_files(None if files == "None" else files))

    def _with_remote_ones(self, entries: list[Any]) -> list[File]:
        """Return paths as they are, and what lies elsewhere as what opens it there."""
        from dpone_airflow.hooks.remote_files import is_remote, remote_files

        found: list[File] = []
        for entry in entries:
            found.extend(remote_files(entry, self.source_conn_id) if is_remote(entry) else [entry])
        return found

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
        if not names and "base_uri" not in arguments_of(mapped):
            names = ["base_uri"]  # it can only have come from the XCom that expand_kwargs() was given
        if names:
            raise StagingGraphError(
                f"{self.task_id!r} is expanded over {', '.join(names)}, and its instances share one run prefix. "
                f"Write: .partial({names[0]}=..., ...).expand(files=...), or one stage task for each {names[0]}."
            )
