"""The line that calls a command once more."""

from __future__ import annotations

import argparse
import shlex

from dpone_airflow.cli.commands import COMMANDS


def line_again(args: argparse.Namespace, *flags: str) -> str:
    """Return the line that calls the same command with the same arguments and ``flags``.

    :param args: as they were parsed, with program and command.
    """
    positional: list[str] = []
    options: list[str] = []
    for argument in COMMANDS[args.command].arguments:
        value = getattr(args, argument.name)
        if value is None or value is False or value == argument.options.get("default"):
            continue
        values = value if isinstance(value, list) else [value]
        if not argument.flags[-1].startswith("-"):
            positional += map(str, values)
            continue
        for each in values:
            options += _option(argument.flags[-1], each)
    options += flags
    # What begins with a dash would be taken for an option.
    words = [*options, "--", *positional] if any(word.startswith("-") for word in positional) else positional + options
    return shlex.join([*args.program.split(), args.command, *words])


def _option(flag: str, value: object) -> list[str]:
    if value is True:
        return [flag]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
