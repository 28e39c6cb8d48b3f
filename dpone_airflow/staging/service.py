"""Staging and cleaning up under one contract, on any client."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.content_type import checked_content_type, guess_content_type
from dpone_airflow.staging.evidence import StagingWriter, claim_run
from dpone_airflow.staging.exact_prefix import enforce_exact_prefix
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.plan import ObjectStorageStagingPlan
from dpone_airflow.staging.sources import Files, SourceFile, find_sources
from dpone_airflow.storage.client import ObjectStorageClient


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
        self, plan: ObjectStorageStagingPlan, files: Files, *, content_type: str | None = None
    ) -> ObjectStorageStagingManifest:
        """Upload ``files`` below the plan's prefix, prove that they are there and record the manifest.

        :param files: a path, a glob, a directory, or a list of them; see ``find_sources``.
        :param content_type: for all files; by default each one's is guessed from its name.
        :raises SourceFileError: for files that are missing, no files, changing, or of one name.
        :raises ClaimError: if the prefix is somebody else's.
        :raises StorageError: if the store refuses or fails.
        """
        checked_content_type(content_type)
        sources = find_sources(files)
        for source in sources:
            plan.uri_of(source.file_name)  # every key is safe before the first byte moves
        evidence = claim_run(self._client, plan, self._writer)
        staged = self._upload(plan, sources, content_type)
        manifest = ObjectStorageStagingManifest.of(plan, staged)
        enforce_exact_prefix(self._client, manifest)
        evidence.write_manifest(manifest)
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

    def _upload(
        self, plan: ObjectStorageStagingPlan, sources: list[SourceFile], content_type: str | None
    ) -> list[ObjectStorageStagingObject]:
        """Send several files at a time; the first failure stops those that have not begun."""

        def upload(source: SourceFile) -> ObjectStorageStagingObject:
            uri = plan.uri_of(source.file_name)
            known_type = content_type or guess_content_type(source.file_name)
            sent = self._client.put_file(source.path, uri, content_type=known_type)
            assert sent.sha256 is not None, "put_file hashes what it sends"
            return ObjectStorageStagingObject(
                uri=str(uri),
                file_name=source.file_name,
                size_bytes=sent.size_bytes,
                sha256=sent.sha256,
                content_type=known_type,
                etag=sent.etag,
            )

        with ThreadPoolExecutor(self._client.max_concurrency, thread_name_prefix="dpone-stage") as pool:
            uploads = [pool.submit(upload, source) for source in sources]
            try:
                ended, _ = wait(uploads, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        for one in ended:
            if error := one.exception():
                raise error
        return [one.result() for one in uploads]
