"""The outcomes of all cells as they stand in docs/reliability.md, between two markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase

from tests.faults.calls import CALLS, Call
from tests.faults.columns import COLUMNS, Column
from tests.faults.matrix import TROUBLES, Trouble, blank, cells, times_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_BEGINS, _ENDS = "<!-- the fault matrix begins -->\n", "<!-- the fault matrix ends -->\n"
_UNKNOWN = "?"


def documented() -> dict[str, str]:
    """Return the outcomes that the page has, by the cells' names."""
    found: dict[tuple[str, str, str], list[str]] = {}
    call, titles = "", []
    for line in _between(PAGE.read_text(encoding="utf-8")).splitlines():
        columns = [text.strip() for text in line.strip("|").split("|")]
        if line.startswith("#### "):
            call, titles = line.removeprefix("#### "), []
        elif line.startswith("| fault |"):
            titles = columns[1:]
        elif titles and line.startswith("|") and not line.startswith("|-"):
            for title, text in zip(titles, columns[1:], strict=True):
                found[call, columns[0], title] = text.split(" / ")
    outcomes = {}
    for cell in cells():
        texts = found.get((cell.call.name, cell.trouble.name, cell.column.title), [])
        times = times_of(cell.call, cell.trouble)
        if len(texts) == len(times):
            outcomes[str(cell)] = texts[times.index(cell.times)]
    return outcomes


def written(outcomes: Mapping[str, str]) -> str:
    """Return the page with these outcomes in it."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGINS)
    _, _, after = rest.partition(_ENDS)
    return f"{before}{_BEGINS}{rendered(outcomes)}{_ENDS}{after}"


def rendered(outcomes: Mapping[str, str]) -> str:
    """Return one table for each call, and why cells are blank."""
    reasons: dict[str, str] = {}
    lines = []
    for call in CALLS:
        lines += _table(call, outcomes, reasons)
    lines += ["#### Blank cells", "", "| | there is none, since |", "|---|---|"]
    lines += [f"| ({letter}) | {reason} |" for reason, letter in reasons.items()]
    return "\n".join(["", *lines, "", ""])


def _table(call: Call, outcomes: Mapping[str, str], reasons: dict[str, str]) -> list[str]:
    known = {
        (str(cell.trouble.name), cell.column.name, cell.times): outcomes.get(str(cell), _UNKNOWN)
        for cell in cells()
        if cell.call is call
    }
    columns = [column for column in COLUMNS.values() if any(not blank(column, call, it) for it in TROUBLES.values())]
    rows = [trouble for trouble in TROUBLES.values() if any(not blank(column, call, trouble) for column in columns)]

    def letter(column: Column, trouble: Trouble) -> str:
        reason = blank(column, call, trouble)
        return reasons.setdefault(reason, ascii_lowercase[len(reasons)])

    def text(column: Column, trouble: Trouble) -> str:
        if blank(column, call, trouble):
            return f"({letter(column, trouble)})"
        return " / ".join(known[trouble.name, column.name, times] for times in times_of(call, trouble))

    lines = [f"#### {call.name}", ""]
    lines += [f"| fault | {' | '.join(column.title for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {row.name} | {' | '.join(text(column, row) for column in columns)} |" for row in rows]
    absent = [
        f"{column.title} ({_only(call, column, reasons)})" for column in COLUMNS.values() if column not in columns
    ]
    for trouble in TROUBLES.values():
        if trouble not in rows:
            letters = sorted({letter(column, trouble) for column in columns})
            absent.append(f"{trouble.name} ({', '.join(letters)})")
    return [*lines, "", *([f"Blank: {', '.join(absent)}.", ""] if absent else [])]


def _only(call: Call, column: Column, reasons: dict[str, str]) -> str:
    """Return the letter of why a client has no cell of a call at all."""
    first = next(iter(TROUBLES.values()))
    return reasons.setdefault(blank(column, call, first), ascii_lowercase[len(reasons)])


def _between(page: str) -> str:
    found = re.search(f"{re.escape(_BEGINS)}(.*){re.escape(_ENDS)}", page, re.DOTALL)
    assert found, f"{PAGE} has lost its markers"
    return found[1]
