"""A plan says where files go and what they are, and refuses what can't be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from dpone_airflow.staging import CleanupPolicy, ObjectStorageStagingPlan
from dpone_airflow.storage import ObjectStorageProvider
from dpone_airflow.storage.errors import InvalidInputError, InvalidPlanError, InvalidUriError

MakePlan = Callable[..., ObjectStorageStagingPlan]


def test_files_go_below_base_uri_and_run_id(make_plan: MakePlan) -> None:
    assert str(make_plan().prefix) == "s3://lake/staging/run-1"


def test_a_part_goes_below_the_run(make_plan: MakePlan) -> None:
    assert str(make_plan(part="map-00003").prefix) == "s3://lake/staging/run-1/map-00003"


def test_a_bucket_may_be_the_base(make_plan: MakePlan) -> None:
    assert str(make_plan(base_uri="gs://lake").prefix) == "gs://lake/run-1"


@pytest.mark.parametrize("base_uri", ["s3://lake/staging", "s3://lake/staging/"])
def test_a_trailing_slash_makes_no_difference(make_plan: MakePlan, base_uri: str) -> None:
    assert make_plan(base_uri=base_uri).base_uri == "s3://lake/staging"
    assert make_plan(base_uri=base_uri) == make_plan()


@pytest.mark.parametrize(
    ("base_uri", "provider"),
    [
        ("s3://b/x", ObjectStorageProvider.S3),
        ("gs://b/x", ObjectStorageProvider.GCS),
        ("az://c/x", ObjectStorageProvider.AZURE_BLOB),
        ("azure://account/c/x", ObjectStorageProvider.AZURE_BLOB),
    ],
)
def test_the_base_names_the_provider(make_plan: MakePlan, base_uri: str, provider: ObjectStorageProvider) -> None:
    assert make_plan(base_uri=base_uri).provider is provider


def test_files_are_retained_and_uncompressed_unless_the_plan_says_otherwise() -> None:
    plan = ObjectStorageStagingPlan("s3://lake/staging", "run-1", "sales", "orders", "csv")
    assert (plan.cleanup_policy, plan.compression, plan.part) == ("retain", "none", None)


def test_a_plan_is_plain_json_in_the_contracts_order(make_plan: MakePlan) -> None:
    described = {
        "base_uri": "s3://lake/staging",
        "run_id": "run-1",
        "dataset": "sales",
        "table": "orders",
        "file_format": "csv",
        "compression": "none",
        "cleanup_policy": "delete_on_success",
    }
    assert list(make_plan().to_dict().items()) == list(described.items())
    assert make_plan(part="a").to_dict() == described | {"part": "a"}
    assert type(make_plan().to_dict()["cleanup_policy"]) is str


def test_a_plan_can_not_be_changed(make_plan: MakePlan) -> None:
    with pytest.raises(FrozenInstanceError):
        make_plan().run_id = "run-2"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "kind", "said"),
    [
        ("base_uri", "ftp://lake/staging", InvalidUriError, "no scheme"),
        ("base_uri", "s3://", InvalidUriError, "no bucket"),
        ("base_uri", None, InvalidUriError, "got NoneType"),
        ("base_uri", "s3://lake/../other", InvalidUriError, "'..'"),
        ("base_uri", "s3://lake/staging//", InvalidUriError, "empty segment"),
        ("base_uri", "s3://lake//", InvalidUriError, "empty segment"),
        ("base_uri", "s3://lake/_manifests", InvalidPlanError, "_manifests"),
        ("base_uri", "s3://lake/staging/_manifests/run-1", InvalidPlanError, "_manifests"),
        ("run_id", "", InvalidPlanError, "run_id"),
        ("run_id", "_manifests", InvalidPlanError, "run_id"),
        ("run_id", "a/b", InvalidPlanError, "run_id"),
        ("part", "_run", InvalidPlanError, "part"),
        ("part", "", InvalidPlanError, "part"),
        ("cleanup_policy", "delete", InvalidPlanError, "'retain', 'delete_on_success', 'delete_always'"),
        ("cleanup_policy", None, InvalidPlanError, "cleanup_policy"),
        ("dataset", "", InvalidPlanError, "dataset"),
        ("dataset", None, InvalidPlanError, "dataset"),
        ("table", "  ", InvalidPlanError, "table"),
        ("file_format", "", InvalidPlanError, "file_format"),
        ("compression", None, InvalidPlanError, "compression"),
    ],
)
def test_what_can_not_be_right_is_refused(
    make_plan: MakePlan, field: str, value: str | None, kind: type[InvalidInputError], said: str
) -> None:
    with pytest.raises(kind) as refused:
        make_plan(**{field: value})
    assert said in str(refused.value)


def test_a_base_may_have_a_name_that_only_looks_like_the_evidence_folder(make_plan: MakePlan) -> None:
    assert str(make_plan(base_uri="s3://lake/my_manifests").prefix) == "s3://lake/my_manifests/run-1"


@pytest.mark.parametrize("policy", list(CleanupPolicy))
def test_a_policy_is_its_name(policy: CleanupPolicy) -> None:
    assert CleanupPolicy.of(str(policy)) is policy
    assert CleanupPolicy.of(policy) is policy


@pytest.mark.parametrize("name", ["dataset", "table", "file_format", "compression"])
def test_what_is_no_unicode_is_refused(name: str) -> None:
    fields = {"dataset": "d", "table": "t", "file_format": "csv", "compression": "none"}
    with pytest.raises(InvalidPlanError, match=name):
        ObjectStorageStagingPlan("s3://lake/base", "run-1", **(fields | {name: "a\ud800"}))
