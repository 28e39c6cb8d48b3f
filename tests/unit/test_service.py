"""Files in, a manifest out, and a cleanup that reaches just what was staged; bad input moves nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    ObjectStorageStagingService,
    StagingWriter,
)
from dpone_airflow.staging.progress import Progress, ProgressSnapshot
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ClaimedByAnotherWriterError,
    ClaimNotFoundError,
    DeleteIncompleteError,
    DuplicateFileNameError,
    InvalidInputError,
    InvalidPlanError,
    InvalidUriError,
    NoFilesMatchedError,
    PrefixMismatchError,
    SourceFileChangedError,
    SourceFileError,
    SourceFileNotFoundError,
    StorageAccessDeniedError,
    StorageError,
    UnclaimedPrefixError,
)
from dpone_airflow.storage.parts import MIB
from dpone_airflow.storage.uploader import UploadTarget

MakePlan = Callable[..., ObjectStorageStagingPlan]
Stored = Callable[..., list[str]]
WriteFile = Callable[..., Path]
BASE, RUN, EVIDENCE = "s3://lake/staging", "s3://lake/staging/run-1", "s3://lake/staging/_manifests/run-1"


def objects(stored: Stored) -> list[str]:
    return [uri for uri in stored() if "/_manifests/" not in uri]


# What comes out.


def test_the_manifest_says_what_the_store_holds(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    write("b.csv", b"bb")
    folder = write("dt=2026-11-22/a.json", b"[1]").parent.parent
    manifest = service.stage_files(make_plan(), folder)

    put = [client.stat(ObjectStorageUri.parse(f"{RUN}/{name}")) for name in ("b.csv", "dt=2026-11-22/a.json")]
    assert manifest.to_dict() == make_plan().to_dict() | {
        "provider": "s3",
        "object_count": 2,
        "total_size_bytes": 5,
        "objects": [
            {
                "uri": f"{RUN}/b.csv",
                "file_name": "b.csv",
                "size_bytes": 2,
                "sha256": sha256(b"bb").hexdigest(),
                "content_type": "text/csv",
                "etag": put[0].etag,
            },
            {
                "uri": f"{RUN}/dt=2026-11-22/a.json",
                "file_name": "dt=2026-11-22/a.json",
                "size_bytes": 3,
                "sha256": sha256(b"[1]").hexdigest(),
                "content_type": "application/json",
                "etag": put[1].etag,
            },
        ],
    }
    assert objects(stored) == [item.uri for item in manifest.objects]


@pytest.mark.parametrize(
    "base_uri", ["s3://lake", "gs://lake/a b", "az://lake/ü", "azure://account/lake/a", "s3://lake/a/"]
)
def test_every_form_of_uri_is_staged_cleaned_up_and_read_back_strictly(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored, base_uri: str
) -> None:
    manifest = service.stage_files(make_plan(base_uri=base_uri), write("a.csv"))
    assert manifest.objects[0].uri == f"{base_uri.removesuffix('/')}/run-1/a.csv"
    assert ObjectStorageStagingManifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert service.cleanup(manifest) == 1


def test_odd_names_and_contents_come_back_byte_for_byte(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    make_plan: MakePlan,
    write: WriteFile,
    tmp_path: Path,
) -> None:
    contents = {
        "a+b=c%25.tsv": b"a\tb\n",
        "empty.csv": b"",
        "every byte.bin": bytes(range(256)),
        "ünïcode 数据 🚀.csv": "ü\n".encode(),
        "with space/and  two.csv": b"\r\n",
        " leading and trailing ": b"x",
        "quote'\"s & <angles>;.csv": b"x",
        "_SUCCESS": b"",
        ".hidden": b"x",
    }
    for name, content in contents.items():
        write(name, content)
    manifest = service.stage_files(make_plan(), tmp_path / "in")

    assert {item.file_name for item in manifest.objects} == set(contents)
    for item in manifest.objects:
        content = contents[item.file_name]
        uri = ObjectStorageUri.parse(item.uri)
        assert (item.size_bytes, item.sha256) == (len(content), sha256(content).hexdigest())
        assert client.get_bytes(uri) == content
        client.get_file(uri, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content


def test_a_given_content_type_is_that_of_all_files(
    service: ObjectStorageStagingService, client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile
) -> None:
    manifest = service.stage_files(make_plan(), [write("a.csv"), write("b")], content_type="text/x-own")
    assert [item.content_type for item in manifest.objects] == ["text/x-own", "text/x-own"]
    assert client.stat(ObjectStorageUri.parse(f"{RUN}/b")).content_type == "text/x-own"


def test_a_name_that_says_nothing_has_no_content_type(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile
) -> None:
    manifest = service.stage_files(make_plan(), write("README"))
    assert manifest.objects[0].content_type is None
    assert "content_type" not in manifest.to_dict()["objects"][0]


def test_the_claim_is_there_before_the_first_byte_and_the_manifest_after_the_last(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile
) -> None:
    written: list[str] = []

    class Recorder(LocalObjectStorageClient):
        max_concurrency = 1

        def _write(self, upload: UploadTarget, *how: Any) -> str:
            written.append(str(upload.uri))
            return super()._write(upload, *how)

    service = ObjectStorageStagingService(client=Recorder(root_dir=client.root_dir, max_concurrency=1))
    service.stage_files(make_plan(), [write("a.csv"), write("b.csv")])
    assert written == [
        f"{EVIDENCE}/_run.json",
        f"{RUN}/a.csv",
        f"{RUN}/b.csv",
        f"{EVIDENCE}/_run/manifest.json",
    ]


def test_files_are_sent_several_at_a_time_and_no_more_than_asked(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile
) -> None:
    together = threading.Barrier(3, timeout=10)
    under_way = most = 0
    lock = threading.Lock()

    class Together(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *how: Any) -> str:
            nonlocal under_way, most
            if "_manifests" in upload.uri.key:  # the evidence is written before and after
                return super()._write(upload, *how)
            with lock:
                under_way += 1
                most = max(most, under_way)
            together.wait()  # breaks unless three files are under way at once
            with lock:
                under_way -= 1
            return super()._write(upload, *how)

    service = ObjectStorageStagingService(client=Together(root_dir=client.root_dir, max_concurrency=3))
    manifest = service.stage_files(make_plan(), [write(f"{number}.csv") for number in range(6)])
    assert [item.file_name for item in manifest.objects] == [f"{number}.csv" for number in range(6)]
    assert most == 3


def test_a_program_without_airflow_is_a_writer_of_its_own(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile
) -> None:
    service = ObjectStorageStagingService(client=client)
    manifest = service.stage_files(make_plan(), write("a.csv"))
    service.stage_files(make_plan(), write("a.csv"))
    with pytest.raises(ClaimedByAnotherWriterError):
        ObjectStorageStagingService(client=client).stage_files(make_plan(), write("b.csv"))
    assert ObjectStorageStagingService(client=client).cleanup(manifest) == 1
    claim = json.loads(client.get_bytes(ObjectStorageUri.parse(f"{EVIDENCE}/_run.json")))
    assert claim["writer"]["deployment"] == socket.gethostname()


def test_a_service_with_a_writer_does_not_clean_up_after_another(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    manifest = service.stage_files(make_plan(), write("a.csv"))
    before = stored()
    with pytest.raises(ClaimedByAnotherWriterError):
        ObjectStorageStagingService(client=client, writer=replace(writer, dag_id="other")).cleanup(manifest)
    assert stored() == before


@pytest.mark.parametrize("other", [{"table": "customers"}, {"dataset": "hr"}])
def test_a_prefix_is_for_one_table_even_for_its_own_writer(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored, other: dict[str, str]
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    before = stored()
    with pytest.raises(ClaimedByAnotherWriterError, match="is claimed for something else"):
        service.stage_files(make_plan(**other), write("b.csv"))
    assert stored() == before


@pytest.mark.parametrize(("first", "second"), [("map-00000", None), (None, "map-00000")])
def test_parts_and_a_whole_run_never_mix(
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
    first: str | None,
    second: str | None,
) -> None:
    service.stage_files(make_plan(part=first), write("a.csv"))
    before = stored()
    with pytest.raises(ClaimedByAnotherWriterError, match="in_parts"):
        service.stage_files(make_plan(part=second), write("b.csv"))
    assert stored() == before


@pytest.mark.parametrize("content_type", ["", " ", "a\nb", "text/ü", 5])
def test_a_content_type_that_no_header_takes_moves_nothing(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored, content_type: Any
) -> None:
    with pytest.raises(InvalidPlanError, match="content_type is"):
        service.stage_files(make_plan(), write("a.csv"), content_type=content_type)
    assert stored() == []


# Retries, and others.


def test_a_retry_with_fewer_files_leaves_no_stray(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    service.stage_files(make_plan(), [write("a.csv"), write("b.csv"), write("c.csv")])
    again = service.stage_files(make_plan(), [write("b.csv")])
    assert objects(stored) == [f"{RUN}/b.csv"] == [item.uri for item in again.objects]


def test_a_retry_after_a_failure_half_way_ends_as_if_nothing_had_failed(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    class FailsOnB(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *how: Any) -> str:
            if upload.uri.key.endswith("b.csv"):
                raise StorageError(f"Could not write {upload.uri}: the network is down", uri=str(upload.uri))
            return super()._write(upload, *how)

    files = [write("a.csv"), write("b.csv"), write("c.csv")]
    failing = ObjectStorageStagingService(client=FailsOnB(root_dir=client.root_dir, max_concurrency=1), writer=writer)
    with pytest.raises(StorageError, match=r"b\.csv: the network is down"):
        failing.stage_files(make_plan(), files)
    assert {f"{EVIDENCE}/_run.json", f"{RUN}/a.csv"} <= set(stored())
    assert f"{EVIDENCE}/_run/manifest.json" not in stored()

    manifest = ObjectStorageStagingService(client=client, writer=writer).stage_files(make_plan(), files)
    assert objects(stored) == [item.uri for item in manifest.objects]
    assert len(manifest.objects) == 3


def test_the_first_failure_stops_the_files_that_have_not_begun(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile
) -> None:
    """The first file is a long one, still under way when the second fails."""
    begun: list[str] = []

    class OneSlowOneFailing(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *how: Any) -> str:
            name = upload.uri.key.rpartition("/")[2]
            begun.append(name)
            if name == "fails.csv":
                raise StorageError("the network is down")
            time.sleep(1 if name == "slow.csv" else 0.05)
            return super()._write(upload, *how)

    service = ObjectStorageStagingService(client=OneSlowOneFailing(root_dir=client.root_dir, max_concurrency=2))
    files = [write(name) for name in ("slow.csv", "fails.csv", *(f"later-{number}.csv" for number in range(50)))]
    with pytest.raises(StorageError, match="the network is down"):
        service.stage_files(make_plan(), files)
    # A thread may take the next file in the moment before the failure is seen.
    assert len(begun) <= 5


def test_another_writer_is_refused_and_nothing_changes(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    before = stored()
    other = ObjectStorageStagingService(client=client, writer=replace(writer, task_id="other_stage"))
    with pytest.raises(ClaimedByAnotherWriterError, match="give each stage task its own run_id or base_uri"):
        other.stage_files(make_plan(), write("b.csv"))
    assert stored() == before


def test_live_data_that_nobody_claimed_is_left_alone(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    client.put_bytes(b"live", ObjectStorageUri.parse(f"{RUN}/live.csv"))
    with pytest.raises(UnclaimedPrefixError, match=r"run-1/ holds objects that no stage has claimed.*live\.csv"):
        service.stage_files(make_plan(), write("a.csv"))
    assert stored() == [f"{RUN}/live.csv"]


def test_run_1_and_run_10_are_neighbours_that_never_touch(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    ten = service.stage_files(make_plan(run_id="run-10"), write("a.csv"))
    one = service.stage_files(make_plan(run_id="run-1"), write("a.csv"))
    assert objects(stored) == [f"{BASE}/run-1/a.csv", f"{BASE}/run-10/a.csv"]
    assert service.cleanup(one) == 1
    assert objects(stored) == [f"{BASE}/run-10/a.csv"]
    assert service.cleanup(ten) == 1


def test_parts_of_a_run_are_staged_retried_and_cleaned_up_side_by_side(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    services = [
        ObjectStorageStagingService(client=client, writer=replace(writer, map_index=index)) for index in range(2)
    ]
    plans = [make_plan(part=f"map-{index:05d}") for index in range(2)]
    for service, plan in zip(services, plans, strict=True):
        service.stage_files(plan, [write("a.csv"), write("b.csv")])
    first = services[0].stage_files(plans[0], write("a.csv"))
    assert first.part == "map-00000"
    assert objects(stored) == [f"{RUN}/map-00000/a.csv", f"{RUN}/map-00001/a.csv", f"{RUN}/map-00001/b.csv"]
    assert services[0].cleanup(first) == 1
    assert objects(stored) == [f"{RUN}/map-00001/a.csv", f"{RUN}/map-00001/b.csv"]


def test_a_retry_never_tidies_away_the_runs_of_a_base_that_lies_in_its_prefix(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    """Somebody took this run's prefix as a base_uri, claimed a run there, and staged."""
    service.stage_files(make_plan(), write("a.csv"))
    inner = ObjectStorageStagingService(client=client, writer=replace(writer, dag_id="other"))
    inner.stage_files(make_plan(base_uri=RUN, run_id="inner"), write("b.csv"))
    before = stored()
    with pytest.raises(UnclaimedPrefixError, match="base of other runs"):
        service.stage_files(make_plan(), write("c.csv"))
    assert stored() == sorted([*before, f"{EVIDENCE}/_run/alive.json", f"{EVIDENCE}/_run/failed.json"])


