"""Files are staged side by side, the largest first; the first failure, or an interruption, ends all of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dpone_airflow.staging import upload
from dpone_airflow.staging.sources import SourceFile
from dpone_airflow.staging.upload import SMALL_FILE_BYTES, FileScheduler, lanes_for_large_files
from dpone_airflow.storage.errors import StagingStoppedError

LIMIT = 10
# What isn't read ahead.
LARGE = SMALL_FILE_BYTES + 1


class TaskTimeoutError(BaseException):
    """What a signal's handler raises in the thread that waits."""


class Stage:
    """A scheduler of a few threads, and what a test does with each file in the thread that sends it."""

    def __init__(self, threads: int) -> None:
        self.stop = threading.Event()
        self.scheduler = FileScheduler(threads=threads, stop=self.stop)

    def __call__(self, sources: list[SourceFile], send: Callable[[SourceFile], Any]) -> list[Any]:
        return self.scheduler.run(sources, lambda source: partial(send, source))

    def wait_for_the_end(self) -> None:
        """Return when the stage is told to end."""
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            try:
                self.scheduler.go_on()
            except StagingStoppedError:
                return
            time.sleep(0.005)
        raise AssertionError("nobody was told to stop")


def files(*sizes: int) -> list[SourceFile]:
    return [SourceFile(Path(f"/in/{number}"), str(number), size) for number, size in enumerate(sizes)]


def its_threads() -> list[threading.Thread]:
    """Return its threads that are alive; one that has just done its work may need a moment to end."""
    give_up = time.monotonic() + 0.2
    while alive := [thread for thread in threading.enumerate() if thread.name.startswith(("dpone-read", "dpone-send"))]:
        if time.monotonic() > give_up:
            break
        time.sleep(0.005)
    return alive


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Raise in the main thread what an Airflow task's time-out or termination raises there."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise TaskTimeoutError

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


# What comes out.


@pytest.mark.parametrize("unit", [1, LARGE])
@pytest.mark.parametrize("threads", [1, 3, 50])
def test_results_come_in_the_order_of_the_files(threads: int, unit: int) -> None:
    stage = Stage(threads)
    sources = files(*[unit * size for size in (3, 1, 4, 1, 5, 9, 2, 6)])
    assert stage(sources, lambda source: source.file_name) == [*"01234567"]
    assert not stage.stop.is_set()
    assert its_threads() == []


def test_more_files_than_may_wait_all_come_out() -> None:
    count = 5 * upload._FILES_AHEAD
    assert Stage(3)(files(*range(count)), lambda source: source.size_bytes) == list(range(count))


def test_a_result_may_be_nothing() -> None:
    assert Stage(2)(files(1, 2), lambda _: None) == [None, None]


def test_no_file_is_no_work() -> None:
    assert Stage(4)([], lambda source: source) == []


def test_the_largest_goes_first_and_equal_ones_in_their_order() -> None:
    begun: list[str] = []
    Stage(1)(files(3, 1, LARGE, 3, 0, LARGE), lambda source: begun.append(source.file_name))
    assert begun == ["2", "5", "0", "3", "1", "4"]


@pytest.mark.parametrize("size", [1, LARGE])
def test_as_many_as_asked_go_at_once_and_never_more(size: int) -> None:
    together = threading.Barrier(3, timeout=10)
    lock = threading.Lock()
    under_way = most = 0

    def send(_: SourceFile) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()  # breaks unless three are under way at once
        time.sleep(0.01)  # long enough for a fourth to show
        with lock:
            under_way -= 1

    Stage(3)(files(*[size] * 12), send)
    assert most == 3


