"""The null sink answers as S3 does where a client looks, and the figures are computed as the page says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks import scale, scale_report
from benchmarks.figures import Record, Records
from benchmarks.measure import Measurement, MeasurementError
from benchmarks.null_sink.counts import Counted, azure_kind, gcs_kind, s3_kind
from benchmarks.null_sink.http import Request, Server
from benchmarks.null_sink.s3 import S3
from benchmarks.page import put_between
from benchmarks.scale import Case, Figures, Runner, cases
from benchmarks.scale_report import growth, tables


@pytest.fixture
def s3() -> Iterator[Any]:
    server = Server(Counted(S3(), s3_kind))
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        yield client
    finally:
        client.close()
        server.stop()
        thread.join(10)


def test_objects_are_listed_in_order_with_size_and_etag(s3: Any) -> None:
    put = {key: s3.put_object(Bucket="b", Key=key, Body=b"x" * 5)["ETag"] for key in ("p/b & c", "p/a", "q/ä+%")}
    listed = s3.list_objects_v2(Bucket="b")["Contents"]
    assert [(item["Key"], item["Size"], item["ETag"]) for item in listed] == [
        (key, 5, put[key]) for key in ("p/a", "p/b & c", "q/ä+%")
    ]
    assert s3.head_object(Bucket="b", Key="q/ä+%")["ContentLength"] == 5
    folders = s3.list_objects_v2(Bucket="b", Delimiter="/")["CommonPrefixes"]
    assert [folder["Prefix"] for folder in folders] == ["p/", "q/"]


def test_records_come_back_and_other_bytes_do_not(s3: Any) -> None:
    s3.put_object(Bucket="b", Key="base/_manifests/run/_run.json", Body=b"{}", Metadata={"mark": "1"})
    s3.put_object(Bucket="b", Key="base/run/a", Body=b"abc")
    record = s3.get_object(Bucket="b", Key="base/_manifests/run/_run.json")
    assert (record["Body"].read(), record["Metadata"]) == (b"{}", {"mark": "1"})
    assert s3.get_object(Bucket="b", Key="base/run/a")["Body"].read() == bytes(3)


def test_a_condition_has_one_winner_and_a_missing_key_is_missing(s3: Any) -> None:
    s3.put_object(Bucket="b", Key="claim", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="b", Key="claim", Body=b"2", IfNoneMatch="*")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="b", Key="missing")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="b", Key="missing")


def test_listing_and_deleting_go_past_a_page(s3: Any) -> None:
    keys = [f"many/{number:05}" for number in range(1500)]
    for key in keys:
        s3.put_object(Bucket="b", Key=key, Body=b"")
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="many/"))
    assert [len(page["Contents"]) for page in pages] == [1000, 500]
    # By turns, as some clients do it: what is gone isn't met again.
    deleted = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="many/"):
        batch = [{"Key": item["Key"]} for item in page["Contents"]]
        deleted += len(s3.delete_objects(Bucket="b", Delete={"Objects": batch})["Deleted"])
    assert deleted == 1500
    assert "Contents" not in s3.list_objects_v2(Bucket="b", Prefix="many/")


def test_a_multipart_upload_is_there_when_it_is_complete(s3: Any) -> None:
    place = {"Bucket": "b", "Key": "large"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=bytes(2**20 + number))["ETag"],
        }
        for number in (1, 2)
    ]
    assert "Contents" not in s3.list_objects_v2(Bucket="b")
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket="b")["Uploads"]] == [upload]
    done = s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.head_object(**place)["ContentLength"] == 2 * 2**20 + 3
    assert s3.head_object(**place)["ETag"] == done["ETag"]
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(**place, UploadId=upload, PartNumber=3, Body=b"")


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    def record(peer: str, number: int, seconds: float) -> Record:
        return Record("upload", "null", "small", peer, number, Measurement(seconds, seconds, 0, 0, 0))

    # The machine was twice as busy in the second round, for both alike.
    records = Records(
        [record("us", 0, 1), record("other", 0, 3), record("us", 1, 2), record("other", 1, 6), record("us", 2, 1)]
    )
    assert records.ratio("other", "us") == 3
    assert records.ratio("missing", "us") is None


def test_requests_are_counted_by_kind_and_batches_also_by_key(s3: Any) -> None:
    place = {"Bucket": "b", "Key": "large"}
    for key in ("p/a", "p/b"):
        s3.put_object(Bucket="b", Key=key, Body=b"x")
    upload = s3.create_multipart_upload(**place)["UploadId"]
    etag = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    s3.get_object(Bucket="b", Key="p/a")
    s3.head_object(Bucket="b", Key="p/a")
    s3.list_objects_v2(Bucket="b")
    s3.list_multipart_uploads(Bucket="b")
    s3.get_bucket_versioning(Bucket="b")
    s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "p/a"}, {"Key": "p/b"}]})
    s3.delete_object(Bucket="b", Key="large")
    with urllib.request.urlopen(f"{s3.meta.endpoint_url}/__counts", timeout=10) as answer:
        counts = json.load(answer)
    assert counts == {
        "put": 2,
        "begin upload": 1,
        "put part": 1,
        "complete upload": 1,
        "get": 1,
        "head": 1,
        "list": 1,
        "list uploads": 1,
        "bucket settings": 1,
        "delete batch": 1,
        "keys in batches": 2,
        "delete": 1,
    }


@pytest.mark.parametrize(
    ("kind_of", "line", "kind"),
    [
        (gcs_kind, b"POST /upload/storage/v1/b/bench/o?uploadType=multipart", "put"),
        (gcs_kind, b"GET /storage/v1/b/bench/o?prefix=base", "list"),
        (gcs_kind, b"GET /download/storage/v1/b/bench/o/base%2Fa?alt=media", "get"),
        (gcs_kind, b"GET /storage/v1/b/bench/o/base%2Fa", "head"),
        (gcs_kind, b"GET /storage/v1/b/bench?projection=noAcl", "bucket settings"),
        (gcs_kind, b"DELETE /storage/v1/b/bench/o/base%2Fa", "delete"),
        (azure_kind, b"PUT /account/bench/base/a", "put"),
        (azure_kind, b"PUT /account/bench/base/a?comp=block&blockid=1", "put part"),
        (azure_kind, b"PUT /account/bench/base/a?comp=blocklist", "complete upload"),
        (azure_kind, b"GET /account/bench?restype=container&comp=list", "list"),
        (azure_kind, b"GET /account/bench/base/a", "get"),
        (azure_kind, b"HEAD /account/bench/base/a", "head"),
        (azure_kind, b"GET /account/?restype=service&comp=properties", "bucket settings"),
    ],
)
def test_each_protocol_has_the_same_kinds(kind_of: Any, line: bytes, kind: str) -> None:
    assert kind_of(Request(line + b" HTTP/1.1\r\nHost: here")) == (kind, 0)


@pytest.mark.parametrize(("kind_of", "path"), [(gcs_kind, b"/batch/storage/v1"), (azure_kind, b"/account/?comp=batch")])
def test_a_batch_of_deletes_is_one_request_of_several_keys(kind_of: Any, path: bytes) -> None:
    request = Request(b"POST " + path + b" HTTP/1.1\r\nHost: here")
    request.body = b"--x\r\n\r\nDELETE /b/bench/o/a HTTP/1.1\r\n\r\n--x\r\n\r\nDELETE /b/bench/o/b HTTP/1.1\r\n--x--"
    assert kind_of(request) == ("delete batch", 2)


def _figures(files: int, number: int, cpu_seconds: float) -> Figures:
    requests, told = {"put": files, "list": 4}, {"xcom_bytes": 100 * files}
    return Figures(
        "files",
        "null",
        files,
        1024,
        0,
        "stage",
        number,
        "2026-01-01",
        2 * cpu_seconds,
        cpu_seconds,
        2**21,
        2**20,
        1,
        requests,
        told,
    )


def test_growth_is_the_median_of_the_ratios_to_the_size_before_in_the_same_round() -> None:
    figures = [
        *(_figures(10, number, seconds) for number, seconds in enumerate((1, 2, 1))),
        *(_figures(100, number, seconds) for number, seconds in enumerate((10, 20, 40))),
    ]
    assert growth(figures, (100, 1024, 0), (10, 1024, 0), "cpu_seconds") == 10
    assert growth(figures, (1000, 1024, 0), (100, 1024, 0), "cpu_seconds") is None
    text = tables(figures, {"machine": "2 cores", "peers": "s5cmd"})
    assert "| stage | 10 files | 1.00 |  |  | 1 | 10 put, 4 list | XCom 1.0 KB |" in text
    assert "| stage | 100 files | 20.0 | 10.0 | 10.0 | 1 | 100 put, 4 list | XCom 10.0 KB |" in text
    assert "s5cmd" not in text


def test_a_batch_counts_as_one_request_that_was_sent() -> None:
    figures = replace(_figures(10, 0, 1), requests={"delete batch": 1, "keys in batches": 1000, "list": 2})
    assert figures.sent == 3


def test_every_size_but_the_first_of_a_section_has_one_before_it_that_differs_in_one_thing() -> None:
    found = cases(quick=False)
    for server, section in {(server, case.section) for server, case in found}:
        sizes = [(case.files, case.size, case.parts) for at, case in found if (at, case.section) == (server, section)]
        assert len(sizes) == len(set(sizes)) > 1


def test_below_each_table_is_when_how_often_and_under_what_load_it_was_measured() -> None:
    older = [replace(_figures(10, number, 1), day="2025-12-31", load=load) for number, load in enumerate((0.5, 7))]
    newer = [replace(one, section="stores", day="2026-01-02", load=3) for one in older[:1]]
    text = tables([*older, *newer, replace(older[0], server="seaweedfs", day="2026-01-01")], {"machine": "2 cores"})
    told = [line for line in text.splitlines() if line.startswith("Measured")]
    assert told == [
        "Measured on 2025-12-31, 2 rounds, load average 0.5 to 7.0.",
        "Measured on 2026-01-01, 1 round, load average 0.5.",
        "Measured on 2026-01-02, 1 round, load average 3.0.",
    ]


def test_cases_that_were_measured_less_often_and_on_another_day_are_told() -> None:
    figures = [_figures(10, 0, 1), _figures(10, 1, 1), replace(_figures(100, 0, 1), day="2026-01-03")]
    assert "Measured on 2026-01-01 to 2026-01-03, 1 to 2 rounds, load average 1.0." in tables(figures, {})


@pytest.mark.parametrize("page", ["", "<start>", "<end>", "<end> <start>"])
def test_a_page_without_both_marks_is_left_as_it_is(tmp_path: Path, page: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    with pytest.raises(ValueError, match="has no <start> and after it <end>"):
        put_between(path, "<start>", "<end>", "tables")
    assert path.read_text(encoding="utf-8") == page


def test_tables_take_the_place_of_what_is_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("a\n<start>\nold\n<end>\nb\n", encoding="utf-8")
    put_between(path, "<start>", "<end>", "new\n")
    assert path.read_text(encoding="utf-8") == "a\n<start>\n\nnew\n\n<end>\nb\n"


_NOISY = """
import os
from benchmarks.runners import scale
class Noisy:
    def __init__(self, job):
        self.fails = job["fails"]
    def do(self):
        print("7")
        os.write(1, b"An error\\n")
        assert not self.fails, "as it was told"
    def tell(self):
        return {}
