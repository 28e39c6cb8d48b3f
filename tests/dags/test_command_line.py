"""Both command lines, with a connection that only Airflow's database knows."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.storage import LocalObjectStorageClient

BASE = "s3://landing/orders"
CONN_ID = "only_in_the_database"
SECRET = "a-very-secret-word"
BIN = Path(sys.executable).parent
OWN = [BIN / "dpone-airflow", "report"]
AIRFLOWS = [BIN / "airflow", "dpone", "report"]
# Airflow 2.11 takes no commands from a provider.
ENTRY_POINTS = [OWN, AIRFLOWS] if AIRFLOW_V_3_0_PLUS else [OWN]
IDS = ["dpone-airflow", "airflow dpone"][: len(ENTRY_POINTS)]


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    """A base with one run, on an emulator that is a connection in the database."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    root_dir = tmp_path / "buckets"
    (tmp_path / "a.csv").write_text("id\n1\n")
    plan = ObjectStorageStagingPlan(BASE, "run-1", "shop", "orders", "csv")
    ObjectStorageStagingService(client=LocalObjectStorageClient(root_dir=root_dir)).stage_files(
        plan, str(tmp_path / "a.csv")
    )
    extra = json.dumps({"root_dir": str(root_dir)})
    with create_session() as session:
        session.add(Connection(conn_id=CONN_ID, conn_type="dpone_local_object_storage", password=SECRET, extra=extra))
    yield BASE
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id == CONN_ID).delete()


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would: without what this test run says of itself in the environment."""
    environment = {name: value for name, value in os.environ.items() if name != "_AIRFLOW_PROCESS_CONTEXT"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.parametrize("command", ENTRY_POINTS, ids=IDS)
def test_a_connection_of_the_database_is_found(base: str, tmp_path: Path, command: list[str | Path]) -> None:
    as_json = run([*command, base, "--conn-id", CONN_ID, "--json"])
    assert as_json.returncode == 0, as_json.stderr
    assert [told["run_id"] for told in json.loads(as_json.stdout)["runs"]] == ["run-1"]

    page = tmp_path / "report.html"
    written = run([*command, base, "--conn-id", CONN_ID, "--run", "run-1", "-o", page])
    assert written.returncode == 0, written.stderr
    assert "a.csv" in page.read_text()
    assert SECRET not in page.read_text() + as_json.stdout + as_json.stderr + written.stdout + written.stderr


@pytest.mark.parametrize("command", ENTRY_POINTS, ids=IDS)
def test_an_unknown_connection_is_one_line_and_exit_code_1(base: str, command: list[str | Path]) -> None:
    ended = run([*command, base, "--conn-id", "nowhere", "--json"])
    assert ended.returncode == 1
    assert ended.stdout == ""
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("dpone-airflow report: ")
    assert "nowhere" in last
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ENTRY_POINTS, ids=IDS)
def test_help_has_an_example_and_a_wrong_argument_is_bad_usage(command: list[str | Path]) -> None:
    helped = run([*command, "--help"])
    assert helped.returncode == 0
    assert "report s3://landing/orders --conn-id my_s3 -o report.html" in " ".join(helped.stdout.split())
    assert run([*command]).returncode == 2
    assert run([*command, BASE, "--conn-id", "x"]).returncode == 2


def test_what_a_command_line_is_made_of_is_light() -> None:
    """Airflow 3 imports it on every call: of this package just the descriptions of the commands, no SDK, no hook."""
    code = (
        "import sys\n"
        "import airflow.cli.cli_config\n"
        "before = set(sys.modules)\n"
        "import dpone_airflow.cli.airflow_commands as commands\n"
        "commands.get_dpone_commands()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = set(run([sys.executable, "-c", code]).stdout.split())
    assert "dpone_airflow.cli.airflow_commands" in loaded
    assert loaded <= {
        "dpone_airflow",
        "dpone_airflow.cli",
        "dpone_airflow.cli.airflow_commands",
        "dpone_airflow.cli.commands",
    }


def test_airflow_gets_every_command_with_all_of_its_arguments() -> None:
    from dpone_airflow.cli.airflow_commands import get_dpone_commands
    from dpone_airflow.cli.commands import COMMANDS

    (group,) = get_dpone_commands()
    assert group.name == "dpone"
    commands = {command.name: command for command in group.subcommands}
    assert list(commands) == list(COMMANDS)
    for name, command in commands.items():
        assert [argument.flags for argument in command.args] == [each.flags for each in COMMANDS[name].arguments]
    with pytest.raises(SystemExit) as ended:
        commands["report"].func(argparse.Namespace(base_uri=BASE, run=None, conn_id=None, output=None, json=False))
    assert ended.value.code == 2
