"""Amazon S3 and what speaks its protocol, through boto3."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, BinaryIO

from dpone_airflow.storage.answers import NO_SUCH_UPLOAD, check_answer, told
from dpone_airflow.storage.bucket_settings import BucketSettings, s3_settings
from dpone_airflow.storage.client import (
    DEFAULT_MAX_CONCURRENCY,
    BaseObjectStorageClient,
    ObjectStorageObject,
    UnfinishedUpload,
)
from dpone_airflow.storage.errors import MissingExtraError, ObjectNotFoundError, StorageError
from dpone_airflow.storage.etag import normalise_etag
from dpone_airflow.storage.options import checked_options
from dpone_airflow.storage.parts import DEFAULT_PART_BYTES, send_parts
from dpone_airflow.storage.readers import Reader, TimedReader
from dpone_airflow.storage.s3_listing import listed_objects
from dpone_airflow.storage.uploader import Uploader, UploadTarget
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

log = logging.getLogger(__name__)

_COPY_CHUNK = 1024 * 1024
# S3 tells the time in whole seconds, rounded off.
_CLOCK_SECONDS = 1.0


class S3ObjectStorageClient(BaseObjectStorageClient):
    """S3 objects through an injected boto3 client, or one of boto3's default session.

    Every byte that is sent carries a SHA-256 that S3 checks, on a single PUT and on each part,
    unless ``store_check`` is off. A file over 5 TiB is refused before its first byte: S3 takes more by now, and not
    everything that speaks its protocol does. Parts are made larger where a file would have more than 9,000.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html

    :param client: a boto3 S3 client; None makes one of boto3's default session.
    :param storage_options: arguments of S3's operations by name, e.g. ``{"ServerSideEncryption": "aws:kms"}``; see
        ``storage.options`` for those that it takes. Each is given to every operation that knows it.
    :param max_concurrency: files, or parts of a file, sent at the same time, from 1.
    :param part_bytes: in bytes; files above twice this size are sent in parts of it. S3 wants 5 MiB to 5 GiB.
    :param store_check: False to send no SHA-256 for S3 to check; the manifest has one all the same.
    :param uploader: writes in boto3's place what it can, see ``storage.obstore_uploader``; None for boto3 alone.
    :raises MissingExtraError: if no client is given and boto3 isn't installed.
    :raises InvalidOptionError: for a storage option outside the allow-list, or a ``max_concurrency`` below 1.
    """

    provider = ObjectStorageProvider.S3
    sdk = "boto3"
    # The limit until December 2025, which other servers keep; S3 itself takes 48.8 TiB since.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    max_object_bytes = 5 * 1024**4
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    delete_batch_size = 1000

    def __init__(
        self,
        client: Any = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        part_bytes: int = DEFAULT_PART_BYTES,
        store_check: bool = True,
        uploader: Uploader | None = None,
    ) -> None:
        super().__init__(
            max_concurrency=max_concurrency, part_bytes=part_bytes, store_check=store_check, uploader=uploader
        )
        if client is None:
            try:
                import boto3
            except ImportError as error:
                raise MissingExtraError("s3", "s3:// URIs") from error
            client = boto3.client("s3")
        self._s3 = client
        self.storage_options = checked_options(ObjectStorageProvider.S3, storage_options)

    @property
    def endpoint_url(self) -> str | None:
        return str(self._s3.meta.endpoint_url)

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        self.check(uri)
        with self._calling("look up", uri, on_404=ObjectNotFoundError):
            answer = self._call("head_object", Bucket=uri.bucket, Key=uri.key)
        self._note_version(uri, answer.get("VersionId"))
        return _object(uri, answer)

    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
        self.check(uri)
        some = {} if limit is None else {"Range": f"bytes=0-{limit - 1}"}

        def read() -> tuple[Any, bytes]:
            with self._calling("read", uri, on_404=ObjectNotFoundError):
                answer = self._call("get_object", Bucket=uri.bucket, Key=uri.key, **some)
                with _going_on():
                    return answer, answer["Body"].read()

        answer, content = self._reading(uri, read, lambda: None)
        self._note_version(uri, answer.get("VersionId"))
        return content

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        self.check(prefix)
        arguments = self._arguments("list_objects_v2", {"Bucket": prefix.bucket, "Prefix": prefix.prefix})
        with self._calling("list", prefix):
            for key, size_bytes, etag, modified in listed_objects(self._s3, arguments):
                uri = ObjectStorageUri(prefix.provider, prefix.bucket, key)
                yield ObjectStorageObject(uri, size_bytes, etag=normalise_etag(etag), modified=modified)

    def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
        self.check(prefix)
        operation = "list_objects_v2"
        arguments = {"Bucket": prefix.bucket, "Prefix": prefix.prefix, "Delimiter": "/"}
        with self._calling("list", prefix):
            pages = self._s3.get_paginator(operation).paginate(**self._arguments(operation, arguments))
            below = len(prefix.prefix)
            return [item["Prefix"][below:-1] for page in pages for item in page.get("CommonPrefixes", ())]

    def _put_small(self, target: UploadTarget, data: bytes, digest: str, only_if_absent: bool) -> str | None:
        arguments = _headers(target) | {"Body": data}
        if self._store_check:
            arguments["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(digest)).decode()
        if only_if_absent:
            arguments["IfNoneMatch"] = "*"
        with self._calling("write", target.uri):
            answer = self._call("put_object", **arguments)
        if self._store_check:
            check_answer("write", target.uri, arguments["ChecksumSHA256"], answer.get("ChecksumSHA256"))
        return normalise_etag(told(answer.get("ETag"), "ETag", "write", target.uri))

    def _put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        uri = target.uri
        algorithm = {"ChecksumAlgorithm": "SHA256"} if self._store_check else {}
        asked_at = time.monotonic()
        with self._calling("begin a multipart upload to", uri):
            upload = self._call("create_multipart_upload", **algorithm, **_headers(target))
        place = {"Bucket": uri.bucket, "Key": uri.key, "UploadId": upload["UploadId"]}
        if upload.get("ResponseMetadata", {}).get("RetryAttempts"):
            # A request whose answer got lost has begun an upload too.
            self._abort_uploads_begun(uri, asked_at, time.monotonic(), but=upload["UploadId"])

        def send(number: int, data: bytes) -> dict[str, Any]:
            checksum = {}
            if self._store_check:
                checksum["ChecksumSHA256"] = base64.b64encode(sha256(data).digest()).decode()
            with self._calling(f"write part {number} of", uri):
                answer = self._call("upload_part", PartNumber=number, Body=data, **checksum, **place)
            if self._store_check:
                check_answer(f"write part {number} of", uri, checksum["ChecksumSHA256"], answer.get("ChecksumSHA256"))
            etag = told(answer.get("ETag"), "ETag", f"write part {number} of", uri)
            return {"PartNumber": number, "ETag": etag, **checksum}

        try:
            parts = send_parts(reader, send, part_bytes=part_bytes, threads=lanes)
            with self._calling("complete the multipart upload of", uri):
                done = self._call("complete_multipart_upload", MultipartUpload={"Parts": parts}, **place)
        except BaseException:
            # The first error is the one to tell.
            with suppress(*self._sdk_errors()):
                self._call("abort_multipart_upload", **place)
            raise
        return normalise_etag(told(done.get("ETag"), "ETag", "complete the multipart upload of", uri))

    def _close_uploads(self, uri: ObjectStorageUri, content: TimedReader, failure: StorageError) -> None:
        if failure.code == NO_SUCH_UPLOAD:
            return  # who has aborted it, a later try, may be sending to this key by now
        unaborted = self._abort_uploads_begun(uri, content.made_at, content.read_at or time.monotonic())
        if unaborted:
            failure.add_note(
                f"An upload of {uri} in parts may be left open, which S3 bills: {unaborted} The next try and the "
                "cleanup abort it, and so does a lifecycle rule."
            )

    def _abort_uploads_begun(self, uri: ObjectStorageUri, since: float, until: float, *, but: str = "") -> str:
        """Abort the uploads in parts of one key that began in between, but one; return why not, or nothing.

        Those that began before or after are another try's. Moments are this host's, so ages are compared,
        and no clock with another one.
        """
        asked_at = time.monotonic()
        try:
            for told_at, uploads in self._upload_pages(uri, uri.key):
                youngest, oldest = asked_at - until - _CLOCK_SECONDS, time.monotonic() - since + _CLOCK_SECONDS
                for upload in uploads:
                    if upload.uri.key != uri.key or upload.upload_id == but or upload.began_at is None:
                        continue
                    if youngest <= (told_at - upload.began_at).total_seconds() <= oldest:
                        self._abort(upload)
        except StorageError as error:
            log.warning("Unfinished uploads of %s may be left: %s", uri, error)
            return str(error)
        return ""

    def _download(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        with self._calling("read", uri, on_404=ObjectNotFoundError):
            answer = self._call("get_object", Bucket=uri.bucket, Key=uri.key)
            with _going_on():
                for chunk in answer["Body"].iter_chunks(_COPY_CHUNK):
                    file.write(chunk)
        return _object(uri, answer)

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        with self._calling(f"delete {len(keys)} objects, the first of them", replace(anywhere, key=keys[0])):
            answer = self._call(
                "delete_objects",
                Bucket=anywhere.bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        return {
            error.get("Key", ""): f"{error.get('Code', 'unknown')}: {error.get('Message', '')}"
            for error in answer.get("Errors", ())
        }

    def _delete_one(self, uri: ObjectStorageUri) -> None:
        with self._calling("delete", uri):
            self._call("delete_object", Bucket=uri.bucket, Key=uri.key)

    def keeps_versions(self, anywhere: ObjectStorageUri) -> bool | None:
        noted = super().keeps_versions(anywhere)
        if noted is None:
            # A right that staging doesn't need; an answer about an object of the bucket says it too.
            with suppress(StorageError), self._calling("look up the versioning of", anywhere):
                noted = self._call("get_bucket_versioning", Bucket=anywhere.bucket).get("Status") == "Enabled"
        return noted

    def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
        self.check(anywhere)

        def ask(operation: str, words: str) -> Any:
            with self._calling(f"look up {words} of", replace(anywhere, key="")):
                return self._call(operation, Bucket=anywhere.bucket)

        return s3_settings(ask)

    def _put_wrong(self, target: UploadTarget, data: bytes, digest: str) -> bool:
        arguments = _headers(target) | {"Body": data}
        checksum = base64.b64encode(bytes.fromhex(digest)).decode()
        with self._calling("write", target.uri):
            self._call("put_object", ChecksumSHA256=checksum, **arguments)
        return True

    def list_uploads(self, prefix: ObjectStorageUri) -> list[UnfinishedUpload]:
        self.check(prefix)
        return self._uploads(prefix, prefix.prefix)

    def _uploads(self, place: ObjectStorageUri, beginning: str) -> list[UnfinishedUpload]:
        return [upload for _, uploads in self._upload_pages(place, beginning) for upload in uploads]

    def _upload_pages(
        self, place: ObjectStorageUri, beginning: str
    ) -> Iterator[tuple[datetime, list[UnfinishedUpload]]]:
        """Yield the unfinished uploads of keys that begin so, and when the store told it, by its clock.

        :param place: what an error names.
        """
        operation = "list_multipart_uploads"
        arguments = self._arguments(operation, {"Bucket": place.bucket, "Prefix": beginning})
        with self._calling("list the unfinished uploads below", place):
            for page in self._s3.get_paginator(operation).paginate(**arguments):
                uploads = [
                    UnfinishedUpload(replace(place, key=item["Key"]), item["UploadId"], _in_utc(item.get("Initiated")))
                    for item in page.get("Uploads", ())
                    # What a store lists besides isn't ours to abort.
                    if item["Key"].startswith(beginning)
                ]
                yield _told_at(page), uploads

    def _abort(self, upload: UnfinishedUpload) -> bool:
        uri = upload.uri
        try:
            with self._calling("abort an upload of", uri, on_404=ObjectNotFoundError):
                self._call("abort_multipart_upload", Bucket=uri.bucket, Key=uri.key, UploadId=upload.upload_id)
        except StorageError as error:
            if isinstance(error, ObjectNotFoundError) or error.code == NO_SUCH_UPLOAD:
                return False  # whoever began it has finished or aborted it since it was listed
            raise
        return True

    def _call(self, operation: str, **arguments: Any) -> Any:
        return getattr(self._s3, operation)(**self._arguments(operation, arguments))

    def _arguments(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Add the storage options that this operation knows, as boto3's own model of it says."""
        if not self.storage_options:
            return arguments
        name = self._s3.meta.method_to_api_mapping[operation]
        known = self._s3.meta.service_model.operation_model(name).input_shape.members
        return {key: value for key, value in self.storage_options.items() if key in known} | arguments

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError)

    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            found = response.get("Error", {})
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status, str(found.get("Code", "")), str(found.get("Message", ""))
        code = type(error).__name__
        if "Credentials" in code:
            code = "NoCredentials"
        return None, code, str(error)


def _headers(target: UploadTarget) -> dict[str, Any]:
    headers: dict[str, Any] = {
        "Bucket": target.uri.bucket,
        "Key": target.uri.key,
        "Metadata": dict(target.metadata),
    }
    return headers | ({"ContentType": target.content_type} if target.content_type else {})


@contextmanager
def _going_on() -> Iterator[None]:
    """Tell an answer that stalls half-way, which may be asked for again, from none at all."""
    from botocore.exceptions import ReadTimeoutError, ResponseStreamingError

    try:
        yield
    except ReadTimeoutError as error:
        raise ResponseStreamingError(error=error) from error


def _told_at(answer: Mapping[str, Any]) -> datetime:
    """Return when the store answered, by its clock."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _object(uri: ObjectStorageUri, answer: Mapping[str, Any]) -> ObjectStorageObject:
    return ObjectStorageObject(
        uri,
        told(answer.get("ContentLength"), "ContentLength", "look up", uri),
        answer.get("Metadata", {}).get("dpone-sha256"),
        answer.get("ContentType"),
        normalise_etag(told(answer.get("ETag"), "ETag", "look up", uri)),
        answer.get("Metadata", {}).get("dpone-nonce"),
        answer.get("LastModified"),
    )
