"""How many things may be done at once: what the operator checks when a DAG is parsed."""

from __future__ import annotations

from dpone_airflow.storage.errors import InvalidOptionError


def checked_max_concurrency(value: int) -> int:
    """Return ``value`` if that many things can be done at once.

    :raises InvalidOptionError: if it isn't a whole number from 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOptionError(f"max_concurrency is {value!r}: give a whole number from 1.")
    return value
