"""``dpone-airflow cleanup``: what one run has staged, shown and, with ``--yes``, deleted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TextIO

from dpone_airflow.cli.again import line_again
from dpone_airflow.cli.person import person_at_work
from dpone_airflow.cli.shown import shown_age, shown_bytes
from dpone_airflow.cli.store import client_for
from dpone_airflow.cli.table import bounded, counted, fields, line
from dpone_airflow.staging.cleanup import CleanupReport, clean_up_run, refuse_retained
from dpone_airflow.staging.deletion import DeletionLimits
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.staging.run_id import check_part, check_run_id, safe_run_id
from dpone_airflow.staging.runs import RecordedPart, RecordedRun, RecordedRuns, RunState, read_runs
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import ClaimError, DeleteIncompleteError


def cleanup(args: argparse.Namespace, out: TextIO) -> int:
    """Print what a cleanup of the run would delete; with ``--yes``, delete it.

    :param args: base_uri, run_id, part, max_objects, max_bytes, include_retained, conn_id, storage_options, all, yes
        and json.
    :raises ClaimNotFoundError: if nobody claimed the run.
    :raises RetainedRunError: if it is to be kept, without ``--include-retained``.
    :raises ClaimError: if its claim can't be read; or, without ``--include-retained``, another record that may say
        that it is to be kept.
    :raises DeletionLimitError: if there is more than the limits allow; nothing was deleted.
    :raises DeleteIncompleteError: naming what is left; all of it is printed first.
    :raises DponeAirflowError: if run, connection or store are otherwise not right.
    """
    run_id, part = check_run_id(safe_run_id(args.run_id)), check_part(args.part)
    client = client_for(args, args.base_uri)
    limits = DeletionLimits(args.max_objects, args.max_bytes)
    runs = read_runs(client, args.base_uri, run_id)
    if not args.include_retained:
        for run in runs.runs:
            # The stage that wrote the manifest may have had another policy than the one that claimed the run.
            wanted = [recorded for recorded in run.parts if part in (None, recorded.part)]
            refuse_retained(run.prefix, [recorded.fields["cleanup_policy"] for recorded in wanted])
            _refuse_unknown_policy(client, args.base_uri, run, wanted, part)
    try:
        report = clean_up_run(
            client,
            args.base_uri,
            run_id,
            policy=None,
            include_retained=args.include_retained,
            part=part,
            limits=limits,
            dry_run=not args.yes,
            by=person_at_work(args),
        )
    except DeleteIncompleteError as error:
        out.writelines(_left(error.left, args))
        raise
    if args.json:
        listed = [{"uri": str(item.uri), "size_bytes": item.size_bytes} for item in report.objects]
        json.dump({**report.to_dict(), "objects": listed}, out, indent=1)
        out.write("\n")
    elif args.yes:
        out.write(line(f"{_what_was_done(report)} below {report.prefix}"))
    else:
        out.writelines(_dry_run(args, runs, report))
    return 0


def _refuse_unknown_policy(
    client: ObjectStorageClient, base_uri: str, run: RecordedRun, wanted: Iterable[RecordedPart], part: str | None
) -> None:
    """Refuse to delete what a record may say to keep that can't be read.

    :param wanted: the parts that would go.
    :param part: the one that was named; None for the whole run.
    """
    own_claim = StagingEvidence(client, base_uri, run.run_id, part).claim_uri  # the cleanup reads that one itself
    for recorded in wanted:
        evidence = StagingEvidence(client, base_uri, run.run_id, recorded.part)
        telling = {str(evidence.claim_uri), str(evidence.manifest_uri)} - {str(own_claim)}
        for record in recorded.unreadable:
            if record.uri in telling:
                raise ClaimError(
                    f"{record.uri} {record.reason}. It may say that {run.prefix} is to be kept, so nothing was "
                    "deleted: read it with the version that wrote it, or give --include-retained if what is there "
                    "shall go whatever it says."
                )


def _dry_run(args: argparse.Namespace, runs: RecordedRuns, report: CleanupReport) -> Iterator[str]:
    (run,) = runs.runs
    age = None if run.since is None else shown_age((runs.at - run.since).total_seconds())
    yield from fields(
        [("prefix", report.prefix), ("policy", report.cleanup_policy), ("state", run.state), ("age", age)]
    )
    yield "\n"
    if report.objects:
        rows = [(item.size_bytes, item.uri) for item in report.objects]
        yield from bounded(("bytes", "object"), rows, all_rows=args.all, right=("bytes",))
        yield "\n"
    if _may_be_at_work(run):
        yield "This run has no manifest: look first that its stage isn't at work.\n"
    yield line(f"{_what_was_done(report)} below {report.prefix}")
    yield "Nothing was deleted. To do it:\n"
    yield f"{line_again(args, '--yes')}\n"


def _may_be_at_work(run: RecordedRun) -> bool:
    return any(part.state is RunState.STAGING for part in run.parts)


def _what_was_done(report: CleanupReport) -> str:
    """Return the beginning of a sentence that ends with the prefix."""
    hidden = counted(report.hidden_objects, "object")
    size = shown_bytes(report.hidden_bytes)
    if report.hidden_objects:
        how = "would hide" if report.dry_run else "hid"
        said = f"{how} {hidden}, {size} (the bucket keeps versions, which are billed until a lifecycle rule ends them),"
    else:
        how = "would delete" if report.dry_run else "deleted"
        said = f"{how} {counted(report.deleted_objects, 'object')}, {shown_bytes(report.deleted_bytes)},"
    return f"{said[0].upper()}{said[1:]}"


def _left(left: Mapping[str, str], args: argparse.Namespace) -> Iterator[str]:
    if args.json:
        yield f"{json.dumps({'outcome': 'incomplete', 'left': dict(left)}, indent=1)}\n"
        return
    yield from bounded(("not deleted", "why"), list(left.items()), all_rows=args.all)
