"""A manifest is plain JSON that is written and read strictly: what doesn't hold names its key."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingObject,
    ObjectStorageStagingPlan,
)
from dpone_airflow.storage.errors import InvalidManifestError

MakePlan = Callable[..., ObjectStorageStagingPlan]

KEYS_IN_ORDER = [
    "provider",
    "base_uri",
    "run_id",
    "dataset",
    "table",
    "file_format",
    "compression",
    "cleanup_policy",
    "object_count",
    "total_size_bytes",
    "objects",
]
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/?#\\"), min_size=1, max_size=12)
FILE_NAMES = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)
SAFE = st.from_regex(r"[A-Za-z0-9=-][A-Za-z0-9_=-]{0,20}", fullmatch=True)
SAID = st.text(min_size=1, max_size=20).filter(str.strip)


def an_object(
    plan: ObjectStorageStagingPlan, file_name: str, size_bytes: int = 7, **optional: str | None
) -> ObjectStorageStagingObject:
    digest = sha256(file_name.encode()).hexdigest()
    return ObjectStorageStagingObject(str(plan.prefix.child(file_name)), file_name, size_bytes, digest, **optional)


@st.composite
def manifests(draw: st.DrawFn) -> ObjectStorageStagingManifest:
    start = draw(st.sampled_from(["s3://lake", "gs://lake/a", "az://lake/a/b", "azure://account/lake/ü x"]))
    plan = ObjectStorageStagingPlan(
        base_uri=start,
        run_id=draw(SAFE),
        dataset=draw(SAID),
        table=draw(SAID),
        file_format=draw(SAID),
        compression=draw(SAID),
        cleanup_policy=draw(st.sampled_from(["retain", "delete_on_success", "delete_always"])),
        part=draw(st.none() | SAFE),
    )
    optional = st.none() | st.text(min_size=1, max_size=10)
    objects = [
        an_object(plan, name, draw(st.integers(0, 10**15)), content_type=draw(optional), etag=draw(optional))
        for name in draw(st.lists(FILE_NAMES, max_size=4, unique=True))
    ]
    return ObjectStorageStagingManifest.of(plan, objects)


@pytest.fixture
def manifest(make_plan: MakePlan) -> ObjectStorageStagingManifest:
    plan = make_plan(part="map-00003")
    return ObjectStorageStagingManifest.of(
        plan, [an_object(plan, "a.csv", content_type="text/csv", etag="abc"), an_object(plan, "dt=1/b.csv", 0)]
    )


def test_the_keys_are_in_the_contracts_order(make_plan: MakePlan) -> None:
    plan = make_plan()
    whole = ObjectStorageStagingManifest.of(plan, [an_object(plan, "a.csv")]).to_dict()
    assert list(whole) == KEYS_IN_ORDER
    assert list(whole["objects"][0]) == ["uri", "file_name", "size_bytes", "sha256"]


def test_what_is_unknown_is_left_out_and_what_is_known_comes_last(manifest: ObjectStorageStagingManifest) -> None:
    data = manifest.to_dict()
    assert list(data) == [*KEYS_IN_ORDER, "part"]
    assert list(data["objects"][0]) == ["uri", "file_name", "size_bytes", "sha256", "content_type", "etag"]
    assert list(data["objects"][1]) == ["uri", "file_name", "size_bytes", "sha256"]


def test_a_manifest_says_what_was_staged(manifest: ObjectStorageStagingManifest) -> None:
    assert manifest.to_dict() == {
        "provider": "s3",
        "base_uri": "s3://lake/staging",
        "run_id": "run-1",
        "dataset": "sales",
        "table": "orders",
        "file_format": "csv",
        "compression": "none",
        "cleanup_policy": "delete_on_success",
        "object_count": 2,
        "total_size_bytes": 7,
        "objects": [
            {
                "uri": "s3://lake/staging/run-1/map-00003/a.csv",
                "file_name": "a.csv",
                "size_bytes": 7,
                "sha256": sha256(b"a.csv").hexdigest(),
                "content_type": "text/csv",
                "etag": "abc",
            },
            {
                "uri": "s3://lake/staging/run-1/map-00003/dt=1/b.csv",
                "file_name": "dt=1/b.csv",
                "size_bytes": 0,
                "sha256": sha256(b"dt=1/b.csv").hexdigest(),
            },
        ],
        "part": "map-00003",
    }
    assert str(manifest.prefix) == "s3://lake/staging/run-1/map-00003"


def test_a_manifest_holds_only_json_types(manifest: ObjectStorageStagingManifest) -> None:
    data = manifest.to_dict()
    assert {type(value) for value in data.values()} == {str, int, list}
    assert type(data["provider"]) is str


@given(manifests())
def test_what_is_written_is_read_back_the_same(manifest: ObjectStorageStagingManifest) -> None:
    through_json = json.loads(json.dumps(manifest.to_dict()))
    assert ObjectStorageStagingManifest.from_dict(through_json) == manifest
    assert ObjectStorageStagingManifest.from_dict(through_json).to_dict() == manifest.to_dict()


def places(data: Any, name: str = "", place: tuple[Any, ...] = ()) -> list[tuple[str, tuple[Any, ...]]]:
    """List every key of a manifest by its name (``objects[0].uri``) and by the way to it."""
    if isinstance(data, list):
        return [found for index, item in enumerate(data) for found in places(item, f"{name}[{index}]", (*place, index))]
    if not isinstance(data, dict):
        return []
    found = []
    for key, value in data.items():
        full = f"{name}.{key}" if name else key
        found += [(full, (*place, key)), *places(value, full, (*place, key))]
    return found


def corrupted(data: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy with one value replaced, or its key dropped if ``value`` is ``Ellipsis``."""
    changed = copy.deepcopy(data)
    holder: Any = changed
    for step in place[:-1]:
        holder = holder[step]
    if value is ...:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return changed


