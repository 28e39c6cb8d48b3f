"""Lengths of time as people write them, for a sweep and for the command line: ``30d``, ``12h``, ``1d12h``."""

from __future__ import annotations

import re
from datetime import timedelta

from dpone_airflow.storage.errors import InvalidOptionError

_SECONDS = {"w": 7 * 86_400, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TEXT = re.compile(r"(?:\d+[wdhms])+|\d+(?:\.\d+)?", re.ASCII)
_TERM = re.compile(r"(\d+)([wdhms])", re.ASCII)


def parse_duration(name: str, value: object) -> timedelta:
    """Return the length of time that ``value`` stands for.

    :param name: of the option, for the error.
    :param value: a timedelta, a number of seconds, or text: ``2w``, ``30d``, ``12h``, ``90m``, ``45s``, several of them
        in a row, or a number alone, which is seconds.
    :raises InvalidOptionError: for anything else, and for what isn't above zero.
    """
    found: timedelta | None = None
    try:
        if isinstance(value, timedelta):
            found = value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found = timedelta(seconds=value)
        elif isinstance(value, str):
            found = _read(value.strip().lower())
    except (OverflowError, ValueError):  # more than timedelta holds; nan
        found = None
    if found is None or found <= timedelta(0):
        raise InvalidOptionError(
            f"{name} is {str(value)[:40]!r}: write a length of time such as '30d', '12h', '90m' or a number of seconds."
        )
    return found


def duration_text(length: timedelta) -> str:
    """Return a length of time as ``parse_duration`` reads it, in whole seconds: ``30d``, ``1d12h``, ``0s``."""
    left = round(length.total_seconds())
    text = ""
    for unit in "dhms":
        count, left = divmod(left, _SECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _read(text: str) -> timedelta | None:
    if not _TEXT.fullmatch(text):
        return None
    terms = _TERM.findall(text)
    return timedelta(seconds=sum(int(count) * _SECONDS[unit] for count, unit in terms) if terms else float(text))
