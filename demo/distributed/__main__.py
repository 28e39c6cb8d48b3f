"""Stage 10,000 files in 100 mapped instances on two Celery workers, then again while one of them is killed."""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demo.distributed import home
from demo.distributed.needs import missing_extra, other_system

ROOT = Path(__file__).resolve().parents[2]
# The URL of a Redis to use. It has a password in it, which on a command line everyone could read.
BROKER = "DPONE_BROKER_URL"
HOME = ROOT / ".demo" / "distributed"
DAG_FILE = ROOT / "example_dags" / "example_distributed.py"
BUCKET = "landing"
FULL, SHORT = (100, 100), (20, 10)
# The worker that is killed in each run.
RUNS: dict[str, tuple[str | None, ...]] = {"both": (None, "worker-2"), "whole": (None,), "killed": ("worker-2",)}
# Airflow takes a task for dead after 300 seconds without a heartbeat: the demo doesn't wait so long.
QUICKER_SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}


def main(words: list[str] | None = None) -> int:
    """Return 0 if every count agrees, 1 if not or if something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.distributed",
        description=__doc__,
        epilog=f"${BROKER}: the URL of a Redis to use, by default one that is started for this",
    )
    parser.add_argument("--short", action="store_true", help="20 instances of 10 files")
    parser.add_argument("--run", choices=RUNS, default="both", help="only the first run, or only the second")
    parser.add_argument(
        "--home", type=Path, default=HOME, help="where logs and data lie: empty, new, or an earlier run's"
    )
    chosen = parser.parse_args(words)
    problem = other_system() or missing_extra()
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1

    signal.signal(signal.SIGTERM, _interrupt)
    return told_in_a_line(lambda: _demonstrate(chosen))


def told_in_a_line(demonstrate: Callable[[], int]) -> int:
    """Return what it returns, or the exit status for the error that ends it, which is told without a traceback."""
    from demo.distributed.runs import RunError
    from dpone_airflow.storage.errors import DponeAirflowError
    from local_servers import ProgramMissingError, ServerStartError
    from local_servers.airflow_api import AirflowApiError
    from local_servers.debian import PackageMissingError

    try:
        return demonstrate()
    except (ServerStartError, PackageMissingError, ProgramMissingError, home.HomeError) as error:
        print(str(error).rstrip(), file=sys.stderr)
        return 1
    except (RunError, AirflowApiError, DponeAirflowError, OSError, http.client.HTTPException) as error:
        print(f"The demo failed: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has ended.", file=sys.stderr)
        return 130


def _demonstrate(chosen: argparse.Namespace) -> int:
    from rich.console import Console

    from demo.distributed.report import show
    from demo.distributed.runs import DAG_ID, Size, run
    from demo.distributed.store import Store
    from local_servers import SeaweedFS, postgresql, programs, redis_server
    from local_servers.celery_airflow import CeleryAirflow

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    # Before anything is removed or starts: what isn't there is installed, or named in a line.
    home.check(chosen.home)
    programs.weed()
    postgresql.program()
    broker = os.environ.get(BROKER)
    if broker:
        redis_server.check_answers(broker)
    else:
        redis_server.program()
    instances, files_each = SHORT if chosen.short else FULL
    began = time.monotonic()
    with (
        home.emptied(chosen.home),
        _broker(broker, chosen.home) as broker_url,
        SeaweedFS.start(chosen.home) as server,
        postgresql.PostgreSQL.start(chosen.home) as database,
    ):
        console.print(
            "SeaweedFS, PostgreSQL and Redis run; starting Airflow with two Celery workers (a minute or two) …"
        )
        dags = chosen.home / "dags"
        dags.mkdir()
        shutil.copy(DAG_FILE, dags)
        with CeleryAirflow.start(
            chosen.home, dags, database=database, broker_url=broker_url, environment=QUICKER_SETTINGS
        ) as airflow:
            server.create_bucket(BUCKET)
            airflow.api.add_connection("aws_default", server.airflow_connection())
            airflow.wait_for_dag(DAG_ID)
            console.print(f"Airflow runs after {time.monotonic() - began:.0f} s: {', '.join(airflow.workers)}.")
            store = Store.of(server)
            good = True
            for kill in RUNS[chosen.run]:
                # An instance lasts long enough for being killed in the middle.
                size = Size(instances, files_each, seconds_a_file=2.0 / files_each if kill else 0.0)
                console.print(
                    f"\n[bold]{size.files:,} files in {instances} instances"
                    f"{f', and {kill} is killed in the middle' if kill else ''}[/bold]"
                )
                before = {name: worker.cpu_seconds() for name, worker in airflow.workers.items()}
                outcome = run(airflow, store, size, kill=kill, tell=console.print)
                used = {
                    name: worker.cpu_seconds() - before[name]
                    for name, worker in airflow.workers.items()
                    if name != kill
                }
                good = show(console, outcome, used) and good
    console.print("[green]The demo passed.[/green]" if good else "[red]The demo failed.[/red]")
    console.print(f"{time.monotonic() - began:.0f} s in all. Logs: {chosen.home}", soft_wrap=True)
    return 0 if good else 1


@contextmanager
def _broker(url: str | None, directory: Path) -> Iterator[str]:
    """Yield the URL of a Redis, started for this unless one is given."""
    from local_servers.redis_server import Redis

    if url:
        yield url
    else:
        with Redis.start(directory) as redis:
            yield redis.url


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
