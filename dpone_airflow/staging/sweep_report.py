"""What a sweep did, or would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dpone_airflow.staging.durations import duration_text
from dpone_airflow.staging.progress import readable_bytes
from dpone_airflow.staging.run_records import UnreadableRecord
from dpone_airflow.staging.sweep_rules import KEPT_TEXTS, Due, Kept, SweepRules
from dpone_airflow.storage.errors import SweepIncompleteError

_NAMED_IN_MESSAGES = 5


@dataclass(frozen=True)
class SweptRun:
    """A run that is due.

    :param run_id: its id.
    :param prefix: where its objects lie or lay, with the trailing slash.
    :param policy: the cleanup policy of its claim.
    :param state: what became of it last, before the sweep; see ``runs.RunState``.
    :param reason: why it is due.
    :param objects: how many it has or had.
    :param size_bytes: their size.
    :param hidden: whether the bucket keeps them as older versions, which are billed on.
    :param oldest: when its oldest object was written, by the store's clock.
    :param newest: when its newest object or record was.
    """

    run_id: str
    prefix: str
    policy: str
    state: str
    reason: Due
    objects: int
    size_bytes: int
    hidden: bool
    oldest: datetime
    newest: datetime

    def __str__(self) -> str:
        why = "old enough" if self.reason is Due.OLD else "delete_always and never cleaned up"
        kept = "; the bucket keeps older versions of them" if self.hidden else ""
        return (
            f"{self.prefix}: {self.objects:,} objects, {readable_bytes(self.size_bytes)}, last written to on "
            f"{self.newest:%Y-%m-%d %H:%M} UTC ({why}; policy {self.policy}, was {self.state}{kept})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; times are in UTC."""
        return {
            "run_id": self.run_id,
            "prefix": self.prefix,
            "policy": str(self.policy),
            "state": str(self.state),
            "reason": str(self.reason),
            "objects": self.objects,
            "bytes": self.size_bytes,
            "hidden": self.hidden,
            "oldest": self.oldest.isoformat(),
            "newest": self.newest.isoformat(),
        }


