"""A run id is one safe path segment: what the core takes, and how any text is made into one."""

from __future__ import annotations

import re
from hashlib import sha256

from dpone_airflow.storage.errors import InvalidPlanError

MAX_RUN_ID_BYTES = 200
_DIGEST_LENGTH = 10
_SAFE = re.compile(r"[A-Za-z0-9._=-]+", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+", re.ASCII)
# No dot: a part names its evidence, whose files have endings.
_PART = re.compile(r"[A-Za-z0-9=-][A-Za-z0-9_=-]*", re.ASCII)


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` if it may be the name of a run prefix.

    Why so narrow:
    https://docs.aws.amazon.com/athena/latest/ug/other-notable-limitations.html (hidden names)
    https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-common/filesystem/model.html (colons)
    https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata (dots)

    :raises InvalidPlanError: if it is empty, ``.`` or ``..``, starts with ``_`` or ``.`` (Spark and
        Athena skip such names), ends with ``.``, is over 200 bytes, or has a character outside
        ``A-Z a-z 0-9 . _ = -`` (``:`` and ``+`` break Hadoop readers, ``/`` opens another prefix).
    """
    problem = None
    if not isinstance(run_id, str):
        problem = f"is {type(run_id).__name__}, not text"
    elif not run_id:
        problem = "is empty, and without it a cleanup would reach the whole base"
    elif run_id in (".", ".."):
        problem = "names a directory"
    elif run_id[0] in "._":
        problem = f"starts with {run_id[0]!r}, and query engines skip such names"
    elif run_id.endswith("."):
        problem = "ends with '.', which Azure takes off"
    elif not _SAFE.fullmatch(run_id):
        problem = "has characters outside A-Z a-z 0-9 . _ = -"
    elif len(run_id) > MAX_RUN_ID_BYTES:
        problem = f"has {len(run_id)} bytes, and {MAX_RUN_ID_BYTES} is the most"
    if problem:
        raise InvalidPlanError(f"run_id {_shown(run_id)} can't be used: it {problem}.")
    return run_id


def check_part(part: str | None) -> str | None:
    """Return ``part`` if it may be the name of a part below a run prefix; None stays None.

    :raises InvalidPlanError: if it isn't 1 to 100 characters of ``A-Z a-z 0-9 _ = -``, not
        starting with ``_``.
    """
    if part is not None and not (isinstance(part, str) and _PART.fullmatch(part) and len(part) <= 100):
        raise InvalidPlanError(
            f"part {_shown(part)} can't be used: write 1 to 100 characters of A-Z a-z 0-9 _ = -, the first no _."
        )
    return part


def safe_run_id(text: str) -> str:
    """Return ``text`` if it is safe as it stands, else a readable slug of it with a short digest.

    ``manual__2026-11-22T08:00:00+00:00`` has characters that break readers; equal texts give equal
    slugs and different texts different ones. What isn't safe for another reason (empty, ``..``)
    stays as it is, for ``check_run_id`` to refuse.
    """
    if not isinstance(text, str) or not text or _SAFE.fullmatch(text):
        return text
    return _slug(text, text)


def default_run_id(dag_id: str, dag_run_id: str, task_id: str) -> str:
    """Return the run id of a task in a DAG run: the same on every try, another for any other task."""
    return _slug(f"{dag_id}-{dag_run_id}-{task_id}", "\0".join((dag_id, dag_run_id, task_id)))


def _slug(readable: str, identity: str) -> str:
    digest = sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    stem = _UNSAFE.sub("-", readable).strip("._-") or "run"
    return f"{stem[: MAX_RUN_ID_BYTES - _DIGEST_LENGTH - 1]}-{digest}"


def _shown(value: object) -> str:
    """Return a text in quotes; of anything else its type, for not every value can be written out."""
    return repr(value) if isinstance(value, str) else type(value).__name__
