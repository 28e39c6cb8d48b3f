"""What a deletion looks at before and while it deletes: stages that come meanwhile, the claim's place, a full disk."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.verify import compare_staged
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.client import ObjectStorageObject
from dpone_airflow.storage.errors import ClaimError, OvertakenError, StorageError

MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]
BASE = "s3://lake/staging"
RUN = ObjectStorageUri.parse(f"{BASE}/run-1")


def clean_up(client: LocalObjectStorageClient, base: str = BASE) -> Any:
    return clean_up_run(client, base, "run-1", policy="delete_always")


def test_a_stage_that_begins_and_ends_while_a_cleanup_lists_is_seen(
    client: LocalObjectStorageClient, service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> None:
    files = [write(f"{number}.csv") for number in range(3)]
    service.stage_files(make_plan(), files)

    class Slow(LocalObjectStorageClient):
        again: Any = None

        def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
            found = list(super().list_objects(prefix))
            if prefix == RUN and self.again is None:
                self.again = service.stage_files(make_plan(), files)
            return iter(found)

    slow = Slow(client.root_dir)
    with pytest.raises(OvertakenError, match="A stage began below"):
        clean_up(slow)
    assert len(compare_staged(client, slow.again).missing) == 3


def full(client: LocalObjectStorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no room for what says that a deletion begins; deleting makes room for what comes later."""
    write_notes = client._write_notes

    def no_room(uri: ObjectStorageUri, *rest: Any) -> Path:
        if uri.key.endswith("/deleting.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_notes(uri, *rest)

    monkeypatch.setattr(client, "_write_notes", no_room)


def test_a_full_disk_can_be_cleaned_up(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    full(client, monkeypatch)
    assert clean_up(client).deleted_objects == 1
    assert client.list_prefix(RUN) == []
    assert "for the disk is full: Could not write s3://lake/staging/_manifests/run-1/_run/deleting.json" in caplog.text
    record = json.loads(client.get_bytes(ObjectStorageUri.parse(f"{BASE}/_manifests/run-1/_run/cleanup.json")))
    assert (record["outcome"], record["deleted_objects"]) == ("deleted", 1)


def test_evidence_that_can_not_be_written_for_another_reason_keeps_everything(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))

    def broken(uri: ObjectStorageUri, *_: Any) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(client, "_write_notes", broken)
    with pytest.raises(StorageError, match=r"deleting\.json"):
        clean_up(client)
    assert len(client.list_prefix(RUN)) == 1


@pytest.mark.parametrize("part", [None, "map-00000"])
def test_the_claim_of_a_base_that_was_copied_is_none_of_the_copy(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    part: str | None,
) -> None:
    service.stage_files(make_plan(part=part), write("a.csv"))
    there = ObjectStorageUri.parse(BASE)
    for uri in client.list_prefix(there):
        client.put_bytes(client.get_bytes(uri), replace(uri, bucket="copy"))
    before = client.list_prefix(replace(there, bucket="copy"))
    with pytest.raises(ClaimError, match=r"is a claim of another place, s3://lake/staging/run-1/"):
        clean_up_run(client, "s3://copy/staging", "run-1", policy="delete_always", part=part)
    assert client.list_prefix(replace(there, bucket="copy")) == before
    assert clean_up_run(client, BASE, "run-1", policy="delete_always", part=part).deleted_objects == 1


@pytest.mark.parametrize(
    ("claimed", "read", "agree"),
    [
        ("azure://one/box/base", "azure://two/box/base", False),
        ("azure://one/box/base", "azure://one/box/base", True),
        # az:// means whatever account the connection is one to.
        ("az://box/base", "az://box/base", True),
    ],
)
def test_the_account_belongs_to_the_place(
    tmp_path: Path, make_plan: MakePlan, write: WriteFile, claimed: str, read: str, agree: bool
) -> None:
    client = LocalObjectStorageClient(tmp_path / "store")
    writer = StagingWriter(task_id="stage")
    ObjectStorageStagingService(client=client, writer=writer).stage_files(make_plan(base_uri=claimed), write("a.csv"))
    if claimed != read:
        for uri in client.list_prefix(ObjectStorageUri.parse(claimed)):
            client.put_bytes(client.get_bytes(uri), replace(uri, account=ObjectStorageUri.parse(read).account))
    if agree:
        assert clean_up(client, read).deleted_objects == 1
    else:
        with pytest.raises(ClaimError, match="another place"):
            clean_up(client, read)
