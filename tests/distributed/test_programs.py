"""PostgreSQL and Redis: found, installed without a service, or asked for in a line; run for whoever runs this."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    assert not (tmp_path / "redis" / "redis.conf").exists(), "its password goes with it"
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


@pytest.mark.parametrize("there", ["nothing", "a folder", "a file that doesn't run"])
def test_a_variable_that_names_no_program_is_told_and_nothing_is_installed(
    there: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "redis-server"
    if there == "a folder":
        named.mkdir()
    elif there != "nothing":
        named.touch(mode=0o644)
    monkeypatch.setenv("REDIS_SERVER", str(named))
    assert redis_server.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"$REDIS_SERVER names {named}, and there is no such program: correct or unset it."


def test_a_package_is_installed_under_a_policy_that_starts_no_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy, program = tmp_path / "policy-rc.d", tmp_path / "program"
    asked: list[int] = []

    def run(command: list[str]) -> None:
        if "install" in command:
            asked.append(subprocess.run([policy, "redis-server", "start"], check=False).returncode)
            program.touch()

    _as_root_with_apt_get(monkeypatch, tmp_path, run)
    found = debian.installed("redis-server", lambda: program if program.exists() else None, otherwise="none")
    assert found == program
    assert asked == [101]
    assert not policy.exists()


def test_lists_that_can_not_be_renewed_do_not_stop_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program"

    def run(command: list[str]) -> None:
        if "update" in command:
            raise debian.PackageMissingError("`apt-get update` ended with status 100: run it by hand.")
        program.touch()

    _as_root_with_apt_get(monkeypatch, tmp_path, run)
    found = debian.installed("redis-server", lambda: program if program.exists() else None, otherwise="none")
    assert found == program
    assert "status 100" in capsys.readouterr().err


def test_an_installation_that_fails_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: list[str]) -> None:
        raise debian.PackageMissingError("`apt-get install` ended with status 100: run it by hand.")

    _as_root_with_apt_get(monkeypatch, tmp_path, run)
    with pytest.raises(debian.PackageMissingError, match=r"status 100: run it by hand\. Or name the program\.$"):
        debian.installed("redis-server", lambda: None, otherwise="Or name the program.")
    assert not (tmp_path / "policy-rc.d").exists()


# Installs with an apt-get that ends when it is told to, and says when it has.
INSTALLS = """
import sys
from pathlib import Path
from local_servers import debian
policy, *command = sys.argv[1:]
debian._POLICY = Path(policy)
debian._LOCK = Path(policy).with_name("lock")
debian._install = lambda package: debian.run(command)
debian.os.geteuid = lambda: 0
debian.shutil.which = lambda name: name
debian.installed("redis-server", lambda: None, otherwise="none")
"""
APT_GET = "while [ ! -e go ]; do sleep 0.05; done; [ -e policy-rc.d ] && touch ended-under-the-policy"


def test_a_sigterm_in_the_middle_waits_for_apt_get_and_takes_the_policy_away(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with _installing(policy) as installing:
        installing.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            installing.wait(0.5)
        assert policy.exists()
        (tmp_path / "go").touch()
        assert installing.wait(30) == 143
    assert (tmp_path / "ended-under-the-policy").exists()
    assert not policy.exists()


def test_a_second_installation_waits_for_the_first_so_that_the_policy_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, seen = tmp_path / "program", []

    def run(command: list[str]) -> None:
        seen.append((tmp_path / "ended-under-the-policy").exists())
        program.touch()

    _as_root_with_apt_get(monkeypatch, tmp_path, run)
    with _installing(tmp_path / "policy-rc.d"):
        second = threading.Thread(
            target=debian.installed,
            args=("postgresql", lambda: program if program.exists() else None),
            kwargs={"otherwise": "none"},
        )
        second.start()
        second.join(0.5)
        assert second.is_alive()
        assert seen == []
        (tmp_path / "go").touch()
        second.join(30)
    assert seen == [True, True]
    assert not (tmp_path / "policy-rc.d").exists()


def test_a_policy_that_a_sigkill_left_is_ours_and_goes_with_the_next_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy-rc.d"
    with _installing(policy) as installing:
        installing.kill()
    assert policy.exists()
    monkeypatch.setattr(debian, "_POLICY", policy)
    with debian._no_service_is_started():
        assert subprocess.run([policy, "redis-server", "start"], check=False).returncode == 101
    assert not policy.exists()


@contextmanager
def _installing(policy: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an installation, in the middle of its apt-get; both have ended afterwards."""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", INSTALLS, policy, "sh", "-c", APT_GET],
        cwd=policy.parent,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as installing:
        try:
            while not (policy.exists() and (apt_get := psutil.Process(installing.pid).children())):
                assert installing.poll() is None
            yield installing
        finally:
            (policy.parent / "go").touch()
            installing.kill()
    assert psutil.wait_procs(apt_get, timeout=15)[1] == []


def _as_root_with_apt_get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Callable[[list[str]], None]) -> None:
    monkeypatch.setattr(debian, "_POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(debian, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(debian, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.parametrize(("server", "says"), [(redis_server, "Redis: "), (postgresql, "PostgreSQL: ")])
def test_the_command_of_a_program_says_where_it_is(server, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert server.main() == 0
    assert capsys.readouterr().out == f"{says}{server.program()}\n"


def test_the_data_lie_below_the_home_where_who_runs_it_gets_there(reachable: Path) -> None:
    home = reachable / "home"
    with PostgreSQL.start(home):
        (data,) = (home / "postgresql").glob("postgresql-*/data")
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert list((home / "postgresql").iterdir()) == []


def test_a_policy_that_is_there_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("its own")
    monkeypatch.setattr(debian, "_POLICY", policy)
    with debian._no_service_is_started():
        assert policy.read_text() == "its own"
    assert policy.read_text() == "its own"
