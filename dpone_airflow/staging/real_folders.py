"""Folders that a store lists as objects: accounts of Azure with a hierarchical namespace do.

They are there because of what lies in them, so they are neither strays nor extra.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.deletes import folders_of


def without_folders(
    client: ObjectStorageClient, listed: Sequence[ObjectStorageObject], keys: Iterable[str]
) -> Sequence[ObjectStorageObject]:
    """Return what of a listing isn't the folder of one of ``keys``.

    :param keys: of objects that are meant to be there.
    """
    if not listed or not client.may_list_folders:
        return listed
    folders = folders_of(keys)
    return [item for item in listed if item.size_bytes or item.uri.key not in folders]
