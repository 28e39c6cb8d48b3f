"""Lengths of time are read as people write them, and what isn't one is refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.staging.durations import duration_text, parse_duration
from dpone_airflow.storage.errors import InvalidOptionError


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (timedelta(days=30), timedelta(days=30)),
        (3600, timedelta(hours=1)),
        (0.5, timedelta(seconds=0.5)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(days=14)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("1d12h", timedelta(hours=36)),
        (" 30D\n", timedelta(days=30)),
        ("3600", timedelta(hours=1)),
        ("86400.0", timedelta(days=1)),
    ],
)
def test_a_length_of_time_is_read(value: Any, length: timedelta) -> None:
    assert parse_duration("older_than", value) == length


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "None",
        "d",
        "30 days",
        "30x",
        "-1d",
        "1.5d",
        "1e9",
        "0d",
        0,
        -1,
        float("nan"),
        float("inf"),
        "9" * 400 + "d",
        "9" * 5000,
        "٣d",
        timedelta(0),
        timedelta(days=-1),
        [30],
    ],
)
def test_what_is_no_length_of_time_is_refused_by_the_options_name(value: Any) -> None:
    with pytest.raises(InvalidOptionError, match="^older_than is '.*': write a length of time such as '30d'"):
        parse_duration("older_than", value)


@given(st.integers(min_value=1, max_value=10**9))
def test_its_text_is_read_as_the_same(seconds: int) -> None:
    assert parse_duration("older_than", duration_text(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@given(st.text(alphabet="0123456789wdhms. -e", max_size=12) | st.text(max_size=12))
def test_any_text_is_a_positive_length_or_refused(text: str) -> None:
    with suppress(InvalidOptionError):
        assert parse_duration("older_than", text) > timedelta(0)
