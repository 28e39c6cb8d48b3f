"""Measure, print the tables, keep the raw figures in ``.bench/``, and write docs/performance.md."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.data import DiskFullError, check_room
from benchmarks.figures import Record, Records
from benchmarks.machine import describe
from benchmarks.peers import PEERS, ROOT
from benchmarks.sections import FULL, QUICK, Bench, Choice, say, sections
from benchmarks.servers import LABELS

_HOME = ROOT / ".bench"
_FULL, _PARTIAL = "results.json", "partial.json"
_ROUNDS = 3
_ROOM = 4  # times the largest workload: for the files, and for a server's copy


def main() -> int:
    """Return 0 if everything that was asked for was measured."""
    arguments = _arguments()
    if arguments.report:
        kept = _last(arguments.directory)
        failures: list[str] = []
        is_full = False
    else:
        rounds = arguments.rounds or (1 if arguments.quick else _ROUNDS)
        choice = Choice(arguments.sections, arguments.servers, arguments.workloads, arguments.peers, rounds)
        is_full = choice.is_everything and not arguments.quick
        raw = arguments.directory / (_FULL if is_full else _PARTIAL)
        kept, failures = _measure(choice, arguments.directory, raw, is_quick=arguments.quick)
    for failure in failures:
        say(f"\nFAILED: {failure}")
    if not kept["records"]:
        return 1
    found = Records(Record.from_dict(one) for one in kept["records"])
    text = report.tables(found, kept["machine"], QUICK if kept["quick"] else FULL, day=kept["day"])
    say(f"\n{text}")
    if is_full or arguments.write:
        report.write(text)
        say(f"Written into {report.PAGE.relative_to(ROOT)}.")
    return 1 if failures else 0


def _measure(choice: Choice, home: Path, raw: Path, *, is_quick: bool) -> tuple[dict[str, Any], list[str]]:
    """Measure, and keep what there is after each measurement; return it with what went wrong."""
    sizes = QUICK if is_quick else FULL
    try:
        check_room(home, _ROOM * max(workload.total for workload in sizes.workloads))
    except DiskFullError as error:
        sys.exit(str(error))
    bench = Bench(home, choice)
    kept: dict[str, Any] = {
        "day": datetime.now(UTC).date().isoformat(),
        "quick": is_quick,
        "machine": describe(),
        "records": [],
    }
    for record in bench.run(sections(sizes)):
        kept["records"].append(record.to_dict())
        raw.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return kept, bench.failures


def _last(home: Path) -> dict[str, Any]:
    found = [path for path in (home / _FULL, home / _PARTIAL) if path.exists()]
    if not found:
        sys.exit(f"Nothing has been measured yet: there are no figures in {home}.")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    kept: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return kept


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files and few, one round: to see that it runs")
    parser.add_argument("--rounds", type=int, help="how often each peer is measured; 3, or 1 with --quick")
    parser.add_argument("--sections", nargs="+", default=[], choices=["upload", "latency", "cleanup", "growth"])
    parser.add_argument("--servers", nargs="+", default=[], choices=list(LABELS))
    parser.add_argument("--workloads", nargs="+", default=[], help="small, medium, large, tiny-10000, ...")
    parser.add_argument("--peers", nargs="+", default=[], choices=list(PEERS))
    parser.add_argument("--directory", type=Path, default=_HOME, help="for files and servers' data")
    parser.add_argument("--report", action="store_true", help="measure nothing: show the tables of the last run again")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md after a part of a run as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
