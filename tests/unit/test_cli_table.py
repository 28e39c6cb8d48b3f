"""What the commands print: aligned text that can't steer a terminal, and the line that calls a command again."""

from __future__ import annotations

import io
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpone_airflow.cli.again import line_again
from dpone_airflow.cli.main import build_parser
from dpone_airflow.cli.table import MAX_ROWS, bounded, counted, fields, line, table


def test_columns_are_as_wide_as_their_widest_cell_and_figures_end_under_each_other() -> None:
    rows = [("run-1", 1_234_567, "kept"), ("a-longer-run", None, ""), ("r", 7, "gone")]
    assert "".join(table(("run id", "bytes", "what"), rows, right=("bytes",))) == (
        "RUN ID            BYTES  WHAT\n"
        "run-1         1,234,567  kept\n"
        "a-longer-run          -\n"
        "r                     7  gone\n"
    )


def test_a_table_without_rows_has_its_head() -> None:
    assert list(table(("a", "b"), [])) == ["A  B\n"]


def test_characters_that_take_two_columns_of_a_terminal_or_none_are_aligned_all_the_same() -> None:
    rows = [("注文", "x"), ("cafe\u0301", "x"), ("abcd", "x")]
    assert list(table(("n", "x"), rows))[1:] == ["注文  x\n", "cafe\u0301  x\n", "abcd  x\n"]


def test_names_are_followed_by_their_values_and_unknown_ones_left_out() -> None:
    assert list(fields([("prefix", "s3://lake"), ("part", None), ("n", 0)])) == ["prefix  s3://lake\n", "n       0\n"]


@pytest.mark.parametrize("size", [0, 1, MAX_ROWS, MAX_ROWS + 1, 3 * MAX_ROWS])
def test_of_many_rows_the_first_are_shown_unless_all_are_wanted(size: int) -> None:
    rows = [(f"file-{number}",) for number in range(size)]
    assert len(list(bounded(("file",), rows, all_rows=True))) == 1 + size
    shown = list(bounded(("file",), rows, all_rows=False))
    assert shown[1 : 1 + MAX_ROWS] == [f"file-{number}\n" for number in range(min(size, MAX_ROWS))]
    assert shown[1 + MAX_ROWS :] == (
        [f"... and {size - MAX_ROWS} more; --all shows them.\n"] if size > MAX_ROWS else []
    )


@given(st.text(st.characters(codec=None), max_size=30))
def test_nothing_in_a_text_can_steer_a_terminal_or_break_a_line(text: str) -> None:
    for shown in (*table(("a",), [(text,)]), *fields([("a", text)]), line(text)):
        assert shown.endswith("\n")
        told = shown[:-1]
        assert not {"\n", "\r", "\x1b", "\x9b", "\u202e", "\u2028"} & set(told)
        told.encode()  # no half of a character


def test_secrets_are_masked_in_every_cell_and_line() -> None:
    text = "GET https://host/c?sv=2025&sig=hunter2 password=hunter2"
    assert "hunter2" not in "".join((*table(("a",), [(text,)]), *fields([("a", text)]), line(text)))


def test_one_is_an_object_and_two_are_objects() -> None:
    assert [counted(number, "object") for number in (0, 1, 2, 1_000)] == [
        "0 objects",
        "1 object",
        "2 objects",
        "1,000 objects",
    ]


PARSER = build_parser()
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
WORDS |= WORDS.map("-{}".format)  # like an option
WORDS = WORDS.filter(lambda word: word != "--")  # which argparse takes for a separator again and again


@settings(max_examples=60)  # a parse of all the arguments, twice, is no quick thing
@given(
    st.lists(st.sampled_from(("--include-retained", "--json", "--all"))),
    WORDS,
    WORDS,
    st.dictionaries(st.sampled_from(("--conn-id", "--part", "--storage-options")), WORDS),
    st.dictionaries(st.sampled_from(("--max-objects", "--max-bytes")), st.integers(-5, 10**15)),
)
def test_the_line_that_is_printed_calls_the_command_with_the_same_arguments(
    flags: list[str], base_uri: str, run_id: str, words: dict[str, str], numbers: dict[str, int]
) -> None:
    given_options = [f"{name}={value}" for name, value in (words | numbers).items()]
    args = PARSER.parse_args(["cleanup", *flags, *given_options, "--", base_uri, run_id])
    args.program = "airflow dpone"
    airflow, dpone, *again = shlex.split(line_again(args, "--yes"))
    assert (airflow, dpone) == ("airflow", "dpone")
    del args.program
    assert vars(PARSER.parse_args(again)) == vars(args) | {"yes": True}


def test_what_airflow_logs_to_stdout_by_then_goes_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging
    import sys

    from dpone_airflow.cli.main import main

    answers, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", answers)
    monkeypatch.setattr(sys, "stderr", errors)
    handler = logging.StreamHandler(answers)
    logging.getLogger().addHandler(handler)
    try:
        main(["runs", "nonsense", "--conn-id", "nowhere"])
    finally:
        logging.getLogger().removeHandler(handler)
    handler.emit(logging.makeLogRecord({"msg": "from a handler that was there before"}))
    assert answers.getvalue() == ""
    assert "from a handler that was there before" in errors.getvalue()
