"""What a loader is given: a manifest, its dict or a list of parts, checked for the warehouse at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.resolve import resolve_manifest
from dpone_airflow.storage.errors import InvalidManifestError, InvalidOptionError, NotLoadableError
from dpone_airflow.storage.uri import ObjectStorageProvider

T = TypeVar("T")

ANY_STORE = tuple(ObjectStorageProvider)


def loadable(
    value: Any, target: str, providers: Collection[ObjectStorageProvider] = ANY_STORE
) -> ObjectStorageStagingManifest:
    """Return the one manifest that ``value`` stands for.

    :param value: a manifest, its dict, or a list of the manifests of a run's parts.
    :param target: what is to load it, as messages call it.
    :param providers: the stores that the target loads from.
    :raises InvalidManifestError: if it is none, if parts don't belong together, or if it is a pointer.
    :raises NotLoadableError: if it has no objects, or lies in a store that the target doesn't load from.
    """
    manifest = resolve_manifest(value, _NoStore(target))
    if manifest.provider not in providers:
        takes = " and ".join(repr(str(provider)) for provider in providers)
        raise NotLoadableError(
            f"{target} loads from {takes}, and {manifest.prefix}/ is {str(manifest.provider)!r}: stage to a base_uri "
            f"that {target} can read."
        )
    if not manifest.objects:
        raise NotLoadableError(
            f"The manifest of {manifest.prefix}/ has no objects, so {target} has nothing to load: skip the load."
        )
    return manifest


def refuse_names_with(characters: str, manifest: ObjectStorageStagingManifest, target: str, *, because: str) -> None:
    """Refuse object keys with one of ``characters``, which the target reads as something else.

    :raises NotLoadableError: naming the first such object.
    """
    for item in manifest.objects:
        # The scheme and the bucket have none of the characters that are ever asked for.
        found = next((character for character in item.uri if character in characters), None)
        if found is not None:
            raise NotLoadableError(
                f"{target} can't load exactly {item.uri}: {because} {found!r}. Rename the file, or the base_uri, "
                "and stage it anew."
            )


def has_hive_folders(manifest: ObjectStorageStagingManifest) -> bool:
    """Return whether a folder of any object's key has a ``=``: engines read ``dt=2026-11-22/`` as a column ``dt``."""
    # The scheme and the bucket have none.
    return any("=" in item.uri.rpartition("/")[0] for item in manifest.objects)


def in_batches(names: list[T], size: int, most: int, target: str) -> list[list[T]]:
    """Return ``names`` in lists of ``size``.

    :raises InvalidOptionError: unless ``size`` is from 1 to what the target takes at most.
    """
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
        raise InvalidOptionError(f"size is {size!r}: {target} takes 1 to {most} files at a time.")
    return [names[start : start + size] for start in range(0, len(names), size)]


def at_once(names: list[T], most: int, target: str, *, instead: str) -> list[T]:
    """Return ``names`` if the target takes so many.

    :param instead: the function that splits them.
    :raises NotLoadableError: if it doesn't.
    """
    if len(names) > most:
        raise NotLoadableError(f"{target} takes {most} files at a time and these are {len(names)}: use {instead}.")
    return names


def chosen(words: Mapping[str, T], word: str, *, what: str, target: str) -> T:
    """Return what a word of the manifest means to the target.

    :raises NotLoadableError: naming those that the target knows.
    """
    if word not in words:
        *others, last = map(repr, words)
        known = f"{', '.join(others)} and {last}" if others else last
        raise NotLoadableError(f"{what} is {word!r}: for {target} this package knows {known}.")
    return words[word]


def option_texts(options: Iterable[str]) -> list[str]:
    """Return options of an SQL command, each a text.

    :raises InvalidOptionError: for a single text in place of a list, or anything that isn't text.
    """
    texts = [] if isinstance(options, str) else list(options)
    if isinstance(options, str) or not all(isinstance(text, str) for text in texts):
        raise InvalidOptionError(f"options is {options!r}: give a list of texts.")
    return texts


class _NoStore:
    """Stands where a hook would: the functions here connect nowhere."""

    def __init__(self, target: str) -> None:
        self._target = target

    def get_client(self, base_uri: str) -> NoReturn:
        raise InvalidManifestError(
            f"The manifest for {self._target} is only the place of a stored one, {base_uri}: read it with "
            "resolve_manifest(value, ObjectStorageHook(conn_id)) and give what that returns, or use the macro."
        )
