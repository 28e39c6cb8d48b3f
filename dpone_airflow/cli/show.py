"""``dpone-airflow show``: what a manifest says, to read or as JSON; nothing but the manifest is read."""

from __future__ import annotations

import argparse
import json
from typing import TextIO

from dpone_airflow.cli.given_manifest import given_manifest
from dpone_airflow.cli.shown import shown_bytes
from dpone_airflow.cli.table import bounded, counted, fields


def show(args: argparse.Namespace, out: TextIO) -> int:
    """Print a manifest.

    :param args: manifest, conn_id, storage_options, all and json.
    :raises InvalidManifestError: if it is none.
    :raises StorageError: if a stored one can't be read.
    :raises OSError: if a file can't be read.
    """
    manifest = given_manifest(args)
    if args.json:
        json.dump(manifest.to_dict(), out, indent=1)
        out.write("\n")
        return 0
    out.writelines(
        fields(
            [
                ("prefix", f"{manifest.prefix}/"),
                ("run id", manifest.run_id),
                ("part", manifest.part),
                ("dataset", manifest.dataset),
                ("table", manifest.table),
                ("format", manifest.file_format),
                ("compression", manifest.compression),
                ("policy", manifest.cleanup_policy),
                ("size", f"{counted(manifest.object_count, 'object')}, {shown_bytes(manifest.total_size_bytes)}"),
            ]
        )
    )
    out.write("\n")
    rows = [(item.size_bytes, item.sha256, item.file_name) for item in manifest.objects]
    out.writelines(bounded(("bytes", "sha-256", "object"), rows, all_rows=args.all, right=("bytes",)))
    return 0
