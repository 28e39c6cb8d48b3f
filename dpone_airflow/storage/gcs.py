"""Google Cloud Storage, through google-cloud-storage."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

from dpone_airflow.storage.answers import OTHER_CHECKSUM, check_answer
from dpone_airflow.storage.bucket_settings import BucketSettings, gcs_settings
from dpone_airflow.storage.client import (
    DEFAULT_MAX_CONCURRENCY,
    BaseObjectStorageClient,
    ObjectStorageObject,
)
from dpone_airflow.storage.errors import MissingExtraError, ObjectNotFoundError, StorageError
from dpone_airflow.storage.etag import normalise_etag
from dpone_airflow.storage.options import checked_options
from dpone_airflow.storage.parts import DEFAULT_PART_BYTES
from dpone_airflow.storage.readers import Reader
from dpone_airflow.storage.uploader import UploadTarget
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

# The only thing that tells this 400 from others is its text.
_WRONG_CHECKSUM = re.compile(r"Provided (?:CRC32C|MD5 hash) .* doesn't match calculated")
_UNKNOWN_TYPE = "application/octet-stream"
# A resumable upload takes chunks in multiples of this.
# https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload
_CHUNK_UNIT = 256 * 1024


class GCSObjectStorageClient(BaseObjectStorageClient):
    """GCS objects through an injected ``google.cloud.storage.Client``, or one of its defaults.

    Every upload carries a CRC32C that the store checks. An object's generation, a number that each
    write renews, takes the ETag's place. A resumable upload that fails leaves a session behind
    that never shows as an object, isn't billed and expires after a week. A file over 5 TiB is refused before its
    first byte.
    https://cloud.google.com/storage/docs/data-validation
    https://cloud.google.com/storage/docs/metadata#generation-number
    https://cloud.google.com/storage/docs/resumable-uploads#session-uris
    https://cloud.google.com/storage/quotas#objects

    :param client: a ``google.cloud.storage.Client``; None makes one of the SDK's defaults.
    :param storage_options: values by name, e.g. ``{"kms_key_name": "projects/..."}``; see ``storage.options`` for
        those that it takes.
    :param max_concurrency: files sent at the same time, from 1.
    :param part_bytes: in bytes; files above twice this size are sent in chunks of it, one after the other. A size
        between is rounded up to a multiple of 256 KiB, which GCS wants.
    :param store_check: False to send no CRC32C for the store to check; the manifest has a SHA-256 all the same.
    :raises MissingExtraError: if no client is given and google-cloud-storage isn't installed.
    :raises InvalidOptionError: for a storage option outside the allow-list, or a ``max_concurrency`` below 1.
    """

    provider = ObjectStorageProvider.GCS
    sdk = "google-cloud-storage"
    # https://cloud.google.com/storage/quotas#objects
    max_object_bytes = 5 * 1024**4
    parts_side_by_side = False
    # https://cloud.google.com/storage/docs/batch#overview
    delete_batch_size = 100

    def __init__(
        self,
        client: Any = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        part_bytes: int = DEFAULT_PART_BYTES,
        store_check: bool = True,
    ) -> None:
        super().__init__(max_concurrency=max_concurrency, part_bytes=part_bytes, store_check=store_check)
        if client is None:
            try:
                from google.cloud import storage
            except ImportError as error:
                raise MissingExtraError("gcp", "gs:// URIs") from error
            client = storage.Client()
        self._gcs = client
        self._checksum = "crc32c" if store_check else None
        self.storage_options = checked_options(ObjectStorageProvider.GCS, storage_options)
        options = dict(self.storage_options)
        self._user_project = options.pop("user_project", None)
        self._acl = options.pop("predefined_acl", None)
        self._storage_class = options.pop("storage_class", None)
        self._kms_key_name = options.pop("kms_key_name", None)

    @property
    def endpoint_url(self) -> str | None:
        return str(self._gcs.api_endpoint)

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        self.check(uri)
        blob = self._bucket(uri).blob(uri.key)
        with self._calling("look up", uri, on_404=ObjectNotFoundError):
            blob.reload()
        return _object(uri, blob)

    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
        self.check(uri)
        last = None if limit is None else limit - 1
        with self._calling("read", uri, on_404=ObjectNotFoundError):
            content: bytes = self._bucket(uri).blob(uri.key).download_as_bytes(end=last)
        return content

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        self.check(prefix)
        with self._calling("list", prefix):
            for blob in self._gcs.list_blobs(
                self._bucket(prefix),
                prefix=prefix.prefix or None,
                fields="items(name,size,generation,updated),nextPageToken",
            ):
                yield ObjectStorageObject(
                    replace(prefix, key=blob.name),
                    blob.size,
                    etag=normalise_etag(blob.generation),
                    modified=blob.updated,
                )

    def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
        self.check(prefix)
        with self._calling("list", prefix):
            listing = self._gcs.list_blobs(
                self._bucket(prefix),
                prefix=prefix.prefix or None,
                delimiter="/",
                fields="prefixes,items(name),nextPageToken",
            )
            for _ in listing:  # the folders come with the pages of the objects beside them
                pass
        return sorted(name[len(prefix.prefix) : -1] for name in listing.prefixes)

    def keeps_versions(self, anywhere: ObjectStorageUri) -> bool | None:
        self.check(anywhere)
        bucket = self._bucket(anywhere)
        if anywhere.bucket not in self._noted_versions:
            # It needs storage.buckets.get, a right that staging does without.
            with suppress(StorageError), self._calling("look up the versioning of", anywhere):
                bucket.reload()
                self._noted_versions[anywhere.bucket] = bool(bucket.versioning_enabled)
        return self._noted_versions.get(anywhere.bucket)

    def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
        self.check(anywhere)
        bucket = self._bucket(anywhere)
        place = replace(anywhere, key="")

        def reload() -> Any:
            with self._calling("look up the settings of", place):
                bucket.reload()
            return bucket

        def policy() -> Any:
            with self._calling("look up the policy of", place):
                return bucket.get_iam_policy(requested_policy_version=3)

        return gcs_settings(reload, policy)

    def _put_wrong(self, target: UploadTarget, data: bytes, digest: str) -> bool:
        blob = self._new_blob(target)
        # It is sent as it is: the SDK computes none of its own where it is told of none to check.
        blob.crc32c = base64.b64encode(bytes.fromhex(digest)[:4]).decode()
        with self._calling("write", target.uri):
            blob.upload_from_string(data, content_type=_UNKNOWN_TYPE, predefined_acl=self._acl, checksum=None)
        return True

    def _put_small(self, target: UploadTarget, data: bytes, digest: str, only_if_absent: bool) -> str | None:
        blob = self._new_blob(target)
        with self._calling("write", target.uri):
            blob.upload_from_string(
                data,
                content_type=target.content_type or _UNKNOWN_TYPE,
                predefined_acl=self._acl,
                checksum=self._checksum,
                if_generation_match=0 if only_if_absent else None,
            )
        if self._checksum:
            check_answer("write", target.uri, _crc32c(data), blob.crc32c)
        return normalise_etag(blob.generation)

    def _put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        blob = self._new_blob(target, chunk_size=-(-part_bytes // _CHUNK_UNIT) * _CHUNK_UNIT)
        with self._calling("write", target.uri):
            blob.upload_from_file(
                reader,
                size=reader.size,
                content_type=target.content_type or _UNKNOWN_TYPE,
                predefined_acl=self._acl,
                checksum=self._checksum,
            )
        return normalise_etag(blob.generation)

    def _download(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        blob = self._bucket(uri).blob(uri.key)
        with self._calling("read", uri, on_404=ObjectNotFoundError):
            blob.reload()
            found = _object(uri, blob)
            # The generation pins what is read to what was looked up.
            blob.download_to_file(file, if_generation_match=blob.generation)
        return found

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        bucket = self._bucket(anywhere)
        action = f"delete {len(keys)} objects, the first of them"
        with (
            self._calling(action, replace(anywhere, key=keys[0])),
            self._gcs.batch(raise_exception=False) as batch,
        ):
            for key in keys:
                bucket.delete_blob(key)
        # Google's own sample of batched deletes reads the single results from this attribute.
        # https://cloud.google.com/storage/docs/samples/storage-batch-request
        answers = batch._responses
        return {
            key: f"{answer.status_code}: {answer.text[:200]}"
            for key, answer in zip(keys, answers, strict=True)
            if not 200 <= answer.status_code < 300 and answer.status_code != 404
        }

    def _delete_one(self, uri: ObjectStorageUri) -> None:
        with self._calling("delete", uri, on_404=ObjectNotFoundError):
            self._bucket(uri).delete_blob(uri.key)

    def _bucket(self, uri: ObjectStorageUri) -> Any:
        return self._gcs.bucket(uri.bucket, user_project=self._user_project)

    def _new_blob(self, target: UploadTarget, chunk_size: int | None = None) -> Any:
        blob = self._bucket(target.uri).blob(target.uri.key, chunk_size=chunk_size, kms_key_name=self._kms_key_name)
        blob.metadata = dict(target.metadata)
        if self._storage_class:
            blob.storage_class = self._storage_class
        return blob

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
        from requests.exceptions import RequestException

        # The SDK itself says with a ValueError that it can't use a name or an option, or read an answer.
        return (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, RequestException, ValueError)

    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        name = type(error).__name__
        cause = getattr(error, "cause", None)
        if name == "RetryError" and isinstance(cause, Exception):
            # What it was tried again for is what is wrong; the time-out says only how long.
            _, code, message = self._describe(cause)
            return None, name, f"{code}: {message} ({str(error).partition(',')[0]})"
        status = getattr(error, "code", None)
        if name == "DataCorruption":
            name = OTHER_CHECKSUM
        elif name in ("DefaultCredentialsError", "RefreshError"):
            name = "NoCredentials"
        message = str(getattr(error, "message", "") or error)
        if status == 400 and _WRONG_CHECKSUM.search(message):
            return 400, "BadDigest", message
        if status == 404 and "upload_id=" in message:
            # No word of the bucket, and none of an object.
            return None, "UploadSessionLost", "the store no longer knows this upload, which was begun there"
        return (int(status) if isinstance(status, int) else None), name, message


def _crc32c(data: bytes) -> str:
    """Return the checksum as GCS tells it. The SDK needs the same package."""
    import google_crc32c

    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _object(uri: ObjectStorageUri, blob: Any) -> ObjectStorageObject:
    return ObjectStorageObject(
        uri,
        blob.size,
        (blob.metadata or {}).get("dpone-sha256"),
        blob.content_type,
        normalise_etag(blob.generation),
        (blob.metadata or {}).get("dpone-nonce"),
        blob.updated,
    )
