"""Staging and cleaning up under one contract, on any client."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack

from dpone_airflow.staging.actor import described, versions
from dpone_airflow.staging.backlog import Backlog
from dpone_airflow.staging.checkpoints import Checkpoints, StagedBefore, staged_before
from dpone_airflow.staging.choices import ExactPrefix, IfExists, VerifyMode, check_choice
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.content_type import checked_content_type
from dpone_airflow.staging.deletion import NO_LIMITS, DeletionLimits
from dpone_airflow.staging.evidence import ClaimedRun, StagingWriter, claim_run, refuse_nested_base
from dpone_airflow.staging.exact_prefix import check_staged, remove_strays, remove_vanished_parts
from dpone_airflow.staging.file_staging import FileStaging, StagedFile
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.overtaken import StageWatch
from dpone_airflow.staging.plan import ObjectStorageStagingPlan, checked_child
from dpone_airflow.staging.progress import Progress, ProgressFactory
from dpone_airflow.staging.real_folders import without_folders
from dpone_airflow.staging.rights import check_may_delete, deletes_later
from dpone_airflow.staging.sources import Files, SourceFile, find_sources, sources_as_they_come
from dpone_airflow.staging.stale_uploads import abort_stale_uploads
from dpone_airflow.staging.upload import FileScheduler, lanes_for_large_files
from dpone_airflow.staging.verify import VerifyReport, verify_staged
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import AlreadyStagedError, DponeAirflowError, OvertakenError, StorageError
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedRun:
    """What a stage call has done.

    :param manifest: what is staged.
    :param record: where the manifest is recorded; its ``sha256`` is that of the record's bytes.
    :param sent: how many files were sent.
    :param kept: how many an earlier try had sent, and were kept.
    :param began_at: when the call began, in UTC by this host's clock.
    :param seconds: how long it took.
    """

    manifest: ObjectStorageStagingManifest
    record: ObjectStorageObject
    sent: int
    kept: int
    began_at: datetime
    seconds: float


class StageOptions(TypedDict, total=False):
    """What ``stage`` takes besides plan and files."""

    content_type: str | None
    if_exists: IfExists
    exact_prefix: ExactPrefix
    live_parts: Collection[str] | None
    delete_local: bool
    backlog: Backlog | None
    cleans_up: bool | None
    stop: threading.Event | None
    progress: ProgressFactory


class ObjectStorageStagingService:
    """The contract: files in, a manifest out, and a cleanup that reaches just what was staged.

    :param client: the store, e.g. what ``ObjectStorageHook(conn_id).get_client(base_uri)`` returns.
    :param writer: who stages; a retry must be the same one, and ``cleanup`` then refuses the runs of
        others. None for a writer that nobody else is, and a cleanup that takes any manifest.
    :param by: what the evidence says of who is at work, plain JSON; None for the writer, this host and the versions.
    """

    def __init__(
        self,
        *,
        client: ObjectStorageClient,
        writer: StagingWriter | None = None,
        by: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._given_writer = writer
        self._writer = writer or StagingWriter.new()
        self._by = described(self._writer) if by is None else dict(by)

    def stage_files(
        self,
        plan: ObjectStorageStagingPlan,
        files: Files | Iterator[Any],
        **options: Unpack[StageOptions],
    ) -> ObjectStorageStagingManifest:
        """Upload ``files`` below the plan's prefix, prove that they are there and return the recorded manifest.

        Takes and raises what ``stage`` does.

        :param plan: where the files go and what they are.
        :param files: as for ``stage``.
        :param options: the other arguments of ``stage``, by name.
        """
        return self.stage(plan, files, **options).manifest

    def stage(
        self,
        plan: ObjectStorageStagingPlan,
        files: Files | Iterator[Any],
        *,
        content_type: str | None = None,
        if_exists: IfExists = "resume",
        exact_prefix: ExactPrefix = "enforce",
        live_parts: Collection[str] | None = None,
        delete_local: bool = False,
        backlog: Backlog | None = None,
        cleans_up: bool | None = None,
        stop: threading.Event | None = None,
        progress: ProgressFactory = Progress,
    ) -> StagedRun:
        """Upload ``files`` below the plan's prefix, prove that they are there and record the manifest.

        Whatever it raises, what was sent until then stays, and is recorded as far as the store takes it: a later call
        with the same plan and writer goes on from there. Files that don't come from an iterator are all found, and
        their names checked, before the prefix is claimed.

        :param plan: where the files go and what they are.
        :param files: a path, a glob, a directory, a ``RemoteFile``, or a list of them, see ``sources.find_sources``;
            or an iterator of them, which is asked for the next one while those before are sent.
        :param content_type: MIME type of all files, e.g. ``text/csv``; None to guess each one's from its name.
        :param if_exists: what an earlier try of this writer has staged is kept where it is still
            the same (``resume``), sent again (``replace``), or an error (``fail``).
        :param exact_prefix: other objects below the prefix are deleted (``enforce``), an error
            (``check``), or left alone (``off``).
        :param live_parts: the names of the parts that the run has now, if this call is to remove all others; None to
            look at none.
        :param delete_local: whether a file is removed from the local disk once it is staged.
        :param backlog: how far an iterator may be ahead of its uploads; None for 32 files and 1 GiB.
        :param cleans_up: whether a cleanup will delete with this client's credentials, None for as the
            policy says; the right is then asked for before the first file is sent, as it is with
            ``exact_prefix="enforce"``.
        :param stop: once it is set, the stage ends as soon as it can; None if nobody will.
        :param progress: makes what tells how far it is, of a text, the number of files and that of bytes; by default
            a log line every five seconds.
        :returns: the manifest, where it is recorded, how many files were sent and kept, and how long it took.
        :raises InvalidInputError: for an option, a content type or a file's name that can't be; nothing was sent, or
            of an iterator's files none that came after.
        :raises SourceFileError: for files that are missing, no files, changing, of one name, or that
            ``delete_local`` can't remove.
        :raises AlreadyStagedError: with ``if_exists="fail"``, if there is something; nothing was sent.
        :raises ClaimError: if the prefix is somebody else's, or holds what nobody has claimed.
        :raises OvertakenError: if a later try of this writer, or a deletion, has begun there meanwhile.
        :raises StagingStoppedError: if ``stop`` was set before all files were there.
        :raises StorageAccessDeniedError: naming the right that is missing.
        :raises PrefixMismatchError: if an object isn't there as it was sent, or with ``exact_prefix="check"`` others
            are; no manifest was recorded.
        :raises DeleteIncompleteError: if what doesn't belong there can't be deleted.
        :raises StorageError: if the store refuses or fails.
        """
        began_at, began = datetime.now(UTC), time.monotonic()
        checked_content_type(content_type)
        check_choice("if_exists", if_exists)
        check_choice("exact_prefix", exact_prefix)
        sources = None if isinstance(files, Iterator) else find_sources(files)
        names = None if sources is None else {source.file_name for source in sources}
        for source in sources or ():
            checked_child(plan.prefix, source.file_name)  # every key is safe before the first byte moves
        run = claim_run(self._client, plan, self._writer, self._by)
        if if_exists == "fail" and not run.is_new:
            self._refuse_staged(plan, names)  # before a word is written: another try may be at work there
        done: list[StagedFile] = []
        call: dict[str, Any] = {"began_at": began_at.isoformat()}
        watch: StageWatch | None = None
        try:
            # First of all, before a sweep takes what an earlier try has left for forgotten.
            watch = StageWatch(self._client, run)
            if deletes_later(plan, exact_prefix, cleans_up):
                check_may_delete(self._client, plan)
            known: dict[str, StagedBefore] = {}
            records: Sequence[ObjectStorageUri] = ()
            checkpoints = Checkpoints(self._client, run.evidence, watch=watch)
            if not run.is_new:
                known, records = self._look_back(plan, run, names, if_exists, exact_prefix)
            if live_parts is not None and not run.run_is_new:
                remove_vanished_parts(self._client, plan, live_parts, exact_prefix, self._by)
            count, size = len(sources or ()), sum(source.known_bytes for source in sources or ())
            with checkpoints, progress(f"Staging {plan.prefix}/", count, size) as progressing:
                if run.evidence.manifest_uri in records:
                    checkpoints.take_the_place_of(run.evidence.manifest_uri, known, plan.prefix)
                scheduler = FileScheduler(threads=self._client.max_concurrency, stop=stop or threading.Event())
                staging = FileStaging(
                    client=self._client,
                    prefix=plan.prefix,
                    known=known,
                    content_type=content_type,
                    checkpoints=checkpoints,
                    progress=progressing,
                    go_on=scheduler.go_on,
                    lanes=self._lanes(sources, known),
                    delete_local=delete_local,
                )
                if isinstance(files, Iterator):
                    arriving = _checked_arrivals(plan, files, progressing)
                    done = scheduler.run_as_they_come(arriving, staging.begin, backlog or Backlog())
                else:
                    done = scheduler.run(sources or (), staging.begin)
            if any(not file.kept and file.item.size_bytes > self._client.largest_put_bytes for file in done):
                watch.check()  # what is open may be that of a later try
                # An upload that was begun twice, since the first answer got lost, has left one open.
                abort_stale_uploads(self._client, plan.prefix)
            manifest = ObjectStorageStagingManifest.of(plan, [file.item for file in done])
            check_staged(self._client, manifest, exact_prefix)
            kept = sum(file.kept for file in done)
            call |= {"sent": len(done) - kept, "kept": kept}
            watch.check()
            watch.writes(run.evidence.manifest_uri)
            record = run.evidence.write_manifest(manifest, call | self._engine())
            self._keep_if_not_overtaken(watch, record)
        except BaseException as error:
            overtaken = watch.overtaken() if watch else None
            if overtaken is None:
                self._record_failure(run, call, error)
            elif isinstance(error, StorageError):  # somebody else deletes and aborts there: that is why
                raise overtaken from error
            raise
        checkpoints.remove(uri for uri in records if uri != run.evidence.manifest_uri)
        return StagedRun(manifest, record, len(done) - kept, kept, began_at, time.monotonic() - began)

    def verify(
        self,
        manifest: ObjectStorageStagingManifest,
        *,
        mode: VerifyMode = "listing",
        stop: threading.Event | None = None,
        progress: ProgressFactory = Progress,
    ) -> VerifyReport:
        """Compare the store with a manifest, record the outcome, and refuse any difference.

        :param manifest: of a run or a part of it; one of a whole run is compared with the whole run prefix.
        :param mode: ``listing`` compares names, sizes and, where the manifest has them, ETags with one listing;
            ``sha256`` reads and hashes every byte as well.
        :param stop: once it is set, the verify ends as soon as it can; None if nobody will.
        :param progress: makes what tells how much is read; by default a log line every five seconds.
        :returns: what was compared; ``missing``, ``extra`` and ``changed`` are empty.
        :raises InvalidOptionError: for another mode.
        :raises StagingVerifyError: naming what is missing, extra or changed; the evidence says it too.
        :raises StagingStoppedError: if ``stop`` was set before everything was read; nothing was recorded.
        :raises StorageError: if the store refuses or fails, also when the outcome can't be recorded.
        """
        return verify_staged(self._client, manifest, mode, by=self._by, stop=stop, progress=progress)

    def cleanup(
        self, manifest: ObjectStorageStagingManifest, *, limits: DeletionLimits = NO_LIMITS, dry_run: bool = False
    ) -> int:
        """Apply the manifest's policy to its own prefix, or its own part; return the objects deleted.

        What a bucket that keeps versions only hides isn't counted: ``cleanup.clean_up_run`` reports it.

        :param manifest: of a run or a part of it. With the policy ``retain`` nothing is looked up, and 0 returned.
        :param limits: how many objects and bytes may go at once; by default any number.
        :param dry_run: only look: return how many would be deleted.
        :raises DeletionLimitError: if there is more than ``limits`` allow; nothing was deleted.
        :raises ClaimNotFoundError: if nobody claimed the prefix; nothing was deleted.
        :raises ClaimedByAnotherWriterError: if this service was given a writer, and another one staged it; nothing was
            deleted.
        :raises UnclaimedPrefixError: if runs of another base lie in the prefix; nothing was deleted.
        :raises OvertakenError: if a stage has begun there meanwhile. What was found is deleted.
        :raises DeleteIncompleteError: naming what could not be deleted; all else is gone.
        :raises StorageError: if the store refuses or fails.
        """
        report = clean_up_run(
            self._client,
            manifest.base_uri,
            manifest.run_id,
            part=manifest.part,
            policy=manifest.cleanup_policy,
            staged_by=self._given_writer,
            must_be_claimed=True,
            limits=limits,
            dry_run=dry_run,
            by=self._by,
        )
        return report.deleted_objects

    def _look_back(
        self,
        plan: ObjectStorageStagingPlan,
        run: ClaimedRun,
        names: Collection[str] | None,
        if_exists: IfExists,
        exact_prefix: ExactPrefix,
    ) -> tuple[dict[str, StagedBefore], Sequence[ObjectStorageUri]]:
        """Tidy up after an earlier try; return what needn't be sent again, and what that try recorded.

        :param names: of the files that are staged now; None if they aren't known yet, and so no stray is.
        """
        below = len(plan.prefix.prefix)
        listed: dict[str, tuple[int, str | None]] = {}
        strays = []
        for item in self._client.list_objects(plan.prefix):
            name = item.uri.key[below:]
            if names is None or name in names:
                listed[name] = (item.size_bytes, item.etag)
            else:
                strays.append(item)
        strays = list(without_folders(self._client, strays, (plan.prefix.prefix + name for name in names or ())))
        refuse_nested_base(plan.prefix, strays)
        records = run.evidence.find_staged()
        remove_strays(self._client, plan.prefix, strays, exact_prefix)
        abort_stale_uploads(self._client, plan.prefix)
        abort_stale_uploads(self._client, run.evidence.folder)  # a manifest of many objects is sent in parts too
        known = staged_before(run.evidence.read_staged(records), listed) if if_exists == "resume" else {}
        return known, records

    def _refuse_staged(self, plan: ObjectStorageStagingPlan, names: Collection[str] | None) -> None:
        listed = list(self._client.list_objects(plan.prefix))
        if without_folders(self._client, listed, (plan.prefix.prefix + name for name in names or ())):
            raise AlreadyStagedError(
                f"{plan.prefix}/ was staged before by this same writer, and if_exists='fail' is set: write "
                "if_exists='resume' or 'replace', or choose another run_id."
            )

    def _engine(self) -> dict[str, Any]:
        """Return what uploads; it may be another than at the beginning, where the first couldn't after all."""
        name = self._client.engine
        return {"engine": name, "engine_version": versions(name).get(name)}

    def _keep_if_not_overtaken(self, watch: StageWatch, record: ObjectStorageObject) -> None:
        """Take back a manifest that was true until just before it was recorded."""
        watch.has_written(record)
        try:
            watch.check()
        except OvertakenError:
            with suppress(StorageError):
                if self._client.stat(record.uri).etag == record.etag:
                    self._client.delete_objects([record.uri])
            raise

    def _lanes(self, sources: Sequence[SourceFile] | None, known: Mapping[str, StagedBefore]) -> int:
        """Return how many parts of one large file go at once."""
        threads = self._client.max_concurrency
        if sources is None:  # how many large ones will come isn't known
            return max(1, threads // 2)
        to_send = [source.size_bytes for source in sources if source.file_name not in known]
        return lanes_for_large_files(to_send, self._client.largest_put_bytes, threads)

    def _record_failure(self, run: ClaimedRun, call: Mapping[str, Any], error: BaseException) -> None:
        """Say in the evidence that this try didn't stage everything; the error itself is told by the caller."""
        # What another package's error says may hold anything.
        text = str(error) if isinstance(error, DponeAirflowError) else ""
        try:
            run.evidence.write_failure({**call, **self._engine(), "error": type(error).__name__, "message": text})
        except (StorageError, OSError) as unwritten:
            log.info("The evidence doesn't say that this try failed: %s", unwritten)


def _checked_arrivals(
    plan: ObjectStorageStagingPlan, files: Iterator[Any], progress: Progress
) -> Generator[SourceFile, None, None]:
    with closing(sources_as_they_come(files)) as sources:
        for source in sources:
            checked_child(plan.prefix, source.file_name)
            progress.more_to_do(source.known_bytes)
            yield source
