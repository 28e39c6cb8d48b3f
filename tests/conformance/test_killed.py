"""A worker that is killed in the middle of an upload, and the try that follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from tests.conformance.stores import CONN_ID, Store
from tests.conformance.test_resume import contents, counting, plan, sent, service

# A stage with a slow disk, so that there is a middle, and frequent checkpoints.
SLOW_STAGE = """
import sys, time
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging.checkpoints import Checkpoints
from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage import ObjectStorageUri
from tests.conformance.test_resume import plan, service

read = HashingReader.read
def slowly(self, size=-1):
    if self.size > 16 * 1024 * 1024:
        time.sleep(2)
    return read(self, size)
HashingReader.read = slowly
Checkpoints.__init__.__kwdefaults__["every_seconds"] = 0.1
base, tree, options = sys.argv[1], sys.argv[2], eval(sys.argv[3])
client = ObjectStorageHook("CONN_ID", max_concurrency=4, **options).get_client(base)
print("ready", flush=True)
service(client).stage_files(plan(ObjectStorageUri.parse(base)), tree)
"""


@pytest.fixture(params=["emulator-s3", "seaweedfs", "seaweedfs-boto3", "azurite", "fake-gcs-server"])
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Store:
    return started(request.param)


def test_the_retry_has_the_manifest_of_a_clean_run_and_leaves_nothing_open(
    store: Store, client: ObjectStorageClient, base: ObjectStorageUri, tmp_path: Path, file: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(10):
        (tree / f"part-{number}.csv").write_text(f"{number}\n" * 100)
    file.rename(tree / "large.bin")
    options = repr(dict(store.client_options))
    environment = os.environ | store.environment | {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(store.connection)}
    victim = subprocess.Popen(
        [sys.executable, "-c", SLOW_STAGE.replace("CONN_ID", CONN_ID), str(base), str(tree), options],
        env=environment,
        stdout=subprocess.PIPE,
    )
    try:
        assert victim.stdout is not None
        # Airflow 3.0 prints what it thinks of its settings before that.
        assert b"ready\n" in iter(victim.stdout.readline, b""), "the stage didn't begin"
        deadline = time.monotonic() + 30
        while len(client.list_prefix(base.child("run-1"))) < 10 or not client.list_prefix(
            base.child("_manifests/run-1/_run")
        ):
            assert victim.poll() is None, "the stage ended before it could be killed"
            assert time.monotonic() < deadline, "the small files weren't sent and recorded"
            time.sleep(0.05)
        time.sleep(2.5)  # the rest is recorded, and the large file's first part is on its way
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait(10)
    run = base.child("run-1")
    assert run.child("large.bin") not in client.list_prefix(run), "the stage was done before it was killed"

    retry = store.client()
    calls = counting(retry)
    manifest = service(retry).stage_files(plan(base), tree)

    assert sent(calls) == {"large.bin"}
    clean = service(store.client()).stage_files(plan(base, "run-2"), tree)
    assert [(item.file_name, item.size_bytes, item.sha256) for item in manifest.objects] == [
        (item.file_name, item.size_bytes, item.sha256) for item in clean.objects
    ]
    assert contents(client, run) == contents(client, base.child("run-2"))
    assert client.abort_uploads(base) == 0, "an upload of the killed try is still open"
