"""Measure how the cost of a run grows, and write the figures of docs/scale.md: ``python -m benchmarks.scale``.

A run is a stage, a verify by listing and a cleanup. Each is a process of its own, as Airflow's tasks are, and
each run meets an empty server of its own. Raw figures stay in ``.bench/scale.json``; a part that is measured
again takes the place of what was there of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from benchmarks import scale_report
from benchmarks.data import DiskFullError, Workload, check_room, warm
from benchmarks.machine import describe
from benchmarks.measure import MeasurementError
from benchmarks.null_sink.counts import KEYS
from benchmarks.peers import ROOT
from benchmarks.sections import say
from benchmarks.servers import Server, null_sink, seaweedfs

_HOME = ROOT / ".bench"
_RAW = "scale.json"
_ROUNDS = 3
_RUN = ("stage", "verify", "cleanup")
_SWEEPS = ("sweep", "sweep evidence")
_KIB, _MIB = 1024, 1024**2

SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "null": partial(null_sink, count=True),
    "null-gcs": partial(null_sink, protocol="gcs", count=True),
    "null-azure": partial(null_sink, protocol="azure", count=True),
    "seaweedfs": seaweedfs,
}


@dataclass(frozen=True)
class Case:
    """One size of one thing that grows.

    :param section: what grows: ``files``, ``bytes``, ``instances``, ``stores`` or ``evidence``.
    :param files: how many files, or of evidence how many runs of one file.
    :param parts: how many mapped instances; 0 for a stage that isn't mapped.
    """

    section: str
    files: int
    size: int
    parts: int = 0

    @property
    def actions(self) -> Sequence[str]:
        """The tasks that are measured."""
        return _SWEEPS if self.section == "evidence" else _RUN


@dataclass(frozen=True)
class Figures:
    """What one task took once.

    :param day: when it was measured, in UTC.
    :param requests: how many of each kind, where the server counts them.
    :param told: what else the task says of itself.
    """

    section: str
    server: str
    files: int
    size: int
    parts: int
    action: str
    round: int
    day: str
    seconds: float
    cpu_seconds: float
    peak: int
    peak_before: int
    load: float
    requests: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """How many requests there were: a batch is one."""
        return sum(number for kind, number in self.requests.items() if kind != KEYS)


def cases(*, quick: bool) -> list[tuple[str, Case]]:
    """Return everything that is measured, with its server."""
    counts = (10, 100) if quick else (100, 1_000, 10_000, 100_000)
    sizes = (1, 32) if quick else (16, 256, 2048)
    parts = (1, 10) if quick else (1, 10, 100)
    total = counts[-1] if quick else 10_000
    found = [("null", Case("files", count, _KIB)) for count in counts]
    found += [("null", Case("bytes", 1, size * _MIB)) for size in sizes]
    found += [("null", Case("bytes", max(1, size // 16), 16 * _MIB)) for size in sizes[1:]]
    found += [("null", Case("instances", total, _KIB, count)) for count in parts]
    found += [("null", Case("evidence", count // 10, 200)) for count in counts[:3]]
    found += [(server, Case("stores", count, _KIB)) for server in ("null-gcs", "null-azure") for count in counts[-3:-1]]
    # What SeaweedFS takes for 100,000 files would be minutes for each round.
    found += [("seaweedfs", Case("files", count, _KIB)) for count in counts[:-1]]
    found += [("seaweedfs", Case("bytes", 1, size * _MIB)) for size in sizes]
    found += [("seaweedfs", Case("instances", total, _KIB, count)) for count in parts]
    return found


def main() -> int:
    """Return 0 if everything that was asked for was measured."""
    arguments = _arguments()
    raw = arguments.directory / (f"quick-{_RAW}" if arguments.quick else _RAW)
    if not arguments.report:
        rounds = arguments.rounds or (1 if arguments.quick else _ROUNDS)
        _measure(arguments, raw, rounds)
    if not raw.exists():
        sys.exit(f"Nothing has been measured yet: there is no {raw}.")
    kept = json.loads(raw.read_text(encoding="utf-8"))
    failures = [f"{one['server']}, {one['section']}: {one['error']}" for one in kept["failures"]]
    text = scale_report.tables([Figures(**one) for one in kept["figures"]], kept["machine"])
    say(f"\n{text}")
    for failure in failures:
        say(f"FAILED: {failure}")
    if failures:
        say("No page is written while these are missing: measure their sections again, without --more.")
    elif not arguments.quick:
        scale_report.write(text)
        say(f"Written into {scale_report.PAGE.relative_to(ROOT)}.")
    return 1 if failures else 0


def _measure(arguments: argparse.Namespace, raw: Path, rounds: int) -> None:
    wanted = [
        (server, case)
        for server, case in cases(quick=arguments.quick)
        if (not arguments.sections or case.section in arguments.sections)
        and (not arguments.servers or server in arguments.servers)
    ]
    try:
        check_room(arguments.directory, 4 * max(case.files * case.size for _, case in wanted))
    except DiskFullError as error:
        sys.exit(str(error))
    places = {(server, case.section) for server, case in wanted}
    machine = describe()
    kept = {"machine": machine, "figures": [], "failures": []}
    if raw.exists():
        kept = json.loads(raw.read_text(encoding="utf-8"))
    first = 1 + max((one["round"] for one in kept["figures"] if _place(one) in places), default=-1)
    if not arguments.more:
        first = 0
        for kind in ("figures", "failures"):
            kept[kind] = [one for one in kept[kind] if _place(one) not in places]
    if kept["figures"] and _shown(kept["machine"]) != _shown(machine):
        sys.exit(f"{raw} holds figures of another machine or of other packages: measure everything, or move it away.")
    kept["machine"] = machine
    with Runner.start(arguments.directory) as runner:
        for number in range(first, first + rounds):
            for server, case in wanted:  # a round goes through all sizes, so that each meets the machine as busy
                try:
                    kept["figures"] += [asdict(one) for one in _one(runner, arguments.directory, server, case, number)]
                except MeasurementError as error:
                    kept["failures"].append({"server": server, "section": case.section, "error": f"{case}: {error}"})
                    say(f"  FAILED: {server}, {case}")
                raw.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _shown(machine: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in machine.items() if name != scale_report.NOT_SHOWN}


def _place(one: dict[str, Any]) -> tuple[str, str]:
    """Return where a figure or a failure is: what is measured again takes the place of all that was there."""
    return one["server"], one["section"]


@dataclass(frozen=True)
class Runner:
    """The process whose forks are the tasks."""

    process: subprocess.Popen[str]
    log: Path

    @classmethod
    @contextmanager
    def start(cls, directory: Path) -> Iterator[Self]:
        """Run it for a ``with`` block; it ends when nobody writes to it any more."""
        log = directory / "scale.log"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_HOME": str(directory / "scale-airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.runners.scale"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        try:
            yield cls(process, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.communicate()

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Have one task done and return what it took.

        :raises MeasurementError: with the end of its output, if it failed.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{json.dumps(job)}\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise MeasurementError(
                f"{job['action']} wasn't begun, since the process for it has ended:\n{self._log_end()}"
            ) from error
        code = self.process.stdout.readline().strip()
        if code != "0":
            raise MeasurementError(f"{job['action']} ended with exit code {code or 'unknown'}:\n{self._log_end()}")
        outcome: dict[str, Any] = json.loads(Path(job["result"]).read_text(encoding="utf-8"))
        return outcome

    def _log_end(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]


def _one(runner: Runner, home: Path, server: str, case: Case, number: int) -> Iterator[Figures]:
    """Measure the tasks of one run."""
    workload = Workload("", "", 1 if case.section == "evidence" else case.files, case.size)
    source = workload.make(home / "files")
    warm(source)
    scratch = home / "scale-scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with SERVERS[server](scratch / "server") as there:
            for action in case.actions:
                yield _task(runner, there, server, case, action, source, scratch, number)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _task(
    runner: Runner, there: Server, server: str, case: Case, action: str, source: Path, scratch: Path, number: int
) -> Figures:
    job = {
        "action": action,
        "source": str(source),
        "uri": there.uri("base"),
        "count": case.files,
        "parts": case.parts,
        "connection": there.connection,
        "environment": there.environment,
        "counts": there.counts,
        "xcoms": str(scratch / "xcoms.json"),
        "result": str(scratch / "task.json"),
    }
    outcome = runner.do(job)
    for told in ("staged_objects", "deleted_objects", "swept_evidence"):
        wanted = 0 if action == "sweep" else case.files
        if outcome["told"].get(told, wanted) != wanted:
            raise MeasurementError(f"{action}: {told} is {outcome['told'][told]}, and it should be {wanted}.")
    figures = Figures(
        case.section,
        server,
        case.files,
        case.size,
        case.parts,
        action,
        number,
        datetime.now(UTC).date().isoformat(),
        load=os.getloadavg()[0],
        **outcome,
    )
    say(
        f"round {number + 1}  {server:10} {case.section:9} {case.files:>7,} files of {case.size:>11,} bytes, "
        f"{case.parts:>4} parts  {action:14} {figures.seconds:8.2f} s  CPU {figures.cpu_seconds:8.2f} s  "
        f"requests {figures.sent:>7,}  peak {figures.peak / _MIB:5.0f} MiB  load {figures.load:.1f}"
    )
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and small files, one round: to see that it runs")
    parser.add_argument("--rounds", type=int, help="how often everything is measured; 3, or 1 with --quick")
    sections = ["files", "bytes", "instances", "stores", "evidence"]
    parser.add_argument("--more", action="store_true", help="more rounds beside those that were measured before")
    parser.add_argument("--sections", nargs="+", default=[], choices=sections)
    parser.add_argument("--servers", nargs="+", default=[], choices=list(SERVERS))
    parser.add_argument("--directory", type=Path, default=_HOME, help="for files, servers' data and the raw figures")
    parser.add_argument("--report", action="store_true", help="measure nothing: write the tables of the last run again")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
