"""The tables of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bars import bars
from benchmarks.figures import Records
from benchmarks.page import put_between
from benchmarks.peers import PEERS
from benchmarks.sections import Sizes
from benchmarks.servers import LABELS, LATENCY_MS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_START, _END = "<!-- bench:start -->", "<!-- bench:end -->"
_TITLES = {
    "upload": "Uploads",
    "latency": f"Uploads with {LATENCY_MS} ms a request",
    "cleanup": "Cleanups",
    "growth": "Growth",
}


def write(text: str) -> None:
    """Put the tables into the page."""
    put_between(PAGE, _START, _END, text)


def tables(records: Records, machine: dict[str, str], sizes: Sizes, *, day: str) -> str:
    """Return all tables as Markdown."""
    loads = [one.measurement.load for one in records.all]
    rounds = 1 + max(one.round for one in records.all)
    lines = [
        f"Measured on {day}, {rounds} round{'s' * (rounds > 1)}, load average {min(loads):.1f} to {max(loads):.1f}.",
        "",
    ]
    lines += _table(("", ""), list(machine.items()))
    lines += ["", "### Aims", "", *_aims(records, sizes)]
    workloads = {one.name: one for one in (*sizes.workloads, *sizes.growth, sizes.cleanup, sizes.slow_cleanup)}
    for section, title in _TITLES.items():
        of_section = records.of(section=section)
        if not of_section.all:
            continue
        lines += ["", f"### {title}"]
        for server in of_section.values("server"):
            of_server = of_section.of(server=server)
            for workload in of_server.values("workload"):
                what = workloads[workload].label if workload in workloads else workload
                lines += ["", f"{what[0].upper()}{what[1:]}, {LABELS[server]}:", ""]
                count = workloads[workload].count if section != "cleanup" and workload in workloads else 0
                lines += _comparison(of_server.of(workload=workload), count)
    return "\n".join(lines) + "\n"


def _aims(records: Records, sizes: Sizes) -> Iterator[str]:
    growth = (sizes.growth[0].name, sizes.growth[1].name)
    rows = []
    for bar in bars(growth, sizes.cleanup.name, sizes.slow_cleanup.name):
        found, met = bar.figure(records), bar.met(records)
        if found is None:
            continue
        limit = f"{'≥' if bar.at_least else '≤'} {_figure(bar.limit)} {bar.unit}"
        rows.append((bar.what, LABELS[bar.where], limit, f"{_figure(found)} {bar.unit}", "yes" if met else "**no**"))
    return _table(("what", "where", "aim", "measured", "reached"), rows)


def _comparison(records: Records, count: int) -> Iterator[str]:
    rows = []
    for name, peer in PEERS.items():
        of_peer = records.of(peer=name)
        seconds = of_peer.median("seconds")
        if seconds is None:
            continue
        rows.append(
            (
                peer.label + (f", scaled from {peer.sample} files" if peer.sample and count > peer.sample else ""),
                _figure(seconds),
                _figure(records.ratio(name, "us")),
                _figure(of_peer.median("process_seconds")),
                _figure(of_peer.median("cpu_seconds")),
                _mib(of_peer.median("peak")),
                _mib(of_peer.median("peak_above")),
                _figure(of_peer.median("server_cpu_seconds")),
            )
        )
    names = (
        "",
        "seconds",
        "times ours",
        "whole process, s",
        "CPU, s",
        "peak, MiB",
        "of it the work, MiB",
        "server's CPU, s",
    )
    return _table(names, rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'|'.join(['---'] * len(names))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _figure(value: float | None) -> str:
    """Return a number with as many digits as say something."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value / 2**20:,.0f}"
