"""The grid: each Python and each Airflow, and which tests run in every cell of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".matrix"

PYTHONS = ("3.11", "3.12", "3.13")
AIRFLOWS = ("2.11", "3.0", "3.1", "3.2", "3.3")
# Of the grid's corners `make test` runs the two of the oldest Python; Airflow 2.11 isn't for 3.13, so 3.12 is its last.
CORNERS = ("3.12/2.11", "3.13/3.3")
PARTS: Mapping[str, Sequence[str]] = {
    "unit": ("tests/unit",),
    "conformance": ("tests/conformance", "-k", "emulator and not gcp-storage-emulator"),
    "dags": ("tests/dags",),
}


@dataclass(frozen=True)
class Cell:
    """One Python and one Airflow, each as a minor version."""

    python: str
    airflow: str

    def __str__(self) -> str:
        return f"{self.python}/{self.airflow}"

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Return the cell of ``3.12/3.0``.

        :raises ValueError: if it isn't in the grid.
        """
        python, _, airflow = text.partition("/")
        if python not in PYTHONS or airflow not in AIRFLOWS:
            raise ValueError(
                f"{text!r} is no cell: give Python/Airflow, of {', '.join(PYTHONS)} and {', '.join(AIRFLOWS)}, "
                "as 3.12/3.0, or corners"
            )
        return cls(python, airflow)

    @property
    def home(self) -> Path:
        return HOME / f"{self.python}-{self.airflow}"

    @property
    def pins(self) -> str:
        return f"constraints/airflow-{self.airflow}.txt"

    @property
    def pinned_airflow(self) -> str:
        """Airflow's full version."""
        (found,) = re.findall(r"^apache-airflow==(\S+)", (ROOT / self.pins).read_text(encoding="utf-8"), re.M)
        return str(found)


GRID = tuple(Cell(python, airflow) for airflow in AIRFLOWS for python in PYTHONS)


def parse(words: Sequence[str]) -> list[Cell]:
    """Return the cells that are asked for, all of them if none is."""
    texts = [text for word in words for text in (CORNERS if word == "corners" else [word])]
    return list(dict.fromkeys(Cell.parse(text) for text in texts)) or list(GRID)


def named(words: Sequence[str]) -> set[Cell]:
    """Return the cells that are asked for by their own names."""
    return {Cell.parse(word) for word in words if word != "corners"}


def shown(path: Path) -> str:
    """Return a path as it is called from where the commands are called."""
    return os.path.relpath(path, ROOT)
