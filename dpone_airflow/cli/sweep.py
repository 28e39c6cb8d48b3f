"""``dpone-airflow sweep``: the old runs of a base, shown and, with ``--yes``, deleted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TextIO

from dpone_airflow.cli.again import line_again
from dpone_airflow.cli.person import person_at_work
from dpone_airflow.cli.shown import shown_bytes
from dpone_airflow.cli.store import client_for
from dpone_airflow.cli.table import bounded, counted, fields, line
from dpone_airflow.staging.durations import duration_text, parse_duration
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.staging.sweep_report import SweepReport, SweptEvidence, SweptRun

_COLUMNS = ("run id", "state", "policy", "why", "newest", "objects", "size")
_FIGURES = ("objects", "size", "records")


def sweep(args: argparse.Namespace, out: TextIO) -> int:
    """Print what a sweep would delete; with ``--yes``, delete it and print what went.

    :param args: base_uri, older_than, overdue_after, evidence_older_than, include_retained, max_runs, max_objects,
        max_bytes, allow_bucket_root, conn_id, storage_options, all, yes and json.
    :raises InvalidOptionError: for a length of time, a ceiling or a base that a sweep refuses.
    :raises SweepIncompleteError: if runs could not be swept; all that happened is printed first.
    :raises DponeAirflowError: if base, connection or store are otherwise not right.
    """
    report = sweep_base(
        client_for(args, args.base_uri),
        args.base_uri,
        older_than=parse_duration("--older-than", args.older_than),
        overdue_after=_duration("--overdue-after", args.overdue_after),
        evidence_older_than=_duration("--evidence-older-than", args.evidence_older_than),
        dry_run=not args.yes,
        include_retained=args.include_retained,
        max_runs=args.max_runs,
        max_objects=args.max_objects,
        max_bytes=args.max_bytes,
        allow_bucket_root=args.allow_bucket_root,
        by=person_at_work(args),
    )
    if args.json:
        json.dump(report.to_dict(), out, indent=1)
        out.write("\n")
    else:
        out.writelines(_text(report, all_rows=args.all))
        if report.dry_run and (report.swept or report.evidence or report.aborted_uploads):
            out.write(f"Nothing was deleted. To do it:\n{line_again(args, '--yes')}\n")
    out.flush()
    report.check()
    return 0


def _duration(name: str, value: str | None) -> timedelta | None:
    return None if value is None else parse_duration(name, value)


def _text(report: SweepReport, *, all_rows: bool) -> Iterator[str]:
    rules = report.rules
    yield from fields(
        [
            ("base", report.base_uri),
            ("older than", duration_text(rules.older_than)),
            ("overdue after", duration_text(rules.overdue_after) if rules.overdue_after else None),
            ("evidence older than", duration_text(rules.evidence_older_than) if rules.evidence_older_than else None),
            ("looked at", counted(report.runs, "run")),
            ("left as they are", ", ".join(f"{count:,} {why}" for why, count in sorted(report.kept.items())) or None),
        ]
    )
    if report.swept:
        yield "\n"
        yield from bounded(_COLUMNS, [_row(run) for run in report.swept], all_rows=all_rows, right=_FIGURES)
    if report.postponed:
        yield "\nPostponed, by the ceiling that each would pass:\n"
        postponed = [(*_row(run), ceiling) for run, ceiling in report.postponed]
        yield from bounded((*_COLUMNS, "ceiling"), postponed, all_rows=all_rows, right=_FIGURES)
    if report.evidence:
        yield "\nEvidence of runs without objects:\n"
        evidence = [_evidence_row(item) for item in report.evidence]
        yield from bounded(("run id", "newest", "records", "size"), evidence, all_rows=all_rows, right=_FIGURES)
    for title, names in (
        ("Claimed by nobody, never touched", [(name,) for name in report.unclaimed]),
        ("Unreadable, not touched", [(f"{record.uri} {record.reason}",) for record in report.unreadable]),
        ("Not swept", list(report.failures.items())),
    ):
        if names:
            yield f"\n{title}:\n"
            columns = ("run id", "why") if len(names[0]) == 2 else ("where",)
            yield from bounded(columns, names, all_rows=all_rows)
    if report.uploads_unknown:
        yield f"\n{line(f'Unfinished uploads are not known: {report.uploads_unknown}')}"
    yield "\n"
    yield from _what_was_done(report)


def _row(run: SweptRun) -> tuple[object, ...]:
    newest = f"{run.newest:%Y-%m-%d %H:%M}"
    return run.run_id, run.state, run.policy, run.reason, newest, run.objects, shown_bytes(run.size_bytes)


def _evidence_row(item: SweptEvidence) -> tuple[object, ...]:
    return item.run_id, f"{item.newest:%Y-%m-%d %H:%M}", item.records, shown_bytes(item.size_bytes)


def _what_was_done(report: SweepReport) -> Iterator[str]:
    said = "Would delete" if report.dry_run else "Deleted"
    totals, counts = report.totals(), report.counts()
    what = (
        f"{counted(totals['runs'], 'run')} with {counted(totals['objects'], 'object')}, {shown_bytes(totals['bytes'])}"
    )
    yield f"{said} {what}.\n"
    if totals["hidden_objects"]:
        hidden = f"{counted(totals['hidden_objects'], 'object')}, {shown_bytes(totals['hidden_bytes'])}"
        yield f"Of these the bucket keeps {hidden}, as older versions, billed until a lifecycle rule ends them.\n"
    if counts["evidence"]:
        records = f"{counted(counts['evidence_records'], 'record')} of {counted(counts['evidence'], 'run')}"
        yield f"{said} {records}, {shown_bytes(counts['evidence_bytes'])}.\n"
    if counts["aborted_uploads"]:
        uploads = counted(counts["aborted_uploads"], "unfinished upload")
        yield f"{'Would abort' if report.dry_run else 'Aborted'} {uploads}.\n"
    if counts["postponed_evidence"]:
        yield f"Postponed the evidence of {counted(counts['postponed_evidence'], 'run')}, by a ceiling.\n"
