"""A report as one HTML page: it needs no network, and no script to be read.

Every value comes from records that anybody who may write to the bucket can have written: all of them
are escaped, and the page's own policy forbids any script but its own and any request.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from dpone_airflow import __version__
from dpone_airflow.cli.report_chart import chart, days_to_show
from dpone_airflow.cli.report_json import Objects
from dpone_airflow.cli.shown import escaped, shown_age, shown_bytes, shown_day, shown_time
from dpone_airflow.staging.run_records import UnreadableRecord
from dpone_airflow.staging.runs import RecordedRun, RecordedRuns, RunState

_MEANINGS = {
    RunState.UNREADABLE: "a record can't be read",
    RunState.VERIFY_FAILED: "the store held something else than the manifest",
    RunState.CLEANUP_INCOMPLETE: "a cleanup left objects behind",
    RunState.FAILED: "the last try of the stage failed",
    RunState.STAGING: "under way, or its worker died",
    RunState.STAGED: "all files are there",
    RunState.VERIFIED: "compared with the manifest since",
    RunState.CLEANED: "the objects are deleted",
}
# So many rows a browser sorts at once. More of them are several tables, of which it lays out those that are seen.
_MAX_SORTABLE = 2_000
_NONE = '<span class="none">–</span>'


def runs_page(runs: RecordedRuns) -> Iterator[str]:
    """Yield the page of all runs of a base."""
    totals = runs.totals()
    yield from _head(f"Staging report: {runs.base_uri}")
    yield (
        '<header><p class="eyebrow">Staging report</p>'
        f"<h1><bdi>{escaped(runs.base_uri)}</bdi></h1>"
        f'<p class="lead">What became of each run, as its evidence tells. Read {_time(runs.at)}.</p></header>\n<main>\n'
    )
    if not runs.runs:
        yield (
            '<section class="card empty"><h2>Nothing is recorded here</h2><p>There are no records below '
            f"<code>{escaped(runs.base_uri)}/_manifests/</code>: nothing has been staged with this base URI, or "
            "somebody removed the evidence.</p></section>\n"
        )
    else:
        yield from _totals(totals)
        yield '<div class="side-by-side">\n'
        yield from _per_day(runs)
        yield from _states(totals)
        yield "</div>\n"
        yield from _runs_table(runs)
    yield from _foot(runs.at)


def run_page(runs: RecordedRuns, run: RecordedRun, objects: Objects) -> Iterator[str]:
    """Yield the page of one run; its objects are written as they are read."""
    yield from _head(f"Staging report: {run.run_id}")
    yield (
        '<header><p class="eyebrow">Staging report · one run</p>'
        f'<h1><bdi>{escaped(run.run_id)}</bdi></h1><p class="lead">{_badge(run.state)} '
        f"<code><bdi>{escaped(run.prefix)}</bdi></code></p></header>\n<main>\n"
    )
    yield from _steps(run)
    yield from _notes(run)
    yield from _facts(run)
    if run.in_parts:
        yield from _parts_table(run)
    yield from _objects(run, objects)
    yield from _foot(runs.at)


def _head(title: str) -> Iterator[str]:
    style, script = _file("report_page.css"), _file("report_page.js")
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="robots" content="noindex">\n'
        f'<link rel="icon" href="data:,">\n<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n'
    )


def _foot(at: datetime) -> Iterator[str]:
    yield (
        f"</main>\n<footer><p>dpone-airflow {escaped(__version__)} read this from the records below "
        f"<code>_manifests/</code>, {_time(at)}. All times are in UTC. What was deleted by hand is still counted."
        f"</p></footer>\n<script>{_file('report_page.js')}</script>\n</body>\n</html>\n"
    )


@cache
def _file(name: str) -> str:
    return files("dpone_airflow.cli").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _totals(totals: dict[str, Any]) -> Iterator[str]:
    figures = (
        ("Runs", f"{totals['runs']:,}", ""),
        ("Files staged", f"{totals['files']:,}", ""),
        ("Bytes staged", shown_bytes(totals["size_bytes"]), f"{totals['size_bytes']:,} bytes"),
        ("Bytes not cleaned up", shown_bytes(totals["left_bytes"]), f"{totals['left_bytes']:,} bytes"),
    )
    yield '<dl class="figures">'
    for name, figure, exact in figures:
        title = f' title="{exact}"' if exact else ""
        yield f'<div class="card"><dt>{name}</dt><dd{title}>{figure}</dd></div>'
    yield "</dl>\n"


def _per_day(runs: RecordedRuns) -> Iterator[str]:
    days = runs.days()
    shown = days_to_show(days, runs.at.date())
    yield '<section class="card" aria-labelledby="per-day"><h2 id="per-day">Bytes staged per day</h2>'
    if not shown:
        yield "<p>Nothing is staged yet.</p></section>\n"
        return
    yield '<div class="scroll">'
    yield from chart(days, shown)
    yield "</div>"
    yield (
        '<details><summary>The same as a table</summary><div class="scroll"><table><thead><tr><th scope="col">Day</th>'
        '<th scope="col" class="number">Files</th><th scope="col" class="number">Size</th></tr></thead><tbody>'
    )
    for day, (count, size_bytes) in reversed(days.items()):
        yield (
            f'<tr><th scope="row">{shown_day(day)}</th><td class="number">{count:,}</td>'
            f'<td class="number">{shown_bytes(size_bytes)}</td></tr>'
        )
    yield "</tbody></table></div></details></section>\n"


def _states(totals: dict[str, Any]) -> Iterator[str]:
    yield '<section class="card" aria-labelledby="states"><h2 id="states">Runs by state</h2><ul class="states">'
    for state, count in totals["states"].items():
        width = 100 * count / totals["runs"]
        yield (
            f'<li>{_badge(RunState(state))}<svg class="share {state}" viewBox="0 0 100 6" preserveAspectRatio="none" '
            f'aria-hidden="true"><rect class="all" width="100" height="6"/><rect class="some" width="{width:.2f}" '
            f'height="6"/></svg><span class="count">{count:,}</span></li>'
        )
    yield '</ul><details><summary>What the states mean</summary><dl class="meanings">'
    for state in totals["states"]:
        yield f"<dt>{_name(RunState(state))}</dt><dd>{_MEANINGS[RunState(state)]}</dd>"
    yield "</dl></details></section>\n"


def _runs_table(runs: RecordedRuns) -> Iterator[str]:
    yield (
        '<section class="card table" aria-labelledby="runs-title"><div class="bar-above"><h2 id="runs-title">Runs</h2>'
        '<p class="tools" hidden><label>Filter <input type="search" data-filter="runs" '
        'placeholder="run, DAG, table, state"></label></p></div>'
        '<div class="scroll"><table id="runs" class="sortable"><thead><tr><th scope="col">Run</th>'
        '<th scope="col">State</th><th scope="col">Policy</th><th scope="col" class="number">Files</th>'
        '<th scope="col" class="number">Size</th><th scope="col" class="number">Age</th></tr></thead><tbody>\n'
    )
    for run in runs.runs:
        age = None if run.since is None else (runs.at - run.since).total_seconds()
        yield (
            f'<tr><th scope="row"><bdi class="id">{escaped(run.run_id)}</bdi>{_beneath(_what_and_who(run))}'
            f"{''.join(_trouble(run))}</th><td>{_badge(run.state)}{_beneath(_parts(run))}</td>"
            f"<td>{_word(run.field('cleanup_policy'))}</td>"
            f"{_number(run.files)}{_size(run.size_bytes)}{_age(run.since, age)}</tr>\n"
        )
    yield "</tbody></table></div></section>\n"


def _what_and_who(run: RecordedRun) -> str:
    what = ".".join(escaped(text) for name in ("dataset", "table") if (text := run.field(name)))
    who = " / ".join(escaped(run.writer[name]) for name in ("deployment", "dag_id", "task_id") if run.writer[name])
    return " · ".join(filter(None, (what, who)))


def _parts(run: RecordedRun) -> str:
    if not run.in_parts:
        return ""
    parts = f"{len(run.parts):,} {'part' if len(run.parts) == 1 else 'parts'}"
    states = ", ".join(f"{count:,} {_name(RunState(state))}" for state, count in run.states.items())
    return f"{parts}: {states}" if len(run.states) > 1 else parts


def _trouble(run: RecordedRun) -> Iterator[str]:
    """Yield what somebody must look at, in a line each."""
    for record in run.unreadable[:1]:
        yield f'<span class="trouble"><bdi>{escaped(record.uri)}</bdi> {escaped(record.reason)}</span>'
    if run.failure:
        of_part = " of a part" if run.in_parts else ""
        yield f'<span class="trouble">The last try{of_part} failed: {escaped(run.failure)}</span>'


def _steps(run: RecordedRun) -> Iterator[str]:
    yield '<ol class="steps card" aria-label="What happened">'
    verified, cleaned = (_not_before(run, run.last(name)) for name in ("verified_at", "cleaned_at"))
    different, left = run.states.get(RunState.VERIFY_FAILED), run.states.get(RunState.CLEANUP_INCOMPLETE)
    steps = (
        ("good", "Claimed", run.first("claimed_at")),
        ("bad", "Failed", run.last("failed_at")),
        ("good", "Staged", run.last("staged_at")),
        ("bad", "Verify failed", verified) if different else ("good", "Verified", verified),
        ("bad", "Cleanup incomplete", cleaned) if left else ("good", "Cleaned up", cleaned),
    )
    for kind, name, at in steps:
        if at is not None:
            yield f'<li class="{kind}"><span class="step">{name}</span>{_time(at)}</li>'
        elif kind == "good":
            yield f'<li><span class="step">{name}</span><span>not yet</span></li>'
    yield "</ol>\n"


def _not_before(run: RecordedRun, at: datetime | None) -> datetime | None:
    """Return ``at`` unless everything was staged again since: then it is of what lay there before."""
    staged = [part.staged_at for part in run.parts if part.staged_at]
    return None if at is None or (len(staged) == len(run.parts) and at < min(staged)) else at


def _notes(run: RecordedRun) -> Iterator[str]:
    """Yield what somebody must look at."""
    for record in run.unreadable:
        yield _note("A record can't be read", f"<code>{escaped(record.uri)}</code> {escaped(record.reason)}.")
    for part in run.parts:
        of_part = f" of {escaped(part.part)}" if part.part else ""
        if part.failure:
            yield _note(f"The last try{of_part} failed", escaped(part.failure))
        if part.state is RunState.VERIFY_FAILED and part.verify:
            yield _note(
                f"The verify{of_part} found differences", _counted(part.verify, ("missing", "extra", "changed"))
            )
        if part.state is RunState.CLEANUP_INCOMPLETE and part.cleanup:
            yield _note(f"The cleanup{of_part} left objects behind", _counted(part.cleanup, ("left",)))


def _note(title: str, text: str) -> str:
    return f'<section class="note"><h2>{title}</h2><div>{text}</div></section>\n'


def _counted(outcome: Mapping[str, Any], names: Iterable[str]) -> str:
    at_least = outcome.get("at_least", ())
    counts = ", ".join(
        f"{'at least ' if name in at_least else ''}{outcome[name]:,} {name}" for name in names if outcome.get(name)
    )
    named = "".join(f"<li><bdi>{escaped(line)}</bdi></li>" for line in outcome.get("named", ()))
    return f"<p>{counts or 'More than are listed here'}.</p>" + (f"<ul>{named}</ul>" if named else "")


def _facts(run: RecordedRun) -> Iterator[str]:
    first = run.parts[0]
    writer = run.writer
    facts: list[tuple[str, str]] = [
        ("Dataset and table", ".".join(escaped(text) for name in ("dataset", "table") if (text := run.field(name)))),
        ("Format", ", ".join(escaped(text) for name in ("file_format", "compression") if (text := run.field(name)))),
        ("Policy", _word(run.field("cleanup_policy"))),
        ("Files", "" if run.files is None else f"{run.files:,}"),
        ("Size", "" if run.size_bytes is None else f"{shown_bytes(run.size_bytes)} ({run.size_bytes:,} bytes)"),
        ("Deployment", _word(writer["deployment"]) if writer["deployment"] else ""),
        ("DAG", escaped(writer["dag_id"] or "")),
        ("DAG run", escaped(writer["dag_run_id"] or "")),
        ("Task", escaped(writer["task_id"] or "")),
        ("Tries", "" if run.tries is None else f"{run.tries:,}"),
        ("Host", "" if run.in_parts else escaped(first.host or "")),
        ("Files of the last try", _sent_and_kept(run)),
        ("Engine", ", ".join(sorted({escaped(part.engine) for part in run.parts if part.engine}))),
        ("Versions", _versions_of(run)),
    ]
    yield '<section class="card" aria-labelledby="facts"><h2 id="facts">Who, what and how</h2><dl class="facts">'
    for name, text in facts:
        if text:
            yield f"<div><dt>{name}</dt><dd><bdi>{text}</bdi></dd></div>"
    yield "</dl></section>\n"


def _versions_of(run: RecordedRun) -> str:
    return ", ".join(f"{escaped(name)} {escaped(' and '.join(found))}" for name, found in run.versions.items())


def _sent_and_kept(run: RecordedRun) -> str:
    sent = [part.sent for part in run.parts if part.sent is not None]
    kept = [part.kept for part in run.parts if part.kept is not None]
    return f"{sum(sent):,} sent, {sum(kept):,} kept from an earlier try" if sent or kept else ""


def _parts_table(run: RecordedRun) -> Iterator[str]:
    yield (
        '<section class="card table" aria-labelledby="parts-title"><div class="bar-above"><h2 id="parts-title">'
        f'Parts <span class="count">{len(run.parts):,}</span></h2>'
        '<p class="tools" hidden><label>Filter <input type="search" data-filter="parts" '
        'placeholder="part, state, host"></label></p></div>'
        '<div class="scroll"><table id="parts" class="sortable"><thead><tr><th scope="col">Part</th>'
        '<th scope="col">State</th><th scope="col" class="number">Try</th><th scope="col">Host</th>'
        '<th scope="col" class="number">Files</th><th scope="col" class="number">Size</th>'
        '<th scope="col" class="number">Staged</th></tr></thead><tbody>\n'
    )
    for part in run.parts:
        at = part.staged_at
        when = "" if at is None else f"{at:%Y%m%d%H%M%S}"
        staged = f'<td class="number" data-value="{when}">{_NONE if at is None else _time(at)}</td>'
        yield (
            f'<tr><th scope="row"><bdi class="id">{escaped(part.part)}</bdi></th><td>{_badge(part.state)}'
            f"{_beneath(escaped(part.failure or ''))}</td>{_number(part.try_number)}<td>{_word(part.host)}</td>"
            f"{_number(part.files)}{_size(part.size_bytes)}{staged}</tr>\n"
        )
    yield "</tbody></table></div></section>\n"


def _objects(run: RecordedRun, objects: Objects) -> Iterator[str]:
    sortable = (run.files or 0) <= _MAX_SORTABLE
    yield (
        '<section class="card table" aria-labelledby="objects-title"><div class="bar-above"><h2 id="objects-title">'
        f'Objects <span class="count">{run.files or 0:,}</span></h2>'
    )
    if sortable:
        yield (
            '<p class="tools" hidden><label>Filter <input type="search" data-filter="objects" '
            'placeholder="name, sha256"></label></p>'
        )
    yield f'</div><div class="scroll{"" if sortable else " long"}">{_objects_head("objects", sortable)}'
    broken: list[UnreadableRecord] = []
    rows = 0
    for part, staged in objects:
        name = f"{escaped(part.part)}/" if part.part else ""
        for item in staged:
            if isinstance(item, UnreadableRecord):
                broken.append(item)
                continue
            if rows and rows % _MAX_SORTABLE == 0:
                yield f"</tbody></table></div>{_objects_head(f'objects-{rows}', False)}"
            rows += 1
            yield _object_row(name, item)
    yield "</tbody></table></div></div>"
    if run.files is None:
        yield '<p class="hint">No manifest is recorded: nothing is staged yet, or the stage failed.</p>'
    for record in broken:
        yield _note("The list isn't complete", f"<code>{escaped(record.uri)}</code> {escaped(record.reason)}.")
    yield "</section>\n"


def _objects_head(name: str, sortable: bool) -> str:
    kind = "objects sortable" if sortable else "objects"
    return (
        f'<div class="stretch"><table id="{name}" class="{kind}"><thead><tr><th scope="col">Name</th>'
        '<th scope="col" class="number">Size</th><th scope="col">SHA-256</th></tr></thead><tbody>\n'
    )


def _object_row(part: str, item: dict[str, Any]) -> str:
    return (
        f'<tr><th scope="row"><bdi class="id">{part}{escaped(item["file_name"])}</bdi></th>'
        f'{_size(item["size_bytes"])}<td><code class="digest">{escaped(item["sha256"])}</code></td></tr>\n'
    )


def _badge(state: RunState) -> str:
    return f'<span class="badge {state}">{_name(state)}</span>'


def _name(state: RunState) -> str:
    return str(state).replace("_", " ")


def _beneath(text: str) -> str:
    return f'<span class="beneath">{text}</span>' if text else ""


def _word(text: str | None) -> str:
    return escaped(text) if text else _NONE


def _number(value: int | None) -> str:
    if value is None:
        return f'<td class="number" data-value="-1">{_NONE}</td>'
    return f'<td class="number" data-value="{value}">{value:,}</td>'


def _size(value: int | None) -> str:
    if value is None:
        return _number(None)
    return f'<td class="number" data-value="{value}" title="{value:,} bytes">{shown_bytes(value)}</td>'


def _age(since: datetime | None, seconds: float | None) -> str:
    if since is None or seconds is None:
        return _number(None)
    return (
        f'<td class="number" data-value="{seconds:.0f}">{shown_age(seconds)}'
        f'<span class="beneath">{_time(since, zone="")}</span></td>'
    )


def _time(at: datetime, zone: str = " UTC") -> str:
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{shown_time(at)}{zone}</time>'
