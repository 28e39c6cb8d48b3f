"""A bound on requests and bytes under way: the next one waits until there is room."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dpone_airflow.storage.lanes import Lanes


def test_who_asks_for_more_than_is_left_waits_until_it_is_given_back() -> None:
    lanes = Lanes(100, 10)
    lanes.take(1, 7)
    got_it = threading.Event()

    def take_more() -> None:
        with lanes.holding(1, 4):
            got_it.set()

    waiting = threading.Thread(target=take_more, daemon=True)
    waiting.start()
    assert not got_it.wait(0.1), "7 and 4 bytes were out of 10"
    lanes.give_back(1, 7)
    assert got_it.wait(10)
    waiting.join(10)


def test_what_fits_is_had_at_once() -> None:
    lanes = Lanes(100, 10)
    with lanes.holding(1, 6), lanes.holding(1, 4):
        pass


def test_one_request_above_the_limit_is_let_through_alone() -> None:
    lanes = Lanes(100, 10)
    with lanes.holding(1, 50):
        waiting = threading.Thread(target=lambda: lanes.take(1, 1), daemon=True)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive(), "a byte was taken beside a request above the limit"
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_block_that_fails_gives_its_bytes_back() -> None:
    lanes = Lanes(100, 10)
    with pytest.raises(ZeroDivisionError), lanes.holding(1, 10):
        raise ZeroDivisionError
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lanes.take, 1, 10).result(timeout=10)


def test_many_threads_never_hold_more_than_the_limit() -> None:
    lanes = Lanes(100, 10)
    lock = threading.Lock()
    held = most = 0

    def hold(size: int) -> None:
        nonlocal held, most
        with lanes.holding(1, size):
            with lock:
                held += size
                most = max(most, held)
            with lock:
                held -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [1, 2, 3, 4, 5] * 100))
    assert held == 0
    assert 5 <= most <= 10


def test_requests_are_bounded_as_bytes_are() -> None:
    lanes = Lanes(3, 100)
    lanes.take(2, 1)
    got_it = threading.Event()

    def take_two() -> None:
        with lanes.holding(2, 1):
            got_it.set()

    waiting = threading.Thread(target=take_two, daemon=True)
    waiting.start()
    assert not got_it.wait(0.1), "2 and 2 requests were out of 3"
    lanes.give_back(2, 1)
    assert got_it.wait(10)


def test_a_large_one_that_waits_is_not_overtaken_by_small_ones() -> None:
    lanes = Lanes(4, 100)
    lanes.take(3, 1)
    order: list[str] = []

    def take(name: str, requests: int) -> None:
        with lanes.holding(requests, 1):
            order.append(name)

    large = threading.Thread(target=take, args=("large", 4), daemon=True)
    large.start()
    while not lanes._waiting:
        pass
    small = threading.Thread(target=take, args=("small", 1), daemon=True)
    small.start()
    small.join(0.1)
    assert order == [], "a small one went past the large one that came first"
    lanes.give_back(3, 1)
    large.join(10)
    small.join(10)
    assert order == ["large", "small"]
