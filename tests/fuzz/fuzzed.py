"""The decorator of a fuzz test: how many inputs it gets, and how many it got."""

from __future__ import annotations

import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.fuzz.choices import BYTES, Choices, inputs_of

_WANTED = os.environ.get("DPONE_FUZZ_INPUTS")
#: Whether this is ``make fuzz``, and how many inputs each test gets.
LONG_RUN = _WANTED is not None
INPUTS = int(_WANTED or 400)
_AT_ONCE = 20

settings.register_profile(
    "fuzz",
    max_examples=-(-INPUTS // _AT_ONCE),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # An input is small and is told: to look for a smaller one takes minutes.
    phases=(Phase.generate,),
)
#: How many inputs each test has had.
COUNTS: Counter[str] = Counter()


def fuzzed(
    make: Callable[[Choices], Any],
    *,
    within: Callable[[], AbstractContextManager[Any]] | None = None,
    together: bool = False,
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Run a test of one input with as many as the profile says, and count them.

    :param make: makes an input out of what Hypothesis chose.
    :param within: makes what some inputs share, and the test gets after its input.
    :param together: gives the test a list of inputs in the place of each.
    """

    def decorate(test: Callable[..., None]) -> Callable[[], None]:
        name = test.__name__

        # Of one length, for Hypothesis likes to draw short ones.
        @settings.get_profile("fuzz")
        @given(st.binary(min_size=BYTES * _AT_ONCE, max_size=BYTES * _AT_ONCE))
        def run(content: bytes) -> None:
            inputs = inputs_of(make, content)
            COUNTS[name] += len(inputs)
            with _pythons_own_stack(), nullcontext() if within is None else within() as shared:
                for value in [inputs] if together else inputs:
                    try:
                        test(value) if within is None else test(value, shared)
                    except BaseException:
                        note(f"input: {value!r:.3000}")
                        raise

        run.__name__, run.__doc__, run.__module__ = name, inspect.getdoc(test), test.__module__
        return run

    return decorate


@contextmanager
def _pythons_own_stack() -> Iterator[None]:
    """Allow no deeper calls than a worker has: Hypothesis raises the limit, and would hide what goes over it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 1000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def told(error: Exception) -> None:
    """Check that a refusal says something, in text that can be written anywhere."""
    if not str(error):
        raise AssertionError(f"{type(error).__name__} says nothing")
