"""What a stage can be told about what it finds, and a verify how to look: the words, checked when a DAG is parsed."""

from __future__ import annotations

from typing import Literal, TypeAlias

from dpone_airflow.storage.errors import InvalidOptionError

IfExists: TypeAlias = Literal["resume", "replace", "fail"]
Engine: TypeAlias = Literal["auto", "obstore", "sdk"]
ExactPrefix: TypeAlias = Literal["enforce", "check", "off"]
VerifyMode: TypeAlias = Literal["listing", "sha256"]

CHOICES = {
    # What to do with what an earlier try, or the run before a clear, has staged at the same place.
    "if_exists": ("resume", "replace", "fail"),
    # What to do with objects below the prefix that this stage has not staged.
    "exact_prefix": ("enforce", "check", "off"),
    # What uploads: obstore where it honours every setting, obstore or an error, the cloud's own SDK.
    "engine": ("auto", "obstore", "sdk"),
    # How a verify compares: sizes and ETags in one listing, or every byte as well.
    "mode": ("listing", "sha256"),
    "on_empty": ("fail", "skip"),
}


def check_choice(name: str, value: object) -> None:
    """Refuse a word that ``name`` doesn't know.

    :raises InvalidOptionError: naming those that it knows.
    """
    if value not in CHOICES[name]:
        *others, last = map(repr, CHOICES[name])
        raise InvalidOptionError(f"{name} is {value!r}: write {', '.join(others)} or {last}.")


def check_count(name: str, value: object, *, at_least: int) -> None:
    """Refuse what isn't a whole number from ``at_least``.

    :raises InvalidOptionError: naming the option.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise InvalidOptionError(f"{name} is {value!r}: give a whole number from {at_least}.")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither ``True`` nor ``False``: a text such as ``"False"`` counts as true in Python.

    :raises InvalidOptionError: naming the option.
    """
    if not isinstance(value, bool):
        raise InvalidOptionError(f"{name} is {value!r}: give True or False.")
