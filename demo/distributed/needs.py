"""What the demo needs of the machine and installed, asked for before anything starts."""

from __future__ import annotations

import importlib.util
import sys

# Of this package's extra and of its dependency groups, modules that they bring.
_MODULES = {
    "extra s3": ("boto3", "obstore"),
    "dependency group demo": ("rich",),
    "dependency group distributed": ("celery", "redis", "psycopg2", "asyncpg", "chdb"),
}


def other_system() -> str | None:
    """Return a sentence that says on what the demo runs, if this is something else, or None."""
    if sys.platform == "linux":
        return None
    return (
        f"The distributed demo runs on Linux only, and this is {sys.platform}: what its processes have started is "
        "found in /proc. Nothing was started."
    )


def missing_extra() -> str | None:
    """Return a sentence that names an extra or group which isn't installed here and what to run, or None."""
    for needed, modules in _MODULES.items():
        missing = [module for module in modules if not _is_there(module)]
        if missing:
            return (
                f"The distributed demo needs the {needed}, and {sys.executable} has no {missing[0]}: "
                "run uv pip install -e '.[s3]' --group demo --group distributed for it, or make demo-distributed. "
                "Nothing was started."
            )
    return None


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
