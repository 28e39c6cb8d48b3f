"""What obstore is asked to send, seen at a server, and what its refusals become."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from obstore.store import AzureStore, S3Store

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    ObjectAlreadyExistsError,
    SourceFileChangedError,
    StagingStoppedError,
    StorageAccessDeniedError,
    StorageError,
)
from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage.obstore_uploader import ObstoreUploader
from dpone_airflow.storage.uploader import UploadTarget
from tests.recorder import Answer, Recorded, Recorder, recording

Put = Callable[[ObstoreUploader], str | None]
PART = 5 * 1024 * 1024
CONTENT = b"x" * PART + b"y" * PART + b"the last, odd bytes"
SECRET = "hunter2"
ONCE = {"max_retries": 0}
HTTP = {"allow_http": True}
METADATA = {"dpone-nonce": "a-nonce", "dpone-sha256": sha256(b"bytes").hexdigest()}


@pytest.fixture(autouse=True)
def _only_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a developer or a CI has set out of the tests."""
    for name in list(os.environ):
        if re.match(r"(?i)AWS_|AZURE_|.*_proxy$", name):
            monkeypatch.delenv(name)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


def s3_key() -> Any:
    return {"access_key_id": "key", "secret_access_key": SECRET, "token": f"token-{SECRET}", "expires_at": None}


def s3_store(url: str, credentials: Callable[[], Any] = s3_key) -> Any:
    new_store: Any = S3Store
    return new_store(
        "lake",
        endpoint=url,
        region="us-east-1",
        credential_provider=credentials,
        client_options=HTTP,
        retry_config=ONCE,
    )


def uploader(recorder: Recorder, **more: Any) -> ObstoreUploader:
    return ObstoreUploader(s3_store(recorder.url), "lake", **more)


def target(content_type: str | None = "text/csv", uri: str = "s3://lake/run/a file.csv") -> UploadTarget:
    return UploadTarget(ObjectStorageUri.parse(uri), content_type, METADATA)


def put_small(to: ObstoreUploader) -> str | None:
    return to.put_small(target(), b"bytes")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.csv"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def put_large(large: Path) -> Put:
    def put(to: ObstoreUploader) -> str | None:
        with HashingReader(large) as reader:
            return to.put_large(target(), reader, PART, 2)

    return put


def refusing(*, method: str, status: int, body: str = "", when: str = "") -> Callable[[Recorded], Answer | None]:
    """Refuse the requests of one method whose path has ``when`` in it."""

    def answer(request: Recorded) -> Answer | None:
        if request.method == method and when in request.path:
            return status, {"Content-Type": "application/xml"}, body.encode()
        return None

    return answer


def error_body(code: str, message: str = "No.") -> str:
    return f"<?xml version='1.0'?>\n<Error>\n<Code>{code}</Code>\n<Message>{message}</Message></Error>"


def requests(recorder: Recorder) -> list[str]:
    return [f"{request.method} {' '.join(sorted(_query(request)))}" for request in recorder.seen]


def _query(request: Recorded) -> list[str]:
    return list(parse_qs(urlsplit(request.path).query, keep_blank_values=True))


# What is sent.


def test_a_small_file_is_one_request_with_its_type_and_its_metadata(recorder: Recorder) -> None:
    recorder.answer = lambda _: (200, {"ETag": '"an-etag"'}, b"")
    assert put_small(uploader(recorder)) == "an-etag"
    request = recorder.only
    assert (request.method, request.path, request.body) == ("PUT", "/lake/run/a%20file.csv", b"bytes")
    assert request.headers["content-type"] == "text/csv"
    assert {name: request.headers[f"x-amz-meta-{name}"] for name in METADATA} == METADATA


def test_an_empty_file_is_an_object_too(recorder: Recorder) -> None:
    uploader(recorder).put_small(target(), b"")
    assert (recorder.only.method, recorder.only.body) == ("PUT", b"")


def test_a_small_file_is_one_request_whatever_its_size(recorder: Recorder) -> None:
    """Of itself obstore would send more than 5 MiB in parts."""
    uploader(recorder).put_small(target(), CONTENT)
    assert recorder.only.body == CONTENT


