"""Whatever lies among the evidence: it is read, or said to be unreadable, and never taken for a claim."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.cli.report_json import run_as_json
from dpone_airflow.cli.report_page import run_page, runs_page
from dpone_airflow.staging.checkpoints import staged_before
from dpone_airflow.staging.evidence import StagingEvidence, StagingWriter
from dpone_airflow.staging.resolve import read_manifest
from dpone_airflow.staging.run_records import read_objects
from dpone_airflow.staging.runs import read_runs
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import ClaimError, DponeAirflowError
from tests.fuzz.choices import Choices, written
from tests.fuzz.folders import fresh_folder
from tests.fuzz.fuzzed import fuzzed, told
from tests.fuzz.samples import BASE, FOLDER, RECORD_URI, RECORDS, RUN_ID
from tests.fuzz.test_manifest import check_manifest

MANIFEST = "_run/manifest.json"
CHECKPOINT = "_run/staged-0a1b2c3d-00001.json"


def record_text(name: str, record: Any) -> bytes:
    """Return a record as the evidence holds it: with an object a line where there are some."""
    text = written(record)
    if name in (MANIFEST, CHECKPOINT):
        head, mark, tail = text.partition('"objects": [')
        text = (
            f"{head}{mark}\n{tail.replace('}, {', '},' + chr(10) + '{').removesuffix(']}}')}\n]}}}}\n" if mark else text
        )
    return text.encode(errors="surrogatepass")


def _content(choices: Choices, name: str) -> bytes:
    if choices.number(2):
        return record_text(name, choices.changed_json(RECORDS[name], 3))
    return choices.changed_bytes(record_text(name, RECORDS[name]))


class Store:
    """An emulator whose objects are put there by hand, as anybody who may write to a bucket can."""

    def __init__(self, folder: Path) -> None:
        self.client = LocalObjectStorageClient(root_dir=folder, max_concurrency=1)

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        return self.client

    def put(self, uri: str, content: bytes) -> None:
        path = self.client.path_of(ObjectStorageUri.parse(uri))
        # What an input before this one has left may lie where a folder must be, or the other way round.
        for above in path.parents:
            if above.is_file():
                above.unlink()
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextmanager
def store() -> Iterator[Store]:
    with fresh_folder() as folder:
        yield Store(folder)


@fuzzed(lambda choices: _content(choices, "_run.json"), within=store)
def test_any_claim_is_read_or_refused_and_never_another_writers(content: bytes, given: Store) -> None:
    given.put(f"{FOLDER}/_run.json", content)
    evidence = StagingEvidence(given.client, BASE, RUN_ID)
    try:
        claim = evidence.read_claim()
    except ClaimError as error:
        told(error)
        return
    assert claim is not None
    assert isinstance(claim.writer, StagingWriter)
    assert isinstance(claim.plan, dict)
    own = StagingWriter(**RECORDS["_run.json"]["writer"])
    try:
        evidence.check_owner(claim.writer, own)
        evidence.claim(own, RECORDS["_run.json"]["plan"])
    except ClaimError as error:
        told(error)
        return
    assert StagingWriter(**json.loads(content)["writer"]) == own


@fuzzed(
    lambda choices: (_content(choices, MANIFEST), choices.changed_text(RECORD_URI, choices.number(2))), within=store
)
def test_any_stored_manifest_is_of_its_own_place_or_is_refused(
    content_and_uri: tuple[bytes, str], given: Store
) -> None:
    content, uri = content_and_uri
    try:
        given.put(uri, content)
    except (DponeAirflowError, OSError):
        given.put(RECORD_URI, content)
    for digest in (None, sha256(content).hexdigest(), "0" * 64):
        try:
            found = read_manifest(uri, given, digest)
        except DponeAirflowError as error:
            told(error)
            continue
        assert digest != "0" * 64
        assert str(ObjectStorageUri.parse(uri)).startswith(f"{found.base_uri}/_manifests/{found.run_id}/")
        check_manifest(found)


def _evidence(choices: Choices) -> dict[str, bytes]:
    """Return valid evidence of which one to three records are changed, and some records have another name."""
    names = {choices.of(list(RECORDS)) for _ in range(1 + choices.number(3))}
    found = {name: _content(choices, name) if name in names else record_text(name, RECORDS[name]) for name in RECORDS}
    for name in names:
        if choices.number(4) == 3:
            found[choices.changed_text(name, 1)] = found.pop(name)
        elif choices.number(4) == 3:
            del found[name]
    return found


@fuzzed(_evidence, within=store, together=True)
def test_any_evidence_can_be_reported(runs_evidence: list[dict[str, bytes]], given: Store) -> None:
    for number, evidence in enumerate(runs_evidence):
        for name, content in evidence.items():
            try:
                given.put(f"{BASE}/_manifests/run-{number}/{name}", content)
            except (DponeAirflowError, OSError):
                continue
    runs = read_runs(given.client, BASE)
    pages = [runs_page(runs)]
    for run in runs.runs:
        for write in (run_page, run_as_json):
            objects = (
                (part, read_objects(given.client, part.manifest, part.files or 0))
                for part in run.parts
                if part.manifest is not None
            )
            pages.append(write(runs, run, objects))
    "".join(chain.from_iterable(pages)).encode()
    json.dumps([run.to_dict(runs.at) for run in runs.runs])


def _with_one_replaced(value: Any, by: Any) -> Iterator[Any]:
    """Yield ``value`` once for each place in it, with something else in this place."""
    yield by
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (value | {key: changed} for changed in _with_one_replaced(inner, by))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], changed, *value[at + 1 :]] for changed in _with_one_replaced(inner, by))


@pytest.mark.parametrize("name", RECORDS)
def test_lists_in_lists_anywhere_in_a_record_can_be_reported(name: str) -> None:
    # Threads, which have shallow stacks, read deeper lists than can be shown then.
    deep = b"[" * 960 + b"]" * 960
    with store() as given:
        for other, record in RECORDS.items():
            given.put(f"{FOLDER}/{other}", record_text(other, record))
        for record in _with_one_replaced(RECORDS[name], "deep"):
            given.put(f"{FOLDER}/{name}", record_text(name, record).replace(b'"deep"', deep))
            for run_id in (None, RUN_ID):
                runs = read_runs(given.client, BASE, run_id)
                assert len(runs.runs) == 1
                "".join(runs_page(runs)).encode()


def _checkpoint(choices: Choices) -> tuple[str, bytes]:
    name = choices.of((CHECKPOINT, MANIFEST))
    return name, _content(choices, name)


@fuzzed(_checkpoint, within=store)
def test_any_checkpoint_names_what_needs_not_be_sent_again_or_nothing(
    name_and_content: tuple[str, bytes], given: Store
) -> None:
    name, content = name_and_content
    given.put(f"{FOLDER}/{name}", content)
    evidence = StagingEvidence(given.client, BASE, RUN_ID)
    listed = {"a.csv": (7, "an-etag"), "dt=1/b.csv": (7, "an-etag")}
    known = staged_before(evidence.read_staged(evidence.find_staged()), listed)
    for file_name, before in known.items():
        assert (before.size_bytes, before.etag) == listed[file_name]
        assert isinstance(before.sha256, str)
