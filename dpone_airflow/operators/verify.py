"""The operator that compares the store with a manifest before a load.

What only ``execute`` needs is imported when it runs: parsing a DAG shouldn't pay for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, Context

from dpone_airflow.links.staged_files import StagedFilesLink, push_link
from dpone_airflow.operators.graph import stage_behind, stage_of
from dpone_airflow.staging.choices import VerifyMode, check_choice, check_count
from dpone_airflow.storage.concurrency import checked_max_concurrency
from dpone_airflow.storage.errors import ClaimNotFoundError, InvalidOptionError, StagingVerifyError

if TYPE_CHECKING:
    from dpone_airflow.hooks.object_storage import ObjectStorageHook
    from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
    from dpone_airflow.storage.client import ObjectStorageClient

_LOGGED_DIFFERENCES = 100


class StagingVerifyOperator(BaseOperator):
    """Compare the store with a manifest, record the outcome, and hand the manifest on to the loader.

    - ``listing``: one listing; names, sizes, and ETags where the manifest has them.
    - ``sha256``: the same, and every byte is read back and hashed, several objects at once, in the worker; nothing
      is written to its disk.

    What is missing, extra or changed is named, and fails the task. A mapped stage's manifests are
    merged and compared with the whole run prefix, so a part that isn't among them is extra; inside a
    mapped task group each instance compares its own part.

    .. seealso:: ``docs/operators/verify.md``

    :param manifest: the output of an ``ObjectStorageStageOperator``, or what a template makes of a
        manifest: its JSON, the pointer to a stored one, or its URI. (templated)
    :param manifest_uri: in its place, the URI of a stored manifest: where a replay starts from. (templated)
    :param mode: ``listing`` or ``sha256``.
    :param conn_id: None for the connection that the stage used, and without a stage of this DAG the
        scheme's own. (templated)
    :param storage_options: a dict, as the stage operator takes it; None for those that the stage used. (templated)
    :param max_concurrency: objects read at the same time, from 1.
    :param xcom_max_objects: with more objects than that, the XCom holds the manifest's header and a
        pointer to where the manifest is stored; 0 for always.
    :raises InvalidOptionError: at DAG parse, for another ``mode``, a ``max_concurrency`` below 1, an
        ``xcom_max_objects`` below 0, or not just one of ``manifest`` and ``manifest_uri``.
    :raises StagingGraphError: at DAG parse, for the outputs of two stages.
    """

    template_fields: Sequence[str] = ("manifest", "manifest_uri", "conn_id", "storage_options")
    template_fields_renderers = {"manifest": "json", "storage_options": "json"}  # noqa: RUF012 - Airflow's own form
    operator_extra_links = (StagedFilesLink(),)
    ui_color = "#e4e8f0"
    #: What takes this task's output takes that of the stage behind it, see ``operators.graph``.
    hands_manifest_on: ClassVar[bool] = True
    # While objects are read; an operator is copied before that, and an event can't be.
    _stop: threading.Event | None = None

    def __init__(
        self,
        *,
        manifest: Any = None,
        manifest_uri: str | None = None,
        mode: VerifyMode = "listing",
        conn_id: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        max_concurrency: int = 8,
        xcom_max_objects: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("mode", mode)
        check_count("xcom_max_objects", xcom_max_objects, at_least=0)
        if (manifest is None) == (manifest_uri is None):
            raise InvalidOptionError(
                "A verify takes one run: give manifest=stage.output, or manifest_uri of a stored manifest."
            )
        stage_behind(manifest)  # refuses the outputs of two stages while the DAG is parsed
        self.manifest = manifest
        self.manifest_uri = manifest_uri
        self.mode = mode
        self.conn_id = conn_id
        self.storage_options = storage_options
        self.max_concurrency = checked_max_concurrency(max_concurrency)
        self.xcom_max_objects = xcom_max_objects

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare; return the manifest as the stage does, as this task's XCom ``return_value``.

        The XCom ``dpone_staged_files`` holds the address of the prefix in the store's console, if it has one.

        :param context: what Airflow gives a task.
        :returns: up to ``xcom_max_objects`` objects, what ``ObjectStorageStagingManifest.to_dict`` returns; above, the
            same without ``objects`` and with ``manifest_uri`` and ``manifest_sha256``. The manifests of a mapped stage
            are merged to one, which is stored as that of the whole run.
        :raises InvalidManifestError: if what was given is no manifest, or its record isn't what it was.
        :raises InvalidInputError: for another rendered argument that can't be.
        :raises ClaimError: if nobody has claimed the run, or somebody else than the stage behind ``manifest``; nothing
            was recorded.
        :raises StagingVerifyError: naming what is missing, extra or changed; the evidence says it too.
        :raises StagingStoppedError: if the task was killed; nothing was recorded.
        :raises MissingExtraError: if the cloud's provider isn't installed.
        :raises StorageError: if the store refuses or fails.
        """
        from dpone_airflow.operators.progress_display import progress_for
        from dpone_airflow.operators.staging_xcom import actor_of
        from dpone_airflow.staging.verify import verify_staged

        hook = self._hook(context)
        manifest, is_merged = self._resolved(context, hook)
        client = hook.get_client(manifest.base_uri)
        self._check_whose_run(context, client, manifest)
        push_link(context, hook, client, manifest.prefix)
        stop = self._stop = threading.Event()
        by = actor_of(context)
        try:
            report = verify_staged(client, manifest, self.mode, by=by, stop=stop, progress=progress_for(client))
        except StagingVerifyError as error:
            self._log_differences(error)
            raise
        self.log.info(
            "%s holds what its manifest says: %d objects, %d bytes, of which %d were read back",
            report.prefix,
            report.object_count,
            report.total_size_bytes,
            report.read_bytes,
        )
        return self._handed_on(hook, manifest, is_merged, by)

    def on_kill(self) -> None:
        """Stop reading at the next bytes that come; nothing is recorded."""
        if self._stop is not None:
            self._stop.set()

    def _hook(self, context: Context) -> ObjectStorageHook:
        from dpone_airflow.hooks.object_storage import ObjectStorageHook
        from dpone_airflow.operators.staging_xcom import announced_connection

        conn_id, storage_options = self.conn_id, self.storage_options
        # As the DAG file has it: what is executed holds the rendered manifest.
        stage = stage_of(self.dag.task_dict[self.task_id])
        announced = announced_connection(context, stage) if stage is not None else None
        if announced is not None:
            conn_id = conn_id or announced.conn_id
            storage_options = storage_options or announced.storage_options
        return ObjectStorageHook(conn_id, storage_options, max_concurrency=self.max_concurrency, engine="sdk")

    def _check_whose_run(
        self, context: Context, client: ObjectStorageClient, manifest: ObjectStorageStagingManifest
    ) -> None:
        """Refuse the manifest of another run than the stage's own: its evidence would get a record of this verify."""
        from dpone_airflow.operators.staging_xcom import writer_of
        from dpone_airflow.staging.evidence import StagingEvidence

        evidence = StagingEvidence(client, manifest.base_uri, manifest.run_id)
        claim = evidence.read_claim()
        if claim is None:
            raise ClaimNotFoundError(
                f"No stage has claimed {evidence.prefix}/ (there is no {evidence.claim_uri}), so nothing was verified "
                "and nothing recorded: check the manifest and conn_id, and whether somebody removed the evidence."
            )
        stage = stage_of(self.dag.task_dict[self.task_id])
        if stage is not None:
            evidence.check_owner(claim.writer, writer_of(context, stage.task_id, -1))

    def _resolved(self, context: Context, hook: ObjectStorageHook) -> tuple[ObjectStorageStagingManifest, bool]:
        """Return the manifest, and whether it was merged from those of a run's parts."""
        from dpone_airflow.operators.mapped_outputs import some_at_a_time
        from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
        from dpone_airflow.staging.resolve import manifests_in, resolve_manifest
        from dpone_airflow.storage.uri import ObjectStorageUri

        if self.manifest_uri is not None:
            return resolve_manifest(ObjectStorageUri.parse(self.manifest_uri), hook), False
        found = [resolve_manifest(given, hook) for given in manifests_in(some_at_a_time(self.manifest))]
        # Of a mapped stage just one instance may be left: its manifest is then all that there is of the run.
        # Behind a mapped task group, Airflow then hands it over without a list around it.
        is_list = _is_list(self.manifest) or (len(found) == 1 and self._is_part_of_stage(found[0]))
        if len(found) == 1 and not (is_list and context["ti"].map_index < 0):
            return found[0], False
        merged = ObjectStorageStagingManifest.merge(found)
        return merged, any(manifest.part is not None for manifest in found)

    def _is_part_of_stage(self, manifest: ObjectStorageStagingManifest) -> bool:
        """Return whether a manifest is that of one instance of a stage of this DAG."""
        return manifest.part is not None and stage_of(self.dag.task_dict[self.task_id]) is not None

    def _handed_on(
        self, hook: ObjectStorageHook, manifest: ObjectStorageStagingManifest, is_merged: bool, by: Mapping[str, Any]
    ) -> dict[str, Any]:
        from dpone_airflow.operators.manifest_xcom import manifest_xcom
        from dpone_airflow.staging.evidence import StagingEvidence
        from dpone_airflow.staging.resolve import manifest_uri_of, read_manifest
        from dpone_airflow.storage.errors import InvalidManifestError

        if not is_merged and manifest.object_count <= self.xcom_max_objects:
            return manifest.to_dict()
        client = hook.get_client(manifest.base_uri)
        if is_merged:  # so that a replay, too, can start from one URI
            record = StagingEvidence(client, manifest.base_uri, manifest.run_id, by=by).write_manifest(manifest)
            self.log.info("The manifest of the whole run is stored at %s", record.uri)
        else:
            record = client.hash_object(manifest_uri_of(manifest))
            if read_manifest(str(record.uri), hook, record.sha256) != manifest:
                raise InvalidManifestError(
                    f"{record.uri} isn't the manifest that this task was given: the run was staged anew meanwhile. "
                    "Run the tasks from the stage on again."
                )
        return manifest_xcom(manifest, record, self.xcom_max_objects)

    def _log_differences(self, error: StagingVerifyError) -> None:
        lines = [
            *(f"Missing: {uri}" for uri in error.missing),
            *(f"Extra: {uri}" for uri in error.extra),
            *(f"Changed: {uri} {what}" for uri, what in error.changed.items()),
        ]
        for line in lines[:_LOGGED_DIFFERENCES]:
            self.log.error("%s", line)


def _is_list(value: Any) -> bool:
    """Return whether a rendered value stands for several manifests, be they one."""
    if isinstance(value, str):
        return value.lstrip()[:1] in ("[", "(")
    return not isinstance(value, Mapping)
