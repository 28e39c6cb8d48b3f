"""What is told about work that takes long: on time, from any thread, and never after its end."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dpone_airflow.cli.rich_progress import RichProgress
from dpone_airflow.operators.progress_display import progress_for
from dpone_airflow.staging.progress import Progress, ProgressSnapshot, log_progress
from dpone_airflow.storage import LocalObjectStorageClient, S3ObjectStorageClient

GIB = 1024**3
WHAT = "Staging s3://landing/orders/run-1/"


def snapshot(**changes: Any) -> ProgressSnapshot:
    fields = {
        "what": WHAT,
        "files_done": 1200,
        "files_total": 10_000,
        "bytes_done": 3 * GIB,
        "bytes_total": 26 * GIB,
        "seconds": 10.0,
    }
    return ProgressSnapshot(**(fields | changes))


def wait_until(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "1,200 of 10,000 files, 3.0 of 26.0 GiB, 307.2 MiB/s, 1 min 17 s left"),
        ({"seconds": 5000.0}, "1,200 of 10,000 files, 3.0 of 26.0 GiB, 629.1 KiB/s, 10 h 38 min left"),
        ({"bytes_done": 25 * GIB}, "1,200 of 10,000 files, 25.0 of 26.0 GiB, 2.5 GiB/s, 1 s left"),
        ({"bytes_done": 0}, "1,200 of 10,000 files, 0.0 of 26.0 GiB, 0 B/s, time left unknown"),
        (
            {"files_done": 0, "files_total": 1, "bytes_done": 400, "bytes_total": 1023},
            "0 of 1 file, 400 of 1,023 B, 40 B/s, 16 s left",
        ),
        (
            {"files_done": 3, "files_total": 3, "bytes_done": 0, "bytes_total": 0},
            "3 of 3 files, 0 of 0 B, 0 B/s, time left unknown",
        ),
    ],
)
def test_a_snapshot_reads_as_a_sentence(changes: dict[str, Any], text: str) -> None:
    assert str(snapshot(**changes)) == text


def test_the_rate_is_that_of_late_and_the_time_left_follows_it() -> None:
    now = snapshot(seconds=100.0, bytes_done=6 * GIB, rate_since=(95.0, 4 * GIB))
    assert now.bytes_per_second == pytest.approx(0.4 * GIB)
    assert now.seconds_left == pytest.approx(50)


def test_a_store_that_stalls_has_no_rate_and_no_end() -> None:
    now = snapshot(seconds=100.0, rate_since=(95.0, 3 * GIB))
    assert now.bytes_per_second == 0
    assert now.seconds_left is None


def test_nothing_is_left_of_a_file_that_grew() -> None:
    assert snapshot(bytes_done=27 * GIB).seconds_left == 0


def test_no_time_has_passed_at_the_beginning() -> None:
    assert snapshot(seconds=0.0).bytes_per_second == 0


def test_work_is_reported_while_it_lasts_also_when_nothing_moves() -> None:
    told: list[ProgressSnapshot] = []
    with Progress(WHAT, 2, 1000, told.append, every_seconds=0.02) as progress:
        wait_until(lambda: len(told) >= 2)
        assert told[-1].bytes_done == 0
        progress.add_bytes(600)
        progress.file_done()
        wait_until(lambda: told[-1].bytes_done == 600)
        moved = len(told)
        wait_until(lambda: len(told) > moved + 1)
    first_with_bytes = next(one for one in told if one.bytes_done)
    assert first_with_bytes.bytes_per_second > 0
    assert (told[-1].what, told[-1].files_done, told[-1].files_total, told[-1].bytes_total) == (WHAT, 1, 2, 1000)
    assert told[-1].bytes_per_second == 0, "the rate is that of the last interval"
    assert [one.seconds for one in told] == sorted(one.seconds for one in told)


def test_the_rate_can_be_taken_over_several_intervals() -> None:
    told: list[ProgressSnapshot] = []
    with Progress(WHAT, 2, 1000, told.append, every_seconds=0.01, rate_over=1000) as progress:
        progress.add_bytes(600)
        wait_until(lambda: len(told) >= 5)
    assert told[-1].bytes_per_second > 0


def test_short_work_is_never_reported() -> None:
    told: list[ProgressSnapshot] = []
    with Progress(WHAT, 1, 10, told.append, every_seconds=60) as progress:
        progress.add_bytes(10)
    assert told == []
    assert progress.snapshot().bytes_done == 10


def reporters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dpone-progress"]


def test_it_ends_at_once_also_after_an_error() -> None:
    def fail() -> None:
        with Progress(WHAT, 1, 10, every_seconds=60):
            assert len(reporters()) == 1
            raise ZeroDivisionError

    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert time.monotonic() - begin < 30
    assert reporters() == []


def test_nothing_is_said_after_the_end() -> None:
    told: list[ProgressSnapshot] = []
    with Progress(WHAT, 1, 10, told.append, every_seconds=0.01):
        wait_until(lambda: bool(told))
    lines = len(told)
    time.sleep(0.1)
    assert len(told) == lines


def test_a_forgotten_end_keeps_no_process_alive() -> None:
    with Progress(WHAT, 1, 10):
        assert [reporter.daemon for reporter in reporters()] == [True]


class SlowlyAdded(int):
    """A size that lets other threads in while it is added."""

    def __radd__(self, other: int) -> int:
        time.sleep(0.0001)
        return other + int(self)


def test_no_byte_is_lost_between_threads() -> None:
    progress = Progress(WHAT, 8, 8 * 50 * 3)

    def send() -> None:
        for _ in range(50):
            progress.add_bytes(SlowlyAdded(3))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.snapshot().bytes_done == 8 * 50 * 3


def test_bytes_that_are_sent_again_are_taken_back() -> None:
    progress = Progress(WHAT, 1, 10)
    progress.add_bytes(8)
    progress.add_bytes(-8)
    assert progress.snapshot().bytes_done == 0


def test_a_line_is_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dpone_airflow"), Progress(WHAT, 2, 2048, every_seconds=0.01) as progress:
        progress.add_bytes(1024)
        wait_until(lambda: bool(caplog.records))
    line = caplog.records[0]
    assert (line.levelno, line.name) == (logging.INFO, "dpone_airflow.staging.progress")
    assert line.getMessage().startswith(f"{WHAT}: 0 of 2 files, 1.0 of 2.0 KiB, ")


def test_the_line_that_is_logged_is_the_snapshot(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dpone_airflow"):
        log_progress(snapshot())
    assert caplog.messages == [f"{WHAT}: 1,200 of 10,000 files, 3.0 of 26.0 GiB, 307.2 MiB/s, 1 min 17 s left"]


def terminal(width: int = 100) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, color_system=None, width=width), screen


def test_the_bar_shows_files_bytes_and_rate_while_the_work_lasts() -> None:
    console, screen = terminal()
    with RichProgress("Staging s3://landing/[bold]x/", 2, 2048, console=console) as progress:
        progress.add_bytes(1024)
        progress.file_done()
        wait_until(lambda: "1 of 2 files, 1.0 of 2.0 KiB, " in screen.getvalue())
        assert "B/s, " in screen.getvalue()
        assert "s left" in screen.getvalue()
    assert "Staging s3://landing/[bold]x/\n" in screen.getvalue(), "a bucket's names are no markup"


def test_the_bar_ends_with_what_was_done_and_gives_the_terminal_back() -> None:
    console, screen = terminal()
    with RichProgress(WHAT, 1, 2048, console=console) as progress:
        progress.add_bytes(2048)
        progress.file_done()
    shown = screen.getvalue()
    assert "1 of 1 file, 2.0 of 2.0 KiB, " in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


def test_the_bar_gives_the_terminal_back_after_an_error() -> None:
    console, screen = terminal()

    def fail() -> None:
        with RichProgress(WHAT, 1, 2048, console=console):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "\x1b[?25h" in screen.getvalue()
    assert reporters() == []


def test_the_bar_fits_a_narrow_terminal() -> None:
    console, screen = terminal(width=80)
    with RichProgress(WHAT, 10_000, 26 * GIB, console=console) as progress:
        progress.add_bytes(3 * GIB)
    assert re.search(r"0 of 10,000 files, 3\.0 of 26\.0 GiB, [^\n]+B/s, [^\n]+ left", screen.getvalue())


class Stderr(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize(("is_terminal", "shown_as"), [(True, RichProgress), (False, Progress)])
def test_the_emulator_draws_a_bar_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool, shown_as: type[Progress]
) -> None:
    monkeypatch.setattr(sys, "stderr", Stderr(is_terminal))
    progress = progress_for(LocalObjectStorageClient(root_dir=tmp_path))(WHAT, 1, 10)
    assert type(progress) is shown_as


def test_a_cloud_is_told_of_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Stderr(is_terminal=True))
    client = S3ObjectStorageClient.__new__(S3ObjectStorageClient)  # needs no SDK to be one
    assert type(progress_for(client)(WHAT, 1, 10)) is Progress
