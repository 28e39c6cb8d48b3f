"""Azure Blob Storage: Azurite, Microsoft's own emulator, which needs Node and one npm package."""

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from local_servers import programs
from local_servers.ports import reserved_ports
from local_servers.process import answers, running

ACCOUNT = "devstoreaccount1"
MANIFEST = Path(__file__).with_name("azurite") / "package.json"
INSTALLATION = Path(__file__).resolve().parents[1] / ".servers" / "azurite"


def wanted_version() -> str:
    """The one version that ``azurite/package.json`` pins."""
    return str(json.loads(MANIFEST.read_text(encoding="utf-8"))["dependencies"]["azurite"])


def installed_version(installation: Path) -> str | None:
    """The version installed there, or None; an installation that was broken off is none."""
    modules = installation / "node_modules"
    if not (modules / ".package-lock.json").is_file():  # npm writes it when all the rest is done
        return None
    package = modules / "azurite" / "package.json"
    if not package.is_file():
        return None
    return str(json.loads(package.read_text(encoding="utf-8"))["version"])


@dataclass(frozen=True)
class Azurite:
    """A running blob server with one account, whose key is made up at each start."""

    endpoint: str
    account: str
    key: str = field(repr=False)
    process_group: int

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path,
        *,
        installation: Path = INSTALLATION,
        log_path: Path | None = None,
    ) -> Iterator[Self]:
        """Run it with its data and its log under ``directory``."""
        found, wanted = installed_version(installation), wanted_version()
        if found != wanted:
            raise programs.ProgramMissingError(
                f"{installation} has {f'Azurite {found}' if found else 'no Azurite'}"
                f" and not {wanted}: run python -m local_servers.install_azurite"
            )
        home = directory.resolve() / "azurite"
        key = base64.b64encode(secrets.token_bytes(64)).decode()
        script = installation / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        with reserved_ports(1) as (port,):
            command: list[str | Path] = [
                programs.node(),
                script.resolve(),
                *("--blobHost", "127.0.0.1"),
                *("--blobPort", str(port)),
                *("--location", home),
                "--silent",
                "--disableTelemetry",
                "--skipApiVersionCheck",
            ]
            with running(
                "Azurite",
                command,
                healthy=lambda: answers(port),  # without an account in the path: a 400
                home=home,
                log_path=log_path,
                environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
            ) as group:
                yield cls(f"http://127.0.0.1:{port}/{ACCOUNT}", ACCOUNT, key, group)

    @property
    def connection_string(self) -> str:
        """The form that Azure's SDKs and most other readers of blobs accept."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};"
            f"AccountKey={self.key};BlobEndpoint={self.endpoint};"
        )

    def airflow_connection(self) -> dict[str, Any]:
        """What goes, as JSON, into ``AIRFLOW_CONN_...``.

        The address keeps its dots: Azure's hook takes a host without one for an account's name.
        """
        return {
            "conn_type": "wasb",
            "host": self.endpoint,
            "login": self.account,
            "password": self.key,
        }

    def environment(self) -> dict[str, str]:
        """Clients need no variable: the connection says it all."""
        return {}

    def create_bucket(self, name: str) -> None:
        """Make the container, which is what Azure calls a bucket, unless it is there already."""
        from azure.core.exceptions import ResourceExistsError
        from azure.storage.blob import BlobServiceClient

        client = BlobServiceClient.from_connection_string(self.connection_string)
        with client, suppress(ResourceExistsError):
            client.create_container(name)
