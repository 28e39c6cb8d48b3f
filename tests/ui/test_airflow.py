"""The provider in Airflow's own UI: its connection form, a run of the demo's DAG, what a run leaves to be seen."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, FloatRect, Page, expect

from dpone_airflow.hooks.local_form import BROWSE_URL, CONN_FIELDS, CONNECTION_TYPE, HOOK_NAME, ROOT_DIR
from local_servers.airflow_api import AirflowApi
from local_servers.ports import reserved_ports
from local_servers.process import answers, running
from local_servers.standalone_airflow import EXAMPLE_DAGS, PortTakenError, StandaloneAirflow
from tests.ui.airflow_pages import (
    EXTRA_FIELDS,
    ConnectionForm,
    button_of_test,
    ended,
    instance_path,
    point_at_nothing,
    state_in_grid,
)
from tests.ui.conftest import Picture

pytestmark = pytest.mark.timeout(1800)

DAGS = Path(__file__).parent / "dags"
COMMAND = [sys.executable, "-m", "local_servers.standalone_airflow"]
FLIGHTS = "example_flights"
FLIGHTS_CONNECTION = "object_storage"
PAGE_SECONDS = 300
THE_GRID: FloatRect = {"x": 64, "y": 0, "width": 312, "height": 320}
GREEN, RED = "rgb(0, 128, 0)", "rgb(255, 0, 0)"
ROOT_LABEL, ADDRESS_LABEL = CONN_FIELDS[ROOT_DIR]["label"], CONN_FIELDS[BROWSE_URL]["label"]


@dataclass(frozen=True)
class House:
    """An Airflow, the directory of its emulator, and a web server that shows it."""

    airflow: StandaloneAirflow
    api: AirflowApi
    root_dir: Path
    address: str
    end: Callable[[], None]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Start them."""
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
        yield House(airflow, AirflowApi(airflow.url), root_dir, address, held.close)


@pytest.fixture(scope="module")
def policy_runs(house: House) -> dict[tuple[str, bool], str]:
    """A run for every policy whose load succeeds, and one whose load fails; they go on meanwhile."""
    return {
        (policy, fails): house.api.trigger(policy, {"load_fails": fails})
        for policy in ("retain", "delete_on_success", "delete_always")
        for fails in (False, True)
    }


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
    expect(port).to_be_hidden()
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
    page = browser.new_page(viewport={"width": 1200, "height": 800})
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
    message = str(answer.value.json()["message"])
    expect(page.get_by_role("status").filter(has_text="Test Connection Successful")).to_contain_text(message)
    expect(button.locator("svg")).to_have_css("color", GREEN)
    expect(page.get_by_role("status")).to_have_count(0)  # what was told goes away, and with it a path of this machine
    picture(page, "connection-tested", clip={"x": 0, "y": 0, "width": 1200, "height": 310})
    page.close()
    return message


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


def test_the_link_of_a_stage_leads_to_the_files_it_staged(
    house: House, page: Page, picture: Picture, policy_runs: dict[tuple[str, bool], str]
) -> None:
    run_id = policy_runs["retain", False]
    assert ended(house.api, "retain", run_id) == "success"
    manifest = house.api.xcom("retain", run_id, "stage")
    page.goto(house.airflow.url + instance_path("retain", run_id, "stage") + "/details")
    link = page.get_by_role("link", name="Staged files")
    expect(link).to_be_visible()
    picture(page, "staged-files-link", clip={"x": 0, "y": 0, "width": 1200, "height": 430})
    with page.expect_popup() as opened:
        link.click()
    files = opened.value
    folder = f"s3/landing/orders/{manifest['run_id']}"
    assert unquote(files.url) == f"{house.address}/{folder}/"
    assert files.get_by_role("listitem").all_inner_texts() == ["orders.csv"]
    with files.expect_download() as download:
        files.get_by_role("link", name="orders.csv").click()
    assert download.value.path().read_bytes() == (DAGS / "orders.csv").read_bytes()


