"""Floor 3: an Airflow connection and a URI become a storage client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpone_airflow.hooks.local import LocalObjectStorageHook
    from dpone_airflow.hooks.object_storage import ObjectStorageHook

__all__ = ["LocalObjectStorageHook", "ObjectStorageHook"]


def __getattr__(name: str) -> object:
    # Airflow reads the form of the emulator's connection without importing a hook.
    if name == "LocalObjectStorageHook":
        from dpone_airflow.hooks.local import LocalObjectStorageHook

        return LocalObjectStorageHook
    if name == "ObjectStorageHook":
        from dpone_airflow.hooks.object_storage import ObjectStorageHook

        return ObjectStorageHook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
