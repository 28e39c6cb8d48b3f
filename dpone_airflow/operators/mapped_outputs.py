"""The outputs of a mapped task's instances, read some at a time.

Airflow 3 asks its API server anew for each item of such a sequence, and the server has the database count its way
to that item: 1,000 instances are 1,000 requests, the last of which passes over 999 rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# A manifest of 1,000 objects takes some 230 KB, so this is 6 MB of them.
AT_ONCE = 25


def some_at_a_time(value: Any) -> Any:
    """Return what gives the same items once, with a request for each 25; anything but such a sequence as it is.

    :param value: what an argument was rendered to, or an XCom that was pulled.
    """
    try:
        from airflow.sdk.execution_time.comms import GetXComSequenceSlice  # noqa: F401
        from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence
    except ImportError:  # Airflow 2.11, which reads them with one query
        return value
    return _in_slices(value) if isinstance(value, LazyXComSequence) else value


def _in_slices(outputs: Sequence[Any]) -> Iterator[Any]:
    start = 0
    while True:
        some = outputs[start : start + AT_ONCE]
        yield from some
        if len(some) < AT_ONCE:
            return
        start += AT_ONCE
