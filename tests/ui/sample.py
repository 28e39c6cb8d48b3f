"""A month of staged runs as evidence, for the tests that look at the report and for its picture in the docs."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from dpone_airflow.staging.evidence import StagingEvidence, StagingWriter
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.object_records import write_record
from dpone_airflow.staging.plan import ObjectStorageStagingPlan
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri

BASE = "s3://landing/orders"
NOW = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)
DAYS = 30
_VERSIONS = {"python": "3.11.2", "dpone-airflow": "0.1.0", "apache-airflow": "3.3.2"}


class Sample:
    """Writes records as a stage, a verify and a cleanup write them, at times of its own."""

    def __init__(self, client: ObjectStorageClient, base_uri: str = BASE) -> None:
        self.client = client
        self.base_uri = base_uri
        self.random = random.Random(22)

    def month(self) -> None:
        """Write a run a day, in every state that there is."""
        for number in range(DAYS):
            at = NOW - timedelta(days=DAYS - 1 - number, hours=17, minutes=self.random.randrange(50))
            run_id = f"orders_daily-scheduled__{at:%Y-%m-%d}T06-00-00-stage"
            weekend = at.weekday() >= 5
            files = self.random.randrange(8, 20) if weekend else self.random.randrange(40, 96)
            size = files * self.random.randrange(28, 46) * 2**20
            if number in (11, 12):
                continue
            if number == DAYS - 1:
                self.run(run_id, at + timedelta(hours=16, minutes=20), None)
            elif number == DAYS - 3:
                self.run(
                    run_id,
                    at,
                    None,
                    failed="SourceFileChangedError: orders-0031.parquet was written to while it was read.",
                )
            elif number == DAYS - 6:
                self.run(run_id, at, (files, size), verified="different")
            elif number == DAYS - 9:
                self.run(run_id, at, (files, size), verified="verified", cleaned="incomplete")
            elif number == DAYS - 14:
                self.run(run_id, at, (files, size))
                uri = StagingEvidence(self.client, self.base_uri, run_id).manifest_uri
                self.client.put_bytes(b'{"version": 2, "kind": "manifest"}', uri)
            elif number >= DAYS - 2:
                self.run(run_id, at, (files, size), parts=4)
            elif number >= DAYS - 5:
                self.run(run_id, at, (files, size), verified="verified")
            else:
                self.run(run_id, at, (files, size), verified="verified", cleaned="deleted")

    def run(
        self,
        run_id: str,
        at: datetime,
        staged: tuple[int, int] | None,
        *,
        parts: int = 0,
        verified: str = "",
        cleaned: str = "",
        failed: str = "",
    ) -> None:
        """Write one run; ``staged`` is files and bytes."""
        for index in range(parts) if parts else [-1]:
            part = f"map-{index:05d}" if parts else None
            plan = ObjectStorageStagingPlan(
                self.base_uri, run_id, "shop", "orders", "parquet", "zstd", "delete_on_success", part
            )
            writer = StagingWriter(
                "production-eu", "orders_daily", f"scheduled__{at:%Y-%m-%d}T06:00:00+00:00", "stage", index
            )
            evidence = StagingEvidence(self.client, self.base_uri, run_id, part)
            by = vars(writer) | {"try_number": 1, "host": f"worker-{max(index, 0) + 1}", "versions": _VERSIONS}
            self._put(evidence.claim_uri, at, by, {"kind": "claim", "writer": vars(writer), "plan": plan.to_dict()})
            call = {"began_at": at.isoformat(), "engine": "obstore", "engine_version": "0.12.1"}
            if staged:
                count, size = staged[0] // max(parts, 1), staged[1] // max(parts, 1)
                self._manifest(evidence, at + timedelta(minutes=4), by, call, plan, count, size)
            if failed:
                error, _, message = failed.partition(": ")
                outcome = {"kind": "failure", **call, "error": error, "message": message}
                self._put(evidence.failure_uri, at + timedelta(minutes=2), by, outcome)
            if verified:
                different = [f"{evidence.prefix}/orders-0007.parquet"] if verified == "different" else []
                outcome = {"kind": "verify", "outcome": verified, "mode": "sha256", "missing": different}
                self._put(evidence.verify_uri, at + timedelta(minutes=9), by, outcome)
            if cleaned:
                left = {f"{evidence.prefix}/orders-0002.parquet": "AccessDenied: Access Denied"}
                outcome = {"kind": "cleanup", "outcome": cleaned, "deleted_objects": 1, "deleted_bytes": 2**20}
                self._put(
                    evidence.cleanup_uri,
                    at + timedelta(minutes=40),
                    by,
                    outcome | ({"left": left} if cleaned == "incomplete" else {}),
                )

    def _manifest(
        self,
        evidence: StagingEvidence,
        at: datetime,
        by: dict[str, Any],
        call: dict[str, Any],
        plan: ObjectStorageStagingPlan,
        count: int,
        size: int,
    ) -> None:
        each = [size // count] * (count - 1)
        objects = [
            ObjectStorageStagingObject(
                str(evidence.prefix.child(name)),
                name,
                size_bytes,
                f"{self.random.getrandbits(256):064x}",
                "application/vnd.apache.parquet",
                f"{self.random.getrandbits(128):032x}",
            )
            for name, size_bytes in zip(
                (f"orders-{number:04d}.parquet" for number in range(count)), [*each, size - sum(each)], strict=True
            )
        ]
        manifest = ObjectStorageStagingManifest.of(plan, objects).to_dict(objects=False)
        said = {"version": 1, "at": at.isoformat(), "by": by, "kind": "manifest", **call, "sent": count, "kept": 0}
        write_record(self.client, evidence.manifest_uri, said | {"manifest": manifest}, objects)

    def _put(self, uri: ObjectStorageUri, at: datetime, by: dict[str, Any], record: dict[str, Any]) -> None:
        said = {"version": 1, "at": at.isoformat(), "by": by} | record
        self.client.put_bytes(json.dumps(said).encode(), uri)
