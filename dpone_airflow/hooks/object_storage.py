"""An Airflow connection and a URI become a storage client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from dpone_airflow.hooks.local import LocalObjectStorageHook
from dpone_airflow.hooks.local_form import CONNECTION_TYPE as LOCAL
from dpone_airflow.storage.client import DEFAULT_MAX_CONCURRENCY, ObjectStorageClient
from dpone_airflow.storage.errors import ConnectionMismatchError, MissingExtraError
from dpone_airflow.storage.options import checked_options
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

ClientBuilder: TypeAlias = "Callable[[str, Mapping[str, Any], int], ObjectStorageClient]"

_DEFAULT_CONNECTIONS = {
    ObjectStorageProvider.S3: "aws_default",
    ObjectStorageProvider.GCS: "google_cloud_default",
    ObjectStorageProvider.AZURE_BLOB: "wasb_default",
}
_CONNECTION_TYPES = {
    ObjectStorageProvider.S3: "aws",
    ObjectStorageProvider.GCS: "google_cloud_platform",
    ObjectStorageProvider.AZURE_BLOB: "wasb",
}


class ObjectStorageHook(BaseHook):
    """Hands out the client that an Airflow connection and a URI call for.

    The connection's type chooses: ``aws`` (S3Hook), ``google_cloud_platform`` (GCSHook), ``wasb``
    (WasbHook), or ``dpone_local_object_storage`` (the emulator, which serves every URI). The
    official hooks own all authentication; their authenticated SDK client does the work.

    :param conn_id: the connection; by default ``aws_default``, ``google_cloud_default`` or
        ``wasb_default``, as the URI's scheme asks.
    :param storage_options: what a connection can't hold, see ``dpone_airflow.storage.options``.
    :param max_concurrency: files, or parts of a file, sent at the same time.
    """

    def __init__(
        self,
        conn_id: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        *,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.storage_options = storage_options
        self.max_concurrency = max_concurrency

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        """Return the client for ``base_uri``.

        :raises InvalidUriError: if it isn't one of the four forms.
        :raises InvalidOptionError: for a storage option outside the allow-list.
        :raises ConnectionMismatchError: if the connection isn't of the URI's kind or account.
        :raises MissingExtraError: if the cloud's provider isn't installed.
        """
        uri = ObjectStorageUri.parse(base_uri)
        options = checked_options(uri.provider, self.storage_options)
        conn_id = self.conn_id or _DEFAULT_CONNECTIONS[uri.provider]
        conn_type = self._connection_type(conn_id, uri.provider)
        if conn_type == LOCAL:
            return LocalObjectStorageHook(conn_id).get_conn(max_concurrency=self.max_concurrency)
        wanted = _CONNECTION_TYPES[uri.provider]
        if conn_type != wanted:
            raise ConnectionMismatchError(
                f"{uri} needs a connection of type {wanted!r} (or {LOCAL!r}), and {conn_id!r} is of type "
                f"{conn_type!r}: name the right conn_id or correct base_uri."
            )
        client = _BUILDERS[uri.provider](conn_id, options, self.max_concurrency)
        client.check(uri)
        return client

    def _connection_type(self, conn_id: str, provider: ObjectStorageProvider) -> str | None:
        try:
            conn_type: str | None = self.get_connection(conn_id).conn_type
        except AirflowNotFoundException:
            # S3Hook does without aws_default: boto3 then finds the credentials by its own rules.
            if self.conn_id is None and provider is ObjectStorageProvider.S3:
                return _CONNECTION_TYPES[provider]
            raise
        return conn_type


def _s3_client(conn_id: str, options: Mapping[str, Any], max_concurrency: int) -> ObjectStorageClient:
    try:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config
    except ImportError as error:
        raise MissingExtraError("s3", "s3:// URIs") from error
    from dpone_airflow.storage.s3 import S3ObjectStorageClient

    hook = S3Hook(aws_conn_id=conn_id)
    own = hook.config
    # A file in parts has several requests under way at once.
    needs: dict[str, Any] = {"max_pool_connections": max(own.max_pool_connections, 2 * max_concurrency)}
    if hook.conn_config.get_service_endpoint_url(service_name="s3"):
        # Not every store that speaks S3 knows boto3's newer default checksums; uploads carry their
        # own SHA-256 all the same. What the connection's config_kwargs say wins.
        for setting in ("request_checksum_calculation", "response_checksum_validation"):
            needs[setting] = getattr(own, setting, None) or "when_required"
    client = hook.get_client_type(config=own.merge(Config(**needs)))
    return S3ObjectStorageClient(client, storage_options=options, max_concurrency=max_concurrency)


def _gcs_client(conn_id: str, options: Mapping[str, Any], max_concurrency: int) -> ObjectStorageClient:
    try:
        from airflow.providers.google.cloud.hooks.gcs import GCSHook
    except ImportError as error:
        raise MissingExtraError("gcp", "gs:// URIs") from error
    from dpone_airflow.storage.gcs import GCSObjectStorageClient

    client = GCSHook(gcp_conn_id=conn_id).get_conn()
    return GCSObjectStorageClient(client, storage_options=options, max_concurrency=max_concurrency)


def _azure_client(conn_id: str, options: Mapping[str, Any], max_concurrency: int) -> ObjectStorageClient:
    try:
        from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
    except ImportError as error:
        raise MissingExtraError("azure", "az:// and azure:// URIs") from error
    from dpone_airflow.storage.azure import AzureBlobObjectStorageClient

    client = WasbHook(wasb_conn_id=conn_id).get_conn()
    return AzureBlobObjectStorageClient(client, storage_options=options, max_concurrency=max_concurrency)


_BUILDERS: dict[ObjectStorageProvider, ClientBuilder] = {
    ObjectStorageProvider.S3: _s3_client,
    ObjectStorageProvider.GCS: _gcs_client,
    ObjectStorageProvider.AZURE_BLOB: _azure_client,
}
