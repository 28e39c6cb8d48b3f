"""The calls of the matrix: what is asked, which of its requests meets the fault, what must be so afterwards.

Whatever comes of a call, what it was about is looked at through a client that meets no fault.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.evidence import StagingEvidence
from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import DeleteIncompleteError, DponeAirflowError, ObjectAlreadyExistsError
from tests.faults.columns import Behind
from tests.faults.faults import answering
from tests.faults.proxy import Request, Rule

SMALL = b"one row after the other\n" * 40
WRITER = StagingWriter("faults", "dag", "run", "stage")


@dataclass(frozen=True)
class Place:
    """Where one cell of the matrix does its work: a prefix that no other cell knows."""

    behind: Behind
    base: ObjectStorageUri
    directory: Path

    @property
    def name(self) -> str:
        return self.base.key

    @cached_property
    def plain(self) -> Any:
        """A client that has no part in the cell, and meets none of its faults."""
        return self.behind.client()

    @property
    def large(self) -> bytes:
        """Content for two parts."""
        return bytes(range(256)) * (self.behind.column.part_bytes // 256) + b"the last, odd bytes"

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def open_uploads(self) -> int:
        """Return how many uploads in parts are open below the prefix, and abort them."""
        aborted: int = self.plain.abort_uploads(self.base)
        return aborted


class Call(ABC):
    """One row of the matrix."""

    #: What the row is called.
    name: ClassVar[str]
    #: Which of its requests meet the fault.
    kinds: ClassVar[Sequence[str]]
    #: What their path, query or body has in it besides; ``{base}`` stands for the cell's own prefix.
    about: ClassVar[str] = ""
    #: How many such requests go through first.
    after: ClassVar[int] = 0
    #: What of the key or prefix an error must name.
    key: ClassVar[str] = ""
    #: Whether the requests have a body, which can be cut off.
    sends: ClassVar[bool] = False
    #: Whether what comes back is read piece by piece.
    streams: ClassVar[bool] = False
    #: Whether something is made of the ETag that comes back.
    uses_etag: ClassVar[bool] = False
    #: Whether it is the uploader that makes the requests, and not always the SDK.
    uploads: ClassVar[bool] = False
    #: Whether it is a whole stage, verify or cleanup.
    of_a_run: ClassVar[bool] = False
    #: Whether its listings have pages of two.
    small_pages: ClassVar[bool] = False

    def takes(self, place: Place) -> Any:
        """Return what tells which requests meet the fault."""
        kind = place.behind.column.dialect.kind
        about = self.about.replace("{base}", place.name)
        seen: list[Request] = []

        def when(request: Request) -> bool:
            if not request.names(place.name) or kind(request) not in self.kinds or not request.names(about):
                return False
            if len(seen) < self.after:
                seen.append(request)
                return False
            return True

        return when

    def besides(self, place: Place) -> list[Rule]:
        """Return what else the store does not do."""
        return []

    def prepare(self, place: Place) -> None:  # noqa: B027 - most have nothing to do
        """Make what must be there before."""

    @abstractmethod
    def act(self, client: Any, place: Place) -> Any:
        """Make the call."""

    @abstractmethod
    def check_done(self, place: Place, result: Any) -> None:
        """Look whether what the call says it has done is so."""

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:  # noqa: B027 - most have nothing to do
        """Look whether nothing is half there, and what the error says is so."""

    def check_afterwards(self, place: Place) -> None:  # noqa: B027 - most have nothing to do
        """Look whether the call works once the fault is over."""


class _Put(Call):
    sends = True
    key = "object.bin"

    def _content(self, place: Place) -> bytes:
        return SMALL

    def check_done(self, place: Place, result: Any) -> None:
        uri, content = place.base.child(self.key), self._content(place)
        there = place.plain.stat(uri)
        assert place.plain.get_bytes(uri) == content
        assert (result.size_bytes, result.etag) == (there.size_bytes, there.etag)
        assert result.sha256 == hashlib.sha256(content).hexdigest()

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        self._whole_or_not_there(place)

    def _whole_or_not_there(self, place: Place) -> None:
        uri = place.base.child(self.key)
        if place.plain.exists(uri):
            assert place.plain.get_bytes(uri) == self._content(place)


class PutSmall(_Put):
    name, kinds, uploads = "write a small object", ("put",), True

    def act(self, client: Any, place: Place) -> Any:
        return client.put_bytes(SMALL, place.base.child(self.key))


class Create(_Put):
    name, kinds = "create (a claim)", ("put",)

    def act(self, client: Any, place: Place) -> Any:
        return client.put_bytes(SMALL, place.base.child(self.key), only_if_absent=True)

    def check_done(self, place: Place, result: Any) -> None:
        super().check_done(place, result)
        try:
            place.plain.put_bytes(b"another's", place.base.child(self.key), only_if_absent=True)
        except ObjectAlreadyExistsError:
            return
        raise AssertionError("a second create of the same key went through")


class _PutLarge(_Put):
    uploads = True

    def _content(self, place: Place) -> bytes:
        return place.large

    def act(self, client: Any, place: Place) -> Any:
        return client.put_file(place.write("large.bin", place.large), place.base.child(self.key), lanes=1)


class Begin(_PutLarge):
    name, kinds = "large object: begin", ("begin",)


class Part(_PutLarge):
    name, kinds = "large object: a part", ("part",)


class Complete(_PutLarge):
    name, kinds = "large object: complete", ("complete",)


class Abort(_PutLarge):
    """An upload whose second part is refused for good, so that it must be aborted."""

    name, kinds, sends = "large object: abort", ("abort",), False

    def besides(self, place: Place) -> list[Rule]:
        dialect = place.behind.column.dialect
        refuse = answering(dialect.error(dialect.denied))

        def second(request: Request) -> bool:
            return request.query.get("partNumber") == "2" and request.names(place.name)

        return [Rule(refuse, second, times=None)]


class Stat(Call):
    name, kinds, key = "look up", ("stat",), "object.bin"

    def prepare(self, place: Place) -> None:
        place.plain.put_bytes(SMALL, place.base.child(self.key), content_type="text/csv")

    def act(self, client: Any, place: Place) -> Any:
        return client.stat(place.base.child(self.key))

    def check_done(self, place: Place, result: Any) -> None:
        assert result == place.plain.stat(place.base.child(self.key))


class GetBytes(Stat):
    name, kinds, streams = "read a small object", ("get",), True

    def act(self, client: Any, place: Place) -> Any:
        return client.get_bytes(place.base.child(self.key))

    def check_done(self, place: Place, result: Any) -> None:
        assert result == SMALL


class GetFile(Call):
    name, kinds, key, streams, uses_etag = "read into a file", ("get",), "object.bin", True, True

    def prepare(self, place: Place) -> None:
        place.plain.put_bytes(place.large, place.base.child(self.key))

    def act(self, client: Any, place: Place) -> Any:
        return client.get_file(place.base.child(self.key), place.directory / "got.bin")

    def check_done(self, place: Place, result: Any) -> None:
        assert (place.directory / "got.bin").read_bytes() == place.large
        self._check_digest(place, result)

    def _check_digest(self, place: Place, result: Any) -> None:
        assert (result.size_bytes, result.sha256) == (len(place.large), hashlib.sha256(place.large).hexdigest())

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        assert not (place.directory.exists() and list(place.directory.iterdir())), "a file that isn't complete"


class HashObject(GetFile):
    name = "read and hash"

    def act(self, client: Any, place: Place) -> Any:
        return client.hash_object(place.base.child(self.key))

    def check_done(self, place: Place, result: Any) -> None:
        self._check_digest(place, result)


class ListFirst(Call):
    name, kinds, key, streams = "list: the first page", ("list",), "cell-", False
    NAMES = ("1.csv", "2.csv", "3.csv", "4.csv", "5.csv")

    def prepare(self, place: Place) -> None:
        for name in self.NAMES:
            place.plain.put_bytes(SMALL, place.base.child(name))

    def act(self, client: Any, place: Place) -> Any:
        return list(client.list_objects(place.base))

    def check_done(self, place: Place, result: Any) -> None:
        assert [item.uri for item in result] == [place.base.child(name) for name in self.NAMES]
        for item in result:
            assert (item.size_bytes, item.etag) == (len(SMALL), place.plain.stat(item.uri).etag)


class ListNext(ListFirst):
    name, kinds, small_pages = "list: the second page", ("next page",), True


class DeleteBatch(Call):
    name, kinds, key, sends = "delete: a batch", ("batch",), "cell-", True
    NAMES = ("a.csv", "b.csv", "held.csv", "z.csv")

    def prepare(self, place: Place) -> None:
        for name in self.NAMES:
            place.plain.put_bytes(SMALL, place.base.child(name))

    def act(self, client: Any, place: Place) -> Any:
        return client.delete_objects([place.base.child(name) for name in self.NAMES])

    def check_done(self, place: Place, result: Any) -> None:
        assert place.plain.list_prefix(place.base) == []

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        assert isinstance(error, DeleteIncompleteError)
        there = {str(uri) for uri in place.plain.list_prefix(place.base)}
        assert there <= set(error.left), "what is still there isn't named as left"


class DeleteOne(DeleteBatch):
    """Deletes of a store that takes no batches."""

    name, kinds, sends = "delete: one by one", ("delete",), False

    def besides(self, place: Place) -> list[Rule]:
        dialect = place.behind.column.dialect
        refuse = answering(dialect.error(dialect.no_batches))
        return [Rule(refuse, lambda request: dialect.kind(request) == "batch" and request.names(place.name), None)]


class _StaleUploads(Call):
    key = "cell-"

    def prepare(self, place: Place) -> None:
        for name in ("left-1.bin", "left-2.bin"):
            place.plain._s3.create_multipart_upload(Bucket=place.base.bucket, Key=place.base.child(name).key)

    def act(self, client: Any, place: Place) -> Any:
        return client.abort_uploads(place.base)

    def check_done(self, place: Place, result: Any) -> None:
        assert result == 2

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        place.open_uploads()


class ListUploads(_StaleUploads):
    name, kinds = "open uploads: list", ("list uploads",)


class AbortUploads(_StaleUploads):
    name, kinds = "open uploads: abort", ("abort",)


class _OfARun(Call):
    """A call of the staging service."""

    of_a_run = True
    FILES: ClassVar[dict[str, bytes | None]] = {"a.csv": SMALL, "b.csv": SMALL[::-1], "large.bin": None}

    def service(self, client: Any) -> ObjectStorageStagingService:
        return ObjectStorageStagingService(client=client, writer=WRITER)

    def plan(self, place: Place) -> ObjectStorageStagingPlan:
        return ObjectStorageStagingPlan(
            str(place.base), "run-1", dataset="data", table="rows", file_format="csv", cleanup_policy="delete_always"
        )

    def stage(self, client: Any, place: Place) -> Any:
        for name, content in self.FILES.items():
            place.write(f"tree/{name}", place.large if content is None else content)
        return self.service(client).stage_files(self.plan(place), place.directory / "tree")

    def evidence(self, place: Place) -> StagingEvidence:
        return StagingEvidence(place.plain, str(place.base), "run-1")

    def record(self, place: Place, uri: ObjectStorageUri) -> dict[str, Any] | None:
        if uri not in place.plain.list_prefix(self.evidence(place).folder):
            return None
        found: dict[str, Any] = json.loads(place.plain.get_bytes(uri))
        return found

    def objects(self, place: Place) -> list[str]:
        prefix = self.evidence(place).prefix
        return [uri.key.removeprefix(prefix.prefix) for uri in place.plain.list_prefix(prefix)]

    def check_all_there(self, place: Place) -> None:
        assert sorted(self.objects(place)) == sorted(self.FILES)
        for name, content in self.FILES.items():
            there = place.plain.get_bytes(self.evidence(place).prefix.child(name))
            assert there == (place.large if content is None else content), name


class _Stage(_OfARun):
    sends = True
    key = "cell-"

    def act(self, client: Any, place: Place) -> Any:
        return self.stage(client, place)

    def check_done(self, place: Place, result: Any) -> None:
        self.check_all_there(place)
        listed = {item.uri: item for item in place.plain.list_objects(self.evidence(place).prefix)}
        assert len(listed) == result.object_count == len(self.FILES)
        for item in result.objects:
            there = listed[ObjectStorageUri.parse(item.uri)]
            assert (item.size_bytes, item.etag) == (there.size_bytes, there.etag)
            content = self.FILES[item.file_name] or place.large
            assert item.sha256 == hashlib.sha256(content).hexdigest()
        record = self.record(place, self.evidence(place).manifest_uri)
        assert record is not None
        assert record["manifest"]["object_count"] == len(self.FILES)

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        if self.record(place, self.evidence(place).manifest_uri) is not None:
            self.check_all_there(place)

    def check_afterwards(self, place: Place) -> None:
        self.check_done(place, self.stage(place.plain, place))
        assert place.open_uploads() == 0


class StageClaim(_Stage):
    name, kinds, about, key = "stage: the claim", ("put",), "run-1/_run.json", "_run.json"


class StageFile(_Stage):
    name, kinds, about, key = "stage: a small file", ("put",), "/b.csv", "b.csv"
    uploads = uses_etag = True


class StagePart(_Stage):
    name, kinds, key, uploads = "stage: a part", ("part",), "large.bin", True


class StageComplete(_Stage):
    name, kinds, key = "stage: completing a file", ("complete",), "large.bin"
    uploads = uses_etag = True


class StageListing(_Stage):
    """The listing that is compared with what was sent; the first one is the claim's."""

    name, kinds, after, sends, uses_etag = "stage: the last listing", ("list",), 1, False, True
    about = "{base}/run-1/"


