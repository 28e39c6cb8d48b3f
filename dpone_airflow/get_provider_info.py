"""What Airflow reads about this package."""

from __future__ import annotations

from typing import Any

from dpone_airflow.hooks.local_form import CONN_FIELDS, CONNECTION_TYPE, HOOK_NAME, UI_FIELD_BEHAVIOUR


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, which Airflow asks for through the entry point ``apache_airflow_provider``.

    A dict of plain JSON with the keys of Airflow's schema: names, connection type and its form, task decorator, extra
    link, commands and the section ``dpone`` of Airflow's configuration.
    https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html
    """
    return {
        "package-name": "dpone-airflow",
        "name": "dpone object storage staging",
        "description": "Stages files in S3, Google Cloud Storage and Azure Blob Storage with a checksummed manifest.",
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": "dpone_airflow.hooks.local.LocalObjectStorageHook",
                "hook-name": HOOK_NAME,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
        "task-decorators": [
            {
                "name": "stage_files",
                "class-name": "dpone_airflow.decorators.stage_files.stage_files_task",
            }
        ],
        # Airflow 3 reads the address from the XCom; 2.11 asks the class, and only if it is named here.
        "extra-links": ["dpone_airflow.links.staged_files.StagedFilesLink"],
        # Airflow reads it from 3.2 on; the console script dpone-airflow is there on all.
        "cli": ["dpone_airflow.cli.airflow_commands.get_dpone_commands"],
        "config": {
            "dpone": {
                "description": "Staging of files in object storage.",
                "options": {
                    "deployment": {
                        "description": (
                            "Names this Airflow in the claims of its run prefixes. Set it when several Airflows "
                            "share a bucket, so that equal DAG, run and task ids of two of them stay apart."
                        ),
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "production-eu",
                        "default": "",
                    }
                },
            }
        },
    }
