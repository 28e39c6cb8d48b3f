"""One finding of the doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what it showed.

    :param name: what was looked at, one or two words.
    :param outcome: ``failed`` if staging or cleanup would fail by it; ``warning`` if they work and something is to be
        known; ``unknown`` if it couldn't be made, for want of a right or because a check before it failed.
    :param detail: what was seen, in one sentence.
    :param cause: what is behind it, most likely; empty if all is well.
    :param action: what to do, with a section of the runbook; empty if nothing.
    """

    name: str
    outcome: Outcome
    detail: str
    cause: str = ""
    action: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON."""
        return {key: str(value) for key, value in asdict(self).items()}


def worst(checks: Iterable[Check]) -> Outcome:
    """Return the outcome that counts: failed, else warning, else unknown, else ok."""
    outcomes = {check.outcome for check in checks}
    for outcome in (Outcome.FAILED, Outcome.WARNING, Outcome.UNKNOWN):
        if outcome in outcomes:
            return outcome
    return Outcome.OK


def summary(checks: Iterable[Check], all_well: str) -> tuple[bool, str]:
    """Return whether nothing failed, and a text for a form: what failed, or ``all_well`` and what is to be known.

    :param all_well: a sentence.
    """
    checks = list(checks)
    failed = [check for check in checks if check.outcome is Outcome.FAILED]
    if failed:
        return False, " ".join(f"{check.name}: {check.detail}" for check in failed)
    known = [check.detail for check in checks if check.outcome is Outcome.WARNING or check.name == "disk"]
    return True, " ".join([all_well, *known])
