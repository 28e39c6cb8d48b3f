"""The cells of the matrix: every call under every fault with every client, and why some are blank."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import DponeAirflowError
from tests.faults import faults
from tests.faults.calls import CALLS, Abort, Begin, Call, DeleteBatch, DeleteOne, Place, StageAll
from tests.faults.columns import COLUMNS, ORDINARY, SHORT, Behind, Column, Patience
from tests.faults.dialects import GCS, S3, Dialect, Failure
from tests.faults.proxy import Answer, Exchange, Fault, Rule

_BROKEN = r"connection|reset|closed|broken|incomplete|aborted|remote|eof|error sending|body error"


@dataclass(frozen=True)
class Trouble:
    """One line of each table.

    :param make: makes the fault for a place.
    :param cause: a pattern of what an error must say of it.
    :param times: how often it may happen: ``1``, and ``None`` for always.
    :param stalls: whether clients must be impatient for it.
    """

    name: str
    make: Callable[[Place], Fault]
    cause: str
    times: tuple[int | None, ...] = (1, None)
    stalls: bool = False


def _error(which: str) -> Callable[[Place], Fault]:
    def make(place: Place) -> Fault:
        dialect = place.behind.column.dialect
        return faults.answering(dialect.error(getattr(dialect, which)))

    return make


def _some_keys(which: str) -> Callable[[Place], Fault]:
    """Return what refuses one key of a batch, and deletes the others."""

    def make(place: Place) -> Fault:
        dialect = place.behind.column.dialect
        failure: Failure = getattr(dialect, which)

        def refuse(exchange: Exchange) -> None:
            keys = dialect.keys(exchange.request)
            assert keys, "a batch whose keys can't be read"
            refused = {key: failure for key in keys if key.endswith("held.csv")}
            for key in keys:
                if key not in refused:
                    place.plain._delete_one(ObjectStorageUri(place.base.provider, place.base.bucket, key))
            exchange.send(dialect.batch_answer(keys, refused))

        return refuse

    return make


def _late_error(place: Place) -> Fault:
    answer = place.behind.column.dialect.error(S3.internal)
    return faults.answering(Answer(200, answer.body, answer.headers))


def _always(fault: Fault) -> Callable[[Place], Fault]:
    return lambda place: fault


TROUBLES = {
    trouble.name: trouble
    for trouble in (
        Trouble("500", _error("internal"), r"internal|500|backend"),
        Trouble("503, busy", _error("busy"), r"SlowDown|ServerBusy|503|busy"),
        Trouble("connection reset", _always(faults.reset), _BROKEN),
        Trouble("request cut off", _always(faults.cut_off_request), _BROKEN),
        # Botocore makes a 500 of XML that it can't read.
        Trouble("answer cut off", _always(faults.cut_off_answer), f"{_BROKEN}|500: Internal Server Error"),
        Trouble("answer lost", _always(faults.lose_answer), _BROKEN),
        Trouble("slow answer", _always(faults.slow), "", times=(None,)),
        Trouble("stalled", _always(faults.stall), r"timed? ?-?out|timeout", stalls=True),
        Trouble("stalled half-way", _always(faults.stall_half_way), r"timed? ?-?out|timeout", stalls=True),
        Trouble("wrong ETag", _always(faults.wrong_etag), r"etag|precondition|condition|412|generation", (None,)),
        Trouble("200 with an error in it", _late_error, "internal"),
        Trouble("some keys: busy", _some_keys("busy"), r"SlowDown|ServerBusy|503|busy"),
        Trouble("some keys: refused", _some_keys("denied"), r"denied|permission|403|access", (None,)),
    )
}


# What a run makes of a call that failed: nothing was done, it was done all the same, it was done otherwise.
_FOR_RUNS = ("503, busy", "answer lost", "wrong ETag")


@dataclass(frozen=True)
class Cell:
    """One call under one fault with one client."""

    column: Column
    call: Call
    trouble: Trouble
    times: int | None

    @property
    def patience(self) -> Patience:
        return SHORT if self.trouble.stalls else ORDINARY

    def __str__(self) -> str:
        words = (self.column.name, self.call.name, self.trouble.name, "once" if self.times else "always")
        return "-".join(re.sub(r"[^a-z0-9]+", "_", word.lower()) for word in words)


def blank(column: Column, call: Call, trouble: Trouble) -> str:
    """Return why there is no such cell, or nothing if there is one."""
    dialect, kinds = column.dialect, set(call.kinds)
    whole_call = isinstance(call, StageAll)
    if column.name == "gcs-batches" and not kinds & {"batch"}:
        return "gcp-storage-emulator is here for its batches; fake-gcs-server keeps conditions and has the rest"
    if column.name == "gcs" and kinds == {"batch"}:
        return "fake-gcs-server takes no batches"
    if kinds & {"begin"} and not isinstance(dialect, S3 | GCS):
        return "Azure has no request that begins a large blob"
    if kinds & {"abort", "list uploads"} and not isinstance(dialect, S3):
        return "only S3 keeps and lists uploads in parts"
    if "obstore" in column.name and not call.uploads:
        return "obstore only writes, and not conditionally: the SDK makes this request, see its column"
    if call.of_a_run and not whole_call and trouble.name not in _FOR_RUNS:
        return "a run makes the same of every call that failed, and of every one that was done all the same"
    return _no_sense(dialect, call, trouble, whole_call)


def _no_sense(dialect: Dialect, call: Call, trouble: Trouble, whole_call: bool) -> str:
    has_body = call.sends and not (isinstance(dialect, S3) and call.kinds == ("begin",))
    if trouble.name == "request cut off" and not has_body and not whole_call:
        return "the request has no body"
    if trouble.name == "stalled half-way" and not call.streams:
        return "an answer of one piece: cut off or stalled, see there"
    if trouble.name == "wrong ETag" and not call.uses_etag:
        return "nothing is made of the ETag in this answer"
    if trouble.name == "200 with an error in it" and not (isinstance(dialect, S3) and call.kinds == ("complete",)):
        return "only S3's CompleteMultipartUpload answers so"
    if trouble.name.startswith("some keys") and (isinstance(call, DeleteOne) or not isinstance(call, DeleteBatch)):
        return "only a batch has results of single keys"
    return ""


def cells() -> Iterator[Cell]:
    for call in CALLS:
        for trouble in TROUBLES.values():
            for column in COLUMNS.values():
                if not blank(column, call, trouble):
                    for times in times_of(call, trouble):
                        yield Cell(column, call, trouble, times)


def times_of(call: Call, trouble: Trouble) -> tuple[int | None, ...]:
    """Return how often a fault happens to a call: each of these is a cell."""
    if isinstance(call, StageAll):
        return (1,)
    # That a call is made again after a fault doesn't hang on who makes it.
    return (None,) if call.of_a_run else trouble.times


def run(cell: Cell, behind: Behind, directory: Path) -> str:
    """Make the call under its fault, look whether what came of it is allowed, and return it in a few words."""
    base = ObjectStorageUri.parse(behind.root).child(f"cell-{uuid4().hex[:12]}")
    place = Place(behind, base, directory / base.key)
    place.directory.mkdir()
    call = cell.call
    call.prepare(place)
    for left_over in place.directory.iterdir():
        if left_over.is_file():
            left_over.unlink()
    client: Any = behind.client(
        patience=cell.patience,
        small_pages=call.small_pages,
    )
    times = None if isinstance(call, StageAll) else cell.times
    rule = Rule(cell.trouble.make(place), call.takes(place), times)
    result = error = None
    with ExitStack() as stack:
        stack.enter_context(behind.proxy.injecting(*call.besides(place)))
        stack.enter_context(behind.proxy.injecting(rule))
        try:
            result = call.act(client, place)
        except DponeAirflowError as raised:
            error = raised
    assert rule.met, "no request met the fault"
    if error is None:
        call.check_done(place, result)
        outcome = "done"
    else:
        _check_said(cell, place, error)
        call.check_failed(place, error)
        outcome = f"`{type(error).__name__}`"
    if place.open_uploads():
        assert _may_leave_open(cell), "an upload in parts was left open"
        outcome += ", left open"
    call.check_afterwards(place)
    return outcome


def _may_leave_open(cell: Cell) -> bool:
    """Whether a client can't know of an upload in parts that it leaves open: whoever stages looks for it at the end."""
    if isinstance(cell.call, Abort):
        return cell.times is None
    return isinstance(cell.call, Begin) and cell.column.name == "s3-obstore" and cell.trouble.name == "answer lost"


def _check_said(cell: Cell, place: Place, error: DponeAirflowError) -> None:
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    assert cell.call.key in text, f"the error doesn't name {cell.call.key}: {text}"
    causes = [cell.trouble.cause]
    if isinstance(cell.call, Abort):
        # The refusal of the part is what is to be told, but obstore tells of the abort that failed after it.
        causes = [TROUBLES["some keys: refused"].cause, *(causes if "obstore" in cell.column.name else ())]
    elif cell.column.name == "gcs" and cell.trouble.name in ("answer cut off", "answer lost"):
        # fake-gcs-server forgets an upload with its last chunk, and appends a chunk that comes twice.
        causes += ["UploadSessionLost", "checksum"]
    said = text.replace(place.name, "")
    assert any(re.search(cause, said, re.IGNORECASE) for cause in causes), f"the error doesn't say why: {text}"