OPTIONAL = {"part", "content_type", "etag"}
NO_KEY_TAKES = [None, 1.5, True, -1, {}, {"a": 1}, b"bytes", [7], ""]


@settings(max_examples=5)
@given(manifests().filter(lambda manifest: manifest.object_count > 0))
def test_any_missing_key_is_named(manifest: ObjectStorageStagingManifest) -> None:
    written = manifest.to_dict()
    for name, place in places(written):
        if place[-1] not in OPTIONAL:
            with pytest.raises(InvalidManifestError) as refused:
                ObjectStorageStagingManifest.from_dict(corrupted(written, place, ...))
            assert name in str(refused.value)


@settings(max_examples=5)
@given(manifests().filter(lambda manifest: manifest.object_count > 0))
def test_any_value_of_a_wrong_type_is_named(manifest: ObjectStorageStagingManifest) -> None:
    written = manifest.to_dict()
    for name, place in places(written):
        for value in NO_KEY_TAKES:
            if value == "" and place[-1] in ("content_type", "etag"):
                continue
            with pytest.raises(InvalidManifestError) as refused:
                ObjectStorageStagingManifest.from_dict(corrupted(written, place, value))
            assert name in str(refused.value), (name, value)


@given(manifests(), st.text().filter(lambda key: key not in [*KEYS_IN_ORDER, "part", "schema_version"]))
def test_an_unknown_key_is_named(manifest: ObjectStorageStagingManifest, key: str) -> None:
    with pytest.raises(InvalidManifestError, match="no key of a manifest") as refused:
        ObjectStorageStagingManifest.from_dict(manifest.to_dict() | {key: 1})
    assert key in str(refused.value)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("provider",), "aws", "provider"),
        (("provider",), "gcs", "provider"),
        (("base_uri",), "ftp://lake/staging", "base_uri"),
        (("base_uri",), "s3://lake/staging/", "base_uri"),
        (("base_uri",), "s3://other/staging", "objects[0].uri"),
        (("base_uri",), "s3://lake/_manifests", "base_uri"),
        (("run_id",), "", "run_id"),
        (("run_id",), "..", "run_id"),
        (("run_id",), "run-10", "objects[0].uri"),
        (("part",), "map-00004", "objects[0].uri"),
        (("part",), "a/b", "part"),
        (("dataset",), " ", "dataset"),
        (("table",), "", "table"),
        (("file_format",), "", "file_format"),
        (("compression",), "", "compression"),
        (("cleanup_policy",), "delete", "cleanup_policy"),
        (("object_count",), 3, "object_count"),
        (("total_size_bytes",), 8, "total_size_bytes"),
        (("objects",), [], "object_count"),
        (("objects", 0), "s3://lake/staging/run-1/a.csv", "objects[0]"),
        (("objects", 0, "uri"), "s3://lake/staging/run-1/map-00003/b.csv", "objects[0].uri"),
        (("objects", 0, "uri"), "s3://lake/staging/run-1/map-000030/a.csv", "objects[0].uri"),
        (("objects", 1, "uri"), "gs://lake/staging/run-1/map-00003/dt=1/b.csv", "objects[1].uri"),
        (("objects", 0, "file_name"), "../a.csv", "objects[0].file_name"),
        (("objects", 0, "file_name"), "", "objects[0].file_name"),
        (("objects", 0, "file_name"), "/etc/passwd", "objects[0].file_name"),
        (("objects", 0, "size_bytes"), 8, "total_size_bytes"),
        (("objects", 0, "sha256"), "abc", "objects[0].sha256"),
        (("objects", 0, "sha256"), "A" * 64, "objects[0].sha256"),
        (("objects", 1, "extra"), 1, "objects[1].extra"),
        (("schema_version",), 2, "schema_version"),
        (("schema_version",), 0, "schema_version"),
        (("schema_version",), "1", "schema_version"),
    ],
)
def test_a_value_that_does_not_hold_is_named(
    manifest: ObjectStorageStagingManifest, place: tuple[Any, ...], value: Any, named: str
) -> None:
    with pytest.raises(InvalidManifestError) as refused:
        ObjectStorageStagingManifest.from_dict(corrupted(manifest.to_dict(), place, value))
    assert named in str(refused.value)


