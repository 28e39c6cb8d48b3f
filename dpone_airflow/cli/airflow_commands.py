"""``airflow dpone …``: the commands as Airflow takes them from a provider, from 3.2 on.

Airflow imports this on every call of its own command line; see
https://airflow.apache.org/docs/apache-airflow-providers/core-extensions/cli-commands.html
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from dpone_airflow.cli.commands import COMMANDS, Command

PROGRAM = "airflow dpone"


def get_dpone_commands() -> list[GroupCommand]:
    """Return the group ``dpone`` with every command."""
    return [
        GroupCommand(
            name="dpone",
            help="Look into what dpone-airflow has staged in object storage",
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    description=command.description,
                    epilog=command.epilog(PROGRAM),
                    func=partial(_run, command),
                    args=[Arg(argument.flags, **argument.options) for argument in command.arguments],
                )
                for command in COMMANDS.values()
            ],
        )
    ]


def _run(command: Command, args: argparse.Namespace) -> None:
    from dpone_airflow.cli.main import run_command

    code = run_command(command, args, PROGRAM)
    if code:
        sys.exit(code)
