"""The local emulator as an Airflow connection."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseHook

from dpone_airflow.hooks.local_form import (
    CONNECTION_TYPE,
    HOOK_NAME,
    ROOT_DIR,
    field_behaviour,
    form_widgets,
)
from dpone_airflow.storage.client import DEFAULT_MAX_CONCURRENCY
from dpone_airflow.storage.errors import ConnectionMismatchError, DponeAirflowError, redact
from dpone_airflow.storage.local import LocalObjectStorageClient

_PROBE_BASE = "s3://dpone-connection-test"


class LocalObjectStorageHook(BaseHook):
    """A directory that stands for S3, Google Cloud Storage and Azure Blob Storage alike.

    The directory comes from the connection's extra ``root_dir``. A DAG runs against it unchanged:
    only its connection is another.
    https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html#custom-connection-types

    :param dpone_local_conn_id: the connection, of type ``dpone_local_object_storage``.
    """

    conn_name_attr = "dpone_local_conn_id"
    default_conn_name = "dpone_local_default"
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME

    def __init__(self, dpone_local_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dpone_local_conn_id = dpone_local_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the form, by name; from Airflow 3.2 on the provider's metadata are read instead."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return ``hidden_fields``, ``relabeling`` and ``placeholders`` of the form before Airflow 3.2."""
        return field_behaviour()

    def get_conn(self, *, max_concurrency: int = DEFAULT_MAX_CONCURRENCY) -> LocalObjectStorageClient:
        """Return the emulator; the directory is made when something is written.

        :param max_concurrency: files written at the same time, from 1; by default 8.
        :raises InvalidOptionError: for a ``max_concurrency`` below 1.
        :raises ConnectionMismatchError: if the connection has no ``root_dir``.
        """
        extra = self.get_connection(self.dpone_local_conn_id).extra_dejson
        root_dir = extra.get(ROOT_DIR)
        if not root_dir or not isinstance(root_dir, str):
            raise ConnectionMismatchError(
                f"Connection {self.dpone_local_conn_id!r} has no {ROOT_DIR!r}: write the directory that holds the "
                f'buckets into its extra, as {{"{ROOT_DIR}": "/var/lib/airflow/object-storage"}}.'
            )
        return LocalObjectStorageClient(root_dir=root_dir, max_concurrency=max_concurrency)

    def test_connection(self) -> tuple[bool, str]:
        """Try a sentinel below the root directory, as the Test button does, and say how much room there is.

        :returns: whether it could be written, created, listed, read and deleted; and a text that says so, or what
            failed.
        """
        from dpone_airflow.staging.check import summary
        from dpone_airflow.staging.doctor import diagnose

        try:
            client = self.get_conn()
            checks = diagnose(client, _PROBE_BASE, short=True)
        except DponeAirflowError as error:
            return False, redact(str(error))
        return summary(checks, f"Objects can be written, read and deleted below {client.root_dir}.")
