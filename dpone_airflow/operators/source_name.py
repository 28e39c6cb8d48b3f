"""What a mapped instance is called in Airflow's grid: by what it stages, and not by its number."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from typing import Any

from dpone_airflow.storage.errors import InvalidInputError, redact

#: What a ``map_index_template`` may name.
SOURCE_NAME = "staged_source"

_DEFAULT_TEMPLATE = f"{{{{ {SOURCE_NAME} }}}}"
_IN_CONTEXT = "map_index_template"
# Airflow keeps 250 characters of a rendered name, and a template may add words of its own.
_MAX_CHARACTERS = 120


def name_instance(context: Any, files: Any) -> None:
    """Put the source's name into the context, and a template that shows it if the author gave none.

    Airflow renders the template after the task, also when it fails.
    """
    if context["ti"].map_index < 0:
        return  # and what another task's instances gave isn't read for nothing
    name = source_name(files)
    if name is None:
        return
    names: MutableMapping[str, Any] = context
    names[SOURCE_NAME] = name
    if names.get(_IN_CONTEXT) is None:
        names[_IN_CONTEXT] = _DEFAULT_TEMPLATE


def source_name(files: Any) -> str | None:
    """Return e.g. ``emea``, ``orders-*.csv`` or ``a.csv and 2 more``; None for what isn't there yet, or has no name."""
    found = listed_files(files)
    if not found:
        return None
    name = _last_segment(redact(str(found[0])))
    if not name:
        return None
    others = len(found) - 1
    rest = f" and {others:,} more" if others else ""
    return _shortened(name, _MAX_CHARACTERS - len(rest)) + rest


def _last_segment(path: str) -> str:
    # Before the path of a URI is who reads it, and with which password; its query may be what gives access.
    _, is_uri, after = path.partition("://")
    if is_uri:
        path = after.partition("?")[0].partition("/")[2]
    return path.rstrip("/").rpartition("/")[2]


def listed_files(files: Any) -> list[Any]:
    """Return the paths, globs and directories that ``files`` lists; none if it is a generator, or wrong."""
    from dpone_airflow.operators.rendered import rendered_files

    if not isinstance(files, (str, os.PathLike, Sequence)):
        return []  # what a generator gives is there only once
    if files == "None":
        return []  # the text of a template whose task gave nothing
    try:
        return list(rendered_files(files))
    except InvalidInputError:
        return []  # the stage says what is wrong


def _shortened(name: str, characters: int) -> str:
    """Return ``name`` with its middle left out if it is too long: its end has the number and the format."""
    if len(name) <= characters:
        return name
    kept = characters - 1
    return f"{name[: kept - kept // 2]}…{name[-(kept // 2) :]}"
