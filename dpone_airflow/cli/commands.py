"""The commands, described once for both ways to call them: ``dpone-airflow`` and, on Airflow 3, ``airflow dpone``.

Airflow reads this on every call of its own command line, so there is nothing here but the standard
library. What a command does is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Argument:
    """An argument of a command, as ``argparse.ArgumentParser.add_argument`` takes it.

    :param flags: its names; a positional one has one without a dash.
    :param options: the keyword arguments.
    """

    flags: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command.

    :param name: the word that calls it.
    :param help: one line, for the list of commands.
    :param description: what it does, for its own help.
    :param example: what follows the program's name in an example.
    :param function: ``module:function``, which takes the parsed arguments and the stream for what
        the command answers, and returns the exit code.
    :param arguments: what it takes.
    """

    name: str
    help: str
    description: str
    example: str
    function: str
    arguments: tuple[Argument, ...]

    def epilog(self, program: str) -> str:
        """Return the example, as the end of its help."""
        return f"example: {program} {self.name} {self.example}"


BASE_URI = Argument(
    ("base_uri",),
    {
        "metavar": "BASE_URI",
        "help": "what the stage was given: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "azure://account/container/prefix",
    },
)
CONN_ID = Argument(
    ("--conn-id",),
    {
        "metavar": "ID",
        "help": "the Airflow connection; by default aws_default, google_cloud_default or wasb_default, by BASE_URI",
    },
)
# Airflow looks for an argument of this name, and then keeps its log lines out of what is printed.
OUTPUT = Argument(
    ("-o", "--output"),
    {"metavar": "FILE", "help": "where to write; a file that is there is replaced when the new one is complete"},
)

COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="report",
            help="Show what became of each run of a base",
            description="Read the evidence below BASE_URI/_manifests/ and write one HTML page that needs no network: "
            "the runs with their age, files, bytes, policy and state, or one run with every object and its SHA-256.",
            example="s3://landing/orders --conn-id my_s3 -o report.html",
            function="dpone_airflow.cli.report:report",
            arguments=(
                BASE_URI,
                Argument(("--run",), {"metavar": "RUN_ID", "help": "one run, with its parts and objects"}),
                CONN_ID,
                OUTPUT,
                Argument(
                    ("--json",),
                    {"action": "store_true", "help": "write JSON in place of the page; to the terminal without -o"},
                ),
            ),
        ),
    )
}