def test_a_file_without_a_type_is_sent_none(recorder: Recorder) -> None:
    uploader(recorder).put_small(target(None), b"bytes")
    assert "content-type" not in recorder.only.headers


def test_a_large_file_is_sent_in_parts_of_the_size_that_is_asked_for(recorder: Recorder, put_large: Put) -> None:
    assert put_large(uploader(recorder)) == "whole"
    begin, parts, complete = recorder.multipart()
    assert {request.path.partition("?")[0] for request in recorder.seen} == {"/lake/run/a%20file.csv"}
    assert begin.headers["content-type"] == "text/csv"
    assert {name: begin.headers[f"x-amz-meta-{name}"] for name in METADATA} == METADATA
    by_number = {int(parse_qs(urlsplit(part.path).query)["partNumber"][0]): part.body for part in parts}
    assert [by_number[number] for number in (1, 2, 3)] == [
        CONTENT[:PART],
        CONTENT[PART : 2 * PART],
        CONTENT[2 * PART :],
    ]
    assert "uploadId=an-upload" in complete.path
    assert all("x-amz-meta-dpone-nonce" not in request.headers for request in (*parts, complete))


@pytest.mark.parametrize("part_bytes", [PART, 2 * PART])
def test_parts_are_as_large_as_is_asked(recorder: Recorder, large: Path, part_bytes: int) -> None:
    with HashingReader(large) as reader:
        uploader(recorder).put_large(target(), reader, part_bytes, 1)
        assert reader.sha256() == sha256(CONTENT).hexdigest()
    _, parts, _ = recorder.multipart()
    assert {len(part.body) for part in parts[:-1]} == {part_bytes}


@pytest.mark.parametrize("lanes", [1, 2])
def test_no_more_parts_are_under_way_than_asked(recorder: Recorder, large: Path, lanes: int) -> None:
    under_way = most = 0
    lock = threading.Lock()

    def answer(request: Recorded) -> Answer | None:
        nonlocal under_way, most
        if request.method == "PUT":
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.3)
            with lock:
                under_way -= 1
        return None

    recorder.answer = answer
    with HashingReader(large) as reader:
        uploader(recorder).put_large(target(), reader, PART, lanes)
    assert most == lanes


def test_tags_and_attributes_go_with_every_object_and_with_no_part(recorder: Recorder, put_large: Put) -> None:
    to = uploader(recorder, attributes={"Storage-Class": "STANDARD_IA"}, tags={"team": "däta&=+", "stage": "1"})
    put_small(to)
    put_large(to)
    single, begin, *parts, _ = recorder.seen
    for request in (single, begin):
        assert request.headers["x-amz-storage-class"] == "STANDARD_IA"
        assert parse_qs(request.headers["x-amz-tagging"]) == {"team": ["däta&=+"], "stage": ["1"]}
        assert request.headers["content-type"] == "text/csv"
    for part in parts:
        assert not {"x-amz-storage-class", "x-amz-tagging", "content-type"} & set(part.headers)


def test_without_tags_and_attributes_none_are_sent(recorder: Recorder, put_large: Put) -> None:
    put_small(uploader(recorder))
    put_large(uploader(recorder))
    for request in recorder.seen:
        assert not {"x-amz-storage-class", "x-amz-tagging"} & set(request.headers)


def test_what_one_object_is_sent_with_is_not_kept_for_the_next(recorder: Recorder) -> None:
    attributes, tags = {"Storage-Class": "STANDARD_IA"}, {"team": "data"}
    to = uploader(recorder, attributes=attributes, tags=tags)
    attributes.clear()
    tags["team"] = "other"
    put_small(to)
    to.put_small(UploadTarget(target().uri, None, {}), b"bytes")
    first, second = recorder.seen
    for request in (first, second):
        assert (request.headers["x-amz-storage-class"], request.headers["x-amz-tagging"]) == (
            "STANDARD_IA",
            "team=data",
        )
    assert not [name for name in second.headers if name.startswith("x-amz-meta-")]


# Refusals.

