"""The clients of the matrix: each a real server, the proxy in front of it, and short patience.

Retries and time-outs come through the Airflow connection where its hook takes them: ``config_kwargs``
of an aws connection, the extra of a wasb connection. Google's hook takes none, and what obstore gets
is fixed in ``hooks.obstore_settings``: there the tests shorten the defaults themselves.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from dpone_airflow.hooks import obstore_settings
from local_servers import Azurite, FakeGcsServer, GcpStorageEmulator, SeaweedFS
from tests.conformance.stores import Store
from tests.faults.dialects import GCS, S3, Azure, Dialect
from tests.faults.proxy import FaultProxy

BUCKET = "faults"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Patience:
    """How long a client waits for an answer, and how often it sends a request.

    :param google_seconds: Google's SDK counts no tries: it sends a request again until so much time is over.
    """

    seconds: float
    tries: int
    google_seconds: float


ORDINARY = Patience(seconds=30, tries=3, google_seconds=2.5)
# For sockets that stall; a healthy request is answered in that time on a busy machine too.
SHORT = Patience(seconds=2.5, tries=2, google_seconds=4)


@dataclass(frozen=True)
class Column:
    """One client of the matrix.

    :param server: what it talks to; two clients may share one.
    :param part_bytes: files above this size go in parts of it.
    """

    name: str
    title: str
    server: str
    dialect: Dialect
    options: Mapping[str, Any] = field(default_factory=dict)
    # Smaller files are read ahead and go in one request.
    part_bytes: int = MIB


COLUMNS = {
    column.name: column
    for column in (
        Column("s3-obstore", "S3, obstore", "seaweedfs", S3(), {"engine": "obstore"}, 5 * MIB),
        Column("s3-boto3", "S3, boto3", "seaweedfs", S3(), {"engine": "sdk"}, 5 * MIB),
        Column("gcs", "GCS", "fake-gcs-server", GCS()),
        Column("gcs-batches", "GCS, batches", "gcp-storage-emulator", GCS()),
        Column("azure-sdk", "Azure, SDK", "azurite", Azure()),
        Column("azure-obstore", "Azure, obstore", "azurite", Azure(), {"engine": "obstore", "store_check": False}),
    )
}


@dataclass
class Behind:
    """A server behind its proxy, and the clients that lead there."""

    column: Column
    proxy: FaultProxy
    server: Any
    making: Any
    _made: dict[tuple[Patience, bool], Any] = field(default_factory=dict)

    @property
    def root(self) -> str:
        if self.column.server == "azurite":
            return f"azure://{self.server.account}/{BUCKET}"
        return f"{'s3' if self.column.server == 'seaweedfs' else 'gs'}://{BUCKET}"

    def make_all_clients(self) -> None:
        """Make what ``client`` shares."""
        for patience in (ORDINARY, SHORT):
            for small_pages in (False, True):
                self.client(patience=patience, small_pages=small_pages)

    def client(self, *, patience: Patience = ORDINARY, small_pages: bool = False) -> Any:
        """Return a client of this cell's own, that shares its SDK's with others."""
        made = (patience, small_pages)
        with self.making:
            if made not in self._made:
                self._made[made] = self._make(patience, small_pages)
        client = copy.copy(self._made[made])
        # What a client has learnt of its store must not reach the next cell, and nobody waits between deletes.
        client._deleter = copy.copy(client._deleter)
        client._deleter._sleep = lambda _: None
        return client

    def _make(self, patience: Patience, small_pages: bool) -> Any:
        environment = {"STORAGE_EMULATOR_HOST": self.proxy.url} if isinstance(self.column.dialect, GCS) else {}
        store = Store(self.root, self._connection(patience), environment, self.column.options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(obstore_settings, "_REQUEST_TIMEOUT", timedelta(seconds=patience.seconds))
            backoff = {"init_backoff": timedelta(milliseconds=20), "max_backoff": timedelta(milliseconds=50), "base": 2}
            patch.setitem(obstore_settings.RETRIES, "max_retries", patience.tries - 1)
            patch.setitem(obstore_settings.RETRIES, "backoff", backoff)
            client: Any = store.client(max_concurrency=4)
        client.part_bytes = client.largest_put_bytes = self.column.part_bytes
        if isinstance(self.column.dialect, GCS):
            send = client._gcs._http.request
            client._gcs._http.request = lambda *args, **given: send(*args, **(given | {"timeout": patience.seconds}))
        if small_pages:
            self._make_pages_small(client)
        return client

    def _connection(self, patience: Patience) -> dict[str, Any]:
        connection = dict(self.server.airflow_connection())
        if isinstance(self.column.dialect, S3):
            config_kwargs = {
                "connect_timeout": patience.seconds,
                "read_timeout": patience.seconds,
                "retries": {"mode": "standard", "total_max_attempts": patience.tries},
            }
            extra = connection["extra"] | {"endpoint_url": self.proxy.url, "config_kwargs": config_kwargs}
            return connection | {"extra": extra}
        if isinstance(self.column.dialect, Azure):
            extra = {
                "connection_timeout": patience.seconds,
                "read_timeout": patience.seconds,
                "retry_total": patience.tries - 1,
                "initial_backoff": 0.02,
                "increment_base": 0,
                "random_jitter_range": 0,
            }
            host = connection["host"].replace(urlsplit(connection["host"]).netloc, self.proxy.netloc)
            return connection | {"host": host, "extra": extra}
        return connection

    def _make_pages_small(self, client: Any) -> None:
        if isinstance(self.column.dialect, S3):
            event = "provide-client-params.s3.ListObjectsV2"
            client._s3.meta.events.register(event, lambda params, **_: params | {"MaxKeys": 2})
        elif isinstance(self.column.dialect, GCS):
            client._gcs.list_blobs = partial(client._gcs.list_blobs, page_size=2)
        else:
            service = client._service

            def container(name: str) -> Any:
                real = service.get_container_client(name)
                return SimpleNamespace(list_blobs=partial(real.list_blobs, results_per_page=2))

            client._service = SimpleNamespace(
                account_name=service.account_name,
                get_container_client=container,
                get_blob_client=service.get_blob_client,
            )


@contextmanager
def behind_proxies(directory: Path) -> Iterator[Any]:
    """Start what columns need when they are first asked for; yield what returns a column's."""
    running: dict[str, tuple[FaultProxy, Any]] = {}
    columns: dict[str, Behind] = {}
    # One for all: what makes a client reads the environment.
    making = threading.RLock()
    with ExitStack() as stack, patient_boto():

        def start(name: str) -> Any:
            proxy = stack.enter_context(FaultProxy.start())
            home = directory / name
            if name == "fake-gcs-server":
                # It hands out addresses of itself.
                server: Any = stack.enter_context(FakeGcsServer.start(home, external_url=proxy.url))
            else:
                kinds = {"seaweedfs": SeaweedFS, "azurite": Azurite, "gcp-storage-emulator": GcpStorageEmulator}
                server = stack.enter_context(kinds[name].start(home))
            server.create_bucket(BUCKET)
            proxy.upstream = urlsplit(server.endpoint).netloc
            return proxy, server

        def get(name: str) -> Behind:
            column = COLUMNS[name]
            with making:
                if column.server not in running:
                    running[column.server] = start(column.server)
                if name not in columns:
                    columns[name] = Behind(column, *running[column.server], making)
            return columns[name]

        yield get


@contextmanager
def patient_google(seconds: float) -> Iterator[None]:
    """Let Google's SDK try again soon and not for two minutes, and send what is above one part in chunks."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DEFAULT_RETRY, "_initial", 0.05)
        patch.setattr(DEFAULT_RETRY, "_maximum", 0.5)
        patch.setattr(DEFAULT_RETRY, "_timeout", seconds)
        patch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", MIB)
        yield


@contextmanager
def patient_boto() -> Iterator[None]:
    """Let botocore wait for hundredths of a second when a store is busy, and never refuse to try again.

    Its standard mode, the default of the pinned version, counts the retries of all of a client's calls.
    """
    from botocore.retries.quota import RetryQuota
    from botocore.retries.standard import ExponentialBackoff

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ExponentialBackoff._DEFAULT_BACKOFF_CONFIG, "throttling_base_scale", 0.05)
        patch.setattr(RetryQuota.__init__, "__defaults__", (10**9, None))
        yield
