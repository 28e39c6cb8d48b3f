"""How a task shows its progress."""

from __future__ import annotations

import sys

from dpone_airflow.staging.progress import Progress, ProgressFactory
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.local import LocalObjectStorageClient


def progress_for(client: ObjectStorageClient) -> ProgressFactory:
    """Return a bar for the emulator on somebody's terminal, and lines in the task's log for all else."""
    if isinstance(client, LocalObjectStorageClient) and sys.stderr.isatty():
        from dpone_airflow.cli.rich_progress import RichProgress

        return RichProgress
    return Progress
