"""The emulator's connection form: one source for the metadata, read from Airflow 3.2 on, and for older form methods."""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "dpone_local_object_storage"
HOOK_NAME = "Local object storage (dpone)"
ROOT_DIR = "root_dir"
BROWSE_URL = "browse_url"

# The port stays: Airflow 3.3's Test button posts port 0 and refuses a connection stored without one.
_HIDDEN = ["host", "schema", "login", "password", "extra"]
_RELABELLED = {"port": "Port (not used; 0)"}
_EXAMPLE = "/var/lib/airflow/object-storage"
_PLACEHOLDERS = {ROOT_DIR: _EXAMPLE, "port": "0"}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": _HIDDEN,
    "relabeling": _RELABELLED,
    "placeholders": _PLACEHOLDERS,
}
CONN_FIELDS: dict[str, Any] = {
    ROOT_DIR: {
        "label": "Root directory",
        # Airflow 3's form shows no placeholder in such a field, so the example stands here too.
        "description": f"The directory that holds the buckets, e.g. {_EXAMPLE}; hosts must share it.",
        "schema": {"type": "string"},
    },
    BROWSE_URL: {
        "label": "Address of its files",
        "description": 'Where a web server of yours shows that directory, if one does; "Staged files" leads there.',
        "schema": {"type": ["string", "null"]},  # Airflow puts a red star at what can't be null
    },
}


def form_widgets() -> dict[str, Any]:
    """Return the same fields as forms before Airflow 3.2 want them."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import StringField
    from wtforms.validators import InputRequired, Optional

    return {
        name: StringField(
            field["label"],
            description=field["description"],
            widget=BS3TextFieldWidget(),
            validators=[Optional() if "null" in field["schema"]["type"] else InputRequired()],
        )
        for name, field in CONN_FIELDS.items()
    }


def field_behaviour() -> dict[str, Any]:
    """Return ``UI_FIELD_BEHAVIOUR`` with the keys as they are spelt before Airflow 3.2."""
    return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}
