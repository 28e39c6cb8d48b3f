"""What a Celery worker calls its machine: ``[core] hostname_callable`` of the workers that share one here."""

import os

VARIABLE = "WORKER_NAME"


def worker_name() -> str:
    """Return the name that the worker was given."""
    return os.environ[VARIABLE]
