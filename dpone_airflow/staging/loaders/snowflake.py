"""Snowflake: ``FILES = (...)`` of COPY INTO, for ``CopyFromExternalStageToSnowflakeOperator(files=...)``.

Names are relative to the location of an external stage, and one COPY INTO takes 1,000 of them.
https://docs.snowflake.com/en/user-guide/data-load-considerations-load
https://docs.snowflake.com/en/sql-reference/sql/copy-into-table
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpone_airflow.staging.loaders.given import at_once, in_batches, loadable
from dpone_airflow.staging.loaders.relative import location_of, names_below
from dpone_airflow.staging.loaders.sql_text import quoted
from dpone_airflow.storage.errors import InvalidOptionError

__all__ = ["MAX_FILES", "file_batches", "files", "files_clause"]

MAX_FILES = 1_000
_TARGET = "Snowflake"


def files(manifest: Any, *, location: str | None = None) -> list[str]:
    """Return the name of each file relative to the stage's location, unquoted as the official operator takes it.

    :param manifest: a manifest, its dict, or a list of those of a run's parts.
    :param location: the stage's URL, as ``CREATE STAGE`` has it (``s3://...``, ``gcs://...``,
        ``azure://account.blob.core.windows.net/container/...``) or in our form; None for the ``base_uri``.
    :raises InvalidUriError: for a ``location`` that is neither.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, over 1,000, or ones that don't lie below ``location``.
    """
    return at_once(_names(manifest, location), MAX_FILES, _TARGET, instead="file_batches()")


def file_batches(manifest: Any, *, location: str | None = None, size: int = MAX_FILES) -> list[list[str]]:
    """Return the names in lists that COPY INTO takes, for ``.expand(files=...)``; each COPY commits by itself.

    :param manifest: as for ``files``.
    :param location: as for ``files``.
    :param size: how many names a list has at most, from 1 to 1,000.
    :raises InvalidUriError: as ``files`` does.
    :raises InvalidOptionError: for a ``size`` below 1 or above 1,000.
    :raises InvalidManifestError: if ``manifest`` is none, or parts don't belong together.
    :raises NotLoadableError: if it has no objects, or ones that don't lie below ``location``.
    """
    return in_batches(_names(manifest, location), size, MAX_FILES, _TARGET)


def files_clause(names: Sequence[str]) -> str:
    """Return ``FILES = ('a.csv', ...)`` for a COPY INTO of your own.

    :param names: what ``files`` returns, or one list of ``file_batches``.
    :raises InvalidOptionError: if there are none, over 1,000, or a text in place of a list.
    """
    if isinstance(names, str) or not 1 <= len(names) <= MAX_FILES:
        raise InvalidOptionError(f"names is {str(names)[:80]!r}: COPY INTO takes a list of 1 to {MAX_FILES} files.")
    # Snowflake reads a backslash between quotes as the start of an escape.
    return f"FILES = ({', '.join(quoted(name.replace(chr(92), chr(92) * 2)) for name in names)})"


def _names(manifest: Any, location: str | None) -> list[str]:
    found = loadable(manifest, _TARGET)
    return names_below(location_of(found.base_uri if location is None else location), found, _TARGET)
