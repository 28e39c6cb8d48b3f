"""Bytes that change on their way are refused, whichever uploader sent them; and each takes over from the other."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import ChecksumMismatchError
from tests.conformance.stores import Store
from tests.conformance.test_resume import counting, plan, sent, service


class FlippingProxy(BaseHTTPRequestHandler):
    """Hands requests on to a server, with one byte of the bodies that it is told to spoil changed."""

    protocol_version = "HTTP/1.1"
    server_address: str
    spoils: Callable[[str, str], bool]

    def forward(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if body and type(self).spoils(self.command, self.path):
            body = b"?" + body[1:]
        onward = http.client.HTTPConnection(self.server_address, timeout=60)
        onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":
                onward.putheader(name, value)
        onward.endheaders(body)
        answer = onward.getresponse()
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        onward.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the names are Python's

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(params=["seaweedfs", "seaweedfs-boto3"])
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Iterator[Store]:
    """SeaweedFS behind the proxy."""
    real = started(request.param)
    extra = real.connection["extra"]
    FlippingProxy.server_address = urlsplit(extra["endpoint_url"]).netloc
    FlippingProxy.spoils = lambda method, path: False
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), FlippingProxy)
    Thread(target=proxy.serve_forever, daemon=True).start()
    connection = dict(real.connection) | {"extra": extra | {"endpoint_url": f"http://127.0.0.1:{proxy.server_port}"}}
    yield Store(real.root, connection, client_options=real.client_options)
    proxy.shutdown()
    proxy.server_close()


def test_a_wrong_part_is_refused_and_nothing_is_left(client: Any, base: ObjectStorageUri, file: Path) -> None:
    FlippingProxy.spoils = lambda method, path: "partNumber=2" in path
    with pytest.raises(ChecksumMismatchError, match="nothing was stored"):
        client.put_file(file, base.child("large.bin"))
    assert client.list_prefix(base) == []
    assert client.abort_uploads(base) == 0


def test_a_wrong_object_is_refused(client: Any, base: ObjectStorageUri) -> None:
    FlippingProxy.spoils = lambda method, path: method == "PUT"
    with pytest.raises(ChecksumMismatchError, match="nothing was stored"):
        client.put_bytes(b"content", base.child("small.bin"))
    assert client.list_prefix(base) == []


@pytest.mark.parametrize(("first", "second"), [("obstore", "sdk"), ("sdk", "obstore")])
def test_what_one_uploaded_the_other_finds_as_it_should_be(
    store: Store, base: ObjectStorageUri, tmp_path: Path, file: Path, first: str, second: str
) -> None:
    (tmp_path / "tree").mkdir()
    file.rename(tmp_path / "tree" / "large.bin")
    (tmp_path / "tree" / "small.csv").write_text("1\n")
    staged = service(store.client(engine=first)).stage_files(plan(base), tmp_path / "tree")
    client = store.client(engine=second)
    calls = counting(client)
    assert service(client).stage_files(plan(base), tmp_path / "tree") == staged
    assert sent(calls) == set()
    for item in staged.objects:
        got = client.get_file(ObjectStorageUri.parse(item.uri), tmp_path / "copy")
        assert got.sha256 == item.sha256
