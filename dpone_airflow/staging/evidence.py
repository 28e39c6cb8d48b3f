"""What is written under ``<base>/_manifests/<run_id>/`` and who a run prefix belongs to.

The records:

    _run.json                       the claim of the whole run prefix, made before its first byte
    _run/staged-<nonce>-00001.json  what was staged while the stage went on, every few seconds
    _run/alive.json                 that a try goes on: a later one says so when it begins, any one every ten minutes
    _run/deleting.json              that a deletion goes on, or died
    _run/manifest.json              what was staged in the end
    _run/failed.json                how the last try ended that didn't stage everything
    _run/verify.json                what the last verify found
    _run/cleanup.json               what the last cleanup did
    map-00003.json                  a part's own claim, and its other records
    map-00003/manifest.json

A run that has a claim and no manifest is being staged, or its stage died. Each record says when it was
made and by whom. The evidence outlives the objects: it is what replay, certification and run reports read.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.object_records import read_records, write_record
from dpone_airflow.staging.plan import EVIDENCE_FOLDER, ObjectStorageStagingPlan, base_of, run_prefix
from dpone_airflow.staging.record_form import NewerRecordError, check_form
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import (
    ClaimedByAnotherWriterError,
    ClaimError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    UnclaimedPrefixError,
    redact,
)
from dpone_airflow.storage.uri import ObjectStorageUri

EVIDENCE_VERSION = 1
_JSON = "application/json"
_CHECKPOINT = "staged-"
# No part can have this name: a part doesn't start with _.
_WHOLE_RUN = "_run"


@dataclass(frozen=True)
class StagingWriter:
    """Who stages. A retry is the same writer; another task, DAG run or deployment is another.

    It stands in the claim of each prefix, and two are the same when all five agree.

    :param deployment: names the Airflow, where several share a bucket; empty for one that has its own.
    :param dag_id: the DAG, or whatever a program calls its job.
    :param dag_run_id: the DAG run; empty for a program without any.
    :param task_id: the task, or the program.
    :param map_index: the mapped instance, from 0; -1 when there is none.
    """

    deployment: str = ""
    dag_id: str = ""
    dag_run_id: str = ""
    task_id: str = ""
    map_index: int = -1

    @classmethod
    def new(cls) -> StagingWriter:
        """Return a writer that nobody else is, for use without Airflow; a retry must be given the same one.

        It has this host's name for its deployment, the program's for its DAG, and a random ``task_id``.
        """
        return cls(deployment=socket.gethostname(), dag_id=Path(sys.argv[0]).name, task_id=uuid4().hex)

    @property
    def of_whole_run(self) -> StagingWriter:
        """The writer without its map index: all instances of a task share a run prefix."""
        return replace(self, map_index=-1)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in asdict(self).items() if value not in ("", -1))


@dataclass(frozen=True)
class Claim:
    """Who took a prefix, and what for."""

    writer: StagingWriter
    plan: dict[str, Any]


@dataclass(frozen=True)
class ClaimedRun:
    """A run prefix, or a part of one, that is this writer's.

    :param evidence: where its records go.
    :param is_new: False if the same writer has claimed it before: in an earlier try.
    :param run_is_new: the same of the whole run, when this is a part of it.
    """

    evidence: StagingEvidence
    is_new: bool
    run_is_new: bool


class StagingEvidence:
    """The records of one run, or of one part of it.

    :param client: the store.
    :param base_uri: the plan's base.
    :param run_id: the plan's run id.
    :param part: the plan's part.
    :param by: who writes records, see ``actor.described``; None for one that only reads.
    """

    def __init__(
        self,
        client: ObjectStorageClient,
        base_uri: str,
        run_id: str,
        part: str | None = None,
        *,
        by: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._by = by
        self.prefix = run_prefix(base_uri, run_id, part)
        #: The folder of all records but the claim, which lies beside it.
        self.folder = evidence_folder(base_uri, run_id, part)
        #: The folder of the records of all parts, and of their claims.
        self.run_folder = base_of(base_uri).child(EVIDENCE_FOLDER).child(run_id)
        #: The records of the whole run, if these are of a part.
        self.whole = None if part is None else StagingEvidence(client, base_uri, run_id, by=by)
        self.claim_uri = replace(self.folder, key=f"{self.folder.key}.json")
        self.manifest_uri = self.folder.child("manifest.json")
        self.alive_uri = self.folder.child("alive.json")
        self.deleting_uri = self.folder.child("deleting.json")
        self.failure_uri = self.folder.child("failed.json")
        self.verify_uri = self.folder.child("verify.json")
        self.cleanup_uri = self.folder.child("cleanup.json")
        # The longest key of all: one that is too long is refused before anything is written.
        self._checkpoint_name = f"{_CHECKPOINT}{uuid4().hex[:8]}-{{:05d}}.json"
        self.folder.child(self._checkpoint_name.format(0))

    def claim(self, writer: StagingWriter, plan: dict[str, Any]) -> bool:
        """Take the prefix for ``writer``, or find that it is this writer's already; return whether it is new.

        :raises UnclaimedPrefixError: if it holds objects that nobody claimed.
        :raises ClaimedByAnotherWriterError: if somebody else claimed it.
        """
        stranger = next(iter(self._client.list_objects(self.prefix)), None)
        if stranger is None and self._create_claim(writer, plan):
            return True
        claim = self.read_claim()
        if claim is None:
            if stranger is None:
                raise ClaimError(f"{self.claim_uri} was made and removed again while this task began: run it again.")
            raise UnclaimedPrefixError(
                f"{self.prefix}/ holds objects that no stage has claimed, e.g. {stranger.uri}. "
                "Nothing was written or deleted: choose another base_uri or run_id, or move what is there."
            )
        self.check_owner(claim.writer, writer)
        self._check_plan(claim.plan, plan)
        return False

    def _create_claim(self, writer: StagingWriter, plan: dict[str, Any]) -> bool:
        """Return whether the claim is new; False if there is one already, ours or another's.

        After a lost answer the store tells us that our own claim is there: it is then read and
        found to be ours.
        """
        record = {"kind": "claim", "writer": asdict(writer), "plan": plan}
        try:
            self._write(self.claim_uri, record, only_if_absent=True)
        except ObjectAlreadyExistsError:
            return False
        return True

    def _check_plan(self, claimed: dict[str, Any], plan: dict[str, Any]) -> None:
        """Refuse to stage something else than what the prefix was claimed for.

        Parts lie below the run prefix: a stage without parts would take them for leftovers. Each part has a dataset
        and table of its own, so the claim of a run in parts has those of the instance that came first.
        """
        checked = ("in_parts",) if plan.get("in_parts") else ("dataset", "table", "in_parts")
        different = [key for key in checked if claimed.get(key) != plan.get(key)]
        if different:
            was = ", ".join(f"{key}={claimed.get(key)!r}" for key in different)
            now = ", ".join(f"{key}={plan.get(key)!r}" for key in different)
            raise ClaimedByAnotherWriterError(
                f"{self.prefix}/ is claimed for something else ({was}); this stage has {now}. "
                "Nothing was written or deleted: choose another run_id or base_uri."
            )

    def read_claim(self) -> Claim | None:
        """Return the claim of the prefix, or None.

        :raises ClaimError: if the record isn't one of ours, or is of a later version.
        """
        try:
            text = self._client.get_bytes(self.claim_uri)
        except ObjectNotFoundError:
            return None
        try:
            record = json.loads(text)
            check_form(record, "claim", EVIDENCE_VERSION)
            claim = Claim(StagingWriter(**record["writer"]), dict(record["plan"]))
            for value in (*vars(claim.writer).values(), *claim.plan.values()):
                if not isinstance(value, str | int | None):
                    raise TypeError(f"a {type(value).__name__} where a word or a number must be")
            named = run_prefix(claim.plan["base_uri"], claim.plan["run_id"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, NewerRecordError) as error:
            newer = isinstance(error, NewerRecordError)
            reason = f"it {error}" if newer else f"{type(error).__name__}: {redact(str(error)[:200])}"
            raise ClaimError(
                f"{self.claim_uri} is no claim that this dpone-airflow can read ({reason}): nothing is touched below "
                f"{self.prefix}/. Read the record with the version that wrote it."
            ) from error
        own = self.prefix if self.whole is None else self.whole.prefix
        if not is_one_place(named, own):
            raise ClaimError(
                f"{self.claim_uri} is a claim of another place, {named}/, as in a base that was copied: nothing is "
                f"touched below {self.prefix}/. Clean up there, or remove the copy yourself."
            )
        return claim

    def check_owner(self, owner: StagingWriter, writer: StagingWriter) -> None:
        """Refuse if ``owner`` isn't ``writer``.

        :raises ClaimedByAnotherWriterError: naming both.
        """
        if owner != writer:
            raise ClaimedByAnotherWriterError(
                f"{self.prefix}/ is claimed by another writer ({owner}); this one is {writer}. "
                "Nothing was written or deleted: give each stage task its own run_id or base_uri."
            )

    def write_manifest(
        self, manifest: ObjectStorageStagingManifest, stage: Mapping[str, Any] | None = None
    ) -> ObjectStorageObject:
        """Record what was staged; return the record's place and sha256.

        :param stage: what else is to be said of the stage call.
        """
        header = manifest.to_dict(objects=False)
        return self._write_objects(self.manifest_uri, "manifest", header, manifest.objects, stage)

    def write_failure(self, outcome: Mapping[str, Any]) -> None:
        """Record how a try ended that didn't stage everything."""
        self._write(self.failure_uri, {"kind": "failure", **outcome})

    def write_checkpoint(self, number: int, objects: Sequence[ObjectStorageStagingObject]) -> ObjectStorageUri:
        """Record what this stage call has staged since its last checkpoint; return where."""
        uri = self.folder.child(self._checkpoint_name.format(number))
        self._write_objects(uri, "checkpoint", {}, objects)
        return uri

    def write_alive(self) -> str | None:
        """Say that the stage goes on; return the record's ETag. A sweep leaves alone what has a young record."""
        return self._write(self.alive_uri, {"kind": "alive"})

    def write_deleting(self, intent: Mapping[str, Any]) -> None:
        """Say that a deletion begins. Whoever stages there sees it; one that isn't removed again has died."""
        self._write(self.deleting_uri, {"kind": "deleting", **intent})

    def find_staged(self) -> list[ObjectStorageUri]:
        """Return the records of what was staged: checkpoints and then the final manifest, as far as there are any.

        That they exist is learnt by listing: where listing isn't allowed, S3 answers a read of what
        isn't there with a 403. https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        listed = [item.uri for item in self._client.list_objects(self.folder)]
        checkpoints = [uri for uri in listed if uri.key.rpartition("/")[2].startswith(_CHECKPOINT)]
        return checkpoints + [uri for uri in listed if uri == self.manifest_uri]

    def read_staged(self, records: Sequence[ObjectStorageUri]) -> Iterator[dict[str, Any]]:
        """Yield the objects of such records that were staged with the client's present options."""
        return read_records(self._client, records, self._client.storage_options)

    def _write_objects(
        self,
        uri: ObjectStorageUri,
        kind: str,
        manifest: dict[str, Any],
        objects: Sequence[ObjectStorageStagingObject],
        stage: Mapping[str, Any] | None = None,
    ) -> ObjectStorageObject:
        record = {"kind": kind, **(stage or {}), "storage_options": self._client.storage_options, "manifest": manifest}
        return write_record(self._client, uri, self._stamped(record), objects)

    def write_verify(self, outcome: Mapping[str, Any]) -> None:
        """Record what a verify found."""
        self._write(self.verify_uri, {"kind": "verify", **outcome})

    def write_cleanup(self, outcome: Mapping[str, Any]) -> None:
        """Record what a cleanup did."""
        self._write(self.cleanup_uri, {"kind": "cleanup", **outcome})

    def _write(self, uri: ObjectStorageUri, record: dict[str, Any], *, only_if_absent: bool = False) -> str | None:
        text = json.dumps(self._stamped(record), ensure_ascii=False, indent=1)
        # A message may quote a path that isn't UTF-8; what this writes in its place is JSON's own way of saying it.
        data = text.encode(errors="backslashreplace")
        return self._client.put_bytes(data, uri, content_type=_JSON, only_if_absent=only_if_absent).etag

    def _stamped(self, record: dict[str, Any]) -> dict[str, Any]:
        by = {} if self._by is None else {"by": dict(self._by)}
        return {"version": EVIDENCE_VERSION, "at": datetime.now(UTC).isoformat(), **by, **record}


