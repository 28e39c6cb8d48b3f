"""What a stage leaves to be seen in Airflow: its link, its name in the grid, its asset events, its summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.utils.session import create_session

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging.resolve import read_manifest
from dpone_airflow.storage import LocalObjectStorageClient
from local_servers.in_process_airflow import RunResult, run_dag
from tests.dags.conftest import BASE, RunDag

EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"
MAPPED = """
stage = ObjectStorageStageOperator.partial(
    task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
    conn_id="emulator", {}
).expand(files=[FILES + "/a.csv", [FILES + "/b.csv", FILES + "/c.csv"], FILES, FILES + "/absent.csv"])
"""


def task_instances(result: RunResult, task_id: str = "stage") -> list[Any]:
    from airflow.models import TaskInstance

    with create_session() as session:
        found = session.query(TaskInstance).filter_by(run_id=result.run_id, task_id=task_id)
        return sorted(found, key=lambda ti: ti.map_index)


def link_of(ti: Any) -> str | None:
    """Return what the UI shows: it knows a DAG only as it is stored in the database."""
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(ti.dag_id)
    operator = dag.task_dict[ti.task_id]
    assert "Staged files" in operator.extra_links
    link: str | None = operator.get_extra_links(ti, "Staged files")
    return link


def names_behind(link: str | None) -> list[str]:
    assert link is not None
    return sorted(path.name for path in Path(unquote(urlsplit(link).path)).iterdir())


def test_the_link_leads_to_the_run_prefix(run: RunDag) -> None:
    result = run("stage_task(files=FILES)")
    (ti,) = task_instances(result)
    assert names_behind(link_of(ti)) == ["a.csv", "b.csv", "c.csv"]


def test_the_link_of_a_mapped_instance_leads_to_its_part(run: RunDag) -> None:
    result = run(MAPPED.format(""))
    links = [link_of(ti) for ti in task_instances(result)]
    assert [names_behind(link) for link in links[:3]] == [["a.csv"], ["b.csv", "c.csv"], ["a.csv", "b.csv", "c.csv"]]
    assert str(links[1]).endswith("/map-00001")


def test_the_link_is_there_after_a_failure_as_well(run: RunDag) -> None:
    result = run("stage_task(files=[FILES + '/a.csv', FILES + '/absent.csv'], run_id='run-1')")
    assert result.tasks["stage"] == "failed"
    (ti,) = task_instances(result)
    assert str(link_of(ti)).endswith("/landing/orders/run-1")


def test_a_verify_has_the_link_as_well(run: RunDag) -> None:
    result = run(
        """
        from dpone_airflow.operators import StagingVerifyOperator
        stage = stage_task(files=FILES)
        StagingVerifyOperator(task_id="verify", manifest=stage.output)
        """
    )
    (ti,) = task_instances(result, "verify")
    assert names_behind(link_of(ti)) == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize(
    ("argument", "names"),
    [("", ["0", "1"]), ("map_index_template=\"{{ task.op_kwargs['name'] }}\"", ["a.csv", "b.csv"])],
)
def test_what_a_function_stages_has_the_link_and_the_name_that_it_is_given(
    run: RunDag, argument: str, names: list[str]
) -> None:
    result = run(
        f"""
        @task.stage_files(
            task_id="stage", base_uri="s3://landing/orders", dataset="d", table="t", file_format="csv",
            conn_id="emulator", {argument}
        )
        def extract(name):
            yield f"{{FILES}}/{{name}}"
        extract.expand(name=["a.csv", "b.csv"])
        """
    )
    found = task_instances(result)
    assert [names_behind(link_of(ti)) for ti in found] == [["a.csv"], ["b.csv"]]
    assert [ti.rendered_map_index or str(ti.map_index) for ti in found] == names


def test_there_is_no_link_if_the_connection_is_wrong(run: RunDag) -> None:
    result = run("stage_task(files=FILES, conn_id='not_defined_anywhere')")
    (ti,) = task_instances(result)
    assert not link_of(ti)


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("", ["a.csv", "b.csv and 1 more", "files", "absent.csv"]),
        (
            "map_index_template='{{ staged_source }} ({{ task.table }})'",
            ["a.csv (t)", "b.csv and 1 more (t)", "files (t)", "absent.csv (t)"],
        ),
        ("map_index_template='{{ ti.map_index }}'", ["0", "1", "2", "3"]),
    ],
)
def test_a_mapped_instance_is_called_after_its_source(run: RunDag, argument: str, names: list[str]) -> None:
    result = run(MAPPED.format(argument))
    assert [result.tasks[f"stage[{index}]"] for index in range(4)] == ["success"] * 3 + ["failed"]
    assert [ti.rendered_map_index for ti in task_instances(result)] == names


def test_a_stage_that_is_not_mapped_has_no_such_name(run: RunDag) -> None:
    (ti,) = task_instances(run("stage_task(files=FILES)"))
    assert ti.rendered_map_index is None


def asset_events(result: RunResult) -> list[tuple[str, dict[str, Any]]]:
    """Return the URI and the extra of each event that the run left."""
    if AIRFLOW_V_3_0_PLUS:
        from airflow.models.asset import AssetEvent as Event
    else:
        from airflow.models.dataset import DatasetEvent as Event
    with create_session() as session:
        found = session.query(Event).filter_by(source_run_id=result.run_id).order_by(Event.source_map_index, Event.id)
        return [(event.uri, event.extra) for event in found]


def test_an_assets_event_says_what_was_staged_and_where_the_manifest_is(run: RunDag) -> None:
    result = run("stage_task(files=FILES, run_id='run-1', outlets=[Asset('s3://landing/shop-orders')])")
    ((uri, extra),) = asset_events(result)
    assert uri.rstrip("/") == "s3://landing/shop-orders"
    assert len(extra.pop("manifest_sha256")) == 64
    assert extra == {
        "manifest_uri": f"{BASE}/_manifests/run-1/_run/manifest.json",
        "base_uri": BASE,
        "run_id": "run-1",
        "dataset": "shop",
        "table": "orders",
        "object_count": 3,
        "total_size_bytes": 27,
    }


def test_the_manifest_can_be_read_from_the_event_alone(run: RunDag, emulator: LocalObjectStorageClient) -> None:
    result = run("stage_task(files=FILES, outlets=[Asset('s3://landing/shop-orders')])")
    ((_, extra),) = asset_events(result)
    manifest = read_manifest(extra["manifest_uri"], ObjectStorageHook("emulator"), extra["manifest_sha256"])
    assert manifest.to_dict() == result.xcoms["stage"]


def test_an_alias_gets_the_asset_of_the_base(run: RunDag) -> None:
    result = run(
        """
        from airflow.providers.common.compat.sdk import AssetAlias
        stage_task(files=FILES, base_uri="s3://landing/bestellungen-süd", outlets=[AssetAlias("orders-were-staged")])
        """
    )
    assert result.state == "success"
    ((uri, extra),) = asset_events(result)
    assert uri.rstrip("/") == "s3://landing/bestellungen-s%C3%BCd"
    assert extra["base_uri"] == "s3://landing/bestellungen-süd"
    assert extra["manifest_uri"].startswith(f"{extra['base_uri']}/_manifests/{extra['run_id']}/")


def test_each_mapped_instance_has_an_event_of_its_part(run: RunDag) -> None:
    result = run(MAPPED.format("outlets=[Asset('s3://landing/shop-orders')],"))
    extras = [extra for _, extra in asset_events(result)]
    assert [(extra["part"], extra["object_count"]) for extra in extras] == [
        ("map-00000", 1),
        ("map-00001", 2),
        ("map-00002", 3),
    ]


def test_a_stage_that_fails_wakes_nobody(run: RunDag) -> None:
    result = run("stage_task(files=FILES + '/absent.csv', outlets=[Asset('s3://landing/shop-orders')])")
    assert result.tasks["stage"] == "failed"
    assert asset_events(result) == []


def test_what_an_author_says_of_the_event_stays(run: RunDag) -> None:
    result = run(
        """
        orders = Asset("s3://landing/shop-orders")

        def say_more(context):
            context["outlet_events"][orders].extra = {"source": "erp"}
        stage_task(files=FILES, outlets=[orders], pre_execute=say_more)
        """
    )
    ((_, extra),) = asset_events(result)
    assert (extra["source"], extra["object_count"]) == ("erp", 3)


@pytest.mark.usefixtures("emulator")
def test_the_example(dag_file: Callable[[str], Any]) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_asset_event.py").read_text()).dag)
    assert result.state == "success"
    found = task_instances(result)
    assert [ti.rendered_map_index for ti in found] == ["example_asset_event: apac", "example_asset_event: emea"]
    assert [names_behind(link_of(ti)) for ti in found] == [["orders.csv"], ["orders.csv"]]
    for (uri, extra), part in zip(asset_events(result), ("map-00000", "map-00001"), strict=True):
        assert uri.rstrip("/") == "s3://landing/orders"
        assert extra["manifest_uri"].endswith(f"/{part}/manifest.json")
