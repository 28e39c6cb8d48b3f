"""PostgreSQL, the database of an Airflow with several workers: Debian's, or whichever is on the PATH.

``python -m local_servers.postgresql`` installs it where it may.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from local_servers import debian
from local_servers.ports import reserved_ports
from local_servers.process import ServerStartError, running

USER = "airflow"
DATABASE = "postgres"
_OF_DEBIAN = Path("/usr/lib/postgresql")
# It refuses to run as root.
_INSTEAD_OF_ROOT = "nobody"


@dataclass(frozen=True)
class PostgreSQL:
    """A running PostgreSQL with one user, whose password is made up at each start."""

    port: int
    password: str = field(repr=False)
    process_group: int

    @classmethod
    @contextmanager
    def start(cls, directory: Path, *, log_path: Path | None = None) -> Iterator[Self]:
        """Run it with its log under ``directory``, and its data as well if who it runs as gets there."""
        programs = program().parent
        home = directory.resolve() / "postgresql"
        password = secrets.token_hex(20)
        with _directory_of_the_server(home) as own, reserved_ports(1) as (port,):
            data = own / "data"
            _make_cluster(programs / "initdb", data, password)
            command: list[str | Path] = [
                *_as_who_may(),
                programs / "postgres",
                *("-D", data),
                *("-p", str(port)),
                *("-h", "127.0.0.1"),
                *("-c", "unix_socket_directories="),
                # Below its data, where the next run removes it after a SIGKILL, not in /dev/shm.
                *("-c", "dynamic_shared_memory_type=mmap"),
                # Nothing here outlives the machine.
                *("-c", "fsync=off"),
                *("-c", "full_page_writes=off"),
                *("-c", "max_connections=200"),
            ]
            with running(
                "PostgreSQL",
                command,
                healthy=lambda: _is_ready(programs / "pg_isready", port),
                home=home,
                log_path=log_path,
            ) as group:
                yield cls(port, password, group)

    def url(self, driver: str) -> str:
        """Return the address for SQLAlchemy with that driver, e.g. ``psycopg2``."""
        return f"postgresql+{driver}://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"


def program() -> Path:
    """Return ``postgres``: the one on the PATH, or Debian's newest, which root has installed if there is none.

    :raises PackageMissingError: if there is none and none can be installed.
    """
    return debian.installed(
        "postgresql",
        _found,
        otherwise="A distributed Airflow needs PostgreSQL, and there is none: install Debian's package postgresql as "
        "root, or put the directory of postgres and initdb on the PATH.",
    )


def _found() -> Path | None:
    on_the_path = shutil.which("postgres")
    if on_the_path:
        return Path(on_the_path).resolve()
    return max(_OF_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3].partition(".")[0]), default=None)


@contextmanager
def _directory_of_the_server(home: Path) -> Iterator[Path]:
    """Make a directory for its data that belongs to whom the server runs as, and remove it at the end.

    Below ``home``, where whoever empties that finds what a SIGKILL left. The user that the server runs as in place
    of root may have no way there, through a root's home, say: it is a temporary directory then, which a SIGKILL
    leaves behind, since no place that this user reaches is known to the next run.
    """
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="postgresql-", dir=home if _gets_to(home) else None) as name:
        if os.geteuid() == 0:
            user = pwd.getpwnam(_INSTEAD_OF_ROOT)
            os.chown(name, user.pw_uid, user.pw_gid)
        yield Path(name)


def _gets_to(directory: Path) -> bool:
    """Whether who the server runs as may open what is in a directory."""
    command: list[str | Path] = [*_as_who_may(), "test", "-x", directory]
    return subprocess.run(command, cwd="/", stderr=subprocess.DEVNULL, check=False).returncode == 0


def _as_who_may() -> list[str | Path]:
    if os.geteuid() != 0:
        return []
    group = str(pwd.getpwnam(_INSTEAD_OF_ROOT).pw_gid)
    return ["setpriv", f"--reuid={_INSTEAD_OF_ROOT}", f"--regid={group}", "--clear-groups"]


def _make_cluster(initdb: Path, data: Path, password: str) -> None:
    password_file = data.with_name("password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if os.geteuid() == 0:
        os.chown(password_file, data.parent.stat().st_uid, -1)
    command: list[str | Path] = [
        *_as_who_may(),
        initdb,
        *("-D", data),
        *("--username", USER),
        *("--auth", "scram-sha-256"),
        *("--pwfile", password_file),
        *("--encoding", "UTF8"),
        *("--locale", "C"),
        "--no-sync",
    ]
    ended = subprocess.run(command, cwd=data.parent, text=True, capture_output=True, check=False)
    password_file.unlink()
    if ended.returncode:
        raise ServerStartError(f"PostgreSQL's initdb ended with status {ended.returncode}: {ended.stderr.strip()}")


def _is_ready(pg_isready: Path, port: int) -> bool:
    command: list[str | Path] = [pg_isready, "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def main() -> int:
    """Install it, and say where it is."""
    return debian.main("PostgreSQL", program)


if __name__ == "__main__":
    sys.exit(main())
