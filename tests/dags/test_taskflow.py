"""``@task.stage_files``: a function extracts, and what it extracts is staged in the same task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.decorators.stage_files import StageFilesDecoratedOperator
from dpone_airflow.staging import ObjectStorageStagingManifest, resolve_manifest
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import InvalidInputError, InvalidOptionError
from local_servers.in_process_airflow import run_dag
from tests.dags.conftest import BASE, RunDag
from tests.manifest_schema import assert_as_the_schema_says

EXAMPLES = Path(__file__).parents[2] / "example_dags"
_PLACE = 'base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv", conn_id="emulator"'


def names(xcom: dict[str, Any]) -> list[str]:
    return [item.file_name for item in ObjectStorageStagingManifest.from_dict(xcom).objects]


def listed(emulator: LocalObjectStorageClient) -> list[str]:
    return sorted(
        str(uri) for uri in emulator.list_prefix(ObjectStorageUri.parse(BASE)) if "_manifests" not in str(uri)
    )


@pytest.mark.usefixtures("emulator")
def test_the_example(dag_file: Any) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_taskflow.py").read_text()).dag)
    assert result.state == "success"
    assert names(result.xcoms["extract"]) == ["region=emea.csv", "region=apac.csv", "region=amer.csv"]
    assert len(result.xcoms["load"]) == 3
    assert result.xcoms["cleanup"]["deleted_objects"] == 3


@pytest.mark.usefixtures("emulator")
def test_the_mapped_example(dag_file: Any) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_taskflow_mapped.py").read_text()).dag)
    assert result.state == "success"
    assert [result.xcoms[f"extract[{index}]"]["part"] for index in range(3)] == ["map-00000", "map-00001", "map-00002"]
    assert result.xcoms["load"] == [
        f"map-0000{index}/{region}-{half}.csv"
        for index, region in enumerate(("emea", "apac", "amer"))
        for half in (1, 2)
    ]
    assert result.xcoms["cleanup"]["deleted_objects"] == 6


def test_what_a_function_returns_is_staged(run: RunDag, files: Path) -> None:
    result = run(
        f"""
        @task.stage_files({_PLACE})
        def one(folder): return folder + "/a.csv"
        @task.stage_files({_PLACE})
        def some(folder): return [Path(folder) / "a.csv", folder + "/b.csv"]
        @task.stage_files({_PLACE})
        def tree(folder): return Path(folder)
        one({str(files)!r}); some({str(files)!r}); tree({str(files)!r})
        """
    )
    assert result.state == "success"
    assert names(result.xcoms["one"]) == ["a.csv"]
    assert names(result.xcoms["some"]) == ["a.csv", "b.csv"]
    assert names(result.xcoms["tree"]) == ["a.csv", "b.csv", "c.csv"]


def test_context_upstream_results_and_a_fresh_directory_come_as_arguments(run: RunDag, tmp_path: Path) -> None:
    result = run(
        f"""
        @task
        def regions(): return ["emea", "apac"]

        @task.stage_files({_PLACE})
        def extract(regions, staging_dir, ti, word="x", **context):
            assert context["run_id"] == ti.run_id
            folder = Path(staging_dir)
            assert list(folder.iterdir()) == []
            Path({str(tmp_path / "seen")!r}).write_text(staging_dir)
            for region in regions:
                (folder / (region + word)).write_text(ti.task_id)
                yield folder / (region + word)

        extract(regions(), word="-{{{{ task.task_id }}}}.csv")
        """
    )
    assert result.state == "success"
    assert names(result.xcoms["extract"]) == ["emea-extract.csv", "apac-extract.csv"]
    assert not Path((tmp_path / "seen").read_text()).exists()


def test_a_staging_dir_of_the_callers_own_is_left_alone(run: RunDag, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    result = run(
        f"""
        @task.stage_files({_PLACE})
        def named(staging_dir):
            (Path(staging_dir) / "a.csv").write_text("a")
            return staging_dir
        @task.stage_files({_PLACE})
        def by_place(staging_dir): return staging_dir
        first = named(staging_dir={str(own)!r})
        first >> by_place({str(own)!r})
        """
    )
    assert result.state == "success"
    assert (own / "a.csv").exists()
    assert names(result.xcoms["by_place"]) == ["a.csv"]


def test_a_staging_dir_behind_any_number_of_arguments_is_a_fresh_one(run: RunDag, tmp_path: Path) -> None:
    result = run(
        f"""
        @task.stage_files({_PLACE})
        def extract(*regions, staging_dir):
            for region in regions:
                path = Path(staging_dir) / (region + ".csv")
                path.write_text(region)
                yield path
        own = {str(tmp_path)!r}
        extract("emea", "apac") >> extract.override(task_id="to_its_own")("amer", staging_dir=own)
        """
    )
    assert result.state == "success"
    assert names(result.xcoms["extract"]) == ["emea.csv", "apac.csv"]
    assert [path.name for path in tmp_path.glob("*.csv")] == names(result.xcoms["to_its_own"]) == ["amer.csv"]


def test_files_may_lie_outside_the_staging_dir(run: RunDag, files: Path) -> None:
    result = run(
        f"""
        @task.stage_files({_PLACE}, delete_local=True)
        def extract(staging_dir):
            yield {str(files / "a.csv")!r}
        extract()
        """
    )
    assert names(result.xcoms["extract"]) == ["a.csv"]
    assert not (files / "a.csv").exists()
    assert (files / "b.csv").exists()


def test_a_failing_extract_fails_its_task_and_its_cleanup_finds_what_was_staged(
    run: RunDag, emulator: LocalObjectStorageClient, files: Path
) -> None:
    result = run(
        f"""
        @task.stage_files({_PLACE}, cleanup_policy="delete_always")
        def extract():
            yield {str(files / "a.csv")!r}
            raise ValueError("the source went away")
        StagingCleanupOperator(task_id="cleanup", manifest=extract())
        """
    )
    assert result.tasks == {"extract": "failed", "cleanup": "success"}
    assert listed(emulator) == []


def test_a_generator_that_somebody_else_holds_is_closed_when_staging_fails(run: RunDag, tmp_path: Path) -> None:
    """Python closes one that nobody holds any more by itself."""
    closed = tmp_path / "closed"
    result = run(
        f"""
        held = []
        def parts():
            try:
                yield {str(tmp_path / "missing.csv")!r}
            finally:
                Path({str(closed)!r}).touch()
        @task.stage_files({_PLACE})
        def extract():
            held.append(parts())
            return held[0]
        extract()
        """
    )
    assert result.tasks == {"extract": "failed"}
    assert closed.exists()


@pytest.mark.parametrize(("on_empty", "state"), [("skip", "skipped"), ("fail", "failed")])
@pytest.mark.parametrize("body", ["return []", "return None", "yield from ()"])
@pytest.mark.usefixtures("emulator")
def test_nothing_to_stage_skips_or_fails(run: RunDag, on_empty: str, state: str, body: str) -> None:
    result = run(
        f"""
        @task.stage_files({_PLACE}, on_empty={on_empty!r})
        def extract(): {body}
        extract()
        """
    )
    assert result.tasks == {"extract": state}


def test_past_xcom_max_objects_a_pointer_is_pushed_and_cleaned_up_after(
    run: RunDag, emulator: LocalObjectStorageClient, files: Path
) -> None:
    result = run(
        f"""
        from dpone_airflow.hooks import ObjectStorageHook
        from dpone_airflow.staging import resolve_manifest

        stage = stage_task(files={str(files)!r}, cleanup_policy="delete_on_success", xcom_max_objects=2)
        @task
        def count(manifest):
            return resolve_manifest(manifest, ObjectStorageHook("emulator")).object_count
        count(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
        """
    )
    assert result.state == "success"
    pointer = result.xcoms["stage"]
    assert "objects" not in pointer
    assert_as_the_schema_says(pointer)
    assert (pointer["object_count"], result.xcoms["count"]) == (3, 3)

    class Hook:
        def get_client(self, base_uri: str) -> LocalObjectStorageClient:
            return emulator

    assert resolve_manifest(pointer, Hook()).object_count == 3  # the evidence outlives the cleanup
    assert result.xcoms["cleanup"]["deleted_objects"] == 3


class TestAtParse:
    def operator(self, function: Any = lambda: None, **arguments: Any) -> StageFilesDecoratedOperator:
        place = {"base_uri": BASE, "dataset": "shop", "table": "orders", "file_format": "csv"}
        return StageFilesDecoratedOperator(python_callable=function, task_id="extract", **(place | arguments))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_pending_files": 0},
            {"max_pending_bytes": -1},
            {"max_concurrency": 0},
            {"if_exists": "never"},
            {"engine": "fast"},
            {"xcom_max_objects": -1},
            {"xcom_max_objects": True},
        ],
    )
    def test_a_wrong_option_is_an_error(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InvalidOptionError):
            self.operator(**wrong)

    def test_an_async_function_is_an_error(self) -> None:
        async def coroutine() -> None: ...

        async def generator() -> Any:
            yield

        for function in (coroutine, generator):
            with pytest.raises(InvalidInputError, match=f"{function.__name__} is async"):
                self.operator(function)

    def test_a_missing_argument_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="region"):
            self.operator(lambda region, staging_dir: None)

    def test_files_is_no_argument_of_it(self) -> None:
        with pytest.raises(TypeError, match="files"):
            self.operator(files="x")
