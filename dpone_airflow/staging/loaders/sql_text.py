"""Text between quotes in SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """Return an SQL string whose value is ``text``, where a quote is doubled and a backslash is itself."""
    return "'" + text.replace("'", "''") + "'"
