"""What the demo needs installed, asked for before anything starts."""

from __future__ import annotations

import importlib.util
import sys

# Of each extra of this package, modules that it brings.
EXTRAS = {
    "s3": ("boto3", "obstore"),
    "demo": ("rich",),
    "distributed": ("celery", "redis", "psycopg2", "asyncpg", "chdb"),
}


def missing_extra() -> str | None:
    """Return a sentence that names an extra which isn't installed here and what to run, or None."""
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if not _is_there(module)]
        if missing:
            return (
                f"The distributed demo needs the extra {extra}, and {sys.executable} has no {missing[0]}: "
                f'run pip install "dpone-airflow[{",".join(EXTRAS)}]" with it, or make demo-distributed. '
                "Nothing was started."
            )
    return None


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
