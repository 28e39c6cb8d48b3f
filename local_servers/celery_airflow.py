"""Airflow as it runs on several machines: CeleryExecutor, PostgreSQL, Redis, and workers that share no directory.

    with PostgreSQL.start(home) as database, Redis.start(home) as broker:
        with CeleryAirflow.start(home, dags, database=database, broker_url=broker.url) as airflow:
            airflow.workers["worker-1"].kill()

All runs on this machine. What makes each worker one of its own: its home, its temporary directory, its copy of
the DAG files, its logs and the name that it gives for its host.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from local_servers import leftovers
from local_servers.airflow_api import AirflowApi
from local_servers.airflow_settings import api_settings, settings
from local_servers.ports import reserved_ports
from local_servers.postgresql import PostgreSQL
from local_servers.process import ServerStartError, log_tail, running
from local_servers.redis_server import check_answers
from local_servers.worker_name import VARIABLE as WORKER_NAME

ROOT = Path(__file__).resolve().parents[1]
WORKERS = ("worker-1", "worker-2")
QUEUE = "default"
START_SECONDS = 300.0
STOP_SECONDS = 5.0  # a worker would wait for its tasks, and nobody waits for what they do
LOOK_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Worker:
    """A running Celery worker."""

    name: str
    home: Path
    log_path: Path
    process_group: int

    def kill(self) -> None:
        """End everything of it at once, as a machine that loses its power does."""
        leftovers.end_marked(self._mark())
        with suppress(ProcessLookupError):
            os.killpg(self.process_group, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """Return what it and its tasks have used, as far as they still run or were waited for."""
        used = 0.0
        for number in leftovers.marked(self._mark()):
            with suppress(psutil.NoSuchProcess):
                used += sum(psutil.Process(number).cpu_times()[:4])  # its own, and of children that ended
        return used

    def _mark(self) -> str:
        return str(psutil.Process(self.process_group).environ()[leftovers.VARIABLE])


@dataclass(frozen=True)
class CeleryAirflow:
    """A running Airflow: API server, scheduler, DAG processor and workers."""

    home: Path
    dags_folder: Path
    api: AirflowApi
    environment: Mapping[str, str] = field(repr=False)
    workers: dict[str, Worker] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path,
        dags_folder: Path,
        *,
        database: PostgreSQL,
        broker_url: str,
        workers: Sequence[str] = WORKERS,
        worker_concurrency: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Self]:
        """Run it with its files under ``directory``, until all of it is healthy.

        :param dags_folder: what the scheduler's side reads; each worker gets a copy.
        :param worker_concurrency: how many tasks a worker runs at once.
        :param environment: more settings of Airflow.
        :raises BrokerMissingError: if no Redis answers at ``broker_url``; nothing was started then.
        :raises ServerStartError: if a part of it ends early or isn't healthy in time.
        """
        check_answers(broker_url)
        home = directory.resolve() / "airflow"
        with reserved_ports(1) as (port,), ExitStack() as held:
            shared = {
                **_shared_settings(database, broker_url, port, worker_concurrency),
                **(environment or {}),
            }
            airflow = cls(home, dags_folder.resolve(), AirflowApi(f"http://127.0.0.1:{port}"), shared)
            airflow._make_database()
            parts = [
                held.enter_context(airflow._part("api-server")),
                held.enter_context(airflow._part("scheduler")),
                held.enter_context(airflow._part("dag-processor")),
            ]
            for name in workers:
                airflow.workers[name] = held.enter_context(airflow._starting_worker(name))
            parts += [_Part(worker.name, worker.log_path, worker.process_group) for worker in airflow.workers.values()]
            held.callback(_ask_to_end, parts)
            _wait(parts, airflow._is_healthy)
            yield airflow

    @contextmanager
    def worker(
        self, name: str, *, queue: str = QUEUE, environment: Mapping[str, str] | None = None
    ) -> Iterator[Worker]:
        """Run one more worker."""
        with self._starting_worker(name, queue=queue, environment=environment) as worker:
            _wait([_Part(name, worker.log_path, worker.process_group)], lambda: _is_ready(worker))
            yield worker

    def wait_for_dag(self, dag_id: str) -> None:
        """Return when a DAG has been parsed.

        :raises ServerStartError: if its file can't be, or it takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while dag_id not in self.api.dags():
            errors = self.api.import_errors()
            if errors or time.monotonic() > deadline:
                raise ServerStartError(f"{self.dags_folder} has no DAG {dag_id}. {' '.join(errors)}")
            time.sleep(LOOK_EVERY_SECONDS)

    def _is_healthy(self) -> bool:
        health = self.api.health()
        return all(health.get(part) == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")) and all(
            _is_ready(worker) for worker in self.workers.values()
        )

    def _make_database(self) -> None:
        log_path = self.home / "database.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with running(
            "airflow db migrate",
            [sys.executable, "-c", _MIGRATE],
            healthy=(self.home / "migrated").exists,
            home=self.home,
            log_path=log_path,
            environment=self._environment_of("database", self.dags_folder),
            start_seconds=START_SECONDS,
        ):
            pass

    @contextmanager
    def _part(self, name: str) -> Iterator[_Part]:
        with self._process(name, [name], self._environment_of(name, self.dags_folder)) as group:
            yield _Part(name, self._log_path(name), group)

    @contextmanager
    def _starting_worker(
        self, name: str, *, queue: str = QUEUE, environment: Mapping[str, str] | None = None
    ) -> Iterator[Worker]:
        home = self.home / name
        dags = home / "dags"
        shutil.copytree(self.dags_folder, dags, ignore=shutil.ignore_patterns("__pycache__"))
        own = {
            **self._environment_of(name, dags),
            WORKER_NAME: name,
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "local_servers.worker_name.worker_name",
            **(environment or {}),
        }
        # Its logs are read where they lie: Airflow's log server would listen on every address.
        words = ["celery", "worker", "--celery-hostname", name, "--queues", queue, "--skip-serve-logs"]
        with self._process(name, words, own) as group:
            yield Worker(name, home, self._log_path(name), group)

    @contextmanager
    def _process(self, name: str, words: Sequence[str], environment: Mapping[str, str]) -> Iterator[int]:
        with running(
            name,
            [sys.executable, "-m", "airflow", *words],
            healthy=lambda: True,  # all of them start at once, and are waited for together
            home=self.home / name,
            log_path=self._log_path(name),
            environment=environment,
            stop_seconds=STOP_SECONDS,
        ) as group:
            yield group

    def _log_path(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _environment_of(self, name: str, dags_folder: Path) -> dict[str, str]:
        home = self.home / name
        scratch = home / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        return {
            **settings(home / "airflow", dags_folder),
            **self.environment,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(scratch),
        }


@dataclass(frozen=True)
class _Part:
    name: str
    log_path: Path
    process_group: int

    def has_ended(self) -> bool:
        """Whether it has, without taking its exit status from who waits for it."""
        return os.waitid(os.P_PID, self.process_group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# It is there until it is told to end, as `running` expects.
_MIGRATE = """
import pathlib, signal
from airflow.utils.db import initdb
initdb()
pathlib.Path("migrated").touch()
signal.pause()
"""


def _wait(parts: Sequence[_Part], is_healthy: Callable[[], bool]) -> None:
    """Return when all is healthy.

    :raises ServerStartError: if one of the parts has ended, or it takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while not is_healthy():
        for part in parts:
            if part.has_ended():
                raise ServerStartError(f"Airflow's {part.name} ended before it was healthy.{log_tail(part.log_path)}")
        if time.monotonic() > deadline:
            logs = ", ".join(str(part.log_path) for part in parts)
            raise ServerStartError(f"Airflow was not healthy after {START_SECONDS:.0f} seconds; its logs are {logs}.")
        time.sleep(LOOK_EVERY_SECONDS)


def _ask_to_end(parts: Sequence[_Part]) -> None:
    """Have them end at the same time; each is waited for afterwards."""
    for part in parts:
        if not part.has_ended():
            os.kill(part.process_group, signal.SIGTERM)


def _is_ready(worker: Worker) -> bool:
    return f"{worker.name} ready." in worker.log_path.read_text(errors="replace")


def _shared_settings(database: PostgreSQL, broker_url: str, port: int, worker_concurrency: int) -> dict[str, str]:
    """Return what every part of one Airflow has to be told alike."""
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url("psycopg2"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.url("asyncpg"),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": broker_url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database.url('psycopg2')}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(worker_concurrency),
        **api_settings(port),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(48),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        # There are few DAGs, and few processors.
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    }
