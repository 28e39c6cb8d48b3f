"""Load a run again from the URI of its stored manifest alone: no file is staged, and none is deleted.

Start it with the parameter ``manifest_uri``, e.g.
``s3://landing/orders/_manifests/<run id>/_run/manifest.json``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from dpone_airflow.operators import StagingVerifyOperator

with DAG(
    "example_replay",
    schedule=None,
    catchup=False,
    params={"manifest_uri": Param(type="string", minLength=1, description="The manifest.json of the run to load")},
    tags=["dpone", "example"],
) as dag:

    @task
    def load(manifest: dict[str, Any]) -> list[str]:
        """Hand the URIs to the warehouse; here they are only returned."""
        return [item["uri"] for item in manifest["objects"]]

    # [START howto_replay]
    verify = StagingVerifyOperator(
        task_id="verify",
        manifest_uri="{{ params.manifest_uri }}",
        mode="sha256",
        conn_id="dpone_local_default",
    )
    load(verify.output)
    # [END howto_replay]
