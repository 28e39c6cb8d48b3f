"""A report as JSON: the keys that ``docs/report.md`` names, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from dpone_airflow.staging.run_records import UnreadableRecord
from dpone_airflow.staging.runs import RecordedPart, RecordedRun, RecordedRuns

REPORT_VERSION = 1
_OBJECT = ("file_name", "uri", "size_bytes", "sha256", "content_type", "etag")
#: Each part that has a manifest, with its objects as they are read.
Objects = Iterable[tuple[RecordedPart, Iterable[dict[str, Any] | UnreadableRecord]]]


def runs_as_json(runs: RecordedRuns) -> Iterator[str]:
    """Yield the report of all runs of a base, a run a line."""
    head = _head("runs", runs) | {
        "totals": runs.totals(),
        "days": [
            {"day": day.isoformat(), "files": files, "size_bytes": size_bytes}
            for day, (files, size_bytes) in runs.days().items()
        ],
    }
    yield f'{json.dumps(head)[:-1]}, "runs": ['
    yield from _lines(run.to_dict(runs.at) for run in runs.runs)
    yield "]}\n"


def run_as_json(runs: RecordedRuns, run: RecordedRun, objects: Objects) -> Iterator[str]:
    """Yield the report of one run, an object a line."""
    unreadable: list[dict[str, str]] = [record.to_dict() for record in run.unreadable]

    def entries() -> Iterator[dict[str, Any]]:
        for part, staged in objects:
            for item in staged:
                if isinstance(item, UnreadableRecord):
                    unreadable.append(item.to_dict())
                else:
                    yield {"part": part.part} | {key: _plain(item.get(key)) for key in _OBJECT}

    said = run.to_dict(runs.at)
    del said["unreadable"]
    head = _head("run", runs) | {"run": said | {"parts": [part.to_dict() for part in run.parts]}}
    yield f'{json.dumps(head)[:-1]}, "objects": ['
    yield from _lines(entries())
    yield f'], "unreadable": {json.dumps(unreadable)}}}\n'


def _head(report: str, runs: RecordedRuns) -> dict[str, Any]:
    return {"report": report, "version": REPORT_VERSION, "base_uri": runs.base_uri, "at": runs.at.isoformat()}


def _plain(value: Any) -> str | int | None:
    return value if isinstance(value, (str, int)) else None


def _lines(items: Iterable[dict[str, Any]]) -> Iterator[str]:
    separator = "\n"
    for item in items:
        yield f"{separator}{json.dumps(item)}"
        separator = ",\n"
    yield "\n"
