"""One scheduler for a stage call: many small files and a few huge ones, side by side.

One thread reads and hashes the small files ahead, ``max_concurrency`` others send them, and read,
hash and send the large ones themselves. Python lets one thread at a time run: with every thread
doing all of it, small files take half as long again. The largest files go first, so that no huge
one is left to go alone at the end. How much is under way at once is bounded by the client, in
requests and in bytes (``storage.lanes``); how many of the requests a large file gets is decided here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TypeVar

from dpone_airflow.staging.backlog import Backlog
from dpone_airflow.staging.sources import SourceFile
from dpone_airflow.storage.errors import StagingStoppedError

Staged = TypeVar("Staged")

# Up to this size a file is read ahead.
SMALL_FILE_BYTES = 1024 * 1024
# So many files wait at most, read or not.
_FILES_AHEAD = 32
# How long the reading thread waits before it looks whether the stage has ended.
_LOOK_UP_SECONDS = 0.1


def is_read_ahead(source: SourceFile) -> bool:
    """Return whether the reading thread reads a file: reads of other hosts had better be side by side."""
    return source.remote is None and source.size_bytes <= SMALL_FILE_BYTES


def lanes_for_large_files(sizes: Sequence[int], largest_put_bytes: int, max_concurrency: int) -> int:
    """Return how many parts of one large file go at once.

    The large files share the requests equally, and all the small ones together count as one of
    them; a large file that is alone gets all.

    :param sizes: of the files that are to be sent, in bytes.
    """
    large = sum(size > largest_put_bytes for size in sizes)
    shares = large + (large < len(sizes))
    return max(1, max_concurrency // max(1, shares))


class FileScheduler:
    """Stages every file of a call, several at a time.

    :param threads: how many files are sent at once.
    :param stop: set by whoever wants the stage to end.
    """

    def __init__(self, *, threads: int, stop: threading.Event) -> None:
        self._threads = threads
        self._stop = stop
        self._failures: list[BaseException] = []

    def go_on(self) -> None:
        """Return while the stage goes on; work calls this often, so that it ends soon after a failure.

        :raises StagingStoppedError: if it ends.
        """
        if self._ends():
            raise StagingStoppedError("The stage was stopped: run it again, and it goes on from there.")

    def run(self, sources: Sequence[SourceFile], begin: Callable[[SourceFile], Callable[[], Staged]]) -> list[Staged]:
        """Call ``begin(source)()`` for every file; return what that returned, in the files' order.

        ``begin`` is called in the reading thread for small files, and what it returns in one of the
        sending threads. The first failure ends the uploads under way at their next part, and is
        raised when they have ended. So does what interrupts the caller: a time-out, a signal.

        :raises StagingStoppedError: if somebody set ``stop``.
        """
        order = sorted(range(len(sources)), key=lambda index: -sources[index].size_bytes)
        incoming = ((index, sources[index]) for index in order)
        done = self._run(incoming, begin, senders=min(self._threads, len(sources)))
        return self._in_order(done, len(sources))

    def run_as_they_come(
        self,
        sources: Generator[SourceFile, None, None],
        begin: Callable[[SourceFile], Callable[[], Staged]],
        backlog: Backlog,
    ) -> list[Staged]:
        """Do the same with files of which each may first have to be made.

        ``sources`` is iterated in the caller's thread while the files before are staged, as far ahead as
        ``backlog`` lets it. After a failure it isn't asked for another one but closed.

        :raises StagingStoppedError: if somebody set ``stop``.
        """
        arrived: queue.SimpleQueue[tuple[int, SourceFile] | None] = queue.SimpleQueue()
        count = 0
        all_came = False

        def hand_over() -> None:
            nonlocal count, all_came
            try:
                with closing(sources):
                    for source in sources:
                        backlog.take(_on_disk(source), self._ends)
                        if self._ends():
                            return
                        arrived.put((count, source))
                        count += 1
                all_came = True
            finally:
                arrived.put(None)

        def arriving() -> Iterator[tuple[int, SourceFile]]:
            while not self._ends():
                with suppress(queue.Empty):
                    if (item := arrived.get(timeout=_LOOK_UP_SECONDS)) is None:
                        return
                    yield item

        done = self._run(
            arriving(),
            begin,
            senders=self._threads,
            meanwhile=hand_over,
            after=lambda source: backlog.give_back(_on_disk(source)),
        )
        return self._in_order(done, count if all_came else None)

    def _in_order(self, done: dict[int, Staged], count: int | None) -> list[Staged]:
        if count is None or len(done) < count:
            raise StagingStoppedError(
                f"The stage was stopped after {len(done)}{'' if count is None else f' of {count}'} files: run it "
                "again, and it goes on from there."
            )
        return [done[index] for index in range(count)]

    def _run(
        self,
        incoming: Iterable[tuple[int, SourceFile]],
        begin: Callable[[SourceFile], Callable[[], Staged]],
        *,
        senders: int,
        meanwhile: Callable[[], None] = lambda: None,
        after: Callable[[SourceFile], None] = lambda _: None,
    ) -> dict[int, Staged]:
        """Stage what comes in; return what it became, by number.

        :param meanwhile: done in the caller's thread when the others have begun.
        :param after: called with each file when it has been sent, or wasn't any more.
        """
        done: dict[int, Staged] = {}
        begun: queue.SimpleQueue[tuple[int, SourceFile, Callable[[], Staged]] | None] = queue.SimpleQueue()
        # A thread that is joined when a signal's exception comes counts as ended from then on, in Python
        # up to 3.12: each says itself when it ends. https://github.com/python/cpython/issues/89437
        ended: list[str] = []
        one_ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        room = threading.Semaphore(_FILES_AHEAD)

        def read() -> None:
            try:
                for index, source in incoming:
                    while not room.acquire(timeout=_LOOK_UP_SECONDS):
                        if self._ends():
                            return
                    if self._ends():
                        return
                    ready = begin(source) if is_read_ahead(source) else partial(_do_all, begin, source)
                    begun.put((index, source, ready))
            except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                self._failures.append(error)
            finally:
                for _ in range(senders):
                    begun.put(None)
                end()

        def send() -> None:
            while (item := begun.get()) is not None:
                index, source, finish = item
                try:
                    if not self._ends():
                        done[index] = finish()
                except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                    self._failures.append(error)
                finally:
                    del item, finish  # and with it the file's bytes
                    room.release()
                    after(source)
            end()

        def end() -> None:
            ended.append(threading.current_thread().name)
            one_ended.put(None)

        threads = [threading.Thread(target=read, name="dpone-read", daemon=True)]
        threads += [
            threading.Thread(target=send, name=f"dpone-send-{number}", daemon=True) for number in range(senders)
        ]
        waiting = iter(threads)
        while True:
            try:
                for thread in waiting:
                    thread.start()
                    if thread is threads[-1]:
                        meanwhile()
                while len(ended) < sum(thread.ident is not None for thread in threads):
                    with suppress(queue.Empty):
                        one_ended.get(timeout=_LOOK_UP_SECONDS)
                break
            except BaseException as interruption:  # noqa: BLE001 - raised below, when all threads have ended
                self._failures.insert(0, interruption)
                waiting = iter(())  # what hasn't begun doesn't begin any more
        if self._failures:
            raise self._failures[0]
        return done

    def _ends(self) -> bool:
        return bool(self._failures) or self._stop.is_set()


def _do_all(begin: Callable[[SourceFile], Callable[[], Staged]], source: SourceFile) -> Staged:
    return begin(source)()


def _on_disk(source: SourceFile) -> int:
    return source.size_bytes if source.remote is None else 0
