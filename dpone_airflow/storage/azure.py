"""Azure Blob Storage, through azure-storage-blob."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, BinaryIO

from dpone_airflow.storage.answers import OTHER_CHECKSUM, told
from dpone_airflow.storage.bucket_settings import BucketSettings, azure_settings
from dpone_airflow.storage.client import (
    DEFAULT_MAX_CONCURRENCY,
    BaseObjectStorageClient,
    ObjectStorageObject,
)
from dpone_airflow.storage.errors import (
    ConnectionMismatchError,
    InvalidOptionError,
    MissingExtraError,
    ObjectNotFoundError,
)
from dpone_airflow.storage.etag import normalise_etag
from dpone_airflow.storage.options import checked_options
from dpone_airflow.storage.parts import DEFAULT_PART_BYTES, MOST_PARTS, send_parts
from dpone_airflow.storage.readers import Reader
from dpone_airflow.storage.uploader import Uploader, UploadTarget
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri


class AzureBlobObjectStorageClient(BaseObjectStorageClient):
    """Block blobs through an injected ``BlobServiceClient``, or one made from a connection string.

    Every byte that is sent carries a Content-MD5 that the store checks, on a single put and on each
    block. Blocks of an upload that failed never show as a blob; Azure has no call to drop them and
    discards them after a week. A file over 9,000 blocks of 4,000 MiB is refused before its first byte.
    https://learn.microsoft.com/rest/api/storageservices/put-block
    https://learn.microsoft.com/azure/storage/blobs/scalability-targets

    :param service_client: an ``azure.storage.blob.BlobServiceClient``; None makes one of ``connection_string``.
    :param connection_string: that of a storage account, if no client is given.
    :param storage_options: values by name, e.g. ``{"standard_blob_tier": "Cool"}``; see ``storage.options`` for those
        that it takes.
    :param max_concurrency: files, or blocks of a file, sent at the same time, from 1.
    :param part_bytes: in bytes; files above twice this size are sent in blocks of it, 4,000 MiB at most.
    :param store_check: False to send no Content-MD5 for the store to check; the manifest has a SHA-256 all the same.
    :param uploader: writes in the SDK's place what it can, see ``storage.obstore_uploader``; None for the SDK alone.
    :raises MissingExtraError: if a client must be made and azure-storage-blob isn't installed.
    :raises InvalidOptionError: if neither a client nor a connection string is given, for a storage option outside the
        allow-list, or a ``max_concurrency`` below 1; for an unknown ``standard_blob_tier`` when something is written.
    """

    provider = ObjectStorageProvider.AZURE_BLOB
    sdk = "azure-storage-blob"
    # Azure's metadata names are C# identifiers: a hyphen is refused.
    # https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
    metadata_prefix = "dpone_"
    # Accounts with a hierarchical namespace do: https://learn.microsoft.com/rest/api/storageservices/list-blobs
    may_list_folders = True
    # https://learn.microsoft.com/azure/storage/blobs/scalability-targets
    max_object_bytes = MOST_PARTS * 4000 * 1024**2
    # https://learn.microsoft.com/rest/api/storageservices/blob-batch
    delete_batch_size = 256

    def __init__(
        self,
        service_client: Any = None,
        *,
        connection_string: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        part_bytes: int = DEFAULT_PART_BYTES,
        store_check: bool = True,
        uploader: Uploader | None = None,
    ) -> None:
        super().__init__(
            max_concurrency=max_concurrency, part_bytes=part_bytes, store_check=store_check, uploader=uploader
        )
        if service_client is None:
            if connection_string is None:
                raise InvalidOptionError(
                    "AzureBlobObjectStorageClient needs a service_client or a connection_string: give one."
                )
            try:
                from azure.storage.blob import BlobServiceClient
            except ImportError as error:
                raise MissingExtraError("azure", "az:// and azure:// URIs") from error
            service_client = BlobServiceClient.from_connection_string(connection_string)
        self._service = service_client
        self.storage_options = checked_options(ObjectStorageProvider.AZURE_BLOB, storage_options)

    @property
    def endpoint_url(self) -> str | None:
        # The service's url may end in the SAS token that its calls carry.
        return str(self._service.url).partition("?")[0]

    def stat(self, uri: ObjectStorageUri) -> ObjectStorageObject:
        self.check(uri)
        with self._calling("look up", uri, on_404=ObjectNotFoundError):
            properties = self._blob(uri).get_blob_properties()
        self._note_version(uri, properties.version_id)
        return _object(uri, properties)

    def get_bytes(self, uri: ObjectStorageUri, *, limit: int | None = None) -> bytes:
        self.check(uri)
        some = {} if limit is None else {"offset": 0, "length": limit}
        with self._calling("read", uri, on_404=ObjectNotFoundError):
            stream = self._blob(uri).download_blob(**some)
            content: bytes = stream.readall()
        self._note_version(uri, stream.properties.version_id)
        return content

    def list_objects(self, prefix: ObjectStorageUri) -> Iterator[ObjectStorageObject]:
        self.check(prefix)
        container = self._service.get_container_client(prefix.bucket)
        with self._calling("list", prefix):
            for blob in container.list_blobs(name_starts_with=prefix.prefix or None):
                yield ObjectStorageObject(
                    replace(prefix, key=blob.name),
                    blob.size,
                    etag=normalise_etag(blob.etag),
                    modified=blob.last_modified,
                )

    def list_folders(self, prefix: ObjectStorageUri) -> list[str]:
        from azure.storage.blob import BlobPrefix

        self.check(prefix)
        container = self._service.get_container_client(prefix.bucket)
        with self._calling("list", prefix):
            found = container.walk_blobs(name_starts_with=prefix.prefix or None, delimiter="/")
            return [item.name[len(prefix.prefix) : -1] for item in found if isinstance(item, BlobPrefix)]

    def bucket_settings(self, anywhere: ObjectStorageUri) -> BucketSettings:
        self.check(anywhere)
        place = replace(anywhere, key="")

        def container() -> Any:
            with self._calling("look up the settings of", place):
                return self._service.get_container_client(anywhere.bucket).get_container_properties()

        def service() -> Any:
            with self._calling("look up the blob service that has", place):
                return self._service.get_service_properties()

        return azure_settings(container, service)

    def _put_wrong(self, target: UploadTarget, data: bytes, digest: str) -> bool:
        checksum = base64.b64encode(bytes.fromhex(digest)[:16]).decode()
        with self._calling("write", target.uri):
            self._blob(target.uri).upload_blob(
                data,
                length=len(data),
                overwrite=True,
                metadata=dict(target.metadata),
                headers={"Content-MD5": checksum},
                **self._write_options(),
            )
        return True

    def _put_small(self, target: UploadTarget, data: bytes, digest: str, only_if_absent: bool) -> str | None:
        with self._calling("write", target.uri):
            answer = self._blob(target.uri).upload_blob(
                data,
                length=len(data),
                overwrite=not only_if_absent,
                validate_content=self._store_check,
                metadata=dict(target.metadata),
                content_settings=_content_settings(target.content_type),
                **self._write_options(),
            )
        return normalise_etag(told(answer.get("etag"), "ETag", "write", target.uri))

    def _put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        from azure.storage.blob import BlobBlock

        blob = self._blob(target.uri)
        scope = {key: value for key, value in self.storage_options.items() if key == "encryption_scope"}
        # Blocks wait for their commit under their ids alone: those of another try that still sends to this blob must
        # not take the place of ours. All ids of a blob have one length; obstore's have 32 characters.
        # https://learn.microsoft.com/rest/api/storageservices/put-block#uri-parameters
        of_this_upload = sha256(target.metadata["dpone_nonce"].encode()).hexdigest()[:26]

        def send(number: int, data: bytes) -> Any:
            block = f"{of_this_upload}{number:06d}"
            with self._calling(f"write block {number} of", target.uri):
                blob.stage_block(block, data, length=len(data), validate_content=self._store_check, **scope)
            return BlobBlock(block)

        blocks = send_parts(reader, send, part_bytes=part_bytes, threads=lanes)
        with self._calling("commit the blocks of", target.uri):
            answer = blob.commit_block_list(
                blocks,
                content_settings=_content_settings(target.content_type),
                metadata=dict(target.metadata) | self._metadata(sha256=reader.sha256()),
                **self._write_options(),
            )
        return normalise_etag(told(answer.get("etag"), "ETag", "commit the blocks of", target.uri))

    def _download(self, uri: ObjectStorageUri, file: BinaryIO) -> ObjectStorageObject:
        with self._calling("read", uri, on_404=ObjectNotFoundError):
            # It then comes in ranges of 4 MiB, each with an MD5 that the SDK compares. Without, the first
            # answer has 32 MiB, which the SDK holds in memory twice.
            stream = self._blob(uri).download_blob(validate_content=True)
            stream.readinto(file)
        return _object(uri, stream.properties)

    def _delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, str]:
        container = self._service.get_container_client(anywhere.bucket)
        with self._calling(f"delete {len(keys)} objects, the first of them", replace(anywhere, key=keys[0])):
            # The SDK would wait 15 seconds before its first retry; whoever deletes asks again after one.
            answers = list(
                container.delete_blobs(*keys, delete_snapshots="include", raise_on_any_failure=False, retry_total=0)
            )
        return {
            key: f"{answer.headers.get('x-ms-error-code') or answer.status_code}: {answer.reason}"
            for key, answer in zip(keys, answers, strict=True)
            if answer.status_code not in (202, 404)
        }

    def _delete_one(self, uri: ObjectStorageUri) -> None:
        with self._calling("delete", uri, on_404=ObjectNotFoundError):
            self._blob(uri).delete_blob(delete_snapshots="include")

    def check(self, uri: ObjectStorageUri) -> None:
        super().check(uri)
        if uri.account and uri.account != self._service.account_name:
            raise ConnectionMismatchError(
                f"{uri} names the storage account {uri.account!r}, and the connection is one to "
                f"{self._service.account_name!r}: correct the URI or choose the other connection."
            )

    def _write_options(self) -> dict[str, Any]:
        if "standard_blob_tier" not in self.storage_options:
            return self.storage_options
        from azure.storage.blob import StandardBlobTier

        tier = self.storage_options["standard_blob_tier"]
        try:
            return self.storage_options | {"standard_blob_tier": StandardBlobTier(tier)}
        except ValueError as error:
            known = ", ".join(repr(str(known.value)) for known in StandardBlobTier)
            raise InvalidOptionError(
                f"standard_blob_tier {tier!r} is no tier of Azure's: write one of {known}."
            ) from error

    def _blob(self, uri: ObjectStorageUri) -> Any:
        return self._service.get_blob_client(uri.bucket, uri.key)

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        from azure.core.exceptions import AzureError
        from requests.exceptions import RequestException

        # What comes of a download that breaks off is requests' own, while its MD5 is to be compared.
        return (AzureError, RequestException)

    def _describe(self, error: Any) -> tuple[int | None, str, str]:
        code = getattr(error, "error_code", None) or type(error).__name__
        if code == "ClientAuthenticationError":
            code = "NoCredentials"
        # The first line is the sentence; the rest is request ids and the raw answer.
        message = str(getattr(error, "message", "") or error).partition("\n")[0]
        if message.startswith("MD5 mismatch"):  # the SDK's own words, without a class
            code = OTHER_CHECKSUM
        return getattr(error, "status_code", None), str(getattr(code, "value", code)), message


def _content_settings(content_type: str | None) -> Any:
    from azure.storage.blob import ContentSettings

    return ContentSettings(content_type=content_type) if content_type else None


def _object(uri: ObjectStorageUri, properties: Any) -> ObjectStorageObject:
    return ObjectStorageObject(
        uri,
        told(properties.size, "Content-Length", "look up", uri),
        (properties.metadata or {}).get("dpone_sha256"),
        properties.content_settings.content_type,
        normalise_etag(told(properties.etag, "ETag", "look up", uri)),
        (properties.metadata or {}).get("dpone_nonce"),
        properties.last_modified,
    )
