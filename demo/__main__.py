"""Run the flights DAG against the emulator or a real S3 server, and show what came of it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local_servers import lock

ROOT = Path(__file__).parent.parent
CONN_ID = "OBJECT_STORAGE"
BUCKET = "flights"


@dataclass(frozen=True)
class Store:
    """Where the demo stages: what it is called, and the connection that leads there."""

    name: str
    connection: dict[str, Any]


@contextmanager
def emulator(home: Path) -> Iterator[Store]:
    """Yield the local emulator."""
    root_dir = home / "object-storage"
    connection = {"conn_type": "dpone_local_object_storage", "extra": {"root_dir": str(root_dir)}}
    yield Store(f"the local emulator in {root_dir.relative_to(ROOT)}", connection)


@contextmanager
def seaweedfs(home: Path) -> Iterator[Store]:
    """Yield a SeaweedFS that runs as long as the block does."""
    from local_servers import SeaweedFS

    home.mkdir(parents=True)
    with SeaweedFS.start(home) as server:
        server.create_bucket(BUCKET)
        yield Store(f"SeaweedFS, a real S3 server, at {server.endpoint}", server.airflow_connection())


STORES = {"local": emulator, "s3": seaweedfs}


def main() -> int:
    """Return 0 if the loaded table is what was exported and everything else went as it should."""
    arguments = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    arguments.add_argument("store", choices=sorted(STORES), help="local: the emulator; s3: SeaweedFS")
    chosen = arguments.parse_args().store
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    home = ROOT / ".demo" / chosen
    try:
        with _emptied(home):
            return _demonstrate(chosen, home, console)
    except lock.LockedError:
        console.print(f"[red]Another run of this demo is at work in {home}: wait for its end.[/red]", soft_wrap=True)
        return 1


@contextmanager
def _emptied(home: Path) -> Iterator[None]:
    """Remove what an earlier run has left, and keep other runs out."""
    home.parent.mkdir(exist_ok=True)
    with lock.exclusive(home.with_suffix(".lock")):
        shutil.rmtree(home, ignore_errors=True)
        yield


def _demonstrate(chosen: str, home: Path, console: Console) -> int:
    with STORES[chosen](home) as store:
        console.print(f"Staging to [bold]{store.name}[/bold]")
        console.print("Running example_dags/example_flights.py in a private Airflow on SQLite (20 to 60 seconds) …")
        result = _run(home, store, console)
        if result is None:
            return 1
        evidence = _evidence(store, result, console)
    return _report(console, home, result, evidence)


def _run(home: Path, store: Store, console: Console) -> dict[str, Any] | None:
    """Run the DAG in a process of its own, whose many log lines go to a file."""
    scratch = home / "tmp"
    scratch.mkdir(parents=True)
    environment = os.environ | {
        f"AIRFLOW_CONN_{CONN_ID}": json.dumps(store.connection),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(scratch),
    }
    log_path = home / "airflow.log"
    began = time.monotonic()
    with log_path.open("w") as log:
        command = [sys.executable, "-m", "demo.run_flights", str(home / "airflow")]
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
    result_path = home / "airflow" / "result.json"
    if ended.returncode != 0 or not result_path.exists():
        console.print(f"[red]Airflow ended with exit code {ended.returncode}; the end of {log_path}:[/red]")
        console.print("\n".join(log_path.read_text().splitlines()[-30:]), markup=False)
        return None
    result: dict[str, Any] = json.loads(result_path.read_text())
    console.print(f"The DAG run {result['run_id']} took {time.monotonic() - began:.0f} s.")
    return result


def _evidence(store: Store, result: dict[str, Any], console: Console) -> dict[str, Any]:
    """Read back what lies in the store after the cleanup: the records, and the objects still there."""
    os.environ[f"AIRFLOW_CONN_{CONN_ID}"] = json.dumps(store.connection)
    from dpone_airflow.hooks import ObjectStorageHook
    from dpone_airflow.storage import ObjectStorageUri

    manifest = result["xcoms"].get("stage")
    if manifest is None:
        return {"records": [], "left": []}
    client = ObjectStorageHook(CONN_ID.lower()).get_client(manifest["base_uri"])
    base = ObjectStorageUri.parse(manifest["base_uri"])
    return {
        "records": [str(uri) for uri in client.list_prefix(base.child("_manifests"))],
        "left": [str(uri) for uri in client.list_prefix(base.child(manifest["run_id"]))],
    }


def _report(console: Console, home: Path, result: dict[str, Any], evidence: dict[str, Any]) -> int:
    xcoms = result["xcoms"]
    if "stage" in xcoms:
        _show_manifest(console, xcoms["stage"])
    states = ", ".join(f"{task} {state}" for task, state in sorted(result["tasks"].items()))
    console.print(f"Tasks: {states}")
    checked = _show_check(console, xcoms.get("load"))
    cleaned = _show_cleanup(console, xcoms.get("cleanup"), evidence["left"])
    console.print("[bold]Evidence[/bold], which outlives the cleanup:")
    for record in evidence["records"]:
        console.print(f"  {record}", soft_wrap=True)
    console.print(f"  Airflow's own log: {(home / 'airflow.log').relative_to(ROOT)}", soft_wrap=True)
    good = checked and cleaned and result["state"] == "success"
    console.print("[green]The demo passed.[/green]" if good else "[red]The demo failed.[/red]")
    return 0 if good else 1


def _show_manifest(console: Console, manifest: dict[str, Any]) -> None:
    table = Table(
        title=f"Manifest: {manifest['dataset']}.{manifest['table']} in {manifest['base_uri']}/{manifest['run_id']}/",
        caption=f"{manifest['object_count']} objects, {manifest['total_size_bytes']:,} bytes, "
        f"provider {manifest['provider']}, policy {manifest['cleanup_policy']}",
    )
    table.add_column("file_name")
    table.add_column("size_bytes", justify="right")
    table.add_column("sha256", overflow="fold")
    for item in manifest["objects"]:
        table.add_row(item["file_name"], f"{item['size_bytes']:,}", item["sha256"])
    console.print(table)


def _show_check(console: Console, check: dict[str, Any] | None) -> bool:
    if check is None:
        console.print("[red]Check: nothing was loaded.[/red]")
        return False
    good = True
    for name, what in (("rows", "rows"), ("distance", "miles flown")):
        same = check[name] == check[f"expected_{name}"]
        good = good and same
        verdict = "[green]equal[/green]" if same else "[red]DIFFERENT[/red]"
        console.print(f"Check: {check[name]:,} {what} loaded, {check[f'expected_{name}']:,} exported: {verdict}")
    return good


def _show_cleanup(console: Console, report: dict[str, Any] | None, left: list[str]) -> bool:
    if report is None:
        console.print("[red]Cleanup: it did not run.[/red]")
        return False
    console.print(
        f"Cleanup: {report['cleanup_policy']} deleted {report['deleted_objects']} objects, "
        f"{report['deleted_bytes']:,} bytes, below {report['prefix']}",
        soft_wrap=True,
    )
    console.print(f"Listed there now: {len(left)} objects")
    return not left and report["deleted_objects"] > 0


if __name__ == "__main__":
    sys.exit(main())
