"""What is uploaded to: the null sink, SeaweedFS, Azurite and the local emulator.

Each measurement gets a server of its own that is empty and warm, so that no peer meets what another left.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from local_servers.ports import reserved_ports
from local_servers.process import answers, running

BUCKET = "bench"
LATENCY_MS = 30
_ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A server that runs, and how one gets there.

    :param connection: what goes into ``AIRFLOW_CONN_...``.
    :param process_group: its processes, if it has any.
    :param fill: the address that puts many objects into it at once, if it has one.
    :param counts: the address that tells how many requests it has had, if it counts them.
    """

    provider: str
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    connection: dict[str, Any] = field(repr=False)
    environment: dict[str, str] = field(default_factory=dict)
    process_group: int | None = None
    fill: str | None = None
    counts: str | None = None

    def for_job(self) -> dict[str, str]:
        """Return what a runner has to know."""
        return {
            "provider": self.provider,
            "endpoint": self.endpoint,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
        }

    def uri(self, prefix: str) -> str:
        """Return the URI of a prefix in the bucket."""
        scheme = {"gcs": "gs", "azure": "az"}.get(self.provider, "s3")
        return f"{scheme}://{BUCKET}/{prefix}"

    def cpu_seconds(self) -> float | None:
        """Return what the server's processes have used so far; None where the system doesn't say it."""
        if self.process_group is None or sys.platform != "linux":
            return None
        return sum(_cpu_seconds_of(self.process_group))


def _cpu_seconds_of(group: int) -> Iterator[float]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            yield sum(int(ticks) for ticks in fields[11:15]) / _TICKS


@contextmanager
def null_sink(home: Path, protocol: str = "s3", latency_ms: float = 0, *, count: bool = False) -> Iterator[Server]:
    """Run the sink, with a latency if one is wanted; it counts requests if it is told to."""
    with reserved_ports(1) as (port,):
        command = [sys.executable, "-m", "benchmarks.null_sink", "--protocol", protocol, "--port", str(port)]
        with running(
            "The null sink",
            [*command, "--latency-ms", str(latency_ms), *(["--count"] if count else [])],
            healthy=lambda: answers(port, "/"),
            home=home / "null-sink",
            environment={"PYTHONPATH": str(_ROOT)},
        ) as group:
            address = f"http://127.0.0.1:{port}"
            counts = f"{address}/__counts" if count else None
            yield replace(_SINKS[protocol](address), process_group=group, counts=counts)


def _s3_sink(endpoint: str) -> Server:
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "benchmark-key", "password": "benchmark-secret", "extra": extra}
    return Server("s3", endpoint, "benchmark-key", "benchmark-secret", connection, fill=f"{endpoint}/__fill")


def _gcs_sink(endpoint: str) -> Server:
    connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "local"}}
    environment = {"STORAGE_EMULATOR_HOST": endpoint}  # Google's hook takes no address from its connection
    return Server("gcs", endpoint, "", "", connection, environment, fill=f"{endpoint}/__fill")


def _azure_sink(endpoint: str) -> Server:
    account, key = "benchmark", base64.b64encode(b"benchmark-secret").decode()
    url = f"{endpoint}/{account}"
    connection = {"conn_type": "wasb", "host": url, "login": account, "password": key}
    return Server("azure", url, account, key, connection, fill=f"{endpoint}/__fill")


_SINKS = {"s3": _s3_sink, "gcs": _gcs_sink, "azure": _azure_sink}


@contextmanager
def seaweedfs(home: Path) -> Iterator[Server]:
    """Run SeaweedFS, with a bucket that has been written to."""
    from local_servers import SeaweedFS

    with SeaweedFS.start(home) as weed:
        server = Server(
            "s3", weed.endpoint, weed.access_key, weed.secret_key, weed.airflow_connection(), {}, weed.process_group
        )
        _prepare(server)
        yield server


@contextmanager
def azurite(home: Path) -> Iterator[Server]:
    """Run Azurite with a container."""
    from local_servers import Azurite

    with Azurite.start(home) as azure:
        server = Server(
            "azure", azure.endpoint, azure.account, azure.key, azure.airflow_connection(), {}, azure.process_group
        )
        _prepare(server)
        yield server


@contextmanager
def local_emulator(home: Path) -> Iterator[Server]:
    """Yield the package's own emulator, a directory."""
    root_dir = home / "local-emulator"
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(root_dir)}}
    yield Server("local", "", "", "", connection)


def _prepare(server: Server) -> None:
    """Make the bucket in a process of its own: the SDKs are large, and this process has to stay small."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.runners.make_bucket", json.dumps(server.for_job() | {"bucket": BUCKET})],
        cwd=_ROOT,
        check=True,
        env=os.environ | server.environment,
    )


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "null": null_sink,
    "null-30ms": partial(null_sink, latency_ms=LATENCY_MS),
    "null-gcs": partial(null_sink, protocol="gcs"),
    "null-gcs-30ms": partial(null_sink, protocol="gcs", latency_ms=LATENCY_MS),
    "null-azure": partial(null_sink, protocol="azure"),
    "null-azure-30ms": partial(null_sink, protocol="azure", latency_ms=LATENCY_MS),
    "seaweedfs": seaweedfs,
    "azurite": azurite,
    "local": local_emulator,
}
PROVIDERS = {
    "null-gcs": "gcs",
    "null-gcs-30ms": "gcs",
    "null-azure": "azure",
    "null-azure-30ms": "azure",
    "azurite": "azure",
    "local": "local",
}
_FAR = f"with {LATENCY_MS} ms a request"
LABELS = {
    "null": "the null sink",
    "null-30ms": f"the null sink {_FAR}",
    "null-gcs": "the null sink as Google's store",
    "null-gcs-30ms": f"the null sink as Google's store, {_FAR}",
    "null-azure": "the null sink as Azure's store",
    "null-azure-30ms": f"the null sink as Azure's store, {_FAR}",
    "seaweedfs": "SeaweedFS",
    "azurite": "Azurite",
    "local": "the local emulator",
}
