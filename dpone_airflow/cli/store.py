"""From the arguments of a command to the store's client."""

from __future__ import annotations

import argparse
import json
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

from dpone_airflow.cli.main import UsageError
from dpone_airflow.hooks.object_storage import ObjectStorageHook
from dpone_airflow.staging.choices import Engine
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import ConnectionMismatchError, DponeAirflowError, printable_cause, redact

# Records and objects are read and deleted by small requests: it is their number that takes the time.
_MAX_CONCURRENCY = 16


def hook_for(args: argparse.Namespace, engine: Engine = "sdk") -> ObjectStorageHook:
    """Return what has the clients.

    :param args: conn_id and storage_options.
    :param engine: what uploads; a command that writes records alone needs nothing but the SDK.
    :raises UsageError: if the storage options are no JSON object.
    """
    return ObjectStorageHook(args.conn_id, _storage_options(args), engine=engine, max_concurrency=_MAX_CONCURRENCY)


class Clients:
    """The clients of a command: whatever keeps one from being made is told in one line.

    :param args: conn_id and storage_options.
    :raises UsageError: if the storage options are no JSON object.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._hook = hook_for(args)

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        """Return the client for a URI.

        :raises DponeAirflowError: if URI, connection and options don't fit each other, or the hook can't use them.
        """
        try:
            return self._hook.get_client(base_uri)
        except (DponeAirflowError, AirflowException, OSError):
            raise  # these are told in one line
        except Exception as error:  # noqa: BLE001 - whatever the official hook makes of a setting that it can't use
            raise ConnectionMismatchError(
                f"The connection makes no client for {base_uri} ({type(error).__name__}: {redact(str(error))}): "
                "correct it; dpone-airflow doctor says more."
            ) from printable_cause(error)


def client_for(args: argparse.Namespace, uri: str) -> ObjectStorageClient:
    """Return the client for a URI.

    :param args: conn_id and storage_options.
    :raises UsageError: if the storage options are no JSON object.
    :raises DponeAirflowError: if URI, connection and options don't fit each other, or the hook can't use them.
    """
    return Clients(args).get_client(uri)


def _storage_options(args: argparse.Namespace) -> dict[str, Any] | None:
    if args.storage_options is None:
        return None
    try:
        options = json.loads(args.storage_options)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise UsageError('--storage-options takes a JSON object, as \'{"RequestPayer": "requester"}\'.')
    return options
