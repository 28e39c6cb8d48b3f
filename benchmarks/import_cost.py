"""What a DAG file pays to import an operator, on top of what Airflow's SDK costs it anyhow.

``python -m benchmarks.import_cost --runs 9`` prints, for our operators and beside them the transfers
of the official providers, the median of as many fresh Pythons, and how many modules they load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

OURS = "dpone_airflow.operators"
MODULES = (
    OURS,
    "airflow.providers.amazon.aws.transfers.local_to_s3",
    "airflow.providers.google.cloud.transfers.local_to_gcs",
    "airflow.providers.microsoft.azure.transfers.local_to_wasb",
)

# Airflow gives out its names when they are asked for: these are what any DAG file has loaded.
_MEASURE = """
import importlib, json, sys, time
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, BaseOperator, Context, XComArg
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
before = set(sys.modules)
begin = time.perf_counter()
importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - begin
print(json.dumps([seconds, len(set(sys.modules) - before)]))
"""


@dataclass(frozen=True)
class ImportCost:
    """What importing ``module`` adds.

    :param milliseconds: of each fresh Python.
    :param modules: how many modules it loads.
    """

    module: str
    milliseconds: tuple[float, ...]
    modules: int

    def __str__(self) -> str:
        low, middle, high = min(self.milliseconds), median(self.milliseconds), max(self.milliseconds)
        return f"{middle:>8,.1f} ms ({low:,.1f} to {high:,.1f}), {self.modules:>5,} modules  {self.module}"


def import_cost(module: str, runs: int = 9) -> ImportCost:
    """Import ``module`` in ``runs`` fresh Pythons, after one that isn't counted: it compiles and warms the disk.

    :raises subprocess.CalledProcessError: if it can't be imported here.
    """
    measured = [_one_import(module) for _ in range(runs + 1)][1:]
    return ImportCost(module, tuple(seconds * 1000 for seconds, _ in measured), measured[-1][1])


def _one_import(module: str) -> tuple[float, int]:
    command = [sys.executable, "-W", "ignore", "-c", _MEASURE, module]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    seconds, modules = json.loads(result.stdout.splitlines()[-1])
    return float(seconds), int(modules)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the cost of each module."""
    parser = argparse.ArgumentParser(prog="import_cost", description="What a DAG file pays to import an operator.")
    parser.add_argument("--runs", type=int, default=9, help="fresh Pythons for each module (default 9)")
    parser.add_argument("modules", nargs="*", default=MODULES, help="modules to import")
    given = parser.parse_args(arguments)
    for module in given.modules:
        print(import_cost(module, given.runs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
