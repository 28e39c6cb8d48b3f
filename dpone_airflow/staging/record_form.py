"""What every record must say of itself before any of its content counts: its kind and its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NewerRecordError(Exception):
    """A record of a later version than this one knows. The message is the end of a sentence that begins with "It"."""


def check_form(fields: Mapping[str, Any], kind: str, known: int) -> None:
    """Refuse a record of another kind, or of a version that can't be read.

    :param fields: the record.
    :param kind: what it must be.
    :param known: the latest version of records that is known.
    :raises KeyError: if it doesn't say its kind or version.
    :raises ValueError: if it is of another kind, or its version is none.
    :raises NewerRecordError: if it is of a later version.
    """
    check_version(fields, "version", known)
    if fields["kind"] != kind:
        raise ValueError(f"its kind is {str(fields['kind'])[:40]!r}")


def check_version(fields: Mapping[str, Any], name: str, known: int) -> None:
    """Refuse a version that isn't known.

    :param fields: what has the version.
    :param name: its key.
    :param known: the latest one that is known; all from 1 on are.
    :raises KeyError: if there is none.
    :raises ValueError: if it is no number from 1.
    :raises NewerRecordError: if it is later.
    """
    version = fields[name]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"its {name} is {str(version)[:40]!r}")
    if version > known:
        raise NewerRecordError(f"is of {name} {version}, and this dpone-airflow reads up to {known}: upgrade it")
