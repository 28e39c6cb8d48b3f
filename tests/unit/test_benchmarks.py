"""The null sink answers as S3 does where a client looks, and the figures are computed as the page says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.figures import Record, Records
from benchmarks.measure import Measurement
from benchmarks.null_sink.http import Server
from benchmarks.null_sink.s3 import S3


@pytest.fixture
def s3() -> Iterator[Any]:
    server = Server(S3())
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        yield client
    finally:
        client.close()
        server.stop()
        thread.join(10)


def test_objects_are_listed_in_order_with_size_and_etag(s3: Any) -> None:
    put = {key: s3.put_object(Bucket="b", Key=key, Body=b"x" * 5)["ETag"] for key in ("p/b & c", "p/a", "q/ä+%")}
    listed = s3.list_objects_v2(Bucket="b")["Contents"]
    assert [(item["Key"], item["Size"], item["ETag"]) for item in listed] == [
        (key, 5, put[key]) for key in ("p/a", "p/b & c", "q/ä+%")
    ]
    assert s3.head_object(Bucket="b", Key="q/ä+%")["ContentLength"] == 5
    folders = s3.list_objects_v2(Bucket="b", Delimiter="/")["CommonPrefixes"]
    assert [folder["Prefix"] for folder in folders] == ["p/", "q/"]


def test_records_come_back_and_other_bytes_do_not(s3: Any) -> None:
    s3.put_object(Bucket="b", Key="base/_manifests/run/_run.json", Body=b"{}", Metadata={"mark": "1"})
    s3.put_object(Bucket="b", Key="base/run/a", Body=b"abc")
    record = s3.get_object(Bucket="b", Key="base/_manifests/run/_run.json")
    assert (record["Body"].read(), record["Metadata"]) == (b"{}", {"mark": "1"})
    assert s3.get_object(Bucket="b", Key="base/run/a")["Body"].read() == bytes(3)


def test_a_condition_has_one_winner_and_a_missing_key_is_missing(s3: Any) -> None:
    s3.put_object(Bucket="b", Key="claim", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="b", Key="claim", Body=b"2", IfNoneMatch="*")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="b", Key="missing")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="b", Key="missing")


def test_listing_and_deleting_go_past_a_page(s3: Any) -> None:
    keys = [f"many/{number:05}" for number in range(1500)]
    for key in keys:
        s3.put_object(Bucket="b", Key=key, Body=b"")
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="many/"))
    assert [len(page["Contents"]) for page in pages] == [1000, 500]
    # By turns, as some clients do it: what is gone isn't met again.
    deleted = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="many/"):
        batch = [{"Key": item["Key"]} for item in page["Contents"]]
        deleted += len(s3.delete_objects(Bucket="b", Delete={"Objects": batch})["Deleted"])
    assert deleted == 1500
    assert "Contents" not in s3.list_objects_v2(Bucket="b", Prefix="many/")


def test_a_multipart_upload_is_there_when_it_is_complete(s3: Any) -> None:
    place = {"Bucket": "b", "Key": "large"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=bytes(2**20 + number))["ETag"],
        }
        for number in (1, 2)
    ]
    assert "Contents" not in s3.list_objects_v2(Bucket="b")
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket="b")["Uploads"]] == [upload]
    done = s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.head_object(**place)["ContentLength"] == 2 * 2**20 + 3
    assert s3.head_object(**place)["ETag"] == done["ETag"]
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(**place, UploadId=upload, PartNumber=3, Body=b"")


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    def record(peer: str, number: int, seconds: float) -> Record:
        return Record("upload", "null", "small", peer, number, Measurement(seconds, seconds, 0, 0, 0))

    # The machine was twice as busy in the second round, for both alike.
    records = Records(
        [record("us", 0, 1), record("other", 0, 3), record("us", 1, 2), record("other", 1, 6), record("us", 2, 1)]
    )
    assert records.ratio("other", "us") == 3
    assert records.ratio("missing", "us") is None
