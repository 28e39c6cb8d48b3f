"""Who is at work when a person calls a command: what the evidence says of them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from dpone_airflow.staging.actor import described
from dpone_airflow.staging.evidence import StagingWriter


def person_at_work(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a record says under ``by``: as a task's, without DAG and task, and who called what.

    The user is the account of the process. Behind ``sudo`` or in a container that is a shared one,
    and the store's own access log says more.

    :param args: program and command.
    """
    from airflow.providers.common.compat.sdk import conf

    deployment = conf.get("dpone", "deployment", fallback="") or ""
    return {
        **described(StagingWriter(deployment=deployment)),
        "user": _user(),
        "command": f"{args.program} {args.command}",
    }


def _user() -> str:
    """Return the account's name, or its number where it has none, as in many containers."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
