"""Which runs a sweep may delete: by age, by policy, and within its ceilings. Nothing here asks a store."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from dpone_airflow.staging.choices import check_count
from dpone_airflow.staging.durations import duration_text
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.staging.runs import RunState
from dpone_airflow.storage.client import ObjectStorageObject
from dpone_airflow.storage.errors import InvalidOptionError

#: No age may be less: a stage that runs gives a sign of life every ten minutes.
SHORTEST_AGE = timedelta(hours=1)


class Due(StrEnum):
    """Why a run is swept."""

    #: Its newest object and record are older than ``older_than``.
    OLD = "older_than"
    #: Its policy is ``delete_always``, no cleanup has deleted it, and it is older than ``overdue_after``.
    OVERDUE = "overdue"


class Kept(StrEnum):
    """Why a claimed run is left as it is."""

    YOUNG = "young"
    #: A young upload in parts isn't finished.
    UPLOADING = "uploading"
    RETAINED = "retained"
    #: It has no objects.
    EMPTY = "empty"
    #: It was young again when its turn came, or its claim was gone.
    CHANGED = "changed"
    #: Somebody took its prefix as the base of other runs.
    NESTED_BASE = "nested_base"
    #: The store doesn't tell how old what it holds is.
    AGE_UNKNOWN = "age_unknown"


#: The same for people, after a number.
KEPT_TEXTS = {
    Kept.YOUNG: "young",
    Kept.UPLOADING: "with an upload under way",
    Kept.RETAINED: "to be retained",
    Kept.EMPTY: "without objects",
    Kept.CHANGED: "changed meanwhile",
    Kept.NESTED_BASE: "that are the base of other runs",
    Kept.AGE_UNKNOWN: "of unknown age",
}


@dataclass(frozen=True)
class SweepRules:
    """What a sweep goes by.

    :param now: what ages count to.
    :param older_than: the age from which a run is due.
    :param overdue_after: the age from which a ``delete_always`` run that no cleanup has deleted is due; None for
        ``older_than``.
    :param evidence_older_than: the age from which the evidence of a run without objects goes; None for never.
    :param include_retained: whether ``retain`` runs go as others do.
    :param max_runs: how many runs the whole sweep may take; None for any number.
    :param max_objects: how many objects and records.
    :param max_bytes: how many bytes.
    :raises InvalidOptionError: for an age below an hour or further back than the year 1, an ``overdue_after`` above
        ``older_than``, or a ceiling that isn't a whole number from 0.
    """

    now: datetime
    older_than: timedelta
    overdue_after: timedelta | None = None
    evidence_older_than: timedelta | None = None
    include_retained: bool = False
    max_runs: int | None = None
    max_objects: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise InvalidOptionError("now has no time zone: give a time in UTC.")
        for name in ("older_than", "overdue_after", "evidence_older_than"):
            age = getattr(self, name)
            if age is not None and age < SHORTEST_AGE:
                raise InvalidOptionError(
                    f"{name} is {duration_text(age)}: give at least 1h. A stage that runs gives a sign of life every "
                    "ten minutes, and a sweep must not take it for dead."
                )
            if age is not None and not _reaches_back(self.now, age):
                raise InvalidOptionError(
                    f"{name} is {duration_text(age)}, which reaches back past the year 1: give less, such as '3650d'."
                )
        if self.overdue_after is not None and self.overdue_after > self.older_than:
            raise InvalidOptionError(
                f"overdue_after is {duration_text(self.overdue_after)} and older_than is "
                f"{duration_text(self.older_than)}: overdue_after is for what is due earlier, so give less, or leave "
                "it out."
            )
        for name in ("max_runs", "max_objects", "max_bytes"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), at_least=0)

    def may_be_due(self, newest: datetime) -> bool:
        """Return whether a run whose newest record is that old could be due by any rule."""
        return newest <= self.now - (self.overdue_after or self.older_than)

    def due(self, newest: datetime, policies: Collection[str], state: RunState) -> Due | None:
        """Return why a run is due, or None if it is too young.

        :param newest: when its newest object or record was written.
        :param policies: those that its claims and manifests name.
        """
        if newest <= self.now - self.older_than:
            return Due.OLD
        overdue = set(policies) == {CleanupPolicy.DELETE_ALWAYS} and state is not RunState.CLEANED
        return Due.OVERDUE if overdue and self.may_be_due(newest) else None

    def retains(self, policies: Collection[str]) -> bool:
        """Return whether a run is kept for its policy. Where its records name several, one ``retain`` is enough."""
        return CleanupPolicy.RETAIN in policies and not self.include_retained

    def evidence_is_due(self, newest: datetime) -> bool:
        """Return whether evidence that old goes, if its run has no objects."""
        return self.evidence_older_than is not None and newest <= self.now - self.evidence_older_than

    def uploads_before(self, due: Due | None = None) -> datetime:
        """Return when an unfinished upload must have begun to be taken for one that nobody will finish."""
        return self.now - ((self.overdue_after if due is Due.OVERDUE else None) or self.older_than)


def _reaches_back(now: datetime, age: timedelta) -> bool:
    """Return whether there is a time that long ago."""
    try:
        now.astimezone(UTC) - age
    except OverflowError:
        return False
    return True


@dataclass
class Ceilings:
    """What is left of a sweep's ceilings."""

    rules: SweepRules
    _taken: dict[str, int] = field(default_factory=lambda: {"max_runs": 0, "max_objects": 0, "max_bytes": 0})

    def take(self, objects: int, size_bytes: int) -> str | None:
        """Take a run, or return the name of a ceiling that it would pass; nothing is taken then."""
        wanted = {"max_runs": 1, "max_objects": objects, "max_bytes": size_bytes}
        for name, count in wanted.items():
            ceiling = getattr(self.rules, name)
            if ceiling is not None and self._taken[name] + count > ceiling:
                return name
        for name, count in wanted.items():
            self._taken[name] += count
        return None


def newest_of(items: Iterable[ObjectStorageObject]) -> datetime | None:
    """Return when the newest of some objects was written; None if the store doesn't tell it of each."""
    newest: datetime | None = None
    for item in items:
        at = item.modified_at
        if at is None:
            return None
        newest = at if newest is None or at > newest else newest
    return newest
