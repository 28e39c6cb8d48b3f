"""What the figures should be at least, or at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.figures import Records

_MEMORY_MIB = 200
#: From a run's records to the figure; nothing if it wasn't measured.
Figure: TypeAlias = "Callable[[Records], float | None]"


@dataclass(frozen=True)
class Bar:
    """One aim.

    :param what: a sentence's beginning.
    :param where: the server.
    :param at_least: the figure has to be so large or larger; otherwise so small or smaller.
    """

    what: str
    where: str
    limit: float
    unit: str
    figure: Figure
    at_least: bool = True

    def met(self, records: Records) -> bool | None:
        """Return whether it is reached; None if that wasn't measured."""
        found = self.figure(records)
        if found is None:
            return None
        return found >= self.limit if self.at_least else found <= self.limit


def _faster(section: str, server: str, workload: str, peer: str, us: str = "us") -> Figure:
    return lambda records: records.of(section=section, server=server, workload=workload).ratio(peer, us)


def _memory(section: str, server: str, workload: str) -> Figure:
    def mib(records: Records) -> float | None:
        found = records.of(section=section, server=server, workload=workload, peer="us").median("peak_above")
        return None if found is None else found / 2**20

    return mib


def _growth(server: str, few: str, many: str) -> Figure:
    def times(records: Records) -> float | None:
        ours = records.of(section="growth", server=server, peer="us")
        small, large = ours.of(workload=few).median("seconds"), ours.of(workload=many).median("seconds")
        return None if small is None or large is None else large / small

    return times


_UPLOADS = {
    "small": ("Small files", (12, 1.5), (14, 1.7)),
    "medium": ("16 MiB files", (5, 1.5), (6, 1.8)),
    "large": ("One large file", (4.5, 1.2), (6, 1.7)),
}


def bars(growth: tuple[str, str], cleanup: str, slow_cleanup: str) -> list[Bar]:
    """Return every aim; the names are those of the workloads."""
    found = []
    for server in ("null", "seaweedfs"):
        for workload, (what, checked, unchecked) in _UPLOADS.items():
            for us, note, limits in (("us", "", checked), ("us-unchecked", ", `store_check=False`", unchecked)):
                for peer, limit in zip(("dpone", "s5cmd"), limits, strict=True):
                    figure = _faster("upload", server, workload, peer, us)
                    found.append(Bar(f"{what}{note}, beside {peer}", server, limit, "×", figure))
    for server in ("null-gcs", "null-gcs-30ms", "null-azure", "null-azure-30ms"):
        workload = slow_cleanup if server.endswith("-30ms") else cleanup
        found.append(Bar("Cleanup, beside dpone", server, 10, "×", _faster("cleanup", server, workload, "dpone")))
    found += [
        Bar("Cleanup, beside s5cmd", server, 1, "×", _faster("cleanup", server, cleanup, "s5cmd"))
        for server in ("null", "seaweedfs")
    ]
    found += [
        Bar(f"{what}: memory above the bare worker", "null", _MEMORY_MIB, "MiB", _memory("upload", "null", name), False)
        for name, (what, _, _) in _UPLOADS.items()
    ]
    found += [
        Bar("Ten times the files, times the seconds", server, 12, "×", _growth(server, *growth), False)
        for server in ("null", "local")
    ]
    many = growth[1]
    found.append(
        Bar(
            "Many tiny files: memory above the bare worker",
            "null",
            _MEMORY_MIB,
            "MiB",
            _memory("growth", "null", many),
            False,
        )
    )
    return found
