"""The progress of a stage call as a bar on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from dpone_airflow.staging.progress import Progress, ProgressSnapshot

if TYPE_CHECKING:
    from rich.console import Console

_EVERY_SECONDS = 0.2
# The rate over five seconds: it stands still enough to be read.
_RATE_OVER = 25


class RichProgress(Progress):
    """Counts as ``Progress`` does, and draws a bar with files, bytes, rate and time left.

    :param what: what is done, e.g. ``Staging s3://landing/orders/run-1/``.
    :param files_total: how many files there are.
    :param bytes_total: how many bytes there are.
    :param console: where to draw; by default on stderr.
    """

    def __init__(self, what: str, files_total: int, bytes_total: int, *, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        super().__init__(what, files_total, bytes_total, self._draw, every_seconds=_EVERY_SECONDS, rate_over=_RATE_OVER)
        self._bar = Bar(
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            console=console or Console(stderr=True),
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task(str(self.snapshot()), total=bytes_total)

    def __enter__(self) -> Self:
        self._bar.console.print(self.what, markup=False, highlight=False, soft_wrap=True)
        self._bar.start()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
            self._draw(self.snapshot())
        finally:
            self._bar.stop()

    def _draw(self, snapshot: ProgressSnapshot) -> None:
        self._bar.update(self._task, completed=snapshot.bytes_done, description=str(snapshot), refresh=True)
