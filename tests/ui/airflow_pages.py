"""Airflow's pages as the tests use them: the connection form, a DAG's grid, a task instance."""

from __future__ import annotations

import time
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from local_servers.airflow_api import AirflowApi
from local_servers.standalone_airflow import StandaloneAirflow

RUN_SECONDS = 900
EXTRA_FIELDS = "Extra Fields"


def ended(api: AirflowApi, dag_id: str, run_id: str) -> str:
    """Wait until a run has ended; return its state."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        state = api.run_state(dag_id, run_id)
        if state in ("success", "failed"):
            return state
        time.sleep(0.5)
    raise TimeoutError(f"{dag_id}, {run_id} is still {state} after {RUN_SECONDS} seconds")


class ConnectionForm:
    """The dialog that adds a connection."""

    def __init__(self, page: Page) -> None:
        self.dialog = page.get_by_role("dialog")
        self._page = page

    def open(self, airflow: StandaloneAirflow, conn_id: str, type_name: str) -> None:
        """Open it for a new connection."""
        self._page.goto(f"{airflow.url}/connections")
        self._page.get_by_role("button", name="Add Connection").first.click()
        self.dialog.get_by_label("Connection ID").fill(conn_id)
        self.dialog.get_by_role("combobox", name="Connection Type").click()
        self._page.keyboard.type(type_name)
        self._page.get_by_role("option", name=type_name, exact=True).click()

    def fields(self) -> dict[str, bool]:
        """Return the labels that are in sight, and whether each has a red star."""
        texts = [text.strip() for text in self.dialog.locator("label:visible").all_inner_texts()]
        return {text.removesuffix("*").strip(): text.endswith("*") for text in texts}

    def unfold(self, section: str) -> None:
        """Open one of the sections; the one that was open closes."""
        self.dialog.get_by_role("button", name=section, exact=True).click()

    def own(self, label: str) -> Locator:
        """Return the field of ours with that label: Airflow ties no label to it that could be asked for."""
        return self.dialog.get_by_role("group").filter(has_text=label).get_by_role("textbox")

    def save(self) -> None:
        """Save, and wait until the dialog is closed."""
        self.dialog.get_by_role("button", name="Save").click()
        expect(self.dialog).to_be_hidden()


def button_of_test(page: Page, conn_id: str) -> Locator:
    """Return the Test button in a connection's row."""
    return page.get_by_role("row").filter(has_text=conn_id).get_by_role("button", name="Test Connection")


def instance_path(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the path of a task instance's page."""
    return f"/dags/{dag_id}/runs/{quote(run_id)}/tasks/{task_id}"


def state_in_grid(page: Page, run_id: str, task_id: str) -> str:
    """Return the state that the grid tells of a cell that the mouse points at."""
    point_at_nothing(page)  # or what was told last covers the next cell
    page.get_by_test_id(f"grid-{run_id}-{task_id}").hover()
    told = page.get_by_role("tooltip").filter(has_text=f"Task ID: {task_id}").filter(has_text=f"Run ID: {run_id}")
    state = told.get_by_text("State:")
    expect(state).to_be_visible()
    return state.inner_text().removeprefix("State:").strip()


def point_at_nothing(page: Page) -> None:
    """Move the mouse to the page's edge, and wait until nothing is told any more."""
    page.mouse.move(0, 0)
    expect(page.get_by_role("tooltip")).to_have_count(0)
