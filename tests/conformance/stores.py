"""The stores that the conformance suite runs against: every one a real server, or the emulator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.storage import ObjectStorageClient
from local_servers import Azurite, FakeGcsServer, GcpStorageEmulator, SeaweedFS

BUCKET = "conformance"
CONN_ID = "conformance_store"


@dataclass(frozen=True)
class Store:
    """One store, and what it can't do, each seen by running it.

    :param root: a URI of its bucket.
    :param connection: the Airflow connection that leads there.
    :param environment: variables that its SDK reads.
    :param keeps_conditions: whether a create that must not overwrite is refused.
    :param keeps_markers: whether ``run/`` is an object beside ``run/file``.
    :param keeps_empty_segments: whether ``a//b`` is another key than ``a/b``.
    :param misses_buckets: whether a bucket must be made before it is used.
    :param keeps_odd_names: whether an object with ``%`` or ``;`` in its name can be read again.
    :param client_options: what its clients are built with: the engine that uploads, above all.
    :param beyond_a_page: how many objects are more than one page of its listing, or one batch.
    """

    root: str
    connection: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    client_options: Mapping[str, Any] = field(default_factory=dict)
    keeps_conditions: bool = True
    keeps_markers: bool = True
    keeps_empty_segments: bool = True
    misses_buckets: bool = True
    keeps_odd_names: bool = True
    beyond_a_page: int = 1_050
    server: Any = None

    def name(self, name: str) -> str:
        """Return ``name``, or what this store can hold of it."""
        return name if self.keeps_odd_names else name.replace("%", "").replace(";", "")

    def client(self, **options: Any) -> ObjectStorageClient:
        """Return a client as a task gets it: through the official hook."""
        with environment(self.environment | {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(self.connection)}):
            return ObjectStorageHook(CONN_ID, **(dict(self.client_options) | options)).get_client(self.root)


def _emulator(root: str) -> Any:
    def start(directory: Path, stack: ExitStack) -> Store:
        connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(directory / "buckets")}}
        return Store(root, connection, misses_buckets=False)

    return start


def _seaweedfs(directory: Path, stack: ExitStack) -> Store:
    server = stack.enter_context(SeaweedFS.start(directory))
    server.create_bucket(BUCKET)
    # It folds a//b into a/b, and lists a directory marker only while the directory is empty.
    return Store(
        f"s3://{BUCKET}",
        server.airflow_connection(),
        client_options={"engine": "obstore"},
        keeps_markers=False,
        keeps_empty_segments=False,
        server=server,
    )


def _fake_gcs(directory: Path, stack: ExitStack) -> Store:
    server = stack.enter_context(FakeGcsServer.start(directory))
    server.create_bucket(BUCKET)
    # Its file system backend lists a/b//c as a/b/c and drops markers.
    return Store(
        f"gs://{BUCKET}",
        server.airflow_connection(),
        server.environment(),
        keeps_markers=False,
        keeps_empty_segments=False,
        server=server,
    )


def _gcp_emulator(directory: Path, stack: ExitStack) -> Store:
    server = stack.enter_context(GcpStorageEmulator.start(directory))
    server.create_bucket(BUCKET)
    # It ignores preconditions, answers a marker with a broken connection, and reads names in URLs wrongly.
    # It is slow, and its listing is one page; the objects are for its batches of 100 deletes.
    return Store(
        f"gs://{BUCKET}",
        server.airflow_connection(),
        server.environment(),
        keeps_conditions=False,
        keeps_markers=False,
        keeps_odd_names=False,
        beyond_a_page=150,
        server=server,
    )


def _azurite(directory: Path, stack: ExitStack) -> Store:
    server = stack.enter_context(Azurite.start(directory))
    server.create_bucket(BUCKET)
    return Store(f"azure://{server.account}/{BUCKET}", server.airflow_connection(), server=server)


# A store whose server is another's, with another uploader.
VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "seaweedfs-boto3": ("seaweedfs", {"engine": "sdk"}),
    "azurite-obstore": ("azurite", {"engine": "obstore", "store_check": False}),
}

STORES = {
    "emulator-s3": _emulator(f"s3://{BUCKET}"),
    "emulator-gs": _emulator(f"gs://{BUCKET}"),
    "emulator-az": _emulator(f"az://{BUCKET}"),
    "emulator-azure": _emulator(f"azure://account/{BUCKET}"),
    "seaweedfs": _seaweedfs,
    "fake-gcs-server": _fake_gcs,
    "gcp-storage-emulator": _gcp_emulator,
    "azurite": _azurite,
}


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a ``with`` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
