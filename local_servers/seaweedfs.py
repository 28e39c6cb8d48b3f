"""S3: SeaweedFS, a distributed store with real authentication, checksums and conditions."""

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from local_servers import programs
from local_servers.ports import GRPC_OFFSET, reserved_ports
from local_servers.process import answers, running

REGION = "us-east-1"
MEMORY_LIMIT = "512MiB"
_SOCKETS = Path("/tmp")  # noqa: S108 - written so in SeaweedFS, whatever TMPDIR says


@dataclass(frozen=True)
class SeaweedFS:
    """A running S3 server; its keys are made up at each start."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    process_group: int

    @classmethod
    @contextmanager
    def start(cls, directory: Path, *, log_path: Path | None = None) -> Iterator[Self]:
        """Run it with its data and its log under ``directory``."""
        home = directory.resolve() / "seaweedfs"
        access_key = secrets.token_hex(10)
        secret_key = secrets.token_hex(20)
        with (
            reserved_ports(5, with_grpc=True) as (s3, master, filer, volume, admin),
            _no_sockets_left(s3, master, filer, volume, admin),
        ):
            command: list[str | Path] = [
                programs.weed(),
                "-logtostderr=true",
                "mini",
                f"-dir={home}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-s3.port={s3}",
                f"-master.port={master}",
                f"-filer.port={filer}",
                f"-volume.port={volume}",
                f"-admin.port={admin}",
                "-admin.ui=false",
                "-webdav=false",
                "-master.telemetry=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-s3.autoCreateBucket=false",
                # Or nobody can be given fewer rights than the one user that it starts with.
                "-s3.iam.readOnly=false",
            ]
            with running(
                "SeaweedFS",
                command,
                healthy=lambda: answers(s3, "/healthz", status=200),
                home=home,
                log_path=log_path,
                environment={
                    "AWS_ACCESS_KEY_ID": access_key,
                    "AWS_SECRET_ACCESS_KEY": secret_key,
                    "GOMEMLIMIT": MEMORY_LIMIT,
                },
            ) as group:
                yield cls(f"http://127.0.0.1:{s3}", access_key, secret_key, group)

    def airflow_connection(self) -> dict[str, Any]:
        """What goes, as JSON, into ``AIRFLOW_CONN_...``."""
        return {
            "conn_type": "aws",
            "login": self.access_key,
            "password": self.secret_key,
            "extra": {"endpoint_url": self.endpoint, "region_name": REGION},
        }

    def environment(self) -> dict[str, str]:
        """Clients need no variable: the connection says it all."""
        return {}

    def create_bucket(self, name: str) -> None:
        """Make the bucket, unless it is there already."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        owned = client.exceptions.BucketAlreadyOwnedByYou
        taken = client.exceptions.BucketAlreadyExists
        with closing(client), suppress(owned, taken):
            client.create_bucket(Bucket=name)


@contextmanager
def _no_sockets_left(*ports: int) -> Iterator[None]:
    """Remove the sockets that SeaweedFS names after its ports and leaves behind when killed.

    It can be told another place for some of them only, and a test's directory would not do: the
    path of a socket has to fit in about 100 characters. What is left when this process is killed
    as well, the next start removes.
    """
    remove_dead_sockets()
    try:
        yield
    finally:
        for port in ports:
            for number in (port, port + GRPC_OFFSET):
                for path in _SOCKETS.glob(f"seaweedfs-*-{number}.sock"):
                    path.unlink(missing_ok=True)


def remove_dead_sockets(*, older_than: float = 60.0) -> None:
    """Remove the sockets of servers that were killed, which nobody listens at.

    :param older_than: seconds; a server that just starts doesn't listen yet at what it has made.
    """
    for path in _SOCKETS.glob("seaweedfs-*-*.sock"):
        with suppress(OSError):  # it goes meanwhile, or is another user's
            if time.time() - path.stat().st_mtime >= older_than and not _is_listened_at(path):
                path.unlink()


def _is_listened_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True
