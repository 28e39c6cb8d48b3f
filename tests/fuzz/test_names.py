"""Whatever an author, Airflow or a disk calls something: one safe segment, or our error."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from dpone_airflow.staging.plan import ObjectStorageStagingPlan
from dpone_airflow.staging.run_id import MAX_RUN_ID_BYTES, check_part, check_run_id, default_run_id, safe_run_id
from dpone_airflow.staging.sources import find_sources
from dpone_airflow.storage.errors import DponeAirflowError, InvalidPlanError
from tests.fuzz.choices import HOSTILE, Choices
from tests.fuzz.folders import fresh_folder
from tests.fuzz.fuzzed import fuzzed

SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=-")
RUN_IDS = (
    "manual__2026-11-22T08:00:00+00:00",
    "daily-scheduled__2026-11-22-stage-0123456789",
    "run-1",
    "dt=1",
    "..",
    "map-00003",
    "x" * MAX_RUN_ID_BYTES,
    "",
)


def _run_id(choices: Choices) -> str:
    return choices.changed_text(choices.of(RUN_IDS))


def check_segment(segment: str) -> None:
    assert 0 < len(segment) <= MAX_RUN_ID_BYTES
    assert set(segment) <= SAFE
    assert segment[0] not in "._"
    assert segment[-1] != "."


def _two_run_ids(choices: Choices) -> tuple[str, str]:
    one = _run_id(choices)
    return one, choices.changed_text(one, 2) if choices.number(2) else _run_id(choices)


@fuzzed(_two_run_ids)
def test_any_run_id_becomes_one_safe_segment_or_is_refused_and_two_stay_two(two: tuple[str, str]) -> None:
    made = []
    for text in two:
        slug = safe_run_id(text)
        assert safe_run_id(slug) == slug
        try:
            check_segment(check_run_id(slug))
        except InvalidPlanError:
            # Only what has no unsafe character is left as it is, to be refused.
            assert slug == text
            continue
        made.append(slug)
    assert two[0] == two[1] or len(set(made)) == len(made)


def _two_tasks(choices: Choices) -> list[tuple[str, ...]]:
    # Airflow's own ids have no NUL: its database would not take one.
    one = [_run_id(choices).replace("\0", "") for _ in range(3)]
    if choices.number(2):
        other = list(one)
        at = choices.number(3)
        other[at] = choices.changed_text(other[at], 1).replace("\0", "")
    else:  # the same words, cut elsewhere
        words = "-".join(one).split("-")
        first, second = sorted((choices.number(len(words) + 1), choices.number(len(words) + 1)))
        other = ["-".join(words[:first]), "-".join(words[first:second]), "-".join(words[second:])]
    return [tuple(one), tuple(other)]


@fuzzed(_two_tasks)
def test_any_task_has_a_safe_run_id_of_its_own(two: list[tuple[str, str, str]]) -> None:
    for ids in two:
        check_segment(check_run_id(default_run_id(*ids)))
    assert (default_run_id(*two[0]) == default_run_id(*two[1])) is (two[0] == two[1])


def _run_id_and_part(choices: Choices) -> tuple[Any, Any]:
    return (
        _run_id(choices) if choices.number(4) else choices.value(1),
        _run_id(choices) if choices.number(2) else choices.value(1),
    )


@fuzzed(_run_id_and_part)
def test_any_value_is_a_run_id_and_a_part_or_is_refused(run_id_and_part: tuple[Any, Any]) -> None:
    run_id, part = run_id_and_part
    for check, value in ((check_part, part), (check_run_id, run_id)):
        try:
            found = check(value)
        except InvalidPlanError:
            continue
        assert found == value
        if found is not None:
            check_segment(found)
    try:
        plan = ObjectStorageStagingPlan("s3://landing/orders", run_id, "d", "t", "csv", part=part)
    except InvalidPlanError:
        return
    assert plan.prefix.key.split("/") == ["orders", run_id, *([part] if part is not None else [])]


# A disk holds any bytes but NUL and the slash.
_FILE_NAMES = [
    name
    for name in (
        *(b"a.csv", b"b.csv", b"-rf", b"~", b"*", b"[ab].csv", b"**", b"\xff", b"a\xfe.csv", b"?", b"..."),
        *(piece.encode(errors="ignore").translate(None, b"\0/")[:200] for piece in HOSTILE),
    )
    if name not in (b"", b".", b"..")
]


def _files_and_pattern(choices: Choices) -> tuple[list[list[bytes]], str]:
    files = [[choices.of(_FILE_NAMES) for _ in range(1 + choices.number(3))] for _ in range(1 + choices.number(3))]
    pattern = choices.changed_text(choices.of(("*", "**", "a*", "[!a]*", "?", "../*", "*/..", "a.csv")), 1)
    return files, pattern if pattern.count("..") < 6 else "*"


@fuzzed(_files_and_pattern, within=fresh_folder)
def test_any_tree_of_files_is_staged_under_its_own_names_or_refused(
    files_and_pattern: tuple[list[list[bytes]], str], within: Path
) -> None:
    files, pattern = files_and_pattern
    plan = ObjectStorageStagingPlan("s3://landing/orders", "run-1", "d", "t", "csv")
    # Deep enough for a pattern that climbs: it must not come upon what other programs do meanwhile.
    folder = Path(tempfile.mkdtemp(dir=within), *"abcdef")
    folder.mkdir(parents=True)
    for names in files:
        path = Path(folder, *map(os.fsdecode, names))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (FileExistsError, NotADirectoryError):
            continue
    for given in (str(folder), f"{folder}/{pattern}", f"{folder}/**/{pattern}"):
        try:
            found = find_sources(given)
        except DponeAirflowError:
            continue
        assert len({source.file_name for source in found}) == len(found)
        for source in found:
            assert os.path.isfile(source.path)
            try:
                place = plan.uri_of(source.file_name)
            except DponeAirflowError:
                continue
            assert place.key == f"orders/run-1/{source.file_name}"
