"""``airflow standalone``, the whole of Airflow with its UI, on free ports and with a home of its own.

``python -m local_servers.standalone_airflow`` runs the example DAGs in one until it is stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from local_servers.airflow_settings import api_settings, settings
from local_servers.ports import reserved_ports
from local_servers.process import ServerStartError, running

START_SECONDS = 600.0  # it makes its database first, and then five processes import Airflow
STOP_SECONDS = 3.0  # SIGTERM ends nothing but the first of its processes, and that at once
COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
_HOMES = "standalone-airflow-"
_LOCK = "lock"
EXAMPLE_DAGS = Path(__file__).parent.parent / "example_dags"


class PortTakenError(ServerStartError):
    """Somebody listens on the port that was asked for; nothing has been started."""


@dataclass(frozen=True)
class StandaloneAirflow:
    """A running Airflow whose UI asks for no login."""

    url: str
    port: int
    home: Path
    process_group: int

    @classmethod
    @contextmanager
    def start(
        cls,
        home: Path,
        dags_folder: Path,
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> Iterator[Self]:
        """Run it with all its files in ``home``, until everything in it is healthy.

        :param port: where its UI and API are; a free port if none is given.
        :param environment: what to add to its environment: connections, say.
        :raises PortTakenError: if somebody listens on ``port``.
        :raises ServerStartError: if it ends early or isn't healthy in time.
        """
        home = home.resolve()
        if port is not None and _is_taken(port):
            raise PortTakenError(
                f"Port {port} of 127.0.0.1 is taken: stop what listens there, or give another port, "
                "or none for one that is free. Nothing was started."
            )
        with ExitStack() as held:
            *free, worker_logs, trigger_logs = held.enter_context(reserved_ports(2 if port else 3))
            port = port or free[0]
            url = f"http://127.0.0.1:{port}"
            (home / "tmp").mkdir(parents=True, exist_ok=True)
            group = held.enter_context(
                running(
                    "Airflow",
                    [Path(sys.executable).with_name("airflow"), "standalone"],
                    healthy=lambda: _is_healthy(url),
                    home=home,
                    log_path=log_path,
                    environment={
                        **settings(home, dags_folder),
                        **_settings(home, port, worker_logs, trigger_logs),
                        **(environment or {}),
                    },
                    start_seconds=START_SECONDS,
                    stop_seconds=STOP_SECONDS,
                )
            )
            yield cls(url, port, home, group)


def _settings(home: Path, port: int, worker_logs: int, trigger_logs: int) -> dict[str, str]:
    return {
        # It starts its parts by the name `airflow`.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "TMPDIR": str(home / "tmp"),
        **api_settings(port),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
    }


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just ended has it no longer
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=60) as answer:  # noqa: S310 - our own
            parts = json.load(answer)
    except (OSError, urllib.error.URLError, ValueError):
        return False
    return all((parts.get(name) or {}).get("status") == "healthy" for name in COMPONENTS)


def main() -> int:
    """Run the DAGs of a folder until Ctrl-C or SIGTERM; return 130 if that comes before it runs."""
    parser = argparse.ArgumentParser(prog="python -m local_servers.standalone_airflow", description=__doc__)
    parser.add_argument("--port", type=int, help="where the UI is; a free port if none is given")
    parser.add_argument("--dags", type=Path, default=EXAMPLE_DAGS, help="the DAG folder; the example DAGs by default")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    has_started = has_failed = False
    with _locked_home() as home:
        try:
            print("Starting Airflow (20 seconds to two minutes) …", flush=True)
            with StandaloneAirflow.start(home / "airflow", chosen.dags.resolve(), port=chosen.port) as airflow:
                has_started = True
                print(f"Airflow is at {airflow.url}; Ctrl-C ends it.", flush=True)
                signal.pause()
        except ServerStartError as error:
            print(error, file=sys.stderr)
            has_failed = not isinstance(error, PortTakenError)
            return 1
        except KeyboardInterrupt:
            print("Airflow has ended, and all that it started.")
        finally:
            if not has_failed:  # or the log that the error names stays, until the next start
                shutil.rmtree(home, ignore_errors=True)
    return 0 if has_started else 130


@contextmanager
def _locked_home() -> Iterator[Path]:
    """Make a directory; such as were left by a process that has ended go first.

    The kernel drops the lock of a process that ends, however it ends.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_HOMES}*/{_LOCK}"):
        with suppress(OSError), left.open() as lock:  # another user's, or in use
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    home = Path(tempfile.mkdtemp(prefix=_HOMES))
    with (home / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home


if __name__ == "__main__":
    sys.exit(main())
