"""Makes runs of a base that are as old as a test wants them: the emulator's clock is that of its files."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri

BASE = "s3://lake/staging"
NOW = datetime.now(UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = 30 * DAY


class Runs:
    """Makes runs of a base, as old as they are wanted."""

    def __init__(self, client: LocalObjectStorageClient, base_uri: str = BASE) -> None:
        self.client = client
        self.base_uri = base_uri

    def stage(
        self,
        run_id: str,
        age: timedelta = timedelta(0),
        *,
        policy: str = "delete_on_success",
        files: int = 2,
        part: str | None = None,
        cleaned: bool = False,
    ) -> StagingEvidence:
        """Stage files of three bytes."""
        plan = ObjectStorageStagingPlan(
            self.base_uri, run_id, "shop", "orders", "csv", cleanup_policy=policy, part=part
        )
        map_index = -1 if part is None else int(part.rpartition("-")[2])
        writer = StagingWriter(dag_id="daily", dag_run_id=run_id, task_id="stage", map_index=map_index)
        with TemporaryDirectory() as folder:
            for number in range(files):
                Path(folder, f"{number}.csv").write_bytes(b"abc")
            ObjectStorageStagingService(client=self.client, writer=writer).stage_files(plan, folder)
        if cleaned:
            clean_up_run(self.client, self.base_uri, run_id, policy="delete_always")
        self.make_old(run_id, age)
        return StagingEvidence(self.client, self.base_uri, run_id, part)

    def make_old(self, run_id: str, age: timedelta) -> None:
        """Let all that there is of a run have been written so long ago."""
        for prefix in (f"{self.base_uri}/{run_id}", f"{self.base_uri}/_manifests/{run_id}"):
            for uri in self.client.list_prefix(ObjectStorageUri.parse(prefix)):
                self.write_at(uri, NOW - age)

    def write_at(self, uri: ObjectStorageUri, at: datetime, content: bytes | None = None) -> None:
        """Set when an object was written; write it first if there is content."""
        if content is not None:
            self.client.put_bytes(content, uri)
        os.utime(self.client.path_of(uri), (at.timestamp(), at.timestamp()))
