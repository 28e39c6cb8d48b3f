"""What a killed writer leaves behind, and that sweeping it never hurts who still writes."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.stale_uploads import abort_stale_uploads
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.answers import store_error
from dpone_airflow.storage.errors import InvalidUriError

BASE = ObjectStorageUri.parse("s3://lake/base")

# Writes a file in parts of 1 MiB and, with the third, waits for ever.
WRITER = """
import sys, time
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri

root, source = sys.argv[1:]
sent = 0

def on_read(size):
    global sent
    sent += 1
    if sent == 4:
        print("writing", flush=True)
        time.sleep(600)

client = LocalObjectStorageClient(root, part_bytes=1024 * 1024)
client.put_file(source, ObjectStorageUri.parse("s3://lake/base/run-1/large"), on_read=on_read)
"""


def unfinished(client: LocalObjectStorageClient) -> list[Path]:
    return list((client.root_dir / ".dpone" / "unfinished").glob("*"))


@contextmanager
def writing(client: LocalObjectStorageClient, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is in the middle of a large file."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 6 * 1024 * 1024)
    command = [sys.executable, "-c", WRITER, str(client.root_dir), str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"writing\n"
            yield process
        finally:
            process.kill()


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(
    client: LocalObjectStorageClient, tmp_path: Path
) -> None:
    with writing(client, tmp_path) as process:
        (path,) = unfinished(client)
        assert path.stat().st_size >= 2 * 1024 * 1024
        assert client.abort_uploads(BASE) == 0
        assert unfinished(client) == [path]

        process.send_signal(signal.SIGKILL)
        process.wait()
        assert unfinished(client) == [path], "a killed process can't clean up after itself"
        assert client.abort_uploads(BASE) == 1
    assert unfinished(client) == []
    assert client.abort_uploads(BASE) == 0
    assert client.list_prefix(BASE) == []


def test_an_upload_of_this_very_process_is_left_alone(client: LocalObjectStorageClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    swept: list[int] = []
    client.put_file(tmp_path / "file", BASE.child("a"), on_read=lambda _: swept.append(client.abort_uploads(BASE)))
    large = LocalObjectStorageClient(root_dir=client.root_dir, part_bytes=10)
    large.put_file(tmp_path / "file", BASE.child("b"), on_read=lambda _: swept.append(large.abort_uploads(BASE)))
    assert set(swept) == {0}
    assert len(swept) > 10
    assert client.get_bytes(BASE.child("b")) == b"x" * 100


def test_a_file_that_is_swept_away_before_it_is_locked_is_made_again(
    client: LocalObjectStorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    swept: list[int] = []

    def lock_late(file: object, operation: int) -> None:
        if operation == fcntl.LOCK_EX and len(swept) < 2:
            swept.append(client.abort_uploads(BASE))
        lock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr("dpone_airflow.storage.local.fcntl.flock", lock_late)
    client.put_bytes(b"content", BASE.child("a"))
    assert swept == [1, 1]
    assert client.get_bytes(BASE.child("a")) == b"content"
    assert unfinished(client) == []


def test_writes_and_sweeps_at_once_lose_nothing(client: LocalObjectStorageClient) -> None:
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            client.abort_uploads(BASE)

    with ThreadPoolExecutor(1) as pool:
        sweeper = pool.submit(sweep)
        try:
            for number in range(300):
                client.put_bytes(b"x", BASE.child(str(number)))
        finally:
            done.set()
    sweeper.result()
    assert len(client.list_prefix(BASE)) == 300
    assert unfinished(client) == []


def test_a_file_system_without_locks_is_written_to_and_never_swept(
    client: LocalObjectStorageClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("dpone_airflow.storage.local.fcntl.flock", no_locks)
    client.put_bytes(b"x", BASE.child("a"))
    left = client.root_dir / ".dpone" / "unfinished" / "left"
    left.touch()
    assert abort_stale_uploads(client, BASE) == 0
    assert left.exists()
    assert "No locks available" in caplog.text


def test_only_a_uri_that_the_client_serves_is_swept(client: LocalObjectStorageClient) -> None:
    class OnlyGcs(LocalObjectStorageClient):
        provider = ObjectStorageUri.parse("gs://lake").provider  # type: ignore[assignment]

    with pytest.raises(InvalidUriError):
        OnlyGcs(root_dir=client.root_dir).abort_uploads(BASE)


class Refuses(LocalObjectStorageClient):
    """A store that aborts nothing."""

    answer = (403, "AccessDenied")

    def abort_uploads(self, prefix: ObjectStorageUri) -> int:
        raise store_error("list the unfinished uploads below", prefix, *self.answer, "no")


@pytest.mark.parametrize("answer", [(403, "AccessDenied"), (501, "NotImplemented"), (503, "SlowDown")])
def test_a_store_that_aborts_nothing_is_one_warning_and_no_failure(
    client: LocalObjectStorageClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, str],
) -> None:
    monkeypatch.setattr(Refuses, "answer", answer)
    assert abort_stale_uploads(Refuses(root_dir=client.root_dir), BASE) == 0
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "s3://lake/base/ may be left, give the bucket a lifecycle rule for them: Could not list" in record.message
    assert answer[1] in record.message


@pytest.mark.parametrize(
    ("policy", "dry_run", "swept"),
    [("delete_always", False, True), ("delete_on_success", False, True), ("delete_always", True, False)],
)
def test_a_cleanup_that_deletes_aborts_what_a_killed_try_left(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: Callable[..., ObjectStorageStagingPlan],
    write: Callable[..., Path],
    tmp_path: Path,
    policy: str,
    dry_run: bool,
    swept: bool,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    with writing(client, tmp_path) as process:
        process.kill()
        process.wait()
    clean_up_run(client, "s3://lake/staging", "run-1", policy=policy, dry_run=dry_run)
    assert (unfinished(client) == []) is swept


def test_a_cleanup_that_keeps_the_files_keeps_uploads_as_well(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: Callable[..., ObjectStorageStagingPlan],
    write: Callable[..., Path],
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    (client.root_dir / ".dpone" / "unfinished" / "left").touch()
    clean_up_run(client, "s3://lake/staging", "run-1", policy="retain")
    assert len(unfinished(client)) == 1


def test_a_cleanup_goes_on_where_nothing_may_be_aborted(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: Callable[..., ObjectStorageStagingPlan],
    write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    report = clean_up_run(Refuses(root_dir=client.root_dir), "s3://lake/staging", "run-1", policy="delete_always")
    assert report.deleted_objects == 1
    assert "may be left" in caplog.text


def test_a_claim_removes_what_killed_writers_left(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: Callable[..., ObjectStorageStagingPlan],
    write: Callable[..., Path],
) -> None:
    """One that died before its claim was there left no run that a later try could look back at."""
    service.stage_files(make_plan(run_id="other"), write("a.csv"))
    (client.root_dir / ".dpone" / "unfinished" / "left").touch()
    service.stage_files(make_plan(), write("a.csv"))
    assert unfinished(client) == []
