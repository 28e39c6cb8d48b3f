"""Which points of a process's life it is killed at: random ones, spread over all that it does."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SEED_VARIABLE = "DPONE_CRASH_SEED"
# How many there are of all others depends on how fast the machine is.
_ALWAYS_AS_MANY = ("small file", "part", "batch")


@dataclass(frozen=True)
class Point:
    """The ``nth`` time of what ``label`` says, and when of it."""

    label: str
    nth: int
    moment: str

    def __str__(self) -> str:
        return f"{self.moment} {self.label} number {self.nth}"


def seed() -> int:
    """Return the seed that the environment names, or one of this test run's own."""
    return int(os.environ.get(SEED_VARIABLE) or _SEED)


_SEED = random.SystemRandom().randrange(10**6)


def choose(labels: Sequence[str], moments: Sequence[str], count: int, what: str) -> list[Point]:
    """Return ``count`` random points of a life that was ``labels``, each kind of them as often as any other.

    :param what: the same seed gives other points for another thing that is done.
    """
    chance = random.Random(f"{seed()} {what}")
    seen = Counter(labels)
    kinds = list(dict.fromkeys(labels))
    chance.shuffle(kinds)
    points = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        most = seen[kind] if kind.endswith(_ALWAYS_AS_MANY) else max(1, seen[kind] // 3)
        points.append(Point(kind, chance.randint(1, most), chance.choice(moments)))
    return points