scale.TASKS, scale._IMPORTED_BY_HOOKS = {"noisy": Noisy}, ()
scale.main()
"""


def test_what_a_task_prints_is_not_taken_for_an_exit_code(tmp_path: Path) -> None:
    job = {"action": "noisy", "environment": {}, "counts": "", "result": str(tmp_path / "result.json")}
    jobs = "".join(f"{json.dumps(job | {'fails': fails})}\n" for fails in (False, True, False))
    ended = subprocess.run(
        [sys.executable, "-c", _NOISY], input=jobs, capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout == "0\n1\n0\n"
    assert ended.stderr.count("7\n") == ended.stderr.count("An error\n") == 3
    assert "as it was told" in ended.stderr


def test_a_runner_that_has_ended_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("out of memory", encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as gone:
        gone.wait(60)
        with pytest.raises(MeasurementError, match="stage wasn't begun.*\n.*out of memory"):
            Runner(gone, log).do({"action": "stage"})
        with pytest.raises(BrokenPipeError):  # what wasn't sent is still in its buffer
            gone.stdin.close()


class _Measured:
    """`python -m benchmarks.scale` in a directory of its own, whose tasks are made up and whose machine is."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.raw, self.page = directory / "scale.json", directory / "page.md"
        self.page.write_text("<!-- scale:start --><!-- scale:end -->", encoding="utf-8")
        self.fails: set[str] = set()
        self.machine = {"machine": "2 cores"}
        self.day = "2026-01-01"
        wanted = [("null", Case(section, 10, 1024)) for section in ("files", "stores")]
        monkeypatch.setattr(scale, "cases", lambda *, quick: wanted)
        monkeypatch.setattr(scale, "describe", lambda: self.machine)
        monkeypatch.setattr(scale, "_one", self._one)
        monkeypatch.setattr(scale, "ROOT", directory)
        monkeypatch.setattr(scale_report, "PAGE", self.page)
        monkeypatch.setattr(Runner, "start", lambda directory: nullcontext())
        self._argv = ["scale", "--directory", str(directory)]
        self._monkeypatch = monkeypatch

    def run(self, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "argv", [*self._argv, *arguments])
        return scale.main()

    def told(self) -> list[str]:
        return [line for line in self.page.read_text(encoding="utf-8").splitlines() if line.startswith("Measured")]

    def _one(self, runner: Any, home: Path, server: str, case: Case, number: int) -> Iterator[Figures]:
        if case.section in self.fails:
            raise MeasurementError("the store is full")
        yield replace(_figures(10, number, 1), section=case.section, day=self.day)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Measured:
    return _Measured(tmp_path, monkeypatch)


