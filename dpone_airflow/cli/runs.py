"""``dpone-airflow runs``: the runs of a base as a table, or as JSON in the form of the report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

from dpone_airflow.cli.main import UsageError
from dpone_airflow.cli.report_json import runs_as_json
from dpone_airflow.cli.shown import shown_age, shown_bytes
from dpone_airflow.cli.store import client_for
from dpone_airflow.cli.table import counted, line, table
from dpone_airflow.staging.durations import parse_duration
from dpone_airflow.staging.plan import EVIDENCE_FOLDER
from dpone_airflow.staging.runs import RecordedRun, RecordedRuns, RunState, read_runs

_FIGURES = ("age", "files", "size", "left")
_WRITER = ("dag_id", "task_id")


def runs(args: argparse.Namespace, out: TextIO) -> int:
    """Print the runs of a base, the newest first.

    :param args: base_uri, state, older_than, conn_id, storage_options and json.
    :raises UsageError: for a state that no run can have.
    :raises InvalidOptionError: if older_than isn't a length of time.
    :raises DponeAirflowError: if the evidence can't be read.
    """
    unknown = sorted(set(args.state or ()) - set(RunState))
    if unknown:
        raise UsageError(f"--state {unknown[0]!r} is none: write {', '.join(RunState)}.")
    older_than = None if args.older_than is None else parse_duration("--older-than", args.older_than)
    found = read_runs(client_for(args, args.base_uri), args.base_uri)
    wanted = tuple(
        run
        for run in found.runs
        if (not args.state or run.state in args.state)
        and (older_than is None or (run.since is not None and found.at - run.since > older_than))
    )
    out.writelines(runs_as_json(replace(found, runs=wanted)) if args.json else _text(found, wanted))
    return 0


def _text(found: RecordedRuns, wanted: tuple[RecordedRun, ...]) -> Iterator[str]:
    if not found.runs:
        yield line(f"There are no records below {found.base_uri}/{EVIDENCE_FOLDER}/.")
        return
    columns = ("run id", "state", "age", "files", "size", "left", "policy", "staged by")
    yield from table(columns, (_row(found, run) for run in wanted), right=_FIGURES)
    of_all = "" if len(wanted) == len(found.runs) else f" of {len(found.runs):,}"
    size = sum(run.size_bytes or 0 for run in wanted)
    left = sum(run.left_bytes for run in wanted)
    yield f"\n{counted(len(wanted), 'run')}{of_all}, {shown_bytes(size)} staged, {shown_bytes(left)} left\n"
    for run in wanted:
        for record in run.unreadable:
            yield line(f"unreadable: {record.uri} {record.reason}")


def _row(found: RecordedRuns, run: RecordedRun) -> tuple[object, ...]:
    writer = [run.writer[name] for name in _WRITER if run.writer.get(name)]
    return (
        run.run_id,
        run.state,
        None if run.since is None else shown_age((found.at - run.since).total_seconds()),
        run.files,
        None if run.size_bytes is None else shown_bytes(run.size_bytes),
        shown_bytes(run.left_bytes),
        run.field("cleanup_policy"),
        " / ".join(writer) or None,
    )
