"""``dpone-airflow report``: what became of each run of a base, or of one run, as a page or as JSON."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from dpone_airflow.cli.main import UsageError
from dpone_airflow.cli.report_json import run_as_json, runs_as_json
from dpone_airflow.cli.report_page import run_page, runs_page
from dpone_airflow.cli.store import client_for
from dpone_airflow.staging.plan import EVIDENCE_FOLDER
from dpone_airflow.staging.run_id import check_run_id, safe_run_id
from dpone_airflow.staging.run_records import read_objects
from dpone_airflow.staging.runs import RecordedRuns, read_runs
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import ClaimNotFoundError


def report(args: argparse.Namespace, out: TextIO) -> int:
    """Write the report.

    :param args: base_uri, run, conn_id, storage_options, output and json.
    :param out: where to write without an output file.
    :raises UsageError: if a page is to go to the terminal.
    :raises ClaimNotFoundError: if there is no such run.
    :raises DponeAirflowError: if the evidence can't be read.
    :raises OSError: if the file can't be written.
    """
    if args.output is None and not args.json:
        raise UsageError("say where the page goes with -o report.html, or write --json.")
    run_id = None if args.run is None else check_run_id(safe_run_id(args.run))
    client = client_for(args, args.base_uri)
    runs = read_runs(client, args.base_uri, run_id)
    if run_id is not None and not runs.runs:
        raise ClaimNotFoundError(
            f"There are no records of a run {run_id!r} below {runs.base_uri}/{EVIDENCE_FOLDER}/: check base URI, run "
            "id and connection; the report without --run lists the runs."
        )
    if not runs.runs:
        print(f"There are no records below {runs.base_uri}/{EVIDENCE_FOLDER}/.", file=sys.stderr)
    text = _text(client, runs, one_run=run_id is not None, as_json=args.json)
    if args.output in (None, "-"):
        for chunk in text:
            out.write(chunk)
    else:
        _write(Path(args.output), text)
        print(f"Wrote {args.output}.", file=sys.stderr)
    return 0


def _text(client: ObjectStorageClient, runs: RecordedRuns, *, one_run: bool, as_json: bool) -> Iterable[str]:
    if not one_run:
        return runs_as_json(runs) if as_json else runs_page(runs)
    (run,) = runs.runs
    objects = (
        (part, read_objects(client, part.manifest, part.files or 0)) for part in run.parts if part.manifest is not None
    )
    return run_as_json(runs, run, objects) if as_json else run_page(runs, run, objects)


def _write(path: Path, text: Iterable[str]) -> None:
    """Write a file that appears when it is complete."""
    if path.exists() and not path.is_file():  # a pipe, or /dev/stdout; a directory is refused by open
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(text)
        return
    unfinished = path.with_name(f".{path.name[:100]}.{uuid4().hex}")
    try:
        with unfinished.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(text)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
