"""The provider in Airflow's own UI: its connection form, a run of the demo's DAG, what a run leaves to be seen."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page, expect

from dpone_airflow.hooks.local_form import BROWSE_URL, CONN_FIELDS, CONNECTION_TYPE, HOOK_NAME, ROOT_DIR
from local_servers.ports import reserved_ports
from local_servers.process import answers, running
from local_servers.standalone_airflow import EXAMPLE_DAGS, StandaloneAirflow
from tests.ui.airflow_pages import EXTRA_FIELDS, Api, ConnectionForm, button_of_test, instance_path, state_in_grid
from tests.ui.conftest import Picture

pytestmark = pytest.mark.timeout(600)

DAGS = Path(__file__).parent / "dags"
FLIGHTS = "example_flights"
FLIGHTS_CONNECTION = "object_storage"
PAGE_SECONDS = 90
GREEN, RED = "rgb(0, 128, 0)", "rgb(255, 0, 0)"
ROOT_LABEL, ADDRESS_LABEL = CONN_FIELDS[ROOT_DIR]["label"], CONN_FIELDS[BROWSE_URL]["label"]


@dataclass(frozen=True)
class House:
    """An Airflow, the directory of its emulator, and a web server that shows it."""

    airflow: StandaloneAirflow
    api: Api
    root_dir: Path
    address: str
    runs: dict[tuple[str, bool], str]
    end: Callable[[], None]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Start them, with a run of every policy whose load succeeds and one whose load fails."""
    home = tmp_path_factory.mktemp("house")
    root_dir = home / "object-storage"
    root_dir.mkdir()
    dags = home / "dags"
    shutil.copytree(DAGS, dags)
    shutil.copy(EXAMPLE_DAGS / f"{FLIGHTS}.py", dags)
    with ExitStack() as held:
        (port,) = held.enter_context(reserved_ports(1))
        web_server = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", root_dir]
        held.enter_context(running("http.server", web_server, healthy=lambda: answers(port), home=home / "web-server"))
        address = f"http://127.0.0.1:{port}"
        connection = {"conn_type": CONNECTION_TYPE, "extra": {ROOT_DIR: str(root_dir), BROWSE_URL: address}}
        airflow = held.enter_context(
            StandaloneAirflow.start(
                home / "airflow", dags, environment={"AIRFLOW_CONN_POLICIES": json.dumps(connection)}
            )
        )
        api = Api(airflow)
        runs = {
            (policy, fails): api.trigger(policy, load_fails=fails)
            for policy in ("retain", "delete_on_success", "delete_always")
            for fails in (False, True)
        }
        yield House(airflow, api, root_dir, address, runs, held.close)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1200, "height": 800}, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(PAGE_SECONDS * 1000)
    expect.set_options(timeout=PAGE_SECONDS * 1000)
    yield context.new_page()
    context.close()


def test_airflow_lists_the_provider(house: House, page: Page) -> None:
    page.goto(f"{house.airflow.url}/providers")
    row = page.get_by_role("row").filter(has_text="dpone-airflow")
    expect(row).to_contain_text("Stages files in S3, Google Cloud Storage and Azure Blob Storage")


def test_the_form_has_the_fields_that_are_declared(house: House, page: Page, picture: Picture) -> None:
    form = ConnectionForm(page)
    form.open(house.airflow, FLIGHTS_CONNECTION, HOOK_NAME)
    always = {"Connection ID": True, "Connection Type": True}
    port = form.dialog.get_by_label("Port (not used; 0)")
    expect(port).to_have_attribute("placeholder", "0")
    assert form.fields() == always | {"Description": False, "Port (not used; 0)": False}, "host and others are hidden"
    expect(form.dialog.get_by_role("button", name="Save")).to_be_disabled()

    form.unfold(EXTRA_FIELDS)
    expect(form.own(ROOT_LABEL)).to_be_visible()
    assert form.fields() == always | {ROOT_LABEL: True, ADDRESS_LABEL: False}
    for field in CONN_FIELDS.values():
        expect(form.dialog).to_contain_text(field["description"])
    # What Airflow makes of our declarations otherwise, as docs/connections.md says it.
    assert not form.own(ROOT_LABEL).get_attribute("placeholder")
    expect(form.dialog.get_by_role("button", name="Extra Fields JSON")).to_be_visible()

    form.own(ROOT_LABEL).fill("/var/lib/airflow/object-storage")
    expect(form.dialog.get_by_role("button", name="Save")).to_be_enabled()
    picture(form.dialog, "connection-form")


@pytest.fixture(scope="module")
def made_connection(house: House, browser: Browser, picture: Picture) -> str:
    """The connection of the demo's DAG, made through the form; what its Test button said."""
    page = browser.new_page(viewport={"width": 1200, "height": 420})
    page.set_default_timeout(PAGE_SECONDS * 1000)
    expect.set_options(timeout=PAGE_SECONDS * 1000)
    form = ConnectionForm(page)
    form.open(house.airflow, FLIGHTS_CONNECTION, HOOK_NAME)
    form.dialog.get_by_label("Port (not used; 0)").fill("0")
    form.unfold(EXTRA_FIELDS)
    form.own(ROOT_LABEL).fill(str(house.root_dir))
    form.own(ADDRESS_LABEL).fill(house.address)
    form.save()
    button = button_of_test(page, FLIGHTS_CONNECTION)
    with page.expect_response("**/connections/test") as answer:
        button.click()
    expect(button.locator("svg")).to_have_css("color", GREEN)
    picture(page, "connection-tested")
    page.close()
    return str(answer.value.json()["message"])


