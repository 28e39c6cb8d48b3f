"""What template rendering and XComs make of an argument."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import InvalidInputError, InvalidManifestError


def rendered_files(files: Any) -> list[str | os.PathLike[str]]:
    """Return the paths, globs and directories that a rendered ``files`` stands for.

    A template renders a list to its text (``"['/a', '/b']"``), a mapped upstream task gives one
    entry an instance, each a path or a list of paths, and a task without a result gives None.

    :raises InvalidInputError: for anything that isn't paths.
    """
    if files is None:
        return []
    if isinstance(files, os.PathLike):
        return [files]
    if isinstance(files, str):
        listed = _literal(files) if files.lstrip().startswith(("[", "(")) else None
        return rendered_files(listed) if isinstance(listed, (list, tuple)) else [files]
    if isinstance(files, Mapping) or not isinstance(files, Iterable):
        raise InvalidInputError(
            f"files is {type(files).__name__}: give a path, a glob, a directory, or a list of them."
        )
    found: list[str | os.PathLike[str]] = []
    for item in files:
        found.extend(rendered_files(item))
    return found


def rendered_manifests(value: Any) -> list[ObjectStorageStagingManifest]:
    """Return the manifests in an XCom: none, one, or one for each mapped instance.

    :raises InvalidManifestError: for anything else.
    """
    if value is None:
        return []
    if isinstance(value, str):
        parsed = _literal(value)
        if parsed is None and value.strip() not in ("None", "null", ""):
            raise InvalidManifestError(f"The manifest is the text {value[:80]!r}, which is no JSON object.")
        return rendered_manifests(parsed)
    if isinstance(value, Mapping):
        return [ObjectStorageStagingManifest.from_dict(value)]
    if not isinstance(value, Iterable):
        raise InvalidManifestError(f"The manifest is {type(value).__name__}: give the output of a stage task.")
    return [manifest for item in value for manifest in rendered_manifests(item)]


def _literal(text: str) -> Any:
    """Return what a rendered JSON or Python literal stands for, or None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None
