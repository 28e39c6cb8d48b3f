"""The tables of docs/scale.md: what was measured, and each size beside the one before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.null_sink.counts import KEYS
from benchmarks.page import put_between

if TYPE_CHECKING:
    from benchmarks.scale import Figures

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
_START, _END = "<!-- scale:start -->", "<!-- scale:end -->"
#: Of the machine; no peer is measured here.
NOT_SHOWN = "peers"
_MIB = 1024**2
_SERVERS = {
    "null": "the null sink as S3",
    "null-gcs": "the null sink as Google's store",
    "null-azure": "the null sink as Azure's store",
    "seaweedfs": "SeaweedFS",
}
_TITLES = {
    "files": "Files of 1 KiB, one instance",
    "bytes": "Bytes, one instance",
    "instances": "Instances of a mapped stage, the same files in all",
    "stores": "The other stores",
    "evidence": "A sweep of cleaned-up runs",
}
# In this order in a line; what isn't named comes behind them.
_KINDS = ("put", "begin upload", "put part", "complete upload", "get", "head", "list", "list uploads", "delete batch")


def write(text: str) -> None:
    """Put the tables into the page."""
    put_between(PAGE, _START, _END, text)


def tables(figures: Sequence[Figures], machine: Mapping[str, str]) -> str:
    """Return all tables as Markdown."""
    lines = list(_table(("", ""), [(name, text) for name, text in machine.items() if name != NOT_SHOWN]))
    for section, title in _TITLES.items():
        of_section = [one for one in figures if one.section == section]
        for server in dict.fromkeys(one.server for one in of_section):
            lines += ["", f"#### {title}: {_SERVERS[server]}", ""]
            of_server = [one for one in of_section if one.server == server]
            lines += [*_section(of_server), "", _measured(of_server)]
    return "\n".join(lines) + "\n"


def _measured(figures: Sequence[Figures]) -> str:
    """Return when a table's figures were measured, how often, and how busy the machine was."""
    counts = Counter((one.action, _size(one)) for one in figures).values()
    rounds = _range(counts, "d")
    return (
        f"Measured on {_range([one.day for one in figures], '')}, {rounds} round{'s' * (rounds != '1')}, "
        f"load average {_range([one.load for one in figures], '.1f')}."
    )


def _range(values: Collection[Any], form: str) -> str:
    first, last = format(min(values), form), format(max(values), form)
    return first if first == last else f"{first} to {last}"


def growth(figures: Iterable[Figures], of: tuple[int, ...], before: tuple[int, ...], figure: str) -> float | None:
    """Return how many times a figure is that of the size before: the median of the ratios of the rounds.

    :param of: files, bytes a file and parts of the one, and ``before`` those of the other.
    """
    found: dict[tuple[int, ...], dict[int, float]] = {}
    for one in figures:
        found.setdefault(_size(one), {})[one.round] = getattr(one, figure)
    here, there = found.get(of, {}), found.get(before, {})
    ratios = [here[number] / there[number] for number in sorted(here.keys() & there.keys()) if there[number] > 0]
    return median(ratios) if ratios else None


def _size(one: Figures) -> tuple[int, int, int]:
    return one.files, one.size, one.parts


def _section(figures: Sequence[Figures]) -> Iterator[str]:
    rows = []
    for action in dict.fromkeys(one.action for one in figures):
        of_action = [one for one in figures if one.action == action]
        before: tuple[int, int, int] | None = None
        for size in dict.fromkeys(_size(one) for one in of_action):
            same = [one for one in of_action if _size(one) == size]
            is_next = before is not None and _is_next(before, size)
            wall = growth(of_action, size, before, "seconds") if is_next and before else None
            cpu = growth(of_action, size, before, "cpu_seconds") if is_next and before else None
            rows.append(
                (
                    action,
                    _named(size, figures),
                    _figure(median(one.cpu_seconds for one in same)),
                    _times(cpu),
                    _times(wall),
                    f"{median(one.peak - one.peak_before for one in same) / _MIB:,.0f}",
                    _requests(same[0].requests),
                    _told(same[0].told),
                )
            )
            before = size
    names = ("task", "of", "CPU, s", "CPU, times", "wall, times", "memory, MiB", "requests", "leaves")
    return _table(names, rows)


def _is_next(before: tuple[int, int, int], size: tuple[int, int, int]) -> bool:
    """Return whether just one of the three is larger: one file of 2 GiB isn't followed by 16 of 16 MiB."""
    return sum(one != other for one, other in zip(before, size, strict=True)) == 1 and before < size


def _named(size: tuple[int, int, int], figures: Sequence[Figures]) -> str:
    files, each, parts = size
    if figures[0].section == "evidence":
        return f"{files:,} runs"
    if figures[0].section == "bytes":
        return f"{files:,} × {each // _MIB:,} MiB"
    return f"{parts:,} × {files // parts:,} files" if parts else f"{files:,} files"


def _requests(requests: Mapping[str, int]) -> str:
    kinds = sorted(requests.keys() - {KEYS}, key=lambda kind: (*_KINDS, kind).index(kind))
    return ", ".join(f"{requests[kind]:,} {kind}" for kind in kinds) or "not counted"


def _told(told: Mapping[str, int]) -> str:
    words = []
    if "xcom_bytes" in told:
        words.append(f"XCom {_bytes(told['xcom_bytes'])}")
        if told.get("xcom_bytes_whole", 0) > told["xcom_bytes"]:
            words[-1] += f" ({_bytes(told['xcom_bytes_whole'])} without pointers)"
    if "evidence_objects" in told:
        words.append(f"evidence: {told['evidence_objects']:,} objects, {_bytes(told['evidence_bytes'])}")
    return "; ".join(words) or "–"


def _bytes(count: int) -> str:
    for unit, factor in (("MB", 10**6), ("KB", 10**3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'|'.join(['---'] * len(names))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
