"""``dpone-airflow verify``: whether the store still holds what a manifest says, each difference by name."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TextIO

from dpone_airflow.cli.given_manifest import given_manifest
from dpone_airflow.cli.person import person_at_work
from dpone_airflow.cli.shown import shown_bytes
from dpone_airflow.cli.store import client_for
from dpone_airflow.cli.table import bounded, counted, line
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.progress import Progress, ProgressSnapshot
from dpone_airflow.staging.verify import VerifyReport, advice, compare_staged
from dpone_airflow.storage.errors import ClaimNotFoundError


def verify(args: argparse.Namespace, out: TextIO) -> int:
    """Compare the store with a manifest and print what is different; return 1 if anything is.

    :param args: manifest, mode, no_record, conn_id, storage_options, all and json.
    :raises InvalidManifestError: if it is no manifest.
    :raises ClaimNotFoundError: if nobody claimed its run, without ``--no-record``; nothing was compared.
    :raises ClaimError: if the claim can't be read, likewise.
    :raises StorageError: if the store refuses or fails, also when the outcome can't be recorded: it is printed first.
    :raises OSError: if a file can't be read.
    """
    manifest = given_manifest(args)
    client = client_for(args, manifest.base_uri)
    if not args.no_record:
        _refuse_unclaimed(StagingEvidence(client, manifest.base_uri, manifest.run_id))
    report = compare_staged(client, manifest, args.mode, progress=_progress)
    if args.json:
        json.dump(report.to_dict(), out, indent=1)
        out.write("\n")
    else:
        out.writelines(_text(report, all_rows=args.all))
        if not report.agrees:
            out.write(f"\n{line(advice(client, manifest, report))}")
    out.flush()
    if not args.no_record:
        by = person_at_work(args)
        StagingEvidence(client, manifest.base_uri, manifest.run_id, manifest.part, by=by).write_verify(report.to_dict())
    return 0 if report.agrees else 1


def _refuse_unclaimed(evidence: StagingEvidence) -> None:
    """Refuse to record a verify of what nobody has staged: the record would make a run of it."""
    if evidence.read_claim() is None:
        raise ClaimNotFoundError(
            f"No stage has claimed {evidence.prefix}/ (there is no {evidence.claim_uri}), so nothing was verified and "
            "nothing recorded: check the manifest and --conn-id, and whether somebody removed the evidence, or give "
            "--no-record to compare all the same."
        )


def _text(report: VerifyReport, *, all_rows: bool) -> list[str]:
    how = f"every byte read back ({shown_bytes(report.read_bytes)})" if report.mode == "sha256" else "one listing"
    compared = f"{counted(report.object_count, 'object')}, {shown_bytes(report.total_size_bytes)}, compared by {how}"
    if report.agrees:
        return [line(f"{report.prefix} holds what the manifest says: {compared}.")]
    rows = [("missing", uri, "") for uri in report.missing]
    rows += [("extra", uri, "") for uri in report.extra]
    rows += [("changed", uri, what) for uri, what in report.changed.items()]
    found = ", ".join(
        f"{len(things):,} {kind}"
        for kind, things in (("missing", report.missing), ("extra", report.extra), ("changed", report.changed))
        if things
    )
    return [
        line(f"{report.prefix} doesn't hold what the manifest says: {found}; {compared}."),
        "\n",
        *bounded(("found", "object", "what is different"), rows, all_rows=all_rows),
    ]


def _progress(what: str, files_total: int, bytes_total: int) -> Progress:
    def report(snapshot: ProgressSnapshot) -> None:
        print(f"{snapshot.what}: {snapshot}", file=sys.stderr)

    return Progress(what, files_total, bytes_total, report)
