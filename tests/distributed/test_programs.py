"""PostgreSQL and Redis: found, installed without a service, or asked for in a line; run for whoever runs this."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import psycopg2
import pytest

from local_servers import debian, postgresql, redis_server
from local_servers.postgresql import PostgreSQL
from local_servers.redis_server import BrokerMissingError, Redis, answers, check_answers


def test_redis_takes_its_password_only_and_ends(tmp_path: Path) -> None:
    with Redis.start(tmp_path) as redis:
        assert answers(redis.url)
        without = redis_server.without_password(redis.url)
        assert "@" not in without
        assert not answers(without)
        assert not answers(redis.url.replace(":", ":wrong", 2).replace("redis:wrong", "redis:"))
        assert (tmp_path / "redis" / "redis.conf").stat().st_mode & 0o077 == 0
        assert redis.url.split("@")[0].split(":")[2] not in repr(redis)
    assert not answers(redis.url)
    assert not psutil.pid_exists(redis.process_group)
    with pytest.raises(BrokerMissingError, match=r"^No Redis answers at redis://127\.0\.0\.1:\d+/0, "):
        check_answers(redis.url)


def test_postgresql_runs_as_no_root_and_takes_its_password_only(tmp_path: Path) -> None:
    with PostgreSQL.start(tmp_path) as server:
        where = {"host": "127.0.0.1", "port": server.port, "user": postgresql.USER, "dbname": postgresql.DATABASE}
        connection = psycopg2.connect(**where, password=server.password)
        with connection.cursor() as cursor:
            cursor.execute("SHOW data_directory")
            (data,) = cursor.fetchone() or ("",)
        connection.close()
        assert Path(data).stat().st_uid != 0
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(**where, password="wrong")
        assert server.password not in repr(server)
        assert not Path(data).with_name("password").exists()
    assert not Path(data).exists()
    assert not psutil.pid_exists(server.process_group)


@pytest.mark.parametrize(("server", "package"), [(redis_server, "redis-server"), (postgresql, "postgresql")])
def test_who_may_not_install_is_told_what_to_install(
    server, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "_OF_DEBIAN", tmp_path)
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    with pytest.raises(debian.PackageMissingError) as told:
        server.program()
    assert f"install Debian's package {package} as root" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_package_is_installed_under_a_policy_that_starts_no_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy, program = tmp_path / "policy-rc.d", tmp_path / "program"
    asked: list[int] = []

    def run(command: list[str]) -> None:
        if "install" in command:
            asked.append(subprocess.run([policy, "redis-server", "start"], check=False).returncode)
            program.touch()

    monkeypatch.setattr(debian, "_POLICY", policy)
    monkeypatch.setattr(debian, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = debian.installed("redis-server", lambda: program if program.exists() else None, otherwise="none")
    assert found == program
    assert asked == [101]
    assert not policy.exists()


def test_a_policy_that_is_there_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("its own")
    monkeypatch.setattr(debian, "_POLICY", policy)
    with debian._no_service_is_started():
        assert policy.read_text() == "its own"
    assert policy.read_text() == "its own"
