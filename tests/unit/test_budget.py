"""A bound on the bytes in memory: the next one waits until there is room."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dpone_airflow.storage.budget import ByteBudget


def test_who_asks_for_more_than_is_left_waits_until_it_is_given_back() -> None:
    budget = ByteBudget(10)
    budget.take(7)
    got_it = threading.Event()

    def take_more() -> None:
        with budget.holding(4):
            got_it.set()

    waiting = threading.Thread(target=take_more, daemon=True)
    waiting.start()
    assert not got_it.wait(0.1), "7 and 4 bytes were out of 10"
    budget.give_back(7)
    assert got_it.wait(10)
    waiting.join(10)


def test_what_fits_is_had_at_once() -> None:
    budget = ByteBudget(10)
    with budget.holding(6), budget.holding(4):
        pass


def test_one_request_above_the_whole_budget_is_let_through_alone() -> None:
    budget = ByteBudget(10)
    with budget.holding(50):
        waiting = threading.Thread(target=lambda: budget.take(1), daemon=True)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive(), "a byte was taken beside a request above the budget"
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_block_that_fails_gives_its_bytes_back() -> None:
    budget = ByteBudget(10)
    with pytest.raises(ZeroDivisionError), budget.holding(10):
        raise ZeroDivisionError
    with ThreadPoolExecutor(1) as pool:
        pool.submit(budget.take, 10).result(timeout=10)


def test_many_threads_never_hold_more_than_the_limit() -> None:
    budget = ByteBudget(10)
    lock = threading.Lock()
    held = most = 0

    def hold(size: int) -> None:
        nonlocal held, most
        with budget.holding(size):
            with lock:
                held += size
                most = max(most, held)
            with lock:
                held -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [1, 2, 3, 4, 5] * 100))
    assert held == 0
    assert 5 <= most <= 10