def evidence_folder(base_uri: str, run_id: str, part: str | None = None) -> ObjectStorageUri:
    """Return the folder of the records of a run, or of a part of it."""
    return base_of(base_uri).child(EVIDENCE_FOLDER).child(run_id).child(_WHOLE_RUN if part is None else part)


def claim_run(
    client: ObjectStorageClient,
    plan: ObjectStorageStagingPlan,
    writer: StagingWriter,
    by: Mapping[str, Any] | None = None,
) -> ClaimedRun:
    """Claim the plan's run prefix and, below it, its part; return where its records go.

    The whole run has one claim, so that an unmapped and a mapped task, or two mapped ones, can't
    share it unseen; each part has its own beneath.

    :param by: who writes records, see ``actor.described``.
    :raises ClaimError: if either belongs to somebody else or holds objects that nobody claimed.
    """
    own = StagingEvidence(client, plan.base_uri, plan.run_id, plan.part, by=by)
    described = plan.to_dict()
    run_is_new = False
    if described.pop("part", None) is not None:
        whole = StagingEvidence(client, plan.base_uri, plan.run_id, by=by)
        run_is_new = whole.claim(writer.of_whole_run, described | {"in_parts": True})
    return ClaimedRun(own, is_new=own.claim(writer, plan.to_dict()), run_is_new=run_is_new)


def is_one_place(one: ObjectStorageUri, other: ObjectStorageUri) -> bool:
    """Return whether two URIs may name one place: az:// and azure:// do, with and without the account."""
    same = (one.provider, one.bucket, one.key) == (other.provider, other.bucket, other.key)
    return same and (not one.account or not other.account or one.account == other.account)


def refuse_nested_base(prefix: ObjectStorageUri, objects: Iterable[ObjectStorageObject]) -> None:
    """Refuse a run prefix that somebody took as the base of other runs: their objects lie in it.

    :raises UnclaimedPrefixError: if one of ``objects`` is evidence.
    """
    for item in objects:
        if EVIDENCE_FOLDER in item.uri.key.removeprefix(prefix.prefix).split("/"):
            raise UnclaimedPrefixError(
                f"{prefix}/ is also the base of other runs ({item.uri} is their evidence), so nothing was written or "
                "deleted: clean those up first, and never use a run prefix as a base_uri."
            )