REFUSALS = [
    (
        403,
        error_body("AccessDenied", "Access Denied"),
        StorageAccessDeniedError,
        "AccessDenied: Access Denied. The connection's identity needs s3:PutObject",
    ),
    (403, error_body("SignatureDoesNotMatch"), StorageAccessDeniedError, "SignatureDoesNotMatch: No. Check"),
    (401, "", StorageAccessDeniedError, "Check the credentials"),
    (404, error_body("NoSuchBucket", "No such bucket"), BucketNotFoundError, "NoSuchBucket: No such bucket. Create"),
    (404, "", BucketNotFoundError, "Create the bucket"),
    (400, error_body("BadDigest"), ChecksumMismatchError, "BadDigest: No. The bytes changed on their way"),
    (400, error_body("XAmzContentChecksumMismatch"), ChecksumMismatchError, "nothing was stored"),
    (400, error_body("ExpiredToken"), StorageAccessDeniedError, "ExpiredToken: No. Check the credentials"),
    (412, error_body("PreconditionFailed"), ObjectAlreadyExistsError, "PreconditionFailed: No. Somebody else"),
    (503, error_body("SlowDown", "Please reduce your request rate."), StorageError, "SlowDown: Please reduce your"),
    (500, "", StorageError, "If the store is up"),
    (400, "no XML", StorageError, "no XML"),
]


@pytest.mark.parametrize(("status", "body", "error", "said"), REFUSALS)
def test_a_refusal_becomes_an_error_of_ours(
    recorder: Recorder, status: int, body: str, error: type[StorageError], said: str
) -> None:
    recorder.answer = refusing(method="PUT", status=status, body=body)
    with pytest.raises(StorageError) as refused:
        put_small(uploader(recorder))
    assert type(refused.value) is error
    assert str(refused.value).startswith("Could not write s3://lake/run/a file.csv: ")
    assert said in str(refused.value)
    assert (refused.value.status, refused.value.uri) == (status, "s3://lake/run/a file.csv")
    assert "Debug source" not in str(refused.value)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    code = re.search("<Code>(.*)</Code>", body)
    if code:
        assert refused.value.code == code[1]
        assert "127.0.0.1" not in str(refused.value), "the store's own words are enough"


@pytest.mark.parametrize(("status", "body", "error", "said"), REFUSALS[:1] + REFUSALS[3:4] + REFUSALS[5:6])
@pytest.mark.parametrize(
    ("method", "when", "aborted"), [("POST", "uploads", False), ("PUT", "", True), ("POST", "uploadId", True)]
)
def test_a_refusal_of_any_request_of_a_large_file_is_the_same_error_and_nothing_is_left_open(
    recorder: Recorder,
    put_large: Put,
    method: str,
    when: str,
    aborted: bool,
    status: int,
    body: str,
    error: type[StorageError],
    said: str,
) -> None:
    recorder.answer = refusing(method=method, status=status, body=body, when=when)
    with pytest.raises(error, match=re.escape(said)) as refused:
        put_large(uploader(recorder))
    assert "Debug source" not in str(refused.value)
    assert ("DELETE uploadId" in requests(recorder)) == aborted
    assert "POST uploadId" not in requests(recorder) or when == "uploadId"


