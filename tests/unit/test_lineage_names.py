"""What OpenLineage calls a prefix, and the directory that files came from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dpone_airflow.operators import ObjectStorageStageOperator
from dpone_airflow.operators.lineage import common_directory, dataset_name
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.storage import ObjectStorageUri


@pytest.mark.parametrize(
    ("uri", "endpoint", "namespace", "name"),
    [
        ("s3://lake/staging/run-1/", "https://s3.amazonaws.com", "s3://lake", "staging/run-1"),
        ("gs://lake/staging/run-1", None, "gs://lake", "staging/run-1"),
        ("gs://lake", None, "gs://lake", "/"),
        ("az://lake/run-1", "https://account.blob.core.windows.net/", "wasbs://lake@account", "run-1"),
        ("az://lake/run-1", "http://127.0.0.1:10000/devstoreaccount1", "wasbs://lake@devstoreaccount1", "run-1"),
        ("azure://account/lake/run-1", "https://other.example.org", "wasbs://lake@account", "run-1"),
        ("az://lake/run-1", None, "wasbs://lake", "run-1"),
    ],
)
def test_the_name_of_a_dataset(uri: str, endpoint: str | None, namespace: str, name: str) -> None:
    assert dataset_name(ObjectStorageUri.parse(uri), endpoint) == (namespace, name)


def test_the_directory_that_all_sources_lie_below(tmp_path: Path) -> None:
    orders, odd = tmp_path / "orders", tmp_path / "odd[1]"
    for folder in (orders / "dt=1", orders / "dt=2", odd):
        folder.mkdir(parents=True)
    for sources, directory in (
        ([orders], orders),
        ([orders / "dt=1" / "a.csv"], orders / "dt=1"),
        ([f"{orders}/dt=*/*.csv"], orders),
        ([f"{orders}/**/*.csv"], orders),
        ([f"{odd}/a.csv"], odd),
        ([orders / "dt=1" / "a.csv", orders / "dt=2" / "b.csv"], orders),
        ([orders / "dt=1", f"{odd}/a.csv"], tmp_path),
    ):
        assert common_directory(sources) == str(directory), sources


@pytest.mark.parametrize("sources", [[], ["/a.csv"], ["/data/a.csv", "/export/b.csv"], ["sftp://host/export/a.csv"]])
def test_no_directory_is_better_than_a_wrong_one(sources: list[str]) -> None:
    assert common_directory(sources) is None


def test_without_openlineage_a_stage_tells_nothing_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    service: ObjectStorageStagingService,
    make_plan: Callable[..., ObjectStorageStagingPlan],
    write: Callable[..., Path],
) -> None:
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=str(write("a.csv")),
        base_uri="s3://lake/staging",
        dataset="d",
        table="t",
        file_format="csv",
    )
    assert stage.get_openlineage_facets_on_complete(None) is None, "nothing was staged"
    stage._staged = service.stage(make_plan(), stage.files)
    lineage = stage.get_openlineage_facets_on_complete(None)
    assert [output.name for output in lineage.outputs] == ["staging/run-1"]
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)
    assert stage.get_openlineage_facets_on_complete(None) is None
