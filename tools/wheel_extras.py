"""Install a wheel with each extra alone in an environment of its own, and look at it from inside.

What must hold everywhere: the pinned versions fit together, Airflow finds the provider, and the examples of every cloud
parse, because parsing needs no SDK. At run time the extras that are here make clients, and each other one is a
``MissingExtraError`` that names it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from local_servers.airflow_settings import settings
from tools import processes

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_dags"
PROBE = Path(__file__).with_name("wheel_probe.py")
AT_ONCE = 2

CLIENTS = {"s3": "S3ObjectStorageClient", "gcs": "GCSObjectStorageClient", "azure_blob": "AzureBlobObjectStorageClient"}
EXTRA_OF = {"s3": "s3", "gcs": "gcp", "azure_blob": "azure"}
# Examples of loading name the warehouse's official operator, so each needs that provider to parse.
PROVIDER_OF = {
    "example_load_bigquery": "google",
    "example_load_databricks": "databricks",
    "example_load_redshift": "amazon",
    "example_load_snowflake": "snowflake",
}


class WrongPackageError(Exception):
    """What is wrong with what was built."""


@dataclass(frozen=True)
class Extra:
    """An extra of the wheel, or none of them, and what is there with it."""

    name: str
    stores: frozenset[str]
    providers: frozenset[str]
    runs: bool = False


EXTRAS = (
    Extra("", frozenset(), frozenset(), runs=True),
    Extra("s3", frozenset({"s3"}), frozenset({"amazon"})),
    Extra("gcp", frozenset({"gcs"}), frozenset({"google"})),
    Extra("azure", frozenset({"azure_blob"}), frozenset()),
    Extra("object_storage", frozenset(CLIENTS), frozenset({"amazon", "google"})),
)


def check_extras(wheel: Path, work: Path, pins: Path) -> None:
    """Check the wheel with each extra.

    :raises WrongPackageError: for the first one that isn't as it should be.
    """
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for line in pool.map(lambda extra: check_extra(extra, wheel, work, pins), EXTRAS):
            print(line, flush=True)
    except BaseException:  # a fault, Ctrl-C or SIGTERM: the other one ends now
        processes.end_all()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def check_extra(extra: Extra, wheel: Path, work: Path, pins: Path) -> str:
    """Install the wheel with one extra, compare what is told from inside, and return a line about it."""
    began = monotonic()
    home = work / "with" / (extra.name or "no-extra")
    home.mkdir(parents=True)
    python = install(extra, wheel, home, pins)
    told = probe(python, home, "run" if extra.runs else "parse")
    shown = f"the wheel {f'with the extra {extra.name}' if extra.name else 'without extras'}"
    for what, found, wanted in compared(extra, home, told):
        if found != wanted:
            said = "".join(f"\n{name}: {error}" for name, error in told["import_errors"].items())
            raise WrongPackageError(f"{shown}: {what}: {found!r} and not {wanted!r}; see {home}.{said}")
    shutil.rmtree(home)  # one without a fault has no more to tell, and takes hundreds of megabytes
    parsed = sum(1 for _ in EXAMPLES.glob("*.py")) - len(told["import_errors"])
    missing_extras = sorted(set(EXTRA_OF.values()) - {EXTRA_OF[store] for store in extra.stores})
    otherwise = f"without {', '.join(missing_extras)} a MissingExtraError; " if missing_extras else ""
    runs = "example_local runs; " if extra.runs else ""
    return f"OK: {shown}: {parsed} example DAGs parse; {runs}{otherwise}{monotonic() - began:.0f} s"


def install(extra: Extra, wheel: Path, home: Path, pins: Path) -> Path:
    """Return the interpreter of a new environment with the wheel in it."""
    uv = Path(sys.executable).with_name("uv")
    environment = home / "venv"
    python = environment / "bin" / "python"
    run([uv, "venv", "--quiet", "--python", sys.executable, environment])
    wanted = f"dpone-airflow[{extra.name}] @ {wheel.as_uri()}"
    run([uv, "pip", "install", "--quiet", "--python", python, "-c", pins, wanted])
    run([uv, "pip", "check", "--quiet", "--python", python])
    return python


def probe(python: Path, home: Path, way: str) -> dict[str, Any]:
    """Return what the probe finds, run where nothing of the repository can be imported."""
    dags = home / "dags"
    dags.mkdir()
    for example in EXAMPLES.glob("*.py"):
        (dags / example.name).write_bytes(example.read_bytes())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    environment |= settings(home, dags) | {
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0",  # a machine at work may take longer for Google's SDK
        "TMPDIR": str(home),
    }
    answer = run([python, "-P", PROBE, dags, way], cwd=home, environment=environment)
    told: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return told


def compared(extra: Extra, home: Path, told: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return what was looked at, what was found and what must be."""
    installed = Path(told["installed_in"]).is_relative_to(home / "venv")
    failed = {name for name, needed in PROVIDER_OF.items() if needed not in extra.providers}
    clients = {
        store: CLIENTS[store] if store in extra.stores else missing(store, told["clients"][store]) for store in CLIENTS
    }
    states = {
        "example_local": {"run": "success", "export": "success", "stage": "success", "load": "success"},
        "example_s3": {"run": "failed", "export": "success", "stage": "failed", "load": "upstream_failed"},
    }
    return [
        ("where it is imported from is its own environment", installed, True),
        ("py.typed", told["typed"], True),
        ("the provider's name", told["provider"]["name"], "dpone object storage staging"),
        ("the emulator's hook", told["provider"]["hook"], "dpone_airflow.hooks.local.LocalObjectStorageHook"),
        ("whether templates have its macros", "clickhouse_table" in told["macros"], True),
        ("the manifest's schema", told["schema"], "urn:dpone-airflow:schema:manifest:1"),
        ("what doesn't parse", set(told["import_errors"]), failed),
        ("why", [error for error in told["import_errors"].values() if not is_missing_provider(error)], []),
        ("what makes a client", told["clients"], clients),
        ("the state of the runs", {name: states[name] | found for name, found in told["runs"].items()}, told["runs"]),
        ("the runs", set(told["runs"]), set(states) if extra.runs else set()),
    ]


def missing(store: str, told: str) -> str:
    """Return what must be said of a store whose extra isn't there: that, and how to install it."""
    name = EXTRA_OF[store]
    right = told.startswith(f"MissingExtraError: {name}: ") and f'pip install "dpone-airflow[{name}]"' in told
    return told if right else f'MissingExtraError: {name}: … pip install "dpone-airflow[{name}]"'


def is_missing_provider(error: str) -> bool:
    """Return whether an import failed for want of an official provider, and for nothing else."""
    return error.startswith("ModuleNotFoundError: No module named 'airflow.providers.")


def run(command: list[Any], *, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Return what a command prints.

    :raises WrongPackageError: with all that it said, if it ended with an error.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory(prefix="package-", ignore_cleanup_errors=True) as temporary:
        output, errors = Path(temporary, "output"), Path(temporary, "errors")
        status = processes.run(words, output, errors=errors, cwd=cwd, environment=environment)
        said, complained = (path.read_text(encoding="utf-8", errors="replace") for path in (output, errors))
    if status:
        raise WrongPackageError(f"{' '.join(words)} ended with {status}:\n{said}{complained}")
    return said
