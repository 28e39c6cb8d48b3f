"""Files that lie in another store or on another host, found through Airflow's own filesystems.

An ``ObjectStoragePath`` brings its connection; a URI is given one. What is found is opened where it
lies when its turn comes.
https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/objectstorage.html
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, cast

from dpone_airflow.storage.errors import (
    InvalidInputError,
    SourceFileError,
    SourceFileNotFoundError,
    printable_cause,
    redact,
)
from dpone_airflow.storage.remote_file import RemoteFile

# In a URI, a ? begins the query.
_MAGIC = frozenset("*[")


def is_remote(item: Any) -> bool:
    """Return whether an entry of ``files`` is an ``ObjectStoragePath`` or a URI."""
    if isinstance(item, str):
        return "://" in item
    return hasattr(item, "fs") and hasattr(item, "protocol")


def remote_files(item: Any, source_conn_id: str | None) -> Iterator[RemoteFile]:
    """Yield the files that a URI or an ``ObjectStoragePath`` stands for: one, those of a directory, or of a glob.

    Names are made as those of local files: a file keeps its base name, a directory its tree. An empty directory and
    a glob without a match have none: only who knows all entries knows whether there is nothing to stage.

    :param source_conn_id: the connection of a URI; an ``ObjectStoragePath`` has its own.
    :raises InvalidInputError: if Airflow has no filesystem for the URI, or its connection doesn't fit.
    :raises SourceFileError: if what is no glob isn't there, it can't be listed, or it has what is no file: a FIFO, or a
        link to a directory below a directory.
    :raises SourceFileNotFoundError: if it has a link to what isn't there.
    """
    shown = redact(str(item))
    if shown != str(item):
        # Those who read it would quote it, whole or in parts.
        raise InvalidInputError(f"{shown} has a secret in it: put it into a connection, and that into source_conn_id.")
    filesystem, path = _filesystem(item, source_conn_id)
    try:
        found = sorted({where: (name, where, size) for name, where, size in _found(filesystem, path, shown)}.values())
    except OSError as error:
        raise SourceFileError(f"{shown} can't be listed: {_reason(error)}.") from printable_cause(error)
    for name, where, size in found:
        yield RemoteFile(
            file_name=name,
            size_bytes=size,
            open=partial(_open, filesystem, where),
            shown=shown if len(found) == 1 else f"{shown} ({name})",
        )


def _filesystem(item: Any, source_conn_id: str | None) -> tuple[Any, str]:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        given = ObjectStoragePath(item, conn_id=source_conn_id) if isinstance(item, str) else item
        return given.fs, given.path
    except (ValueError, ImportError) as error:
        raise InvalidInputError(
            f"{redact(str(item))} can't be read: {redact(str(error))}. Airflow reads it through the provider of its "
            "scheme and fsspec's package for it; the connection goes into source_conn_id."
        ) from printable_cause(error)


def _found(filesystem: Any, path: str, shown: str) -> Iterator[tuple[str, str, int | None]]:
    """Yield each file's name below ``path``, its own path and its length; again for a directory that ``**`` matches."""
    here = _here(filesystem, path)
    if here is None:
        root = posixpath.dirname(path[: min(path.find(sign) for sign in _MAGIC if sign in path)])
        matches = filesystem.glob(path, detail=True)
    elif here["type"] == "directory":
        root, matches = path, {here["name"]: here}
    else:
        root, matches = posixpath.dirname(path.rstrip("/")), {path.rstrip("/"): here}
    for match, listed in matches.items():
        target = _target(filesystem, match, listed, shown)
        inside = filesystem.find(match, detail=True) if target["type"] == "directory" else {match: target}
        for where, info in inside.items():
            name = posixpath.relpath(_stripped(filesystem, where), _stripped(filesystem, root) or ".")
            yield name, where, _length(_target(filesystem, where, info, shown), where, shown)


def _here(filesystem: Any, path: str) -> dict[str, Any] | None:
    """Return what lies at ``path``, or None if nothing does and it is a glob."""
    try:
        return cast("dict[str, Any]", filesystem.info(path))
    except FileNotFoundError:
        if not _MAGIC & set(path):
            raise
        return None


def _target(filesystem: Any, path: str, listed: dict[str, Any], shown: str) -> dict[str, Any]:
    """Return what an entry of a listing stands for: a link may be listed with a kind and a length of its own."""
    if listed.get("type") in ("file", "directory"):
        return listed
    try:
        return cast("dict[str, Any]", filesystem.info(path))
    except FileNotFoundError:
        raise SourceFileNotFoundError(
            f"{shown} has {redact(path)}, a link to what isn't there: remove it, or name the files without it."
        ) from None


def _length(target: dict[str, Any], path: str, shown: str) -> int | None:
    if target["type"] == "directory":  # a link to one, which may lead round in a circle
        raise SourceFileError(
            f"{shown} has {redact(path)}, a link to a directory: give that directory as an entry of its own."
        )
    if target["type"] == "link":  # its filesystem doesn't follow it before it is opened
        return None
    if target["type"] != "file":
        raise SourceFileError(f"{shown} has {redact(path)}, which is neither a file nor a directory.")
    return target["size"] if isinstance(target.get("size"), int) else None


def _stripped(filesystem: Any, path: str) -> str:
    """Return a path as all of a filesystem's answers have it: without protocol and outer slashes."""
    return cast("str", filesystem._strip_protocol(path)).strip("/")


def _open(filesystem: Any, path: str) -> BinaryIO:
    return cast("BinaryIO", filesystem.open(path, mode="rb"))


def _reason(error: OSError) -> str:
    return "it isn't there" if isinstance(error, FileNotFoundError) else redact(str(error)) or type(error).__name__
