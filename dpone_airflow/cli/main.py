"""``dpone-airflow``: the parser, and what becomes of errors.

Exit codes: 0, or what the command returns; 1 for an error, told in one line; 2 for arguments that
can't be read as what they are for, can't be meant or don't go together; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from typing import TextIO

from dpone_airflow.cli.commands import COMMANDS, Command
from dpone_airflow.cli.shown import printable
from dpone_airflow.storage.errors import DponeAirflowError, InvalidOptionError

PROGRAM = "dpone-airflow"


class UsageError(Exception):
    """Arguments that don't go together; the message says what to write."""


def program() -> int:
    """Run as the program that a person calls, ``dpone-airflow``; return its exit code: 0, 1, 2 or 130, see above."""
    code = main()
    sys.stdout = sys.stderr  # Airflow 2.11 logs at its exit too, to whatever is stdout then
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names; return the exit code.

    :param arguments: the words after the program's name; None for those that this process was called with.
    """
    args = build_parser().parse_args(arguments)
    return run_command(COMMANDS[args.command], args)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``dpone-airflow``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Look into what dpone-airflow has staged in object storage."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS.values():
        sub_parser = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog(PROGRAM),
        )
        for argument in command.arguments:
            sub_parser.add_argument(*argument.flags, **argument.options)
    return parser


def run_command(command: Command, args: argparse.Namespace, program: str = PROGRAM) -> int:
    """Run a command with its parsed arguments; return the exit code. Errors are told in one line on stderr.

    :param command: what is run: its function is given ``args`` and the stream for what it answers.
    :param args: the arguments, as ``command`` describes them.
    :param program: the words that called it, for messages.
    """
    from dpone_airflow.cli.given_places import check_places  # it takes UsageError from here

    args.program, args.command = program, command.name
    # Airflow 3 finds connections of its database in processes that say so, as its own commands do.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    answers = sys.stdout
    try:
        _keep_for_answers(answers)
        with redirect_stdout(sys.stderr):  # Airflow logs to stdout
            check_places(args)
            code = _function_of(command)(args, answers)
        answers.flush()
    except (UsageError, InvalidOptionError) as error:
        return _tell(command, error, 2)
    except DponeAirflowError as error:
        return _tell(command, error, 1)
    except BrokenPipeError:
        # Whoever read has seen enough. Python would complain when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())
        return 1
    except OSError as error:
        return _tell(command, error, 1)
    except KeyboardInterrupt:
        return 130
    except _airflow_error() as error:
        return _tell(command, error, 1)
    return code


def _keep_for_answers(stream: TextIO) -> None:
    """Let no handler that Airflow has made already log to the stream that answers go to."""
    for handler in logging.getLogger().handlers:
        # Those of Airflow 2.11 look themselves where stdout is now, and have no stream of their own.
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") is stream:
            handler.setStream(sys.stderr)


def _function_of(command: Command) -> Callable[[argparse.Namespace, TextIO], int]:
    module, _, name = command.function.partition(":")
    function: Callable[[argparse.Namespace, TextIO], int] = getattr(import_module(module), name)
    return function


def _airflow_error() -> type[Exception]:
    """Return what an unknown connection is, among others."""
    from airflow.providers.common.compat.sdk import AirflowException

    error: type[Exception] = AirflowException
    return error


def _tell(command: Command, error: Exception, code: int) -> int:
    print(f"{PROGRAM} {command.name}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(program())
