"""Google Cloud Storage: two servers, because each checks what the other lets through.

fake-gcs-server honours generation conditions on simple uploads and accepts wrong checksums;
gcp-storage-emulator refuses wrong checksums, takes batches and ignores conditions.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from local_servers import programs
from local_servers.ports import reserved_ports
from local_servers.process import answers, running

PROJECT = "local"


@dataclass(frozen=True)
class FakeGcsServer:
    """A running fake-gcs-server; ``external_url`` is the address its clients are to use."""

    endpoint: str
    external_url: str
    process_group: int

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path,
        *,
        external_url: str | None = None,
        log_path: Path | None = None,
        in_memory: bool = False,
    ) -> Iterator[Self]:
        """Run it with its data and its log under ``directory``; only in memory it keeps versions.

        The server hands out addresses of itself, such as that of a resumable upload. With a proxy
        in front give the proxy's address as ``external_url``, or clients go round it.
        """
        home = directory.resolve() / "fake-gcs-server"
        with reserved_ports(1) as (port,):
            endpoint = f"http://127.0.0.1:{port}"
            external_url = (external_url or endpoint).rstrip("/")
            command: list[str | Path] = [
                programs.fake_gcs_server(),
                *("-scheme", "http"),
                *("-host", "127.0.0.1"),
                *("-port", str(port)),
                *("-backend", "memory" if in_memory else "filesystem"),
                *("-filesystem-root", home),
                *("-external-url", external_url),
                *("-public-host", urlsplit(external_url).netloc),
                *("-log-level", "warn"),
            ]
            with running(
                "fake-gcs-server",
                command,
                healthy=lambda: answers(port, "/_internal/healthcheck", status=200),
                home=home,
                log_path=log_path,
            ) as group:
                yield cls(endpoint, external_url, group)

    def airflow_connection(self) -> dict[str, Any]:
        """What goes, as JSON, into ``AIRFLOW_CONN_...``; the address is in the environment."""
        return _airflow_connection()

    def environment(self) -> dict[str, str]:
        """What clients need: Google's hook takes no address from its connection."""
        return _environment(self.external_url)

    def create_bucket(self, name: str) -> None:
        """Make the bucket, unless it is there already; past any proxy and the faults it makes."""
        _create_bucket(self.endpoint, name)


@dataclass(frozen=True)
class GcpStorageEmulator:
    """A running gcp-storage-emulator."""

    endpoint: str
    process_group: int

    @classmethod
    @contextmanager
    def start(cls, directory: Path, *, log_path: Path | None = None) -> Iterator[Self]:
        """Run it with its data and its log under ``directory``."""
        home = directory.resolve() / "gcp-storage-emulator"
        with reserved_ports(1) as (port,):
            command: list[str | Path] = [
                *programs.gcp_storage_emulator(),
                *("-d", home),
                "start",
                "--host=127.0.0.1",
                f"--port={port}",
                "-q",
            ]
            with running(
                "gcp-storage-emulator",
                command,
                healthy=lambda: answers(port),
                home=home,
                log_path=log_path,
            ) as group:
                yield cls(f"http://127.0.0.1:{port}", group)

    def airflow_connection(self) -> dict[str, Any]:
        """What goes, as JSON, into ``AIRFLOW_CONN_...``; the address is in the environment."""
        return _airflow_connection()

    def environment(self) -> dict[str, str]:
        """What clients need: Google's hook takes no address from its connection."""
        return _environment(self.endpoint)

    def create_bucket(self, name: str) -> None:
        """Make the bucket, unless it is there already."""
        _create_bucket(self.endpoint, name)


def _airflow_connection() -> dict[str, Any]:
    return {
        "conn_type": "google_cloud_platform",
        "extra": {"is_anonymous": True, "project": PROJECT},
    }


def _environment(address: str) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": address}


def _create_bucket(endpoint: str, name: str) -> None:
    # By name, because Google's packages come without complete types.
    storage = import_module("google.cloud.storage")
    conflict = import_module("google.api_core.exceptions").Conflict
    anonymous = import_module("google.auth.credentials").AnonymousCredentials()
    options = {"api_endpoint": endpoint}  # it wins over STORAGE_EMULATOR_HOST

    client = storage.Client(project=PROJECT, credentials=anonymous, client_options=options)
    with closing(client), suppress(conflict):
        client.create_bucket(name)