def test_a_base_that_lies_in_anothers_run_is_seen_when_that_run_comes_second(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    service.stage_files(make_plan(base_uri=RUN, run_id="inner"), write("b.csv"))
    before = stored()
    with pytest.raises(UnclaimedPrefixError):
        service.stage_files(make_plan(), write("a.csv"))
    assert stored() == before


# Bad input: a clear error, nothing uploaded.


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "_run", ".run", "run.", "a/b", "../other", "a b", "a:b", "ü", "x" * 201]
)
def test_an_unsafe_run_id_moves_nothing(make_plan: MakePlan, run_id: str) -> None:
    with pytest.raises(InvalidPlanError, match="run_id"):
        make_plan(run_id=run_id)


@pytest.mark.parametrize(
    ("base_uri", "said"),
    [
        ("s3://", "names no bucket"),
        ("s3:///staging", "names no bucket"),
        ("s3://key:hunter2@lake/staging", "credentials"),
        ("s3://lake:9000/staging", "ports"),
        ("s3://lake/staging?x=1", "'?'"),
        ("s3://lake/staging#x", "'#'"),
        ("s3://lake/../staging", "'..'"),
        ("s3://lake//staging", "empty segment"),
        ("s3://lake/staging//", "empty segment"),
        ("ftp://lake/staging", "no scheme that is known here"),
        ("/lake/staging", "no scheme that is known here"),
    ],
)
def test_a_base_uri_that_could_be_read_in_two_ways_moves_nothing(make_plan: MakePlan, base_uri: str, said: str) -> None:
    with pytest.raises(InvalidUriError) as refused:
        make_plan(base_uri=base_uri)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_an_unknown_policy_moves_nothing(make_plan: MakePlan) -> None:
    with pytest.raises(InvalidPlanError, match="cleanup_policy 'delete' is unknown"):
        make_plan(cleanup_policy="delete")


