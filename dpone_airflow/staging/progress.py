"""How far a stage call has come, told every few seconds while it lasts."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

log = logging.getLogger(__name__)

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True)
class ProgressSnapshot:
    """How far the work is at one moment; as text, e.g. ``1,200 of 10,000 files, 3.1 of 26.0 GiB, ...``.

    :param what: what is done, e.g. ``Staging s3://landing/orders/run-1/``.
    :param files_done: files that are complete.
    :param files_total: all files.
    :param bytes_done: bytes that were sent, also of files that aren't complete.
    :param bytes_total: all bytes.
    :param seconds: since the work began.
    :param rate_since: a moment before this one, and the bytes that were done by then: the rate is
        what came after it.
    """

    what: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    seconds: float
    rate_since: tuple[float, int] = (0.0, 0)

    @property
    def bytes_per_second(self) -> float:
        """The rate of late."""
        since, had = self.rate_since
        return (self.bytes_done - had) / (self.seconds - since) if self.seconds > since else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The time left if the rate stays; None when nothing moves."""
        rate = self.bytes_per_second
        return max(0, self.bytes_total - self.bytes_done) / rate if rate > 0 else None

    def __str__(self) -> str:
        files = "file" if self.files_total == 1 else "files"
        rate, left = self.bytes_per_second, self.seconds_left
        unit, rate_unit = _unit_of(self.bytes_total), _unit_of(rate)
        return (
            f"{self.files_done:,} of {self.files_total:,} {files}, "
            f"{_in_unit(self.bytes_done, unit)} of {_in_unit(self.bytes_total, unit)} {_UNITS[unit]}, "
            f"{_in_unit(rate, rate_unit)} {_UNITS[rate_unit]}/s, "
            f"{'time left unknown' if left is None else f'{_duration(left)} left'}"
        )


def log_progress(snapshot: ProgressSnapshot) -> None:
    """Log one line."""
    log.info("%s: %s", snapshot.what, snapshot)


class Progress:
    """Counts what is done from any thread, and reports every few seconds for as long as the ``with`` block lasts.

    Work that ends sooner is never reported. Work that stands still is, at 0 B/s.

    :param what: what is done, e.g. ``Staging s3://landing/orders/run-1/``.
    :param files_total: how many files there are.
    :param bytes_total: how many bytes there are.
    :param report: is given each snapshot, in a thread of its own.
    :param every_seconds: how often.
    :param rate_over: how many of these intervals the rate is taken over.
    """

    def __init__(
        self,
        what: str,
        files_total: int,
        bytes_total: int,
        report: Callable[[ProgressSnapshot], None] = log_progress,
        *,
        every_seconds: float = 5.0,
        rate_over: int = 1,
    ) -> None:
        self.what = what
        self.files_total = files_total
        self.bytes_total = bytes_total
        self._report = report
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._files_done = 0
        self._bytes_done = 0
        self._began = time.monotonic()
        self._moments = deque([(0.0, 0)], maxlen=rate_over)
        self._ended = threading.Event()
        self._reporter: threading.Thread | None = None

    def more_to_do(self, size_bytes: int) -> None:
        """Count one more file to the totals."""
        with self._lock:
            self.files_total += 1
            self.bytes_total += size_bytes

    def add_bytes(self, size: int) -> None:
        """Count ``size`` bytes that were sent; below 0 for bytes that must be sent again."""
        with self._lock:
            self._bytes_done += size

    def file_done(self) -> None:
        """Count a file that is complete."""
        with self._lock:
            self._files_done += 1

    def snapshot(self) -> ProgressSnapshot:
        """Return how far the work is now."""
        with self._lock:
            files_done, bytes_done = self._files_done, self._bytes_done
            seconds = time.monotonic() - self._began
        return ProgressSnapshot(
            what=self.what,
            files_done=files_done,
            files_total=self.files_total,
            bytes_done=bytes_done,
            bytes_total=self.bytes_total,
            seconds=seconds,
            rate_since=self._moments[0],
        )

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._reporter = threading.Thread(target=self._report_until_the_end, name="dpone-progress", daemon=True)
        self._reporter.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._reporter is not None:
            self._reporter.join()

    def _report_until_the_end(self) -> None:
        while not self._ended.wait(self._every_seconds):
            snapshot = self.snapshot()
            self._report(snapshot)
            self._moments.append((snapshot.seconds, snapshot.bytes_done))


#: Makes the progress of a stage call from what is done, its files and its bytes: ``Progress`` itself, or a display.
ProgressFactory: TypeAlias = Callable[[str, int, int], Progress]


def readable_bytes(size: float) -> str:
    """Return e.g. ``3.1 GiB``."""
    unit = _unit_of(size)
    return f"{_in_unit(size, unit)} {_UNITS[unit]}"


def _unit_of(size: float) -> int:
    """Return which unit ``size`` is best read in."""
    return min(int(math.log(size, 1024)), len(_UNITS) - 1) if size >= 1024 else 0


def _in_unit(size: float, unit: int) -> str:
    """Return the figure without its unit."""
    return f"{size / 1024**unit:,.1f}" if unit else f"{size:,.0f}"


def _duration(seconds: float) -> str:
    """Return e.g. ``1 min 14 s``."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
