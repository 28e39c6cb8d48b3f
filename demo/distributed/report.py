"""What the demo prints of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from demo.distributed.runs import Outcome


def show(console: Console, outcome: Outcome, cpu_seconds: Mapping[str, float]) -> bool:
    """Print what came of a run; return whether all was well."""
    table = Table(title="Counted", title_justify="left")
    table.add_column("what")
    table.add_column("objects", justify="right")
    for what, count in (
        ("files extracted", outcome.size.files),
        ("in the manifests of the parts", outcome.in_parts),
        ("in the manifest of the run", outcome.in_manifest),
        ("verified", outcome.verified),
        ("listed before the cleanup", outcome.compared.get("listed", 0)),
        ("loaded from", outcome.loaded.get("objects", 0)),
        ("deleted by the cleanup", outcome.deleted),
        ("left after it", outcome.left),
    ):
        table.add_row(what, f"{count:,}")
    console.print(table)
    rows = outcome.loaded.get("rows", 0)
    console.print(
        f"Rows: {outcome.size.rows:,} written, {rows:,} loaded, {outcome.loaded.get('distinct', 0):,} distinct"
    )
    spread = ", ".join(f"{worker} {count}" for worker, count in sorted(outcome.spread.items()))
    console.print(f"Instances: {spread}")
    console.print(
        f"Staging: {outcome.stage_seconds:.0f} s, {outcome.objects_per_second:.0f} objects/s; "
        f"the whole run: {outcome.total_seconds:.0f} s"
    )
    used = ", ".join(f"{worker} {seconds:.0f} s" for worker, seconds in sorted(cpu_seconds.items()))
    console.print(f"CPU of the workers: {used}")
    for lost in outcome.lost:
        console.print(
            f"Instance {lost.map_index} was on {lost.worker} with {lost.staged_before} files staged: "
            f"taken for dead {_after(lost.found_after_seconds)}, "
            f"queued again {_after(lost.queued_after_seconds)}, "
            f"begun again on {lost.back_on or 'no worker'} {_after(lost.back_after_seconds)}; "
            f"sent {lost.sent_again or 0} of {outcome.size.files_each}"
        )
    complaints = outcome.complaints()
    for complaint in complaints:
        console.print(f"[red]{complaint}[/red]")
    if not complaints:
        console.print("[green]All counts agree.[/green]")
    return not complaints


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.0f} s"