def test_no_more_threads_are_made_than_there_are_files(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    made: list[str] = []

    def counted(thread: threading.Thread) -> None:
        made.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    Stage(40)(files(1, 1), lambda _: None)
    assert [name for name in made if name.startswith("dpone-send-")] == ["dpone-send-0", "dpone-send-1"]


@pytest.mark.parametrize(
    ("size", "ahead"), [(0, True), (1, True), (SMALL_FILE_BYTES, True), (LARGE, False), (100 * LARGE, False)]
)
def test_small_files_are_read_ahead_by_one_thread_and_large_ones_by_those_that_send_them(
    size: int, ahead: bool
) -> None:
    read_by: list[str] = []
    sent_by: list[str] = []

    def begin(_: SourceFile) -> Callable[[], None]:
        read_by.append(threading.current_thread().name)
        return lambda: sent_by.append(threading.current_thread().name)

    FileScheduler(threads=2, stop=threading.Event()).run(files(*[size] * 5), begin)
    assert len(read_by) == len(sent_by) == 5
    assert all((name == "dpone-read") is ahead for name in read_by)
    assert all(name.startswith("dpone-send-") for name in sent_by)


@pytest.mark.parametrize("size", [1, LARGE])
def test_no_more_files_are_read_ahead_than_may_wait(size: int) -> None:
    under_way = most = 0
    lock = threading.Lock()

    def begin(_: SourceFile) -> Callable[[], None]:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        return send

    def send() -> None:
        nonlocal under_way
        time.sleep(0.002)  # slower than they are read
        with lock:
            under_way -= 1

    FileScheduler(threads=2, stop=threading.Event()).run(files(*[size] * 100), begin)
    assert most == (upload._FILES_AHEAD if size == 1 else 2)


# Failures.


@pytest.mark.parametrize("size", [1, LARGE])
@pytest.mark.parametrize("error", [ZeroDivisionError("first"), SystemExit("first"), KeyboardInterrupt("first")])
def test_a_failure_ends_the_files_that_have_not_begun(error: BaseException, size: int) -> None:
    begun: list[str] = []

    def send(source: SourceFile) -> None:
        begun.append(source.file_name)
        if source.file_name == "2":
            raise error

    with pytest.raises(type(error)) as failed:
        Stage(1)(files(*[size] * 100), send)
    assert failed.value is error
    assert begun == ["0", "1", "2"]
    assert its_threads() == []


@pytest.mark.parametrize("size", [1, LARGE])
@pytest.mark.parametrize("failing", ["0", "60", "99"])
def test_a_file_that_can_not_be_read_is_the_failure(failing: str, size: int) -> None:
    sent: list[str] = []

    def begin(source: SourceFile) -> Callable[[], None]:
        if source.file_name == failing:
            raise ZeroDivisionError(failing)
        return lambda: sent.append(source.file_name)

    with pytest.raises(ZeroDivisionError, match=failing):
        FileScheduler(threads=2, stop=threading.Event()).run(files(*[size] * 100), begin)
    assert failing not in sent
    assert its_threads() == []


def test_the_first_failure_is_the_one_to_tell_and_others_end_before_it_is_told() -> None:
    """The others are told to stop, and say so: what they say isn't what went wrong."""
    stage = Stage(3)
    together = threading.Barrier(3, timeout=10)
    ended: list[str] = []

    def send(source: SourceFile) -> None:
        together.wait()
        if source.file_name == "1":
            raise ZeroDivisionError("what went wrong")
        stage.wait_for_the_end()
        time.sleep(0.1)
        ended.append(source.file_name)
        stage.scheduler.go_on()

    with pytest.raises(ZeroDivisionError, match="what went wrong"):
        stage(files(3, 3, 3, 1, 1), send)
    assert sorted(ended) == ["0", "2"]
    assert its_threads() == []


def test_work_goes_on_until_it_is_told_to_stop() -> None:
    stage = Stage(1)
    stage.scheduler.go_on()
    stage.stop.set()
    with pytest.raises(StagingStoppedError, match="The stage was stopped: run it again, and it goes on from there"):
        stage.scheduler.go_on()


# Stopping.


def test_what_is_stopped_says_how_far_it_came() -> None:
    stage = Stage(1)

    def send(source: SourceFile) -> None:
        if source.file_name == "1":
            stage.stop.set()

    with pytest.raises(StagingStoppedError, match=r"after 2 of 50 files: run it again, and it goes on from there\."):
        stage(files(*[1] * 50), send)
    assert its_threads() == []


def test_what_is_stopped_before_it_begins_does_nothing() -> None:
    stage = Stage(2)
    stage.stop.set()
    begun: list[str] = []
    with pytest.raises(StagingStoppedError, match="after 0 of 2 files"):
        stage(files(1, 1), lambda source: begun.append(source.file_name))
    assert begun == []


def test_a_stop_that_comes_when_all_is_done_changes_nothing() -> None:
    stage = Stage(1)

    def send(source: SourceFile) -> str:
        if source.file_name == "1":
            stage.stop.set()
        return source.file_name

    assert stage(files(1, 1), send) == ["0", "1"]


@pytest.mark.parametrize("slow", ["0", "1", "2"])
@pytest.mark.parametrize(("size", "count"), [(1, 3), (LARGE, 3), (1, 100)])
def test_an_interruption_stops_the_files_under_way_and_waits_for_each_of_them(
    interrupt: Callable[[], None], slow: str, size: int, count: int
) -> None:
    """Whichever of the threads is waited for when it comes."""
    stage = Stage(3)
    together = threading.Barrier(3, timeout=10)
    begun: list[str] = []
    ended: list[str] = []

    def send(source: SourceFile) -> None:
        begun.append(source.file_name)
        together.wait()
        if source.file_name == slow:
            time.sleep(0.1)  # the caller waits by then
            interrupt()
        stage.wait_for_the_end()
        time.sleep(0.6 if source.file_name == slow else 0.1)
        ended.append(source.file_name)

    with pytest.raises(TaskTimeoutError):
        stage(files(*[size] * count), send)
    assert sorted(ended) == sorted(begun) == ["0", "1", "2"], "a file was still under way, or a new one begun"
    assert its_threads() == []


def test_an_interruption_while_a_file_is_read_ahead_waits_for_it(interrupt: Callable[[], None]) -> None:
    stage = Stage(2)
    ended: list[str] = []

    def begin(source: SourceFile) -> Callable[[], None]:
        time.sleep(0.1)  # the caller waits by then
        interrupt()
        stage.wait_for_the_end()
        time.sleep(0.5)
        ended.append(source.file_name)
        return lambda: None

    with pytest.raises(TaskTimeoutError):
        stage.scheduler.run(files(*[1] * 9), begin)
    assert ended == ["0"]
    assert its_threads() == []


@pytest.mark.parametrize("refused", [0, 1, 2, 4])
def test_a_thread_that_can_not_be_started_ends_those_that_were(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    stage = Stage(4)
    start = threading.Thread.start
    started = 0
    ended: list[str] = []
    errors: list[BaseException] = []

    def some(thread: threading.Thread) -> None:
        nonlocal started
        if thread.name.startswith("dpone-"):
            if started == refused:
                raise RuntimeError("can't start new thread")
            started += 1
        start(thread)

    def send(source: SourceFile) -> None:
        stage.wait_for_the_end()
        time.sleep(0.1)
        ended.append(source.file_name)

    def run() -> None:
        try:
            stage(files(*[1] * 100), send)
        except RuntimeError as error:
            errors.append(error)

    caller = threading.Thread(target=run, daemon=True)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", some)
        caller.start()
        caller.join(10)
    assert not caller.is_alive(), "it waits for a thread that waits for one that never began"
    assert [str(error) for error in errors] == ["can't start new thread"]
    assert len(ended) <= refused
    assert its_threads() == []


# How many parts of a large file go at once.


@pytest.mark.parametrize(
    ("sizes", "lanes"),
    [
        ([], 8),
        ([LIMIT], 8),  # as large as one request takes, so it has no parts
        ([1, 2, 3], 8),
        ([LIMIT + 1], 8),  # alone, it gets all
        ([LIMIT + 1, 1], 4),
        ([LIMIT + 1, LIMIT], 4),
        ([LIMIT + 1, LIMIT, 1], 4),
        ([LIMIT + 1, *[1] * 10_000], 4),  # however many small ones there are
        ([LIMIT + 1] * 2, 4),
        ([*[LIMIT + 1] * 2, 1], 2),
        ([LIMIT + 1] * 3, 2),
        ([*[LIMIT + 1] * 3, 1], 2),
        ([LIMIT + 1] * 8, 1),
        ([LIMIT + 1] * 1000, 1),
        ([*[LIMIT + 1] * 1000, 0], 1),
    ],
)
def test_large_files_share_the_requests_and_all_small_ones_count_as_one_of_them(sizes: list[int], lanes: int) -> None:
    assert lanes_for_large_files(sizes, LIMIT, 8) == lanes


@pytest.mark.parametrize("sizes", [[], [1], [LIMIT + 1], [LIMIT + 1, 1], [LIMIT + 1] * 5])
def test_one_request_at_a_time_is_one_for_a_large_file_too(sizes: list[int]) -> None:
    assert lanes_for_large_files(sizes, LIMIT, 1) == 1


def test_what_is_left_over_is_given_to_nobody() -> None:
    assert lanes_for_large_files([LIMIT + 1] * 3, LIMIT, 11) == 3
