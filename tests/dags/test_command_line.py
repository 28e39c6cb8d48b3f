"""Both command lines, with a connection that only Airflow's database knows, and with a real store."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from dpone_airflow.cli.commands import COMMANDS
from dpone_airflow.cli.main import main
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageClient, ObjectStorageUri
from local_servers import SeaweedFS

BASE = "s3://landing/orders"
RECORD = f"{BASE}/_manifests/run-1/_run/manifest.json"
CONN_ID = "only_in_the_database"
SECRET = "a-very-secret-word"
BIN = Path(sys.executable).parent
OWN = [BIN / "dpone-airflow"]
AIRFLOWS = [BIN / "airflow", "dpone"]
# Airflow takes commands from a provider from 3.2 on.
ENTRY_POINTS = [OWN, AIRFLOWS] if AIRFLOW_V_3_2_PLUS else [OWN]
IDS = ["dpone-airflow", "airflow dpone"][: len(ENTRY_POINTS)]


def airflow_dpone(arguments: Sequence[str]) -> int:
    """Call ``airflow dpone`` in this process, as Airflow's own program does; return the exit code."""
    from airflow.cli.cli_parser import get_parser

    try:
        args = get_parser().parse_args(["dpone", *arguments])
        args.func(args)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def own(arguments: Sequence[str]) -> int:
    """Call ``dpone-airflow`` in this process; return the exit code."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


Call = Callable[[Sequence[str]], int]
CALLS: Sequence[Call] = [own, airflow_dpone][: len(ENTRY_POINTS)]


@pytest.fixture(scope="module")
def emulator_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An emulator's connection, put into the database by Airflow's own command; its root directory."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    root_dir = tmp_path_factory.mktemp("buckets")
    words = ["--conn-type", "dpone_local_object_storage", "--conn-password", SECRET]
    added = run(
        [
            BIN / "airflow",
            "connections",
            "add",
            CONN_ID,
            *words,
            "--conn-extra",
            json.dumps({"root_dir": str(root_dir)}),
        ]
    )
    assert added.returncode == 0, added.stderr
    yield root_dir
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id == CONN_ID).delete()


@pytest.fixture
def base(emulator_root: Path, tmp_path: Path) -> str:
    """A base with one run, on the emulator of that connection."""
    return stage(LocalObjectStorageClient(root_dir=emulator_root), tmp_path)


def stage(client: ObjectStorageClient, folder: Path) -> str:
    """Stage a run of one file of five bytes, and nothing else; return its base."""
    (folder / "a.csv").write_text("id\n1\n")
    client.delete_objects(client.list_prefix(ObjectStorageUri.parse(BASE)))
    plan = ObjectStorageStagingPlan(BASE, "run-1", "shop", "orders", "csv", cleanup_policy="delete_on_success")
    ObjectStorageStagingService(client=client).stage_files(plan, str(folder / "a.csv"))
    return BASE


def run(command: Sequence[str | Path], log_level: str = "INFO") -> subprocess.CompletedProcess[str]:
    """Run a command as a person would: without what this test run says of itself in the environment."""
    environment = {name: value for name, value in os.environ.items() if name != "_AIRFLOW_PROCESS_CONTEXT"}
    environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = log_level
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.parametrize("command", ENTRY_POINTS, ids=IDS)
def test_a_connection_of_the_database_is_found_and_nothing_is_logged_into_the_answers(
    base: str, command: list[str | Path]
) -> None:
    ended = {
        name: run([*command, name, *arguments, "--conn-id", CONN_ID], "DEBUG" if name == "runs" else "INFO")
        for name, arguments in {"runs": [base, "--json"], "cleanup": [base, "run-1"]}.items()
    }
    for name, answer in ended.items():
        assert answer.returncode == 0, answer.stderr
        assert SECRET not in answer.stdout + answer.stderr, name
    # Before a command of its own begins, Airflow's program may log to stdout; at this level it does.
    logged, begins, told = ended["runs"].stdout.partition('{"report"')
    assert command == AIRFLOWS or not logged
    assert [each["run_id"] for each in json.loads(begins + told)["runs"]] == ["run-1"]

    *_, line = ended["cleanup"].stdout.splitlines()
    program, *words = shlex.split(line)
    assert [program, *words[: len(command) - 1]] == [Path(command[0]).name, *command[1:]]
    deleted = run([command[0], *words])
    assert deleted.returncode == 0, deleted.stderr
    assert deleted.stdout == f"Deleted 1 object, 5 B, below {BASE}/run-1/\n"


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_an_unknown_connection_is_one_line_and_exit_code_1(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (arguments, _) in COMMAND_LINES.items():
        assert call([name, *arguments, "--conn-id", "nowhere"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        last = captured.err.splitlines()[-1]
        assert last.startswith(f"dpone-airflow {name}: ")
        assert "nowhere" in last
        assert "Traceback" not in captured.err


# What each command is called with, and what it then prints. Others have their own tests.
COMMAND_LINES: dict[str, tuple[list[str], str]] = {
    "report": ([BASE, "--json"], '"run_id": "run-1"'),
    "runs": ([BASE, "--state", "staged", "--older-than", "0.001"], "run-1   staged"),
    "show": ([RECORD], "policy       delete_on_success\n"),
    "verify": ([RECORD, "--mode", "sha256", "--no-record"], "holds what the manifest says: 1 object, 5 B"),
    "cleanup": ([BASE, "run-1", "--max-objects", "1"], "Would delete 1 object, 5 B"),
    "sweep": ([BASE, "--older-than", "30d", "--max-runs", "1"], "Would delete 0 runs"),
}


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_every_command_is_the_same_by_both_names(
    emulator: LocalObjectStorageClient, tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(emulator, tmp_path)
    for name, (arguments, says) in COMMAND_LINES.items():
        assert call([name, *arguments, "--conn-id", "emulator"]) == 0, name
        assert says in capsys.readouterr().out, name


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_help_has_an_example_and_a_wrong_argument_is_bad_usage(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in COMMANDS.items():
        assert call([name, "--help"]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert f"{name} {command.example}" in shown
        assert call([name, "--no-such-option"]) == 2
    assert call(["report", BASE, "--conn-id", "x"]) == 2
    assert call(["sweep", BASE]) == 2


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_a_difference_is_exit_code_1(
    emulator: LocalObjectStorageClient, tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(emulator, tmp_path)
    emulator.delete_objects([ObjectStorageUri.parse(f"{BASE}/run-1/a.csv")])
    assert call(["verify", RECORD, "--conn-id", "emulator"]) == 1
    assert f"missing  {BASE}/run-1/a.csv" in capsys.readouterr().out


def test_a_bucket_that_keeps_versions_is_never_said_to_have_deleted(
    server: Callable[[type], Any],
    connect: Callable[[str, Any], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seaweedfs = server(SeaweedFS)
    connect("seaweed", seaweedfs)
    client = ObjectStorageHook("seaweed").get_client(BASE)
    s3 = client._s3  # type: ignore[attr-defined]
    s3.put_bucket_versioning(Bucket="landing", VersioningConfiguration={"Status": "Enabled"})
    stage(client, tmp_path)
    arguments = ["cleanup", BASE, "run-1", "--conn-id", "seaweed"]
    assert main(arguments) == 0
    assert "Would hide 1 object, 5 B (the bucket keeps versions" in capsys.readouterr().out
    assert main([*arguments, "--yes"]) == 0
    assert capsys.readouterr().out.startswith("Hid 1 object, 5 B (the bucket keeps versions")
    assert main(["runs", BASE, "--conn-id", "seaweed", "--state", "cleaned"]) == 0
    assert "run-1   cleaned" in capsys.readouterr().out
    secret = seaweedfs.airflow_connection()["password"]
    assert main(["cleanup", BASE, "run-7", "--conn-id", "seaweed"]) == 1
    assert secret not in capsys.readouterr().err


def test_what_a_command_line_is_made_of_is_light() -> None:
    """Airflow imports it on every call: of this package just the descriptions of the commands, no SDK, no hook."""
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

    (group,) = get_dpone_commands()
    assert group.name == "dpone"
    commands = {command.name: command for command in group.subcommands}
    assert list(commands) == list(COMMANDS)
    for name, command in commands.items():
        assert [argument.flags for argument in command.args] == [each.flags for each in COMMANDS[name].arguments]
    with pytest.raises(SystemExit) as ended:
        commands["report"].func(argparse.Namespace(base_uri=BASE, run=None, output=None, json=False))
    assert ended.value.code == 2
