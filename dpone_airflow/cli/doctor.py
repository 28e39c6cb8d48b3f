"""``dpone-airflow doctor``: tries what staging does below a base, and prints what failed, why, and what to do."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import TextIO

from dpone_airflow.cli.shown import printable
from dpone_airflow.cli.store import hook_for
from dpone_airflow.staging.check import Check, Outcome, worst
from dpone_airflow.storage.errors import redact

_COLOURS = {Outcome.OK: "32", Outcome.WARNING: "33", Outcome.FAILED: "31", Outcome.UNKNOWN: "36"}
_GAP = "  "
_NARROWEST = 40
_WIDEST = 120


def doctor(args: argparse.Namespace, out: TextIO) -> int:
    """Print every check; return 1 if one failed.

    :param args: base_uri, conn_id, storage_options and json.
    :param out: what to write to; a terminal gets colours, unless NO_COLOR is set.
    :raises UsageError: if the storage options are no JSON object.
    :raises InvalidUriError: if the base isn't one of the four forms.
    """
    checks = hook_for(args, engine="auto").diagnose(args.base_uri)
    outcome = worst(checks)
    if args.json:
        told = {"base_uri": redact(args.base_uri), "outcome": str(outcome)}
        json.dump(told | {"checks": [_plain(check) for check in checks]}, out, indent=1)
        out.write("\n")
    else:
        is_terminal = out.isatty()
        width = min(shutil.get_terminal_size().columns, _WIDEST) if is_terminal else None
        out.writelines(f"{line}\n" for line in shown_checks(checks, width=width, colour=is_terminal and _may_colour()))
    return 1 if outcome is Outcome.FAILED else 0


def shown_checks(checks: Iterable[Check], *, width: int | None = None, colour: bool = False) -> Iterator[str]:
    """Yield the lines of a table: name, outcome and what was seen, and below it cause and action, if there are any.

    :param width: of the terminal, in columns; None for lines as long as they come.
    """
    checks = list(checks)
    names = max(len(check.name) for check in checks)
    outcomes = max(len(check.outcome) for check in checks)
    indent = " " * (names + outcomes + 2 * len(_GAP))
    for check in checks:
        outcome = check.outcome.ljust(outcomes)
        if colour:
            outcome = f"\x1b[{_COLOURS[check.outcome]}m{outcome}\x1b[0m"
        head = f"{check.name.ljust(names)}{_GAP}{outcome}{_GAP}"
        for number, line in enumerate(_wrapped(check.detail, len(indent), width)):
            yield (indent if number else head) + line
        for word, text in (("cause: ", check.cause), ("do:    ", check.action)):
            for number, line in enumerate(_wrapped(text, len(indent) + len(word), width)):
                yield indent + (" " * len(word) if number else word) + line


def _wrapped(text: str, taken: int, width: int | None) -> list[str]:
    """Return the lines of a text; none of an empty one."""
    text = printable(text)
    if not text or width is None:
        return [text] if text else []
    return textwrap.wrap(text, max(_NARROWEST, width - taken), break_long_words=False, break_on_hyphens=False)


def _may_colour() -> bool:
    """Return whether the person hasn't said otherwise; see https://no-color.org for how."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _plain(check: Check) -> dict[str, str]:
    return {key: redact(value) for key, value in check.to_dict().items()}
