"""What templates and XComs make of ``files`` and ``manifest``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.operators.rendered import rendered_files
from dpone_airflow.staging import ObjectStorageStagingManifest, ObjectStorageStagingPlan
from dpone_airflow.staging.resolve import manifests_in
from dpone_airflow.storage.errors import InvalidInputError, InvalidManifestError


class LazySequence:
    """Like the XCom of a mapped task: it can be gone through, and is neither a list nor JSON."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


@pytest.fixture
def manifests(make_plan: Callable[..., ObjectStorageStagingPlan]) -> list[ObjectStorageStagingManifest]:
    return [ObjectStorageStagingManifest.of(make_plan(part=f"map-0000{index}"), []) for index in range(2)]


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        ("/data/a.csv", ["/data/a.csv"]),
        ("/data/*.csv", ["/data/*.csv"]),
        (Path("/data/a.csv"), [Path("/data/a.csv")]),
        (["/data/a.csv", Path("/data/b.csv")], ["/data/a.csv", Path("/data/b.csv")]),
        (("/data/a.csv",), ["/data/a.csv"]),
        ([], []),
        (None, []),
        ([None, "/data/a.csv", None], ["/data/a.csv"]),
        ("['/data/a.csv', '/data/b.csv']", ["/data/a.csv", "/data/b.csv"]),
        ('["/data/a.csv", "/data/b.csv"]', ["/data/a.csv", "/data/b.csv"]),
        (" ['/data/a.csv']\n", ["/data/a.csv"]),
        ("[]", []),
        ("[None]", []),
        ('["it\'s.csv"]', ["it's.csv"]),
        ("[ab]*.csv", ["[ab]*.csv"]),
        ("[0-9].csv", ["[0-9].csv"]),
        ("/data/[ab].csv", ["/data/[ab].csv"]),
        (LazySequence("/data/a.csv", ["/data/b.csv", "/data/c.csv"]), ["/data/a.csv", "/data/b.csv", "/data/c.csv"]),
        (LazySequence(None, "['/data/a.csv']"), ["/data/a.csv"]),
    ],
)
def test_files_are_the_paths_that_were_meant(files: Any, paths: list[Any]) -> None:
    assert rendered_files(files) == paths


@given(st.lists(st.text(min_size=1).filter(lambda path: not path.lstrip().startswith("[")), max_size=5))
def test_a_list_survives_being_rendered_to_text(paths: list[str]) -> None:
    assert rendered_files(str(paths)) == paths
    assert rendered_files(json.dumps(paths)) == paths


@pytest.mark.parametrize("files", [7, 1.5, {"a": 1}, [{"a": 1}], [7], "[7]", "[{'a': 1}]", b"/data/a.csv"])
def test_what_is_no_path_is_refused(files: Any) -> None:
    with pytest.raises(InvalidInputError, match="give a path, a glob, a directory, or a list of them"):
        rendered_files(files)


@given(st.text().filter(lambda text: not text.lstrip().startswith("[")))
def test_any_text_that_is_no_list_is_one_path(text: str) -> None:
    assert rendered_files(text) == [text]


@pytest.mark.parametrize("text", ["[" * 5000, "[{[]: 1}]", "[ab", "[a b]"], ids=["deep", "odd", "open", "no code"])
def test_text_that_only_looks_like_a_list_is_one_glob(text: str) -> None:
    assert rendered_files(text) == [text]


@pytest.mark.parametrize("nothing", [None, "None", "null", "", " None\n", [], "[]", [None], LazySequence(None)])
def test_no_manifest_is_none(nothing: Any) -> None:
    assert manifests_in(nothing) == []


def test_one_manifest_is_read_however_it_arrives(manifests: list[ObjectStorageStagingManifest]) -> None:
    data = manifests[0].to_dict()
    for value in (data, str(data), json.dumps(data), [data], str([data]), LazySequence(data, None)):
        assert manifests_in(value) == manifests[:1]


def test_a_mapped_stage_gives_one_manifest_an_instance(manifests: list[ObjectStorageStagingManifest]) -> None:
    data = [manifest.to_dict() for manifest in manifests]
    for value in (data, str(data), json.dumps(data), LazySequence(*data), LazySequence(None, *data)):
        assert manifests_in(value) == manifests


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("some text", "is no JSON object"),
        ("{{ ti.xcom_pull('stage') }}", "is no JSON object"),
        ("7", "The manifest is int"),
        (7, "The manifest is int"),
        ({}, "no provider"),
        ({"provider": "s3"}, "no base_uri"),
        ([{}], "no provider"),
        (["some text"], "is no JSON object"),
        (b"{}", "The manifest is"),
    ],
)
def test_what_is_no_manifest_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InvalidManifestError, match=said):
        manifests_in(value)


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidManifestError) as refused:
        manifests_in("x" * 10_000)
    assert len(str(refused.value)) < 300


def test_a_tuple_survives_being_rendered_to_text() -> None:
    assert rendered_files("('/a', '/b')") == ["/a", "/b"]
    assert rendered_files("(1)") == ["(1)"]