def test_an_error_in_a_successful_answer_to_the_last_request_is_an_error(recorder: Recorder, put_large: Put) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html."""
    recorder.answer = refusing(method="POST", when="uploadId", status=200, body=error_body("InternalError", "Again."))
    with pytest.raises(StorageError, match="InternalError: Again"):
        put_large(uploader(recorder))
    assert "DELETE uploadId" in requests(recorder)


def test_a_secret_in_the_stores_words_is_masked(recorder: Recorder) -> None:
    body = error_body("InvalidRequest", f"You sent secret_access_key={SECRET} here.")
    recorder.answer = refusing(method="PUT", status=400, body=body)
    with pytest.raises(StorageError, match=r"secret_access_key=\*\*\* here") as refused:
        put_small(uploader(recorder))
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


def test_a_store_that_does_not_answer_is_an_error_of_ours() -> None:
    to = ObstoreUploader(s3_store(f"http://127.0.0.1:{closed_port()}"), "lake")
    with pytest.raises(StorageError, match="If the store is up and reachable from this host") as refused:
        put_small(to)
    assert (type(refused.value), refused.value.status) == (StorageError, None)
    assert "Debug source" not in str(refused.value)


@pytest.mark.parametrize("answers", [True, False])
def test_a_sas_in_the_url_is_never_told(recorder: Recorder, answers: bool) -> None:
    def sas() -> Any:
        return {"sas_token": f"sv=2022-11-02&sig={SECRET}", "expires_at": None}

    url = recorder.url if answers else f"http://127.0.0.1:{closed_port()}"
    new_store: Any = AzureStore
    store = new_store(
        "lake",
        account_name="account",
        endpoint=f"{url}/account",
        credential_provider=sas,
        client_options=HTTP,
        retry_config=ONCE,
    )
    recorder.answer = refusing(method="PUT", status=400, body="no XML")
    with pytest.raises(StorageError) as refused:
        ObstoreUploader(store, "lake").put_small(target(uri="az://lake/run/a.csv"), b"bytes")
    if answers:
        assert SECRET in recorder.only.path
    assert SECRET not in "".join(traceback.format_exception(refused.value))


# What the reader says.


@pytest.mark.parametrize("bytes_before", [0, PART, 2 * PART])
@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), StagingStoppedError("mine"), OSError(5, "mine")])
def test_what_ends_the_reading_comes_out_as_itself_and_the_upload_is_aborted(
    recorder: Recorder, large: Path, error: Exception, bytes_before: int
) -> None:
    read = 0

    def on_read(size: int) -> None:
        nonlocal read
        if read >= bytes_before:
            raise error
        read += size

    with HashingReader(large, on_read) as reader, pytest.raises(type(error)) as raised:
        uploader(recorder).put_large(target(), reader, PART, 2)
    assert raised.value is error
    seen = requests(recorder)
    assert "POST uploadId" not in seen, "an upload was completed without its last part"
    assert ("POST uploads" in seen) == ("DELETE uploadId" in seen), "an upload was left open"


def test_a_file_that_changes_is_aborted_before_its_last_part(recorder: Recorder, large: Path) -> None:
    with HashingReader(large) as reader:
        with large.open("ab") as file:
            file.write(b"more")
        with pytest.raises(SourceFileChangedError):
            uploader(recorder).put_large(target(), reader, PART, 2)
    assert "DELETE uploadId" in requests(recorder)[-2:], "a part that was under way may arrive after it"
    assert len([request for request in recorder.seen if request.method == "PUT"]) <= 2


# What is left to the SDK.


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        (None, True),
        ("", True),
        ("text/csv", True),
        ("text/csv; charset=utf-8", True),
        ("text/ü", False),
        ("a\nb", False),
        ("a\tb", False),
        ("a\0b", False),
        ("a\x7fb", False),
    ],
)
def test_a_type_that_is_no_text_of_a_header_is_not_taken(
    recorder: Recorder, content_type: str | None, taken: bool
) -> None:
    to = uploader(recorder)
    assert to.takes(target(content_type)) is taken
    if taken:
        to.put_small(target(content_type), b"bytes")
        assert recorder.only.headers.get("content-type") == (content_type or None)


@pytest.mark.parametrize(
    ("bucket", "key", "taken"),
    [
        ("lake", "run/a b+c%20.csv", True),
        ("lake", "run/ü/数据", True),
        ("lake2", "run/a.csv", False),
        ("lak", "run/a.csv", False),
        ("Lake", "run/a.csv", False),
        ("lake", "", False),
        ("lake", "/run/a.csv", False),
        ("lake", "run/a/", False),
        ("lake", "run//a", False),
        ("lake", "run/./a", False),
        ("lake", "run/../a", False),
        ("lake", "run/a\n", False),
        ("lake", "run/\ud800", False),
    ],
)
def test_other_buckets_and_keys_that_would_become_others_are_not_taken(
    recorder: Recorder, bucket: str, key: str, taken: bool
) -> None:
    where = ObjectStorageUri(ObjectStorageUri.parse("s3://lake").provider, bucket, key)
    assert uploader(recorder).takes(UploadTarget(where, "text/csv", METADATA)) is taken
