"""A bucket in another region than the connection says: boto3 follows S3 there, and uploads in obstore's place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
from obstore.store import S3Store

from dpone_airflow.storage import ObjectStorageUri, S3ObjectStorageClient
from dpone_airflow.storage.obstore_uploader import ObstoreUploader
from dpone_airflow.storage.parts import MIB

URI = ObjectStorageUri.parse("s3://lake/run/file.bin")


class Elsewhere(BaseHTTPRequestHandler):
    """Redirects obstore as S3 redirects requests for another region's bucket, and takes what boto3 sends."""

    protocol_version = "HTTP/1.1"
    taken: dict[str, int]
    redirected: list[str]

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        while length:
            length -= len(self.rfile.read(min(length, MIB)))
        if "boto3" not in str(self.headers["User-Agent"]).lower():
            self.redirected.append(self.command)
            return self.answer(301, b"<Error><Code>PermanentRedirect</Code></Error>")
        name = self.path.partition("?")[2].partition("=")[0] or "put"
        self.taken[name] = self.taken.get(name, 0) + 1
        return self.answer(200, b"<R><UploadId>1</UploadId><ETag>e</ETag></R>")

    do_POST = do_PUT  # noqa: N815 - the name is Python's

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def client() -> Iterator[S3ObjectStorageClient]:
    Elsewhere.taken, Elsewhere.redirected = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    store = S3Store(
        "lake",
        config={"access_key_id": "a", "secret_access_key": "b", "endpoint": endpoint, "region": "us-east-1"},
        client_options={"allow_http": True},
    )
    yield S3ObjectStorageClient(
        boto3.client("s3", endpoint_url=endpoint, **keys), uploader=ObstoreUploader(store, "lake"), part_bytes=8 * MIB
    )
    server.shutdown()
    server.server_close()


def test_small_files_go_by_boto3_from_then_on(client: S3ObjectStorageClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dpone_airflow"):
        for _ in range(3):
            assert client.put_bytes(b"content", URI).etag == "e"
    assert Elsewhere.taken == {"put": 3}
    assert Elsewhere.redirected == ["PUT"], "obstore was asked again"
    assert caplog.text.count("obstore can't honour the region of the connection") == 1


def test_a_large_file_goes_whole_by_boto3(client: S3ObjectStorageClient, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * (20 * MIB))
    put = client.put_file(path, URI)
    assert put.size_bytes == 20 * MIB
    assert Elsewhere.taken["partNumber"] == 3
    assert Elsewhere.redirected == ["POST"]
