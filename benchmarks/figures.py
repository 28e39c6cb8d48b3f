"""From measurements to medians and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.measure import Measurement


@dataclass(frozen=True)
class Record:
    """A measurement and what it is one of.

    :param section: ``upload``, ``latency``, ``cleanup`` or ``growth``.
    :param workload: a workload's name; for cleanups the number of objects.
    """

    section: str
    server: str
    workload: str
    peer: str
    round: int
    measurement: Measurement

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Record:
        """Return what ``to_dict`` made JSON of."""
        return cls(**{**data, "measurement": Measurement(**data["measurement"])})


class Records:
    """All measurements of a run."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.all = list(records)

    def of(self, **wanted: str) -> Records:
        """Return those with these fields."""
        return Records(one for one in self.all if all(getattr(one, key) == value for key, value in wanted.items()))

    def values(self, field: str) -> Sequence[str]:
        """Return the different values of a field in the order they came."""
        return list(dict.fromkeys(getattr(one, field) for one in self.all))

    def median(self, figure: str) -> float | None:
        """Return the median of one figure of the measurements, if there are any."""
        found = [value for one in self.all if (value := getattr(one.measurement, figure)) is not None]
        return median(found) if found else None

    def ratio(self, peer: str, to: str, figure: str = "seconds") -> float | None:
        """Return how many times ``to``'s figure ``peer``'s is: the median of the ratios of the rounds.

        Two that are measured one after the other meet the same machine, as busy as it is just then.
        """
        of_peer = {one.round: getattr(one.measurement, figure) for one in self.of(peer=peer).all}
        of_other = {one.round: getattr(one.measurement, figure) for one in self.of(peer=to).all}
        ratios = [of_peer[number] / of_other[number] for number in sorted(of_peer.keys() & of_other.keys())]
        return median(ratios) if ratios else None
