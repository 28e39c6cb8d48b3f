"""The cleanup policies, in a module that costs a DAG file next to nothing to import."""

from __future__ import annotations

from enum import StrEnum

from dpone_airflow.storage.errors import InvalidPlanError


class CleanupPolicy(StrEnum):
    """What becomes of the staged objects: ``retain``, ``delete_on_success`` or ``delete_always``; each is a text.

    ``retain`` keeps them, ``delete_on_success`` deletes them after a successful load, ``delete_always`` whatever
    happened. When a cleanup runs is the operator's, what it deletes the core's.
    """

    RETAIN = "retain"
    DELETE_ON_SUCCESS = "delete_on_success"
    DELETE_ALWAYS = "delete_always"

    @classmethod
    def of(cls, value: str) -> CleanupPolicy:
        """Return the policy of that name.

        :param value: its name, or the policy itself.
        :raises InvalidPlanError: for an unknown one.
        """
        try:
            return cls(value)
        except ValueError:
            raise InvalidPlanError(
                f"cleanup_policy {value!r} is unknown: write one of {', '.join(repr(str(policy)) for policy in cls)}."
            ) from None
