"""Redis, the broker of Celery: Debian's ``redis-server``, or whichever is on the PATH.

``python -m local_servers.redis_server`` installs it where it may.
"""

import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from local_servers import debian
from local_servers.ports import reserved_ports
from local_servers.process import ServerStartError, running

_VARIABLE = "REDIS_SERVER"


class BrokerMissingError(ServerStartError):
    """No Redis answers where the broker should be."""


@dataclass(frozen=True)
class Redis:
    """A running Redis that keeps nothing on the disk; its password is made up at each start, and part of the URL."""

    url: str = field(repr=False)
    process_group: int

    @classmethod
    @contextmanager
    def start(cls, directory: Path, *, log_path: Path | None = None) -> Iterator[Self]:
        """Run it with its settings and its log under ``directory``."""
        home = directory.resolve() / "redis"
        home.mkdir(parents=True, exist_ok=True)
        password = secrets.token_hex(20)
        settings = home / "redis.conf"
        with reserved_ports(1) as (port,):
            # In a file, since everyone on the machine can read a command line.
            settings.touch(mode=0o600)
            settings.write_text(
                f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndaemonize no\n'
            )
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            try:
                with running(
                    "Redis",
                    [program(), settings],
                    healthy=lambda: answers(url),
                    home=home,
                    log_path=log_path,
                ) as group:
                    yield cls(url, group)
            finally:
                settings.unlink(missing_ok=True)


def program() -> Path:
    """Return the program: ``$REDIS_SERVER``, or the one on the PATH, which root has Debian's package installed for.

    :raises PackageMissingError: if there is none and none can be installed.
    """
    return debian.installed(
        "redis-server",
        _found,
        otherwise="Celery needs Redis, and there is no redis-server: install Debian's package redis-server as root, "
        f"or name the program in ${_VARIABLE}.",
    )


def answers(url: str) -> bool:
    """Whether a Redis answers there that takes the URL's password, if it has one."""
    parts = urlsplit(url)
    words = f"AUTH {parts.password}\r\nPING\r\n" if parts.password else "PING\r\n"
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout=2) as connection:
            connection.sendall(words.encode())
            return _says_pong(connection)
    except (OSError, ValueError):  # the latter for a URL that is none
        return False


def check_answers(url: str) -> None:
    """Return if a Redis answers there.

    :raises BrokerMissingError: if none does.
    """
    if not answers(url):
        raise BrokerMissingError(
            f"No Redis answers at {without_password(url)}, where Celery's broker should be: start it, or give the "
            "address and password of one that runs. Airflow was not started."
        )


def without_password(url: str) -> str:
    """Return a URL that can be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _says_pong(connection: socket.socket) -> bool:
    said = b""
    while b"+PONG" not in said and b"-" not in said:
        more = connection.recv(4096)
        if not more:
            return False
        said += more
    return b"+PONG" in said


def _found() -> Path | None:
    named = debian.named_by(_VARIABLE)
    on_the_path = shutil.which("redis-server")
    return named or (Path(on_the_path) if on_the_path else None)


def main() -> int:
    """Install it, and say where it is."""
    return debian.main("Redis", program)


if __name__ == "__main__":
    sys.exit(main())