@dataclass(frozen=True)
class SweptEvidence:
    """The evidence of a run without objects, which is due.

    :param run_id: the run.
    :param records: how many records it has or had.
    :param size_bytes: their size.
    :param newest: when the newest was written.
    """

    run_id: str
    records: int
    size_bytes: int
    newest: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; times are in UTC."""
        return {
            "run_id": self.run_id,
            "records": self.records,
            "bytes": self.size_bytes,
            "newest": self.newest.isoformat(),
        }


@dataclass
class SweepReport:
    """What a sweep of a base did, or with ``dry_run`` would do.

    :param base_uri: the base, as text, without a trailing slash.
    :param dry_run: True if nothing was deleted and all figures are what would have been.
    :param rules: what it went by.
    :param runs: how many claimed runs it looked at.
    :param swept: those that are gone, or would be; the oldest first.
    :param kept: how many were left, by reason; see ``sweep_rules.Kept``.
    :param postponed: those that are due and would pass a ceiling, each with the name of that ceiling, or with
        ``stopped`` if the sweep was told to stop.
    :param unclaimed: prefixes that hold objects and no claim names; never touched.
    :param unreadable: records, claims above all, for which a run is never touched.
    :param aborted_uploads: how many uploads in parts that nobody finished are gone.
    :param uploads_unknown: why they couldn't be listed; None if they could.
    :param evidence: what is gone of the evidence of runs without objects.
    :param postponed_evidence: how many runs' evidence is due and would pass a ceiling.
    :param failures: what went wrong, by run id.
    """

    base_uri: str
    dry_run: bool
    rules: SweepRules
    runs: int = 0
    swept: list[SweptRun] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    postponed: list[tuple[SweptRun, str]] = field(default_factory=list)
    unclaimed: list[str] = field(default_factory=list)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    aborted_uploads: int = 0
    uploads_unknown: str | None = None
    evidence: list[SweptEvidence] = field(default_factory=list)
    postponed_evidence: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def totals(self) -> dict[str, Any]:
        """Return what the swept runs add up to; hidden objects and bytes are counted among the others, too.

        :returns: the numbers ``runs``, ``objects``, ``bytes``, ``hidden_objects`` and ``hidden_bytes``; and ``oldest``
            and ``newest``, when the first and the last of the objects were written, ISO 8601 texts in UTC, or None.
        """
        hidden = [run for run in self.swept if run.hidden]
        oldest = min((run.oldest for run in self.swept), default=None)
        newest = max((run.newest for run in self.swept), default=None)
        return {
            "runs": len(self.swept),
            "objects": sum(run.objects for run in self.swept),
            "bytes": sum(run.size_bytes for run in self.swept),
            "hidden_objects": sum(run.objects for run in hidden),
            "hidden_bytes": sum(run.size_bytes for run in hidden),
            "oldest": None if oldest is None else oldest.isoformat(),
            "newest": None if newest is None else newest.isoformat(),
        }

    def counts(self) -> dict[str, int]:
        """Return how many of each there are, whatever ``to_dict`` names of them."""
        return {
            "runs": self.runs,
            "swept": len(self.swept),
            "kept": self.kept.total(),
            "postponed": len(self.postponed),
            "unclaimed": len(self.unclaimed),
            "unreadable": len(self.unreadable),
            "aborted_uploads": self.aborted_uploads,
            "evidence": len(self.evidence),
            "evidence_records": sum(item.records for item in self.evidence),
            "evidence_bytes": sum(item.size_bytes for item in self.evidence),
            "postponed_evidence": self.postponed_evidence,
            "failures": len(self.failures),
        }

    def to_dict(self, named: int | None = None) -> dict[str, Any]:
        """Return plain JSON; times are in UTC.

        :param named: how many entries of each list there are at most, None for all; ``counts`` and ``totals`` are of
            the whole.
        """
        return {
            "base_uri": self.base_uri,
            "dry_run": self.dry_run,
            "at": self.rules.now.isoformat(),
            "older_than": duration_text(self.rules.older_than),
            "overdue_after": duration_text(self.rules.overdue_after or self.rules.older_than),
            "evidence_older_than": (
                None if self.rules.evidence_older_than is None else duration_text(self.rules.evidence_older_than)
            ),
            "include_retained": self.rules.include_retained,
            "totals": self.totals(),
            "counts": self.counts(),
            "kept": {str(reason): self.kept[reason] for reason in sorted(self.kept)},
            "swept": [run.to_dict() for run in self.swept[:named]],
            "postponed": [run.to_dict() | {"ceiling": ceiling} for run, ceiling in self.postponed[:named]],
            "unclaimed": self.unclaimed[:named],
            "unreadable": [record.to_dict() for record in self.unreadable[:named]],
            "uploads_unknown": self.uploads_unknown,
            "evidence": [item.to_dict() for item in self.evidence[:named]],
            "failures": dict(list(self.failures.items())[:named]),
        }

    def check(self) -> None:
        """Raise if something went wrong.

        :raises SweepIncompleteError: naming the runs.
        """
        if not self.failures:
            return
        named = _named(self.failures)
        raise SweepIncompleteError(
            f"{len(self.failures)} of the {self.runs} runs below {self.base_uri}/ could not be swept: {named}. "
            "That kept it from no other run. Mend what these sentences name and run the sweep again.",
            uri=self.base_uri,
            failures=self.failures,
        )


def summary_lines(report: SweepReport) -> list[str]:
    """Return a few lines that say what came of a sweep."""
    totals, counts = report.totals(), report.counts()
    verb = "would go" if report.dry_run else "are gone"
    head = f"Sweep of {report.base_uri}/, runs older than {duration_text(report.rules.older_than)}"
    if report.rules.overdue_after is not None:
        head += f", delete_always ones that nobody cleaned up {duration_text(report.rules.overdue_after)}"
    lines = {
        verb: f"{totals['runs']:,} of {report.runs:,} runs: {totals['objects']:,} objects, "
        f"{readable_bytes(totals['bytes'])}",
        "kept": ", ".join(f"{count:,} {KEPT_TEXTS[Kept(reason)]}" for reason, count in sorted(report.kept.items())),
    }
    if totals["runs"]:
        lines["written"] = f"from {totals['oldest'][:16]} to {totals['newest'][:16]} UTC"
    if totals["hidden_objects"]:
        lines["billed on"] = (
            f"{totals['hidden_objects']:,} objects, {readable_bytes(totals['hidden_bytes'])}: the bucket keeps older "
            "versions, until a lifecycle rule removes them"
        )
    for name, count in (
        ("postponed", counts["postponed"]),
        ("not claimed", counts["unclaimed"]),
        ("not readable", counts["unreadable"]),
        ("uploads aborted", counts["aborted_uploads"]),
        ("failed", counts["failures"]),
    ):
        if count:
            lines[name] = f"{count:,}"
    if report.evidence or report.postponed_evidence:
        lines["evidence"] = f"{counts['evidence_records']:,} records of {counts['evidence']:,} runs {verb}"
        if report.postponed_evidence:
            lines["evidence"] += f", those of {report.postponed_evidence:,} are postponed"
    if report.dry_run:
        lines["dry run"] = "nothing was deleted; dry_run=False deletes"
    width = max(map(len, lines))
    return [f"{head}:", *(f"  {name:<{width}}  {text}" for name, text in lines.items() if text)]


def _named(failures: Mapping[str, str]) -> str:
    first: Sequence[str] = [f"{run_id} ({why})" for run_id, why in list(failures.items())[:_NAMED_IN_MESSAGES]]
    more = f" and {len(failures) - len(first)} more" if len(failures) > len(first) else ""
    return ", ".join(first) + more
