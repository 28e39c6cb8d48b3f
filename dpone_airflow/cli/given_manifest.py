"""The manifests that a command line names: stored ones by their URIs, files, or what is piped in."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dpone_airflow.cli.store import Clients
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest
from dpone_airflow.staging.resolve import manifest_of_record, resolve_manifest
from dpone_airflow.storage.errors import InvalidManifestError

STDIN = "-"


def given_manifest(args: argparse.Namespace) -> ObjectStorageStagingManifest:
    """Return the manifest that is named; several of one run's parts are merged.

    A file may hold what a stage task returns, with its objects or as a pointer, a list of these, or a
    copy of a ``manifest.json``.

    :param args: manifest, conn_id and storage_options.
    :raises InvalidManifestError: if it is none.
    :raises ConnectionMismatchError: if the connection makes no client for a stored one.
    :raises StorageError: if a stored one can't be read.
    :raises OSError: if a file can't be read.
    """
    return resolve_manifest([_named(name) for name in args.manifest], Clients(args))


def _named(name: str) -> Any:
    if "://" in name:
        return name
    where = "stdin" if name == STDIN else name
    try:
        found = json.loads(sys.stdin.read() if name == STDIN else Path(name).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError(
            f"{where} is no JSON ({type(error).__name__}): give a manifest as a stage task returns it, or the URI of a "
            "stored one."
        ) from error
    return manifest_of_record(where, found) if isinstance(found, dict) and "kind" in found else found
