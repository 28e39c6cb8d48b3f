"""Aligned plain text: a table, or a list of names and values, for a terminal and for ``grep``.

What comes out of a store is told as text: characters that would steer a terminal are spelt out, and
secrets are masked.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence

from dpone_airflow.cli.shown import printable

#: So many rows are shown of what may be a hundred thousand, unless all are asked for.
MAX_ROWS = 50
_GAP = "  "


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = ()) -> Iterator[str]:
    """Yield the lines of a table: its columns' names in capitals, and the rows.

    :param columns: their names.
    :param rows: a value for each column; None is shown as ``-``.
    :param right: the columns whose values end under each other, as figures should.
    """
    cells = [[name.upper() for name in columns], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    to_the_right = [name in right for name in columns]
    for row in cells:
        padded = (_padded(*cell) for cell in zip(row, widths, to_the_right, strict=True))
        yield f"{_GAP.join(padded).rstrip()}\n"


def fields(values: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Yield a line for each name and its value; a value that is None is left out."""
    known = [(name, _cell(value)) for name, value in values if value is not None]
    width = max((_width(name) for name, _ in known), default=0)
    for name, value in known:
        yield f"{_padded(name, width, False)}{_GAP}{value}\n"


def bounded(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, all_rows: bool, right: Collection[str] = ()
) -> Iterator[str]:
    """Yield a table of the first rows, and how many more there are.

    :param all_rows: whether none is left out.
    """
    shown = rows if all_rows else rows[:MAX_ROWS]
    yield from table(columns, shown, right=right)
    if len(rows) > len(shown):
        yield f"... and {len(rows) - len(shown):,} more; --all shows them.\n"


def line(text: str) -> str:
    """Return a line of text that may name what lies in a store."""
    return f"{printable(text)}\n"


def counted(number: int, noun: str) -> str:
    """Return e.g. ``1 object`` or ``1,200 objects``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))


def _padded(text: str, width: int, to_the_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_the_right else text + space


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
