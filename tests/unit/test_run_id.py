"""A run id is one safe path segment, and any text can be made into one."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dpone_airflow.staging.run_id import (
    MAX_RUN_ID_BYTES,
    check_part,
    check_run_id,
    default_run_id,
    safe_run_id,
)
from dpone_airflow.storage.errors import InvalidPlanError

# Text that looks like what Airflow makes, and text that doesn't.
TEXTS = st.one_of(st.text(max_size=300), st.from_regex(r"[A-Za-z0-9._=:+/ -]{1,250}", fullmatch=True))


@pytest.mark.parametrize(
    "run_id", ["run-1", "2026-11-22", "a", "A.b_c=d-e", "-dash", "=", "dt=2026-11-22", "x" * MAX_RUN_ID_BYTES]
)
def test_a_safe_run_id_stays_as_it_is(run_id: str) -> None:
    assert check_run_id(run_id) == run_id
    assert safe_run_id(run_id) == run_id


@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        ("", "is empty"),
        (".", "names a directory"),
        ("..", "names a directory"),
        ("_run", "starts with '_'"),
        (".run", "starts with '.'"),
        ("run.", "ends with '.'"),
        ("a/b", "has characters outside"),
        ("../x", "starts with '.'"),
        ("a\\b", "has characters outside"),
        ("a b", "has characters outside"),
        ("run-1\n", "has characters outside"),
        ("münchen", "has characters outside"),
        ("manual__2026-11-22T08:00:00+00:00", "has characters outside"),
        ("x" * (MAX_RUN_ID_BYTES + 1), "has 201 bytes"),
        (None, "is NoneType, not text"),
        (7, "is int, not text"),
    ],
)
def test_an_unsafe_run_id_is_refused(run_id: object, said: str) -> None:
    with pytest.raises(InvalidPlanError, match="run_id") as refused:
        check_run_id(run_id)  # type: ignore[arg-type]
    assert said in str(refused.value)


@pytest.mark.parametrize("run_id", ["", ".", "..", "_run", ".run", "run.", "x" * (MAX_RUN_ID_BYTES + 1)])
def test_what_is_unsafe_for_another_reason_than_its_characters_is_left_to_be_refused(run_id: str) -> None:
    assert safe_run_id(run_id) == run_id


def test_airflows_own_run_id_becomes_a_readable_segment() -> None:
    slug = safe_run_id("manual__2026-11-22T08:00:00+00:00")
    assert slug.startswith("manual__2026-11-22T08-00-00-00-00-")
    assert check_run_id(slug) == slug


@given(TEXTS)
def test_what_is_made_safe_is_safe_or_was_left_as_it_is(text: str) -> None:
    made = safe_run_id(text)
    try:
        check_run_id(made)
    except InvalidPlanError:
        assert made == text
    assert safe_run_id(text) == made


@given(TEXTS, TEXTS)
def test_different_texts_become_different_run_ids(one: str, other: str) -> None:
    assume(one != other)
    assert safe_run_id(one) != safe_run_id(other)


def test_texts_that_differ_only_in_replaced_characters_stay_apart() -> None:
    made = {safe_run_id(text) for text in ("a:b", "a+b", "a/b", "a b", "a::b")}
    assert len(made) == 5


@given(TEXTS, TEXTS, TEXTS)
def test_the_default_run_id_is_safe_whatever_the_names_are(dag_id: str, dag_run_id: str, task_id: str) -> None:
    made = default_run_id(dag_id, dag_run_id, task_id)
    assert check_run_id(made) == made
    assert default_run_id(dag_id, dag_run_id, task_id) == made


def test_the_default_run_id_names_dag_run_and_task() -> None:
    made = default_run_id("daily", "scheduled__2026-11-22", "stage")
    assert made.startswith("daily-scheduled__2026-11-22-stage-")


def test_the_default_run_id_tells_tasks_apart_where_their_names_join_to_the_same_text() -> None:
    assert default_run_id("a-b", "c", "d") != default_run_id("a", "b-c", "d")
    assert default_run_id("a", "b", "c-d") != default_run_id("a", "b-c", "d")


def test_the_default_run_id_is_cut_to_fit_and_stays_unique() -> None:
    one, other = default_run_id("d" * 250, "r", "one"), default_run_id("d" * 250, "r", "other")
    assert len(one) == len(other) == MAX_RUN_ID_BYTES
    assert one != other


@pytest.mark.parametrize("part", [None, "map-00003", "0", "-", "dt=1", "x" * 100])
def test_a_part_is_a_segment_without_a_dot_or_nothing(part: str | None) -> None:
    assert check_part(part) == part


@pytest.mark.parametrize("part", ["", "_run", "a.b", "..", "a/b", "a b", "x" * 101, "part\n", 3, b"a"])
def test_any_other_part_is_refused(part: object) -> None:
    with pytest.raises(InvalidPlanError, match="part"):
        check_part(part)  # type: ignore[arg-type]
