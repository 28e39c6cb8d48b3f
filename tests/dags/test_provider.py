"""What Airflow itself makes of this provider: its command line, its connection form, its Test button."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_2_PLUS

from dpone_airflow.hooks.local_form import CONN_FIELDS, CONNECTION_TYPE, UI_FIELD_BEHAVIOUR


@pytest.mark.parametrize(
    ("command", "shows"),
    [("list", ["dpone-airflow", "0.1.0"]), ("hooks", [CONNECTION_TYPE, "Local object storage (dpone)"])],
)
def test_the_command_line_shows_it(command: str, shows: list[str]) -> None:
    airflow = Path(sys.executable).with_name("airflow")
    listed = subprocess.run([airflow, "providers", command, "-o", "json"], capture_output=True, text=True, check=True)
    rows = [row for row in json.loads(listed.stdout[listed.stdout.index("[") :]) if "dpone-airflow" in row.values()]
    assert len(rows) == 1
    assert set(shows) <= set(rows[0].values())


def _form_in_airflow_3() -> dict[str, Any]:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [form for form in HookMetaService.hook_meta_data() if form.connection_type == CONNECTION_TYPE]
    if form.standard_fields is None and form.extra_fields is None:
        return {"name": form.hook_name}
    fields = form.standard_fields.model_dump() | {"schema": form.standard_fields.model_dump()["url_schema"]}
    return {
        "name": form.hook_name,
        "hidden": {name for name, field in fields.items() if field and field["hidden"]} - {"url_schema"},
        "own": {name: (field["schema"]["title"], field["description"]) for name, field in form.extra_fields.items()},
        "required": {name for name, field in form.extra_fields.items() if field["schema"]["type"] == "string"},
    }


def _form_in_airflow_2() -> dict[str, Any]:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    widgets = {
        name.removeprefix(f"extra__{CONNECTION_TYPE}__"): widget.field
        for name, widget in manager.connection_form_widgets.items()
        if name.startswith(f"extra__{CONNECTION_TYPE}__")
    }
    return {
        "name": manager.hooks[CONNECTION_TYPE].hook_name,
        "hidden": set(manager.field_behaviours[CONNECTION_TYPE]["hidden_fields"]) - {"extra"},
        "own": {name: (field.args[0], field.kwargs["description"]) for name, field in widgets.items()},
        "required": {
            name
            for name, field in widgets.items()
            if [type(check).__name__ for check in field.kwargs["validators"]] == ["InputRequired"]
        },
    }


def test_the_connection_form_is_as_declared() -> None:
    if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS and find_spec("flask_appbuilder") is None:
        # Airflow 3.0 shows no provider's fields without this package.
        assert _form_in_airflow_3() == {"name": "Local object storage (dpone)"}
        return
    form = _form_in_airflow_3() if AIRFLOW_V_3_0_PLUS else _form_in_airflow_2()
    assert form == {
        "name": "Local object storage (dpone)",
        "hidden": set(UI_FIELD_BEHAVIOUR["hidden-fields"]) - {"extra"},
        "own": {name: (field["label"], field["description"]) for name, field in CONN_FIELDS.items()},
        # Airflow 3.0 and 3.1 mark none.
        "required": {"root_dir"} if AIRFLOW_V_3_2_PLUS or not AIRFLOW_V_3_0_PLUS else set(),
    }


@pytest.mark.parametrize(("root_dir", "good"), [("buckets", True), ("a-file", False), ("", False)])
def test_the_test_button(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root_dir: str, good: bool) -> None:
    """The API server puts the form into the environment under a passing name and asks the connection."""
    from airflow.models import Connection

    (tmp_path / "a-file").touch()
    extra = {"root_dir": str(tmp_path / root_dir) if root_dir else ""}
    connection = Connection(conn_id="passing_name", conn_type=CONNECTION_TYPE, port=0, extra=json.dumps(extra))
    monkeypatch.setenv("AIRFLOW_CONN_PASSING_NAME", connection.get_uri())
    state, message = connection.test_connection()
    assert state is good, message
    assert ("can be written, read and deleted" in message) is good
