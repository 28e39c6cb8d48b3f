"""What lies in the store, asked for past Airflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dpone_airflow.storage import ObjectStorageUri, S3ObjectStorageClient
from local_servers import SeaweedFS
from local_servers.seaweedfs import REGION


@dataclass(frozen=True)
class Store:
    """The S3 server, read through this package's own client."""

    client: S3ObjectStorageClient

    @classmethod
    def of(cls, server: SeaweedFS) -> Store:
        """Return the store of a running server."""
        import boto3

        return cls(
            S3ObjectStorageClient(
                client=boto3.client(
                    "s3",
                    endpoint_url=server.endpoint,
                    region_name=REGION,
                    aws_access_key_id=server.access_key,
                    aws_secret_access_key=server.secret_key,
                )
            )
        )

    def objects(self, base_uri: str, *below: str) -> list[ObjectStorageUri]:
        """Return what lies below a folder of a base."""
        return self.client.list_prefix(ObjectStorageUri.parse("/".join([base_uri, *below])))

    def unfinished_uploads(self, base_uri: str) -> int:
        """Return how many uploads in parts were begun below a base and neither finished nor aborted."""
        return len(self.client.list_uploads(ObjectStorageUri.parse(base_uri)))

    def part_records(self, base_uri: str, run_id: str) -> list[dict[str, Any]]:
        """Return the final record of each part of a run: its manifest, and how much the last try has sent."""
        records = self.objects(base_uri, "_manifests", run_id)
        return [
            json.loads(self.client.get_bytes(uri))
            for uri in records
            if uri.key.endswith("/manifest.json") and "/_run/" not in uri.key
        ]

    def record(self, base_uri: str, run_id: str, *name: str) -> dict[str, Any] | None:
        """Return one record of a run's evidence, or None if there is none."""
        for uri in self.objects(base_uri, "_manifests", run_id, *name[:-1]):
            if uri.key.endswith("/" + "/".join(name)):
                found: dict[str, Any] = json.loads(self.client.get_bytes(uri))
                return found
        return None
