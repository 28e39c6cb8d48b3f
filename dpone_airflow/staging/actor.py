"""Who is at work, as the evidence says it: the writer, which try it is, where it runs, in which versions."""

from __future__ import annotations

import platform
import socket
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpone_airflow.staging.evidence import StagingWriter

_PACKAGES = ("dpone-airflow", "apache-airflow")


def described(writer: StagingWriter, try_number: int | None = None) -> dict[str, Any]:
    """Return what a record says under ``by``.

    :param try_number: counts from 1; None where nobody counts.
    """
    return {
        **asdict(writer),
        "try_number": try_number,
        "host": socket.gethostname(),
        "versions": versions(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, of this package and Airflow, and of others, as far as they are installed."""
    found = {name: _version(name) for name in (*_PACKAGES, *packages)}
    return {"python": platform.python_version()} | {name: known for name, known in found.items() if known}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
