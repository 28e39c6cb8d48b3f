"""What a mapped instance is called in the grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.operators.source_name import SOURCE_NAME, listed_files, name_instance, source_name


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ("/data/emea/orders.csv", "orders.csv"),
        ("/data/emea/", "emea"),
        ("/data/emea/orders-*.csv", "orders-*.csv"),
        (Path("/data/emea"), "emea"),
        (["/data/a.csv", "/data/b.csv"], "a.csv and 1 more"),
        ("['/data/a.csv', '/data/b.csv', '/data/c.csv']", "a.csv and 2 more"),
        ("sftp://host/export/a.csv", "a.csv"),
        ("sftp://host/export/a.csv?sig=abc/def", "a.csv"),
        ("sftp://host", None),
        ("/", None),
        ([], None),
        (None, None),
        ("None", None),
        (3, None),
        ([3], None),
    ],
)
def test_the_name_of_a_source(files: Any, name: str | None) -> None:
    assert source_name(files) == name


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ("sftp://alice:Hunter2Secret@partner.example/", None),
        ("sftp://alice:Hunter2Secret@partner.example", None),
        ("sftp://alice:Hunter2Secret@partner.example/export", "export"),
        ("sftp://alice:Hunt/er2Secret@partner.example/", None),
        (["sftp://alice:Hunter2Secret@partner.example/", "/data/a.csv"], None),
        ("/data/password=Hunter2Secret", "password=***"),
    ],
)
def test_a_secret_is_in_no_name(files: Any, name: str | None) -> None:
    assert source_name(files) == name


def test_a_generator_is_left_alone() -> None:
    files = iter(["/data/a.csv"])
    assert source_name(files) is None
    assert list(files) == ["/data/a.csv"]


@given(st.lists(st.text(st.characters(exclude_characters="/[("), min_size=1, max_size=400), min_size=1, max_size=5))
def test_a_name_fits_where_airflow_keeps_it(files: list[str]) -> None:
    name = source_name([f"/data/{file}" for file in files])
    assert name is not None
    assert len(name) <= 120


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    name = source_name(f"/data/{'orders-' * 40}part-00017.csv")
    assert name is not None
    assert name.startswith("orders-")
    assert name.endswith("part-00017.csv")
    assert "…" in name


@pytest.mark.parametrize(
    ("map_index", "given_template", "template"),
    [
        (0, None, "{{ staged_source }}"),
        (3, "{{ staged_source }}!", "{{ staged_source }}!"),
        (-1, None, None),
    ],
)
def test_a_template_is_set_for_mapped_instances_that_have_none(
    map_index: int, given_template: str | None, template: str | None
) -> None:
    context: dict[str, Any] = {"ti": SimpleNamespace(map_index=map_index), "map_index_template": given_template}
    name_instance(context, "/data/a.csv")
    assert context["map_index_template"] == template
    assert context.get(SOURCE_NAME) == ("a.csv" if map_index >= 0 else None)


def test_what_is_wrong_is_for_the_stage_to_say() -> None:
    assert listed_files({"a": 1}) == []
    assert listed_files([object()]) == []


class _Counted(list[str]):
    """What another task's instances gave: each time that it is gone through asks Airflow anew."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize(("map_index", "times"), [(-1, 0), (0, 1)])
def test_what_other_tasks_gave_is_read_for_a_name_only_where_there_is_one_to_give(map_index: int, times: int) -> None:
    files = _Counted(["/data/a.csv"])
    name_instance({"ti": SimpleNamespace(map_index=map_index)}, files)
    assert files.times == times