def refused(
    service: ObjectStorageStagingService,
    plan: ObjectStorageStagingPlan,
    files: Any,
    stored: Stored,
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind) as error:
        service.stage_files(plan, files)
    assert said in str(error.value)
    assert stored() == []


def test_a_missing_file_names_this_host(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored, tmp_path: Path
) -> None:
    files = [write("a.csv"), tmp_path / "missing.csv"]
    refused(service, make_plan(), files, stored, SourceFileNotFoundError, socket.gethostname())
    refused(service, make_plan(), files, stored, SourceFileNotFoundError, "Another worker's disk isn't this one's")


def test_no_file_is_an_error(
    service: ObjectStorageStagingService, make_plan: MakePlan, stored: Stored, tmp_path: Path
) -> None:
    for files in ([], tmp_path, f"{tmp_path}/*.csv"):
        refused(service, make_plan(), files, stored, NoFilesMatchedError, "No file to stage")


def test_a_fifo_is_an_error(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    folder = write("a.csv").parent
    os.mkfifo(folder / "fifo")
    refused(service, make_plan(), folder, stored, SourceFileError, "fifo is a FIFO")


def test_two_files_on_one_key_are_an_error(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    files = [write("one/a.csv"), write("other/a.csv")]
    refused(service, make_plan(), files, stored, DuplicateFileNameError, "would both be staged as 'a.csv'")


@pytest.mark.parametrize(
    ("name", "said"),
    [("a?b.csv", "'?'"), ("a#b.csv", "'#'"), ("a\\b.csv", "'\\\\'"), ("a\nb.csv", "control character")],
)
def test_a_name_that_makes_no_safe_key_is_an_error(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored, name: str, said: str
) -> None:
    refused(service, make_plan(), [write("a.csv"), write(name)], stored, InvalidUriError, said)


def test_a_key_that_no_store_takes_is_an_error(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    plan = make_plan(base_uri="s3://lake/" + "/".join(["x" * 200] * 5))
    refused(service, plan, write("y" * 100), stored, InvalidUriError, "and stores take 1024 at most")


def test_a_base_so_long_that_its_evidence_has_no_room_is_refused_before_the_first_byte(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    """The claim would just fit, and the manifest, whose name is longer, would not."""
    room = 1024 - len("/_manifests/run-1/_run/manifest.json") + 5
    segments = "x" * 199 + "/"
    base = (segments * 5)[:room].rstrip("/")
    plan = make_plan(base_uri=f"s3://lake/{base}{'y' * (room - len(base))}")
    refused(service, plan, write("a.csv"), stored, InvalidInputError, "1024")


def test_a_name_that_belongs_to_the_evidence_is_refused_rather_than_never_cleaned_up(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    """A cleanup takes a _manifests folder for the evidence of another base and leaves it alone."""
    write("_manifests/part-0.json")
    folder = write("a.csv").parent
    refused(service, make_plan(), folder, stored, InvalidInputError, "_manifests")


@pytest.mark.parametrize("files", [None, 7, [None], [""], ""])
def test_what_is_no_path_is_an_error(
    service: ObjectStorageStagingService, make_plan: MakePlan, stored: Stored, files: Any
) -> None:
    refused(service, make_plan(), files, stored, InvalidInputError, "files")


@pytest.mark.parametrize("size", [100, 2 * MIB, 40 * MIB], ids=["read ahead", "in one request", "in parts"])
def test_a_file_that_changes_while_it_is_staged_is_an_error_and_no_object(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, stored: Stored, size: int
) -> None:
    path = write("a.csv", b"x" * size)

    class SomebodyStillWrites(Progress):
        """Bytes are counted when the file is open and they aren't read yet."""

        def add_bytes(self, size: int) -> None:
            with path.open("ab") as file:
                file.write(b"more")
            super().add_bytes(size)

    with pytest.raises(SourceFileChangedError, match=r"a\.csv changed while it was staged"):
        ObjectStorageStagingService(client=client).stage_files(make_plan(), path, progress=SomebodyStillWrites)
    assert stored() == [f"{EVIDENCE}/_run.json", f"{EVIDENCE}/_run/failed.json"]


# Faults.


@pytest.mark.parametrize(
    "error",
    [
        StorageAccessDeniedError("Could not write s3://lake: AccessDenied. Check the credentials."),
        BucketNotFoundError("Could not write s3://lake: NoSuchBucket. Create the bucket."),
    ],
)
def test_what_the_store_refuses_is_the_error_and_no_manifest_is_left(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, stored: Stored, error: StorageError
) -> None:
    class Refuses(LocalObjectStorageClient):
        def put_bytes(self, *arguments: Any, **options: Any) -> ObjectStorageObject:
            raise error

    service = ObjectStorageStagingService(client=Refuses(root_dir=client.root_dir))
    refused(service, make_plan(), write("a.csv"), stored, type(error), str(error))


def test_an_object_that_vanishes_while_others_are_staged_is_found_out(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, stored: Stored
) -> None:
    class SomebodyDeletes(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *how: Any) -> str:
            etag = super()._write(upload, *how)
            if upload.uri.key.endswith("b.csv"):
                self.delete_objects([ObjectStorageUri.parse(f"{RUN}/a.csv")])
            return etag

    service = ObjectStorageStagingService(client=SomebodyDeletes(root_dir=client.root_dir, max_concurrency=1))
    with pytest.raises(PrefixMismatchError, match=r"a\.csv is missing"):
        service.stage_files(make_plan(), [write("a.csv"), write("b.csv")])
    evidence = [f"{EVIDENCE}/_run.json", f"{EVIDENCE}/_run/failed.json"]
    assert stored() == [*evidence, f"{RUN}/b.csv"], "no manifest of what isn't there"


def test_deletes_that_are_refused_are_named(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
) -> None:
    class Locked(LocalObjectStorageClient):
        def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
            locked = [key for key in keys if "locked" in key]
            super()._delete_batch(anywhere, [key for key in keys if key not in locked])
            return dict.fromkeys(locked, "a lease is held")

    manifest = service.stage_files(make_plan(), [write("a.csv"), write("locked.csv")])
    locked = ObjectStorageStagingService(client=Locked(root_dir=client.root_dir), writer=writer)
    with pytest.raises(DeleteIncompleteError, match=r"run-1/locked\.csv \(a lease is held\)"):
        locked.cleanup(manifest)
    assert objects(stored) == [f"{RUN}/locked.csv"]
    record = json.loads(client.get_bytes(ObjectStorageUri.parse(f"{EVIDENCE}/_run/cleanup.json")))
    assert record["left"] == {f"{RUN}/locked.csv": "a lease is held"}


# Cleaning up.


@pytest.mark.parametrize(("policy", "deleted"), [("retain", 0), ("delete_on_success", 2), ("delete_always", 2)])
def test_a_cleanup_follows_the_manifests_own_policy(
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
    policy: str,
    deleted: int,
) -> None:
    manifest = service.stage_files(make_plan(cleanup_policy=policy), [write("a.csv"), write("b.csv")])
    assert service.cleanup(manifest) == deleted
    assert len(objects(stored)) == 2 - deleted
    assert f"{EVIDENCE}/_run/manifest.json" in stored()


@pytest.mark.parametrize(
    "elsewhere",
    [{"base_uri": "s3://other/staging"}, {"base_uri": "s3://lake/stagin"}, {"run_id": "run"}, {"part": "map-00001"}],
)
def test_a_manifest_of_what_nobody_staged_deletes_nothing(
    service: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
    elsewhere: dict[str, str],
) -> None:
    service.stage_files(make_plan(), write("a.csv"))
    forged = ObjectStorageStagingManifest.of(make_plan(**elsewhere), [])
    client.put_bytes(b"live", forged.prefix.child("live.csv"))
    with pytest.raises(ClaimNotFoundError, match="nothing was deleted"):
        service.cleanup(forged)
    assert client.exists(forged.prefix.child("live.csv"))
    assert f"{RUN}/a.csv" in stored()


# How far it is.


class Counted(Progress):
    """Keeps what it was told when the stage was over."""

    last: ProgressSnapshot
    least = 0

    def add_bytes(self, size: int) -> None:
        super().add_bytes(size)
        self.least = min(self.least, self.snapshot().bytes_done)

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)
        self.last = self.snapshot()


@pytest.fixture
def counted() -> Callable[..., Counted]:
    """Stage and return the progress when it was over."""

    def stage(service: ObjectStorageStagingService, *arguments: Any, **options: Any) -> Counted:
        made: list[Counted] = []

        def make(what: str, files_total: int, bytes_total: int) -> Counted:
            made.append(Counted(what, files_total, bytes_total))
            return made[-1]

        with suppress(StorageError):
            service.stage_files(*arguments, progress=make, **options)
        (progress,) = made
        assert progress.least == 0, "fewer bytes than none were done"
        return progress

    return stage


def done(progress: Counted) -> tuple[int, int, int, int]:
    last = progress.last
    return last.files_done, last.files_total, last.bytes_done, last.bytes_total


@pytest.fixture(params=["all are read ahead", "the smallest are read ahead"])
def small_parts(
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> ObjectStorageStagingService:
    """A service that sends what has more than 2,000 bytes in parts of 1,000."""
    if request.param == "the smallest are read ahead":
        monkeypatch.setattr("dpone_airflow.staging.upload.SMALL_FILE_BYTES", 1500)
    in_parts = LocalObjectStorageClient(root_dir=client.root_dir, part_bytes=1000, max_concurrency=3)
    return ObjectStorageStagingService(client=in_parts, writer=writer)


@pytest.fixture
def tree(write: WriteFile) -> Path:
    """13,002 bytes in five files: small ones, an empty one, and two that go in parts."""
    for name, size in {"empty": 0, "a": 1, "b": 2000, "large": 7000, "larger": 4001}.items():
        path = write(name, b"x" * size)
    return path.parent


def test_after_a_clean_run_all_files_and_all_bytes_are_done(
    small_parts: ObjectStorageStagingService, make_plan: MakePlan, tree: Path, counted: Callable[..., Counted]
) -> None:
    progress = counted(small_parts, make_plan(), tree)
    assert done(progress) == (5, 5, 13_002, 13_002)
    assert progress.what == f"Staging {RUN}/"


@pytest.mark.parametrize("if_exists", ["resume", "replace"])
def test_after_a_run_that_finds_everything_there_all_is_done_too(
    small_parts: ObjectStorageStagingService,
    make_plan: MakePlan,
    tree: Path,
    counted: Callable[..., Counted],
    if_exists: Any,
) -> None:
    small_parts.stage_files(make_plan(), tree)
    assert done(counted(small_parts, make_plan(), tree, if_exists=if_exists)) == (5, 5, 13_002, 13_002)


def test_files_that_have_changed_are_counted_once(
    small_parts: ObjectStorageStagingService,
    make_plan: MakePlan,
    tree: Path,
    write: WriteFile,
    counted: Callable[..., Counted],
) -> None:
    """Those of another length are sent at once; those of the same are hashed first, and read again to be sent."""
    small_parts.stage_files(make_plan(), tree)
    write("a", b"y")
    write("large", b"y" * 7000)
    write("larger", b"y" * 5000)
    write("empty", b"no longer")
    write("new", b"12345")
    assert done(counted(small_parts, make_plan(), tree)) == (6, 6, 14_015, 14_015)


def test_what_is_gone_in_the_store_is_counted_once(
    small_parts: ObjectStorageStagingService,
    client: LocalObjectStorageClient,
    make_plan: MakePlan,
    tree: Path,
    counted: Callable[..., Counted],
) -> None:
    small_parts.stage_files(make_plan(), tree)
    client.delete_objects([ObjectStorageUri.parse(f"{RUN}/large")])
    client.put_bytes(b"somebody else's", ObjectStorageUri.parse(f"{RUN}/b"))
    assert done(counted(small_parts, make_plan(), tree)) == (5, 5, 13_002, 13_002)


def test_a_retry_counts_what_the_first_try_has_sent_as_well(
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    small_parts: ObjectStorageStagingService,
    make_plan: MakePlan,
    tree: Path,
    counted: Callable[..., Counted],
) -> None:
    class FailsOnB(LocalObjectStorageClient):
        def _write(self, upload: UploadTarget, *content: Any) -> str:
            if upload.uri.key.endswith("/b"):
                raise StorageError("the network is down")
            return super()._write(upload, *content)

    failing = FailsOnB(root_dir=client.root_dir, part_bytes=1000, max_concurrency=1)
    first = counted(ObjectStorageStagingService(client=failing, writer=writer), make_plan(), tree)
    files_done, _, bytes_done, _ = done(first)
    assert files_done == 2, "the largest go first"
    assert 11_001 <= bytes_done <= 13_002, "small files are read before it is their turn"
    assert done(counted(small_parts, make_plan(), tree)) == (5, 5, 13_002, 13_002)
