"""Whether the places that a command line names can be read as what they are for; nothing is asked of a store.

By the arguments and not by the class of an error: a record in the store may hold a URI or a run id that can't be
read either, and whoever called the command can't correct that by another argument.
"""

from __future__ import annotations

import argparse

from dpone_airflow.cli.main import UsageError
from dpone_airflow.staging.plan import base_of
from dpone_airflow.staging.run_id import check_part, check_run_id, safe_run_id
from dpone_airflow.storage.errors import InvalidInputError
from dpone_airflow.storage.uri import ObjectStorageUri


def check_places(args: argparse.Namespace) -> None:
    """Refuse a base, a run id, a part or a manifest's URI that can be none.

    :param args: of any command; what it doesn't take isn't looked at.
    :raises UsageError: saying what is wrong with the first such argument.
    """
    given = vars(args)
    try:
        if given.get("base_uri") is not None:
            base_of(given["base_uri"])
        for name in ("run", "run_id"):
            if given.get(name) is not None:
                check_run_id(safe_run_id(given[name]))
        check_part(given.get("part"))
        for name in given.get("manifest") or ():
            if "://" in name:
                ObjectStorageUri.parse(name)
    except InvalidInputError as error:
        raise UsageError(str(error)) from error
