"""Figures, times and texts as people read them."""

from __future__ import annotations

import html
import re
from datetime import date, datetime

from dpone_airflow.storage.errors import redact

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Control characters, marks that turn the direction of the text around them, and halves of characters.
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def shown_bytes(size: float) -> str:
    """Return e.g. ``512 B`` or ``3.1 GiB``."""
    unit = 0
    # What would be shown as 1,024.0 is one of the next unit.
    while (size >= 1024 or round(size, 1) >= 1024) and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:,.1f} {_UNITS[unit]}" if unit else f"{size:,.0f} B"


def shown_age(seconds: float) -> str:
    """Return e.g. ``just now``, ``5 min``, ``3 h`` or ``12 days``."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h"
    return f"{minutes // (24 * 60):,} days"


def shown_day(day: date) -> str:
    """Return e.g. ``22 Nov 2026``."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def shown_time(at: datetime) -> str:
    """Return e.g. ``22 Nov 2026, 23:40``."""
    return f"{shown_day(at)}, {at:%H:%M}"


def escaped(text: object) -> str:
    """Return a text as it stands in HTML, in an element or in a quoted attribute; what can't be seen is spelt out."""
    return html.escape(_spelt_out(str(text)))


def printable(text: str) -> str:
    """Return a text as it may be printed to a terminal: secrets are masked, and what can't be seen is spelt out."""
    return _spelt_out(redact(text))


def _spelt_out(text: str) -> str:
    return _UNSHOWABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