@pytest.fixture(scope="module")
def flights_run(house: House, browser: Browser, made_connection: str) -> str:
    """A run of the demo's DAG that was triggered in the browser, and has ended well."""
    page = browser.new_page()
    page.set_default_timeout(PAGE_SECONDS * 1000)
    page.goto(f"{house.airflow.url}/dags/{FLIGHTS}")
    page.get_by_role("button", name="Trigger Dag").click()
    with page.expect_response(f"**/dags/{FLIGHTS}/dagRuns") as answer:
        page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    run_id = str(answer.value.json()["dag_run_id"])
    page.close()
    assert ended(house.api, FLIGHTS, run_id) == "success"
    return run_id


def test_the_manifest_is_seen_in_the_stages_xcom(house: House, page: Page, picture: Picture, flights_run: str) -> None:
    page.set_viewport_size({"width": 1200, "height": 1000})
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
    picture(page, "xcom-manifest")
    shown.hover()
    digest = manifest["objects"][0]["sha256"]
    wait_until(lambda: digest in "".join(shown.inner_text().split()) or page.mouse.wheel(0, 40))


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
    house: House,
    page: Page,
    picture: Picture,
    policy_runs: dict[tuple[str, bool], str],
    policy: str,
    fails: bool,
    run_state: str,
    cleanup_state: str,
    kept: bool,
) -> None:
    run_id = policy_runs[policy, fails]
    assert ended(house.api, policy, run_id) == run_state
    page.set_viewport_size({"width": 1600, "height": 800})  # on a narrow page the older run is out of sight
    page.goto(f"{house.airflow.url}/dags/{policy}")
    assert state_in_grid(page, run_id, "stage") == "Success"
    assert state_in_grid(page, run_id, "load") == ("Failed" if fails else "Success")
    assert state_in_grid(page, run_id, "cleanup") == cleanup_state
    staged = house.root_dir / "s3/landing/orders" / house.api.xcom(policy, run_id, "stage")["run_id"]
    assert staged.exists() is kept
    if fails:
        point_at_nothing(page)
        picture(page, f"grid-{policy}", clip=THE_GRID)


def test_a_second_one_on_the_same_port_is_refused_before_anything_starts(house: House, tmp_path: Path) -> None:
    port = house.airflow.port
    with (
        pytest.raises(PortTakenError, match=rf"^Port {port} of 127\.0\.0\.1 is taken: stop what listens there"),
        StandaloneAirflow.start(tmp_path / "second", DAGS, port=port),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    ended = subprocess.run(
        [*COMMAND, "--port", str(port)], env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Port {port} of 127.0.0.1 is taken: ")
    assert list(tmp_path.iterdir()) == []
    assert running_below(tmp_path) == []


def test_nothing_of_it_is_left_when_it_ends(house: House) -> None:
    """The last that needs it, for it ends what the others look at."""
    assert len(running_below(house.airflow.home)) > 5
    house.end()
    assert running_below(house.airflow.home) == []


def test_nothing_of_it_is_left_when_who_started_it_is_killed(tmp_path: Path) -> None:
    with started_by_another(tmp_path) as other:
        assert other.stdout is not None
        assert any("Airflow is at http://127.0.0.1:" in line for line in other.stdout)
        assert len(running_below(tmp_path)) > 5
        other.kill()
        wait_until(lambda: running_below(tmp_path) == [])


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    with started_by_another(tmp_path) as other:
        wait_until(lambda: len(running_below(tmp_path)) > 3)
        other.send_signal(signal.SIGINT)
        assert other.wait(PAGE_SECONDS) == 130
        assert running_below(tmp_path) == []
        assert list(tmp_path.glob("standalone-airflow-*")) == []


@contextmanager
def started_by_another(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command, as somebody at a terminal would."""
    command = [*COMMAND, "--dags", str(DAGS)]
    # A shell has its background jobs ignore Ctrl-C, and what these start would do so as well.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    other = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(home)}, stdout=subprocess.PIPE, text=True)
    try:
        yield other
    finally:
        signal.signal(signal.SIGINT, before)
        other.kill()
        other.communicate()


def running_below(home: Path) -> list[int]:
    """Return the processes whose Airflow has its files there, as their environment says."""
    setting = f"AIRFLOW_HOME={home}".encode()
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            environment = Path(f"/proc/{name}/environ").read_bytes()
            if any(variable.startswith(setting) for variable in environment.split(b"\0")):
                found.append(int(name))
    return found


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PAGE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.1)