def test_a_connection_made_through_the_form_tests_green(house: House, made_connection: str) -> None:
    assert made_connection.startswith(f"Objects can be written, read and deleted below {house.root_dir}. ")


def test_a_root_that_is_a_file_tests_red_and_says_why(house: House, page: Page, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    form = ConnectionForm(page)
    form.open(house.airflow, "wrong", HOOK_NAME)
    form.dialog.get_by_label("Port (not used; 0)").fill("0")
    form.unfold(EXTRA_FIELDS)
    form.own(ROOT_LABEL).fill(str(tmp_path / "a-file"))
    form.save()
    button = button_of_test(page, "wrong")
    button.click()
    expect(button.locator("svg")).to_have_css("color", RED)
    told = page.get_by_role("status").filter(has_text="Test Connection Failed")
    expect(told).to_contain_text(f"Not a directory: {tmp_path / 'a-file'}")
    expect(told).to_contain_text("A file lies where the emulator needs a folder: write another root_dir or URI.")


@pytest.fixture(scope="module")
def flights_run(house: House, browser: Browser, made_connection: str) -> str:
    """A run of the demo's DAG that was triggered in the browser, and has ended well."""
    page = browser.new_page()
    page.set_default_timeout(PAGE_SECONDS * 1000)
    page.goto(f"{house.airflow.url}/dags/{FLIGHTS}")
    page.get_by_role("button", name="Trigger Dag").click()
    with page.expect_response(f"**/dags/{FLIGHTS}/dagRuns") as answer:
        page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    page.close()
    run_id = str(answer.value.json()["dag_run_id"])
    assert house.api.finished(FLIGHTS, run_id) == "success"
    return run_id


def test_the_manifest_is_seen_in_the_stages_xcom(house: House, page: Page, picture: Picture, flights_run: str) -> None:
    page.goto(house.airflow.url + instance_path(FLIGHTS, flights_run, "stage"))
    page.get_by_role("link", name="Storage").click()
    page.get_by_role("link", name="XCom").click()
    row = page.get_by_role("row").filter(has_text="return_value")
    expect(row).to_be_visible()
    page.get_by_role("button", name="Expand all extra JSON").click()
    shown = row.get_by_role("code")
    expect(shown).to_contain_text("object_count")
    row.get_by_role("button", name="Copy to clipboard").click()
    manifest = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert manifest == house.api.xcom(FLIGHTS, flights_run, "stage")
    assert manifest["object_count"] == len(manifest["objects"]) == 12
    expect(shown).to_contain_text(f'"total_size_bytes": {manifest["total_size_bytes"]}')
    expect(shown).to_contain_text(manifest["objects"][0]["sha256"])
    picture(page, "xcom-manifest")


def test_the_link_of_a_stage_leads_to_the_files_it_staged(house: House, page: Page, picture: Picture) -> None:
    run_id = house.runs["retain", False]
    assert house.api.finished("retain", run_id) == "success"
    manifest = house.api.xcom("retain", run_id, "stage")
    page.goto(house.airflow.url + instance_path("retain", run_id, "stage") + "/details")
    link = page.get_by_role("link", name="Staged files")
    expect(link).to_be_visible()
    picture(page, "staged-files-link")
    with page.expect_popup() as opened:
        link.click()
    files = opened.value
    folder = f"s3/landing/orders/{manifest['run_id']}"
    assert unquote(files.url) == f"{house.address}/{folder}/"
    assert files.get_by_role("listitem").all_inner_texts() == ["orders.csv"]
    with files.expect_download() as download:
        files.get_by_role("link", name="orders.csv").click()
    assert download.value.path().read_bytes() == (DAGS / "orders.csv").read_bytes()


@pytest.mark.parametrize(
    ("policy", "fails", "run_state", "cleanup_state", "kept"),
    [
        ("retain", False, "success", "Success", True),
        ("retain", True, "failed", "Upstream Failed", True),
        ("delete_on_success", False, "success", "Success", False),
        ("delete_on_success", True, "failed", "Upstream Failed", True),
        ("delete_always", False, "success", "Success", False),
        ("delete_always", True, "failed", "Success", False),
    ],
)
def test_the_grid_shows_what_the_cleanup_did(
    house: House, page: Page, policy: str, fails: bool, run_state: str, cleanup_state: str, kept: bool
) -> None:
    run_id = house.runs[policy, fails]
    assert house.api.finished(policy, run_id) == run_state
    page.goto(f"{house.airflow.url}/dags/{policy}")
    assert state_in_grid(page, run_id, "stage") == "Success"
    assert state_in_grid(page, run_id, "load") == ("Failed" if fails else "Success")
    assert state_in_grid(page, run_id, "cleanup") == cleanup_state
    staged = house.root_dir / "s3/landing/orders" / house.api.xcom(policy, run_id, "stage")["run_id"]
    assert staged.exists() is kept


def test_nothing_of_it_is_left_when_it_ends(house: House) -> None:
    """The last one, for it ends what the others look at."""
    home = f"AIRFLOW_HOME={house.airflow.home}"
    assert len(running_with(home)) > 5
    house.end()
    assert running_with(home) == []


def running_with(setting: str) -> list[str]:
    """Return the processes that have a setting in their environment."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if setting.encode() in environment.split(b"\0"):
            found.append(name)
    return found
