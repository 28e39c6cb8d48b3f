"""The bytes that were staged on each day, as a bar chart in SVG that needs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from dpone_airflow.cli.shown import shown_bytes, shown_day

#: So many days at most are shown, up to the last one.
MAX_DAYS = 60
_MIN_DAYS = 14
_WIDTH, _HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 18, 14, 28
_TICKS = (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 200, 250, 256, 400, 500, 512, 800)


def days_to_show(days: Mapping[date, tuple[int, int]], today: date) -> list[date]:
    """Return the days of the chart, those without any bytes as well; none if there is nothing to show.

    A day after tomorrow is a worker's wrong clock.
    """
    known = [day for day in days if date(1970, 1, 1) <= day <= today + timedelta(days=1)]
    if not known:
        return []
    last = max(known)
    if last > today - timedelta(days=MAX_DAYS):
        last = max(last, today)
    first = max(min(known), last - timedelta(days=MAX_DAYS - 1))
    first = min(first, last - timedelta(days=_MIN_DAYS - 1))
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def chart(days: Mapping[date, tuple[int, int]], shown: list[date]) -> Iterator[str]:
    """Yield the chart of ``shown``, which has at least one day.

    :param days: files and bytes by day.
    """
    sizes = [days.get(day, (0, 0))[1] for day in shown]
    step, ticks = _scale(max(sizes))
    most = shown[sizes.index(max(sizes))]
    yield (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="chart-title chart-desc">'
        '<title id="chart-title">Bytes staged per day</title>'
        f'<desc id="chart-desc">Bars for the days from {shown_day(shown[0])} to {shown_day(shown[-1])}: '
        f"{shown_bytes(sum(sizes))} in all, the most on {shown_day(most)} with {shown_bytes(max(sizes))}.</desc>"
    )
    floor, high = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    for number in range(ticks + 1):
        y = floor - high * number / ticks
        kind = "axis" if number == 0 else "grid"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{_tick(step * number)}</text>'
    slot = (_WIDTH - _LEFT - _RIGHT) / len(shown)
    bar = min(slot * 0.68, 26)
    for number, (day, size_bytes) in enumerate(zip(shown, sizes, strict=True)):
        if size_bytes:
            files = days[day][0]
            height = max(high * size_bytes / (step * ticks), 2)
            x = _LEFT + slot * number + (slot - bar) / 2
            yield (
                f'<path class="bar" d="{_bar(x, floor, bar, height)}"><title>{shown_day(day)}: '
                f"{shown_bytes(size_bytes)} in {files:,} {'file' if files == 1 else 'files'}</title></path>"
            )
    every = max(1, round(len(shown) / 6))
    for number in range(len(shown) - 1, -1, -every):
        x = _LEFT + slot * (number + 0.5)
        label = shown_day(shown[number]).rpartition(" ")[0]
        yield f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{label}</text>'
    yield "</svg>\n"


def _scale(most: int) -> tuple[int, int]:
    """Return the bytes between two lines, and how many lines above 0 it takes: at most five, in round figures."""
    unit = 1
    while True:
        for tick in _TICKS:
            if tick * unit * 4 >= most:
                step = tick * unit
                return step, max(1, -(-most // step))
        unit *= 1024


def _tick(size: int) -> str:
    return shown_bytes(size).replace(".0 ", " ") if size else "0"


def _bar(x: float, floor: float, width: float, height: float) -> str:
    """Return the outline of a bar whose upper corners are round."""
    round_by = min(3.0, width / 2, height)
    return (
        f"M{x:.1f} {floor}v{-(height - round_by):.1f}q0 {-round_by:.1f} {round_by:.1f} {-round_by:.1f}"
        f"h{width - 2 * round_by:.1f}q{round_by:.1f} 0 {round_by:.1f} {round_by:.1f}v{height - round_by:.1f}z"
    )
