"""One Airflow with two Celery workers for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.distributed.__main__ import BUCKET, DAG_FILE, QUICKER_SETTINGS
from demo.distributed.runs import DAG_ID
from demo.distributed.store import Store
from local_servers import SeaweedFS
from local_servers.celery_airflow import CeleryAirflow
from local_servers.postgresql import PostgreSQL
from local_servers.redis_server import Redis

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="session")
def s3(home: Path) -> Iterator[SeaweedFS]:
    with SeaweedFS.start(home) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def store(s3: SeaweedFS) -> Store:
    return Store.of(s3)


@pytest.fixture(scope="session")
def airflow(home: Path, s3: SeaweedFS) -> Iterator[CeleryAirflow]:
    dags = home / "dags"
    dags.mkdir()
    shutil.copy(DAG_FILE, dags)
    shutil.copy(HERE / "dag_of_another_queue.py", dags)
    with (
        Redis.start(home) as redis,
        PostgreSQL.start(home) as database,
        CeleryAirflow.start(
            home, dags, database=database, broker_url=redis.url, environment=QUICKER_SETTINGS
        ) as airflow,
    ):
        airflow.api.add_connection("aws_default", s3.airflow_connection())
        airflow.wait_for_dag(DAG_ID)
        yield airflow