class StageManifest(_Stage):
    name, kinds, about, key, uploads = "stage: the manifest", ("put",), "_run/manifest.json", "manifest.json", True


class StageAll(_Stage):
    """Each kind of request meets the fault once."""

    name, kinds, uploads = "stage: each kind of request once", (), True

    def takes(self, place: Place) -> Any:
        kind = place.behind.column.dialect.kind
        seen: set[str] = set()

        def when(request: Request) -> bool:
            if not request.names(place.name) or kind(request) in seen:
                return False
            seen.add(kind(request))
            return True

        return when


class _Verify(_OfARun):
    key = "cell-"
    _manifests: ClassVar[dict[str, Any]] = {}

    def prepare(self, place: Place) -> None:
        self._manifests[place.name] = self.stage(place.plain, place)

    def act(self, client: Any, place: Place) -> Any:
        return self.service(client).verify(self._manifests[place.name], mode="sha256")

    def check_done(self, place: Place, result: Any) -> None:
        assert result.agrees
        assert result.read_bytes == sum(len(content or place.large) for content in self.FILES.values())
        record = self.record(place, self.evidence(place).verify_uri)
        assert record is not None
        assert record["outcome"] == "verified"

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        self.check_all_there(place)

    def check_afterwards(self, place: Place) -> None:
        self.check_done(place, self.act(place.plain, place))


