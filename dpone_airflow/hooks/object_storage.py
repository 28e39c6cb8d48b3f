"""An Airflow connection and a URI become a storage client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from dpone_airflow.hooks.connection_secrets import keep_secret, masked_errors
from dpone_airflow.hooks.local import LocalObjectStorageHook
from dpone_airflow.hooks.local_form import BROWSE_URL
from dpone_airflow.hooks.local_form import CONNECTION_TYPE as LOCAL
from dpone_airflow.staging.choices import Engine, check_choice
from dpone_airflow.storage.client import DEFAULT_MAX_CONCURRENCY, ObjectStorageClient
from dpone_airflow.storage.concurrency import checked_max_concurrency
from dpone_airflow.storage.errors import (
    ConnectionMismatchError,
    DponeAirflowError,
    EngineNotUsableError,
    MissingExtraError,
    printable_cause,
    redact,
)
from dpone_airflow.storage.options import checked_options
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from dpone_airflow.hooks.obstore_settings import ObstoreUpload
    from dpone_airflow.staging.check import Check
    from dpone_airflow.storage.uploader import Uploader

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
# In the extra of a wasb connection; WasbHook doesn't know it and leaves it alone.
_STORAGE_ACCOUNT_ID = "storage_account_id"


class ObjectStorageHook(BaseHook):
    """Hands out the client that an Airflow connection and a URI call for.

    The connection's type chooses: ``aws`` (S3Hook), ``google_cloud_platform`` (GCSHook), ``wasb``
    (WasbHook), or ``dpone_local_object_storage`` (the emulator, which serves every URI). The
    official hooks own all authentication; their authenticated SDK client does the work.
    https://airflow.apache.org/docs/apache-airflow-providers-amazon/stable/connections/aws.html
    https://airflow.apache.org/docs/apache-airflow-providers-google/stable/connections/gcp.html
    https://airflow.apache.org/docs/apache-airflow-providers-microsoft-azure/stable/connections/wasb.html

    :param conn_id: the connection; None for ``aws_default``, ``google_cloud_default`` or
        ``wasb_default``, as the URI's scheme asks. Without an ``aws_default``, boto3 finds credentials by its own
        rules.
    :param storage_options: what a connection can't hold: encryption, ACL, storage class and the like, by the names
        that the cloud's SDK has for them; see ``dpone_airflow.storage.options``. None for none.
    :param max_concurrency: files, or parts of a file, sent at the same time, from 1; by default 8.
    :param engine: what uploads. ``auto`` takes obstore where it honours every setting of the
        connection and else the cloud's SDK, saying so in one log line; ``obstore`` is an error in
        that case; ``sdk`` never takes it.
    :param store_check: whether the store is given a checksum of every byte, to check it.
    :raises InvalidOptionError: for another ``engine``, or a ``max_concurrency`` that isn't a whole number from 1.
    """

    def __init__(
        self,
        conn_id: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        *,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        engine: Engine = "auto",
        store_check: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("engine", engine)
        self.conn_id = conn_id
        self.storage_options = storage_options
        self.max_concurrency = checked_max_concurrency(max_concurrency)
        self.engine = engine
        self.store_check = store_check

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        """Return the client for ``base_uri``; nothing is sent to the store.

        :param base_uri: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or
            ``azure://account/container/prefix``. The client then serves every place of that store;
            obstore uploads to this bucket only.
        :raises InvalidUriError: if it isn't one of the four forms.
        :raises InvalidOptionError: for a storage option outside the allow-list.
        :raises ConnectionMismatchError: if the connection isn't of the URI's kind or account.
        :raises MissingExtraError: if the cloud's provider isn't installed.
        :raises EngineNotUsableError: with ``engine="obstore"``, if obstore can't honour the connection.
        :raises AirflowNotFoundException: Airflow's own, if there is no such connection.
        """
        uri = ObjectStorageUri.parse(base_uri)
        options = checked_options(uri.provider, self.storage_options)
        conn_id = self.conn_id or _DEFAULT_CONNECTIONS[uri.provider]
        with masked_errors(conn_id):
            return self._client(conn_id, options, uri)

    def _client(self, conn_id: str, options: dict[str, Any], uri: ObjectStorageUri) -> ObjectStorageClient:
        conn_type = self._connection_type(conn_id, uri.provider)
        if conn_type == LOCAL:
            return LocalObjectStorageHook(conn_id).get_conn(max_concurrency=self.max_concurrency)
        wanted = _CONNECTION_TYPES[uri.provider]
        if conn_type != wanted:
            raise ConnectionMismatchError(
                f"{uri} needs a connection of type {wanted!r} (or {LOCAL!r}), and {conn_id!r} is of type "
                f"{conn_type!r}: name the right conn_id or correct base_uri."
            )
        if uri.provider is ObjectStorageProvider.S3:
            return self._s3_client(conn_id, options, uri)
        if uri.provider is ObjectStorageProvider.GCS:
            return self._gcs_client(conn_id, options)
        return self._azure_client(conn_id, options, uri)

    def storage_account_id(self, uri: ObjectStorageUri) -> str | None:
        """Return the resource id of an Azure storage account, as its connection's extra says; else None.

        No call to the store needs it, but Azure's portal opens a container by nothing else.

        :param uri: any place; there is none but of Azure.
        :returns: what the extra ``storage_account_id`` holds, as ``/subscriptions/.../storageAccounts/<name>``.
        """
        if uri.provider is not ObjectStorageProvider.AZURE_BLOB:
            return None
        extra = self.get_connection(self.conn_id or _DEFAULT_CONNECTIONS[uri.provider]).extra_dejson
        found = extra.get(_STORAGE_ACCOUNT_ID)
        return found if isinstance(found, str) else None

    def browse_url(self, uri: ObjectStorageUri) -> str | None:
        """Return where a web server shows the emulator's directory, as the connection's extra says; else None.

        :param uri: only its scheme counts: it names the connection where ``conn_id`` doesn't.
        :returns: an ``http://`` or ``https://`` address without a user and a password: it is shown to everybody.
        """
        extra = self.get_connection(self.conn_id or _DEFAULT_CONNECTIONS[uri.provider]).extra_dejson
        found = extra.get(BROWSE_URL)
        if not isinstance(found, str):
            return None
        scheme, _, rest = found.partition("://")
        return found if scheme in ("http", "https") and rest and "@" not in rest else None

    def diagnose(self, base_uri: str, *, short: bool = False) -> list[Check]:
        """Try what staging does below ``base_uri``, the connection first; see ``dpone_airflow.staging.doctor``.

        :param base_uri: the base that runs are to be staged below.
        :param short: only what decides whether a stage and its cleanup can work.
        :returns: one ``Check`` for each thing that was looked at, in that order: ``name``, ``outcome`` (``ok``,
            ``warning``, ``failed`` or ``unknown``), ``detail``, ``cause`` and ``action``, all texts. What fails is a
            check and no error.
        :raises InvalidUriError: if ``base_uri`` isn't one of the four forms.
        :raises InvalidPlanError: if it lies among the evidence of another base.
        """
        from dpone_airflow.staging.check import Check, Outcome
        from dpone_airflow.staging.doctor import diagnose
        from dpone_airflow.staging.likely_cause import finding
        from dpone_airflow.staging.plan import base_of

        base = base_of(base_uri)
        conn_id = self.conn_id or _DEFAULT_CONNECTIONS[base.provider]
        try:
            client = self.get_client(str(base))
            conn_type = self._connection_type(conn_id, base.provider)
        except Exception as error:
            log.debug("%s", conn_id, exc_info=printable_cause(error))
            return [finding("connection", error)]
        made = Check("connection", Outcome.OK, f"{conn_id!r} is of type {conn_type!r}, and makes a client.")
        return [made, *diagnose(client, str(base), short=short)]

    def test_connection(self, base_uri: str | None = None) -> tuple[bool, str]:
        """Try a sentinel below ``base_uri``; return whether it could be written, created, listed, read and deleted.

        No connection names a place in its store that may be written to, so without ``base_uri`` the answer is no.

        :param base_uri: the base that runs are to be staged below.
        :returns: whether all of it worked, and a text that says so, or what failed.
        """
        if base_uri is None:
            return False, "Give base_uri, as s3://bucket/prefix: a connection alone names no place to write to."
        from dpone_airflow.staging.check import summary

        try:
            checks = self.diagnose(base_uri, short=True)
        except DponeAirflowError as error:
            return False, redact(str(error))
        return summary(checks, f"A sentinel was written, created, listed, read and deleted below {base_uri}.")

    def _connection_type(self, conn_id: str, provider: ObjectStorageProvider) -> str | None:
        try:
            connection = self.get_connection(conn_id)
        except AirflowNotFoundException:
            # S3Hook does without aws_default: boto3 then finds the credentials by its own rules.
            if self.conn_id is None and provider is ObjectStorageProvider.S3:
                return _CONNECTION_TYPES[provider]
            raise
        keep_secret(connection)
        conn_type: str | None = connection.conn_type
        return conn_type

    def _s3_client(self, conn_id: str, options: Mapping[str, Any], uri: ObjectStorageUri) -> ObjectStorageClient:
        try:
            from airflow.providers.amazon.aws.hooks.s3 import S3Hook
            from botocore.config import Config
        except ImportError as error:
            raise MissingExtraError("s3", "s3:// URIs") from error
        from dpone_airflow.storage.s3 import S3ObjectStorageClient

        hook = S3Hook(aws_conn_id=conn_id)
        own = hook.config
        # A file in parts has several requests under way at once.
        needs: dict[str, Any] = {"max_pool_connections": max(own.max_pool_connections, 2 * self.max_concurrency)}
        if hook.conn_config.get_service_endpoint_url(service_name="s3"):
            # Not every store that speaks S3 knows boto3's newer default checksums; uploads carry their
            # own SHA-256 all the same. What the connection's config_kwargs say wins.
            for setting in ("request_checksum_calculation", "response_checksum_validation"):
                needs[setting] = getattr(own, setting, None) or "when_required"
        client = hook.get_client_type(config=own.merge(Config(**needs)))

        def upload() -> ObstoreUpload:
            from dpone_airflow.hooks.obstore_s3 import s3_store

            credentials = hook.get_session().get_credentials()
            return s3_store(client, credentials, uri.bucket, options, store_check=self.store_check)

        uploader, note = self._uploader(conn_id, "s3", upload, uri)
        s3_client = S3ObjectStorageClient(
            client,
            storage_options=options,
            max_concurrency=self.max_concurrency,
            store_check=self.store_check,
            uploader=uploader,
        )
        s3_client.engine_note = note
        return s3_client

    def _gcs_client(self, conn_id: str, options: Mapping[str, Any]) -> ObjectStorageClient:
        try:
            from airflow.providers.google.cloud.hooks.gcs import GCSHook
            from requests.adapters import HTTPAdapter
        except ImportError as error:
            raise MissingExtraError("gcp", "gs:// URIs") from error
        from dpone_airflow.storage.gcs import GCSObjectStorageClient

        note = "only Google's own SDK uploads to GCS here"
        self._refuse_obstore(conn_id, note)
        client = GCSHook(gcp_conn_id=conn_id).get_conn()
        # Its session keeps ten connections; every thread that uploads or deletes wants one of its own.
        for scheme in ("https://", "http://"):
            if type(client._http.get_adapter(scheme)) is not HTTPAdapter:
                continue  # google-auth's own, with a client certificate
            client._http.mount(scheme, HTTPAdapter(pool_maxsize=max(10, 2 * self.max_concurrency)))
        gcs_client = GCSObjectStorageClient(
            client, storage_options=options, max_concurrency=self.max_concurrency, store_check=self.store_check
        )
        gcs_client.engine_note = note
        return gcs_client

    def _azure_client(self, conn_id: str, options: Mapping[str, Any], uri: ObjectStorageUri) -> ObjectStorageClient:
        try:
            from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
        except ImportError as error:
            raise MissingExtraError("azure", "az:// and azure:// URIs") from error
        from dpone_airflow.storage.azure import AzureBlobObjectStorageClient

        service = WasbHook(wasb_conn_id=conn_id).get_conn()

        def upload() -> ObstoreUpload:
            from dpone_airflow.hooks.obstore_azure import azure_store

            return azure_store(service, uri.bucket, options)

        uploader, note = None, "obstore sends Azure no checksum to check, which store_check=False would do without"
        if self.store_check:
            self._refuse_obstore(conn_id, note)
        else:
            uploader, note = self._uploader(conn_id, "azure", upload, uri)
        client = AzureBlobObjectStorageClient(
            service,
            storage_options=options,
            max_concurrency=self.max_concurrency,
            store_check=self.store_check,
            uploader=uploader,
        )
        client.engine_note = note
        client.check(uri)
        return client

    def _uploader(
        self, conn_id: str, extra: str, build: Callable[[], ObstoreUpload], uri: ObjectStorageUri
    ) -> tuple[Uploader | None, str]:
        """Return obstore's uploader, or None and why if the SDK is to upload."""
        if self.engine == "sdk":
            return None, "engine='sdk' asks for it"
        try:
            import obstore  # noqa: F401 - without it there is nothing to look into
        except ImportError as error:
            if self.engine == "obstore":
                raise MissingExtraError(extra, f"Uploads to {uri} with engine='obstore'") from error
            log.info("obstore isn't installed, so the SDK uploads to %s.", uri)
            return None, "obstore isn't installed"
        from dpone_airflow.hooks.obstore_settings import NotHonouredError
        from dpone_airflow.storage.obstore_uploader import ObstoreUploader

        try:
            upload = build()
        except NotHonouredError as error:
            note = f"obstore can't honour {error.setting}"
            self._refuse_obstore(conn_id, note)
            log.info("%s, so the SDK uploads to %s.", note, uri)
            return None, note
        uploader = ObstoreUploader(upload.store, uri.bucket, attributes=upload.attributes, tags=upload.tags)
        return uploader, "it honours every setting of the connection"

    def _refuse_obstore(self, conn_id: str, reason: str) -> None:
        if self.engine == "obstore":
            raise EngineNotUsableError(
                f"engine='obstore' can't upload with connection {conn_id!r}: {reason}. Write engine='auto'."
            )
