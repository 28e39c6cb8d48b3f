"""Make a bucket and write the first object to it: a server's first write takes longer than all others."""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Do it on the server that the command line describes as JSON."""
    server: dict[str, Any] = json.loads(sys.argv[1])
    {"s3": _s3, "azure": _azure}[server["provider"]](server)


def _s3(server: dict[str, Any]) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=server["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=server["access_key"],
        aws_secret_access_key=server["secret_key"],
    )
    client.create_bucket(Bucket=server["bucket"])
    client.put_object(Bucket=server["bucket"], Key="first", Body=b"first")


def _azure(server: dict[str, Any]) -> None:
    from azure.storage.blob import BlobServiceClient

    client = BlobServiceClient(server["endpoint"], credential=server["secret_key"])
    client.create_container(server["bucket"]).upload_blob("first", b"first")


if __name__ == "__main__":
    main()