class VerifyListing(_Verify):
    name, kinds, about, uses_etag = "verify: the listing", ("list",), "{base}/run-1/", True


class VerifyReading(_Verify):
    name, kinds, about, key, streams = "verify: reading back", ("get",), "large.bin", "large.bin", True


class VerifyRecord(_Verify):
    name, kinds, about, key, sends = "verify: its record", ("put",), "_run/verify.json", "verify.json", True


class _Cleanup(_Verify):
    def act(self, client: Any, place: Place) -> Any:
        return self.service(client).cleanup(self._manifests[place.name])

    def check_done(self, place: Place, result: Any) -> None:
        assert self.objects(place) == []
        record = self.record(place, self.evidence(place).cleanup_uri)
        assert record is not None
        assert record["outcome"] == "deleted"

    def check_failed(self, place: Place, error: DponeAirflowError) -> None:
        record = self.record(place, self.evidence(place).cleanup_uri)
        if record is not None:
            assert record["outcome"] == ("incomplete" if self.objects(place) else record["outcome"])


class CleanupClaim(_Cleanup):
    name, kinds, about, key = "cleanup: the claim", ("get",), "run-1/_run.json", "_run.json"


class CleanupListing(_Cleanup):
    name, kinds, about = "cleanup: the listing", ("list",), "{base}/run-1/"


class CleanupDelete(_Cleanup):
    name, kinds, about, sends = "cleanup: the delete", ("batch", "delete"), "{base}/run-1/", True


class CleanupLastListing(_Cleanup):
    """The listing that proves that all is gone."""

    name, kinds, about, after = "cleanup: the last listing", ("list",), "{base}/run-1/", 1


class CleanupRecord(_Cleanup):
    name, kinds, about, key, sends = "cleanup: its record", ("put",), "_run/cleanup.json", "cleanup.json", True


CALLS: tuple[Call, ...] = tuple(
    call()
    for call in (
        *(PutSmall, Create, Begin, Part, Complete, Abort),
        *(Stat, GetBytes, GetFile, HashObject),
        *(ListFirst, ListNext, DeleteBatch, DeleteOne, ListUploads, AbortUploads),
        *(StageClaim, StageFile, StagePart, StageComplete, StageListing, StageManifest, StageAll),
        *(VerifyListing, VerifyReading, VerifyRecord),
        *(CleanupClaim, CleanupListing, CleanupDelete, CleanupLastListing, CleanupRecord),
    )
)