def test_what_is_not_measured_again_keeps_its_day_and_rounds(measured: _Measured) -> None:
    assert measured.run("--rounds", "2") == 0
    measured.day = "2026-02-02"
    assert measured.run("--rounds", "1", "--sections", "stores") == 0
    assert measured.told() == [
        "Measured on 2026-01-01, 2 rounds, load average 1.0.",
        "Measured on 2026-02-02, 1 round, load average 1.0.",
    ]
    assert measured.run("--rounds", "1", "--sections", "stores", "--more") == 0
    assert measured.told()[1] == "Measured on 2026-02-02, 2 rounds, load average 1.0."


def test_no_page_is_written_while_something_has_failed(measured: _Measured, capsys: pytest.CaptureFixture[str]) -> None:
    before = measured.page.read_text(encoding="utf-8")
    measured.fails = {"stores"}
    assert measured.run("--rounds", "1") == 1
    measured.fails = set()
    # Neither by what is measured elsewhere, nor by more rounds, nor by the report.
    for arguments in (("--sections", "files", "--rounds", "1"), ("--more", "--rounds", "1"), ("--report",)):
        capsys.readouterr()
        assert measured.run(*arguments) == 1
        assert "FAILED: null, stores: Case(" in capsys.readouterr().out
        assert measured.page.read_text(encoding="utf-8") == before
    assert measured.run("--sections", "stores", "--rounds", "1") == 0
    assert measured.run("--report") == 0
    assert len(measured.told()) == 2


def test_figures_of_another_machine_are_not_mixed(measured: _Measured) -> None:
    measured.run("--rounds", "1")
    kept = measured.raw.read_text(encoding="utf-8")
    measured.machine = {"machine": "64 cores"}
    with pytest.raises(SystemExit, match="holds figures of another machine"):
        measured.run("--sections", "stores")
    assert measured.raw.read_text(encoding="utf-8") == kept
    assert measured.run("--rounds", "1") == 0
