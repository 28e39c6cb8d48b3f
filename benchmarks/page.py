"""Put what was measured between two marks of a page."""

from __future__ import annotations

from pathlib import Path


def put_between(page: Path, start: str, end: str, text: str) -> None:
    """Replace what is between the marks.

    :raises ValueError: if the page doesn't have both in this order; nothing is written.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, ends, after = rest.partition(end)
    if not ends:  # nor is there one behind a start that is missing
        raise ValueError(f"{page} has no {start} and after it {end}: put both where the tables belong.")
    page.write_text(f"{before}{start}\n\n{text}\n{end}{after}", encoding="utf-8")
