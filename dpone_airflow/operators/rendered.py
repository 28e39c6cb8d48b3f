"""What template rendering and XComs make of an argument."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from dpone_airflow.operators.mapped_outputs import some_at_a_time
from dpone_airflow.storage.errors import InvalidInputError


def rendered_files(files: Any) -> list[str | os.PathLike[str]]:
    """Return the paths, globs and directories that a rendered ``files`` stands for.

    A template renders a list to its text (``"['/a', '/b']"``), a mapped upstream task gives one
    entry an instance, each a path or a list of paths, and a task without a result gives None.

    :raises InvalidInputError: for anything that isn't paths.
    """
    if files is None:
        return []
    if isinstance(files, os.PathLike) or hasattr(files, "fs"):  # an ObjectStoragePath is no PathLike everywhere
        return [files]
    if isinstance(files, str):
        listed = _literal(files) if files.lstrip().startswith(("[", "(")) else None
        return rendered_files(listed) if isinstance(listed, (list, tuple)) else [files]
    if isinstance(files, Mapping) or not isinstance(files, Iterable):
        raise InvalidInputError(
            f"files is {type(files).__name__}: give a path, a glob, a directory, or a list of them."
        )
    found: list[str | os.PathLike[str]] = []
    for item in some_at_a_time(files):
        found.extend(rendered_files(item))
    return found


def _literal(text: str) -> Any:
    """Return what a rendered JSON or Python literal stands for, or None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None
