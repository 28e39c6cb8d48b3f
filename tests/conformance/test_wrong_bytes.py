"""Bytes that change on their way are refused, whichever uploader sent them; and each takes over from the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import ChecksumMismatchError
from tests.conformance.stores import Store
from tests.conformance.test_resume import counting, plan, sent, service
from tests.faults.faults import flip_byte
from tests.faults.proxy import FaultProxy, Rule


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy.start() as proxy:
        yield proxy


@pytest.fixture(params=["seaweedfs", "seaweedfs-boto3"])
def store(request: pytest.FixtureRequest, started: Callable[[str], Store], proxy: FaultProxy) -> Store:
    """SeaweedFS behind the proxy."""
    real = started(request.param)
    extra = real.connection["extra"]
    proxy.upstream = urlsplit(extra["endpoint_url"]).netloc
    connection = dict(real.connection) | {"extra": extra | {"endpoint_url": proxy.url}}
    return Store(real.root, connection, client_options=real.client_options)


def test_a_wrong_part_is_refused_and_nothing_is_left(
    client: Any, proxy: FaultProxy, base: ObjectStorageUri, file: Path
) -> None:
    rule = Rule(flip_byte, lambda request: request.query.get("partNumber") == "2", times=None)
    with proxy.injecting(rule), pytest.raises(ChecksumMismatchError, match="nothing was stored"):
        client.put_file(file, base.child("large.bin"))
    assert client.list_prefix(base) == []
    assert client.abort_uploads(base) == 0


def test_a_wrong_object_is_refused(client: Any, proxy: FaultProxy, base: ObjectStorageUri) -> None:
    rule = Rule(flip_byte, lambda request: request.method == "PUT", times=None)
    with proxy.injecting(rule), pytest.raises(ChecksumMismatchError, match="nothing was stored"):
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
