"""The link "Staged files" of a task: to the run prefix, or the part, in the store's own console.

Airflow 3 shows what lies in the XCom ``dpone_staged_files``, Airflow 2.11 asks ``get_link``. The task
pushes the address before its first byte, so the link is there while it runs and when it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, Context

if TYPE_CHECKING:
    from dpone_airflow.hooks.object_storage import ObjectStorageHook
    from dpone_airflow.storage.client import ObjectStorageClient
    from dpone_airflow.storage.uri import ObjectStorageUri

STAGED_FILES_XCOM_KEY = "dpone_staged_files"


class StagedFilesLink(BaseOperatorLink):
    """Leads to what a task has staged; there is none for a server that has no console of its own."""

    name = "Staged files"

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return STAGED_FILES_XCOM_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address that the task pushed; empty if it never came so far, or there is none."""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


def push_link(context: Context, hook: ObjectStorageHook, client: ObjectStorageClient, prefix: ObjectStorageUri) -> None:
    """Push the address of ``prefix``, if something can show it."""
    url = browsable_url(hook, client, prefix)
    if url is not None:
        context["ti"].xcom_push(key=STAGED_FILES_XCOM_KEY, value=url)


def browsable_url(hook: ObjectStorageHook, client: ObjectStorageClient, prefix: ObjectStorageUri) -> str | None:
    """Return the address of ``prefix``: in a cloud's console, or the folder of the emulator.

    That is below the connection's ``browse_url``, and without one a ``file://`` URL, which Airflow 3 doesn't show.
    """
    from dpone_airflow.links.console import console_url
    from dpone_airflow.storage.local import LocalObjectStorageClient

    if isinstance(client, LocalObjectStorageClient):
        folder = client.path_of(prefix)
        shown_at = hook.browse_url(prefix)
        if shown_at is None:
            return folder.as_uri()
        return f"{shown_at.rstrip('/')}/{quote(folder.relative_to(client.root_dir).as_posix())}/"
    return console_url(prefix, client.endpoint_url, storage_account_id=hook.storage_account_id(prefix))
