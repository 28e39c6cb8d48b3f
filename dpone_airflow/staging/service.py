"""Staging and cleaning up under one contract, on any client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256

from dpone_airflow.staging.checkpoints import Checkpoints, StagedBefore, staged_before
from dpone_airflow.staging.choices import ExactPrefix, IfExists, check_choice
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.content_type import checked_content_type, guess_content_type
from dpone_airflow.staging.evidence import ClaimedRun, StagingWriter, claim_run, refuse_nested_base
from dpone_airflow.staging.exact_prefix import check_staged, remove_strays, remove_vanished_parts
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.plan import ObjectStorageStagingPlan, checked_child
from dpone_airflow.staging.progress import Progress, ProgressFactory
from dpone_airflow.staging.sources import Files, SourceFile, find_sources
from dpone_airflow.staging.stale_uploads import abort_stale_uploads
from dpone_airflow.staging.upload import SMALL_FILE_BYTES, FileScheduler, lanes_for_large_files
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import AlreadyStagedError
from dpone_airflow.storage.hashing import read_whole, sha256_of
from dpone_airflow.storage.uri import ObjectStorageUri


class ObjectStorageStagingService:
    """The contract: files in, a manifest out, and a cleanup that reaches just what was staged.

    :param client: the store.
    :param writer: who stages; a retry must be the same one, and ``cleanup`` then refuses the runs of
        others. By default a writer that nobody else is, and a cleanup that takes any manifest.
    """

    def __init__(self, *, client: ObjectStorageClient, writer: StagingWriter | None = None) -> None:
        self._client = client
        self._given_writer = writer
        self._writer = writer or StagingWriter.new()

    def stage_files(
        self,
        plan: ObjectStorageStagingPlan,
        files: Files,
        *,
        content_type: str | None = None,
        if_exists: IfExists = "resume",
        exact_prefix: ExactPrefix = "enforce",
        live_parts: Collection[str] | None = None,
        stop: threading.Event | None = None,
        progress: ProgressFactory = Progress,
    ) -> ObjectStorageStagingManifest:
        """Upload ``files`` below the plan's prefix, prove that they are there and record the manifest.

        :param files: a path, a glob, a directory, or a list of them; see ``find_sources``.
        :param content_type: for all files; by default each one's is guessed from its name.
        :param if_exists: what an earlier try of this writer has staged is kept where it is still
            the same (``resume``), sent again (``replace``), or an error (``fail``).
        :param exact_prefix: other objects below the prefix are deleted (``enforce``), an error
            (``check``), or left alone (``off``).
        :param live_parts: the parts that the run has now, if this call is to remove all others.
        :param stop: once it is set, the stage ends as soon as it can.
        :param progress: what tells how far it is; by default a log line every few seconds.
        :raises SourceFileError: for files that are missing, no files, changing, or of one name.
        :raises ClaimError: if the prefix is somebody else's.
        :raises StagingStoppedError: if ``stop`` was set before all files were there.
        :raises StorageError: if the store refuses or fails.
        """
        checked_content_type(content_type)
        check_choice("if_exists", if_exists)
        check_choice("exact_prefix", exact_prefix)
        sources = find_sources(files)
        prefix = plan.prefix
        for source in sources:
            checked_child(prefix, source.file_name)  # every key is safe before the first byte moves
        run = claim_run(self._client, plan, self._writer)
        known: dict[str, StagedBefore] = {}
        records: Sequence[ObjectStorageUri] = ()
        if not run.is_new:
            known, records = self._look_back(
                plan, run, {source.file_name for source in sources}, if_exists, exact_prefix
            )
        if live_parts is not None and not run.run_is_new:
            remove_vanished_parts(self._client, plan, live_parts, exact_prefix)
        checkpoints = Checkpoints(self._client, run.evidence)
        total_bytes = sum(source.size_bytes for source in sources)
        with checkpoints, progress(f"Staging {prefix}/", len(sources), total_bytes) as done:
            if run.evidence.manifest_uri in records:
                checkpoints.take_the_place_of(run.evidence.manifest_uri, known, prefix)
            staged = self._upload(prefix, sources, known, content_type, checkpoints, done, stop or threading.Event())
        manifest = ObjectStorageStagingManifest.of(plan, staged)
        check_staged(self._client, manifest, exact_prefix)
        run.evidence.write_manifest(manifest)
        checkpoints.remove(uri for uri in records if uri != run.evidence.manifest_uri)
        return manifest

    def cleanup(self, manifest: ObjectStorageStagingManifest) -> int:
        """Apply the manifest's policy to its own prefix, or its own part; return the objects deleted.

        :raises ClaimNotFoundError: if nobody claimed the prefix.
        :raises ClaimedByAnotherWriterError: if this service was given a writer, and another one staged it.
        :raises DeleteIncompleteError: naming what could not be deleted.
        """
        report = clean_up_run(
            self._client,
            manifest.base_uri,
            manifest.run_id,
            part=manifest.part,
            policy=manifest.cleanup_policy,
            staged_by=self._given_writer,
            must_be_claimed=True,
        )
        return report.deleted_objects

    def _look_back(
        self,
        plan: ObjectStorageStagingPlan,
        run: ClaimedRun,
        names: Collection[str],
        if_exists: IfExists,
        exact_prefix: ExactPrefix,
    ) -> tuple[dict[str, StagedBefore], Sequence[ObjectStorageUri]]:
        """Tidy up after an earlier try; return what needn't be sent again, and what that try recorded."""
        below = len(plan.prefix.prefix)
        listed: dict[str, tuple[int, str | None]] = {}
        strays = []
        for item in self._client.list_objects(plan.prefix):
            name = item.uri.key[below:]
            if name in names:
                listed[name] = (item.size_bytes, item.etag)
            else:
                strays.append(item)
        refuse_nested_base(plan.prefix, strays)
        records = run.evidence.find_staged()
        if if_exists == "fail" and (listed or strays):
            raise AlreadyStagedError(
                f"{plan.prefix}/ was staged before by this same writer, and if_exists='fail' is set: write "
                "if_exists='resume' or 'replace', or choose another run_id."
            )
        remove_strays(self._client, plan.prefix, strays, exact_prefix)
        abort_stale_uploads(self._client, plan.prefix)
        known = staged_before(run.evidence.read_staged(records), listed) if if_exists == "resume" else {}
        return known, records

    def _upload(
        self,
        prefix: ObjectStorageUri,
        sources: Sequence[SourceFile],
        known: dict[str, StagedBefore],
        content_type: str | None,
        checkpoints: Checkpoints,
        progress: Progress,
        stop: threading.Event,
    ) -> list[ObjectStorageStagingObject]:
        client = self._client
        scheduler = FileScheduler(threads=client.max_concurrency, stop=stop)
        to_send = [source.size_bytes for source in sources if source.file_name not in known]
        lanes = lanes_for_large_files(to_send, client.largest_put_bytes, client.max_concurrency)

        def on_read(size_bytes: int) -> None:
            scheduler.go_on()
            progress.add_bytes(size_bytes)

        def begin(source: SourceFile) -> Callable[[], ObjectStorageStagingObject]:
            name = source.file_name
            uri = prefix.child(name)
            known_type = content_type or guess_content_type(name)
            before = known.get(name)
            if before and not before.could_be(source.size_bytes, known_type):
                before = None
            if source.size_bytes <= SMALL_FILE_BYTES:
                data = read_whole(source.path, on_read)
                digest = sha256(data).hexdigest()
                if before and before.sha256 == digest:
                    return lambda: kept(before, uri, name)
                send = client.prepare_bytes(data, uri, digest, content_type=known_type)
                return lambda: staged(send(), name)
            if before:
                if before.sha256 == sha256_of(source.path, on_read):
                    return lambda: kept(before, uri, name)
                progress.add_bytes(-source.size_bytes)  # they are read again, to be sent
            return lambda: staged(
                client.put_file(source.path, uri, content_type=known_type, lanes=lanes, on_read=on_read), name
            )

        def staged(sent: ObjectStorageObject, name: str) -> ObjectStorageStagingObject:
            assert sent.sha256 is not None, "what is sent is hashed"
            item = ObjectStorageStagingObject(
                str(sent.uri), name, sent.size_bytes, sent.sha256, sent.content_type, sent.etag
            )
            checkpoints.add(item)
            progress.file_done()
            return item

        def kept(before: StagedBefore, uri: ObjectStorageUri, name: str) -> ObjectStorageStagingObject:
            progress.file_done()
            return before.as_object(uri, name)

        return scheduler.run(sources, begin)