def test_two_objects_at_one_place_are_refused(make_plan: MakePlan) -> None:
    plan = make_plan()
    with pytest.raises(InvalidManifestError, match=r"objects\[1\]\.uri .* is there twice"):
        ObjectStorageStagingManifest.of(plan, [an_object(plan, "a.csv"), an_object(plan, "a.csv")])


def test_an_object_outside_the_run_prefix_is_refused_when_a_manifest_is_made(make_plan: MakePlan) -> None:
    elsewhere = an_object(make_plan(run_id="run-10"), "a.csv")
    with pytest.raises(InvalidManifestError, match="nothing outside the run prefix"):
        ObjectStorageStagingManifest.of(make_plan(), [elsewhere])


@pytest.mark.parametrize("data", [None, "text", 7, [], [{"provider": "s3"}]])
def test_what_is_no_json_object_is_refused(data: Any) -> None:
    with pytest.raises(InvalidManifestError, match=f"A manifest is {type(data).__name__}"):
        ObjectStorageStagingManifest.from_dict(data)


def test_the_known_providers_are_told_as_one_writes_them(manifest: ObjectStorageStagingManifest) -> None:
    with pytest.raises(InvalidManifestError, match="it takes 's3', 'gcs', 'azure_blob'"):
        ObjectStorageStagingManifest.from_dict(manifest.to_dict() | {"provider": "aws"})


def test_schema_version_1_may_be_spelt_out_and_is_not_written(manifest: ObjectStorageStagingManifest) -> None:
    read = ObjectStorageStagingManifest.from_dict(manifest.to_dict() | {"schema_version": 1})
    assert read == manifest
    assert "schema_version" not in read.to_dict()
