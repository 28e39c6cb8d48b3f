"""An obstore ``S3Store`` that uploads as a boto3 client would.

The boto3 client is what is followed, not the Airflow connection: it knows what became of the
connection, of ``config_kwargs``, of boto3's own files and of the environment.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from dpone_airflow.hooks.obstore_settings import (
    RETRIES,
    NotHonouredError,
    ObstoreUpload,
    client_options,
    refuse_variables,
)
from dpone_airflow.storage.obstore_keys import is_header_text

# What boto3 may send that needs no setting in obstore: obstore has its own of these, or needs none.
_OWN_HEADERS = re.compile(
    r"""
    accept-encoding | amz-sdk-invocation-id | amz-sdk-request | authorization | content-encoding | content-length
    | content-md5 | expect | host | transfer-encoding | user-agent | x-amz-checksum-.* | x-amz-content-sha256
    | x-amz-date | x-amz-decoded-content-length | x-amz-sdk-checksum-algorithm | x-amz-security-token
    | x-amz-trailer | x-amzn-trace-id
    """,
    re.VERBOSE,
)
_OPTION_HEADERS = {
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
    "RequestPayer": "x-amz-request-payer",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",
}
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/\d{8}/(?P<region>[\w-]+)/s3/aws4_request,")
_ORDINARY_BUCKET = re.compile(r"[A-Za-z0-9._-]+")
# S3 Express wants sessions of its own: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-APIs.html
_EXPRESS = "--x-s3"
# The key of the object that is never sent.
_KEY = "k"
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_KMS = ("aws:kms", "aws:kms:dsse")
# The names that S3Store takes from the environment and that are always given, or that name sources of
# credentials, which it doesn't look at when it has a provider.
_OVERRIDDEN = frozenset(
    {
        *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_token"),
        *("aws_bucket", "aws_bucket_name", "aws_region", "aws_default_region"),
        *("aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3", "aws_virtual_hosted_style_request"),
        *("aws_conditional_put", "aws_copy_if_not_exists", "aws_disable_bulk_delete", "aws_disable_tagging"),
        *("aws_request_payer", "aws_s3_express", "aws_skip_signature", "aws_unsigned_payload"),
        *("aws_container_authorization_token_file", "aws_container_credentials_full_uri"),
        *("aws_container_credentials_relative_uri", "aws_imdsv1_fallback", "aws_metadata_endpoint"),
        *("aws_endpoint_url_sts", "aws_sts_endpoint", "aws_role_arn", "aws_role_session_name"),
        "aws_web_identity_token_file",
    }
)


class BotocoreCredentialProvider:
    """Gives obstore botocore's credentials with their real expiry.

    obstore asks again when they are about to expire. Botocore is asked every time, so that it
    refreshes them by its own rules.

    :param credentials: what ``session.get_credentials()`` returned.
    """

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def __call__(self) -> dict[str, Any]:
        """Return an ``obstore.store.S3Credential``.

        :raises ValueError: for keys that can't go into a header.
        """
        # Read before the keys, an expiry is theirs or that of those before them, and never too late.
        for _ in range(2):
            expires_at = self._expires_at()
            keys = self._credentials.get_frozen_credentials()
            if self._expires_at() == expires_at:
                break
        if not is_header_text(f"{keys.access_key}{keys.token or ''}"):
            raise ValueError("the access key id or the session token has a character that no header takes")
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": expires_at,
        }

    @property
    def lasting(self) -> bool:
        """Whether these credentials are never refreshed."""
        from botocore.credentials import Credentials

        return type(self._credentials) is Credentials

    def _expires_at(self) -> datetime | None:
        if self.lasting:
            return None
        expiry = getattr(self._credentials, "_expiry_time", None)
        # Of another kind nothing is known: ask again for the next request. obstore takes no zone but UTC.
        return expiry.astimezone(UTC) if isinstance(expiry, datetime) else _LONG_AGO


def s3_store(
    client: Any, credentials: Any, bucket: str, options: Mapping[str, Any], *, store_check: bool
) -> ObstoreUpload:
    """Return what uploads to ``bucket`` as this boto3 client would.

    Sends nothing, but botocore may fetch credentials.
    https://developmentseed.org/obstore/latest/api/store/aws/

    :param client: a boto3 S3 client.
    :param credentials: botocore's, of the client's session; None if it has none.
    :param bucket: its name.
    :param options: storage options, checked.
    :param store_check: whether every byte carries a SHA-256 that the store checks.
    :raises NotHonouredError: naming the setting that obstore wouldn't follow exactly.
    """
    from botocore import UNSIGNED
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    if not _ORDINARY_BUCKET.fullmatch(bucket):
        raise NotHonouredError("a bucket that isn't named by its name")
    if bucket.endswith(_EXPRESS):
        raise NotHonouredError("a bucket of S3 Express")
    config, attributes, tags = _from_options(options)
    unsigned = getattr(client.meta.config, "signature_version", None) is UNSIGNED
    if not unsigned and credentials is None:
        raise NotHonouredError("missing credentials")
    provider = BotocoreCredentialProvider(credentials)
    request = _rehearse(client, bucket, options)
    endpoint, virtual = _endpoint(request.url, bucket)
    config |= {
        "bucket": bucket,
        "region": str(client.meta.region_name) if unsigned else _region(request, provider),
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
        "virtual_hosted_style_request": virtual,
        "skip_signature": unsigned,
        "unsigned_payload": not store_check and not (client.meta.config.s3 or {}).get("payload_signing_enabled"),
        "conditional_put": "etag",
        "copy_if_not_exists": "multipart",
        "disable_bulk_delete": False,
        "disable_tagging": False,
        "s3_express": False,
    }
    if store_check:
        config["checksum_algorithm"] = "SHA256"
    refuse_variables("AWS_", _OVERRIDDEN | {f"aws_{name}" for name in config}, _understands)
    new_store: Any = S3Store
    try:
        store = new_store(
            config=config,
            client_options=_http(client, endpoint),
            retry_config=RETRIES,
            # Given even when it is never asked: without one, obstore looks for sources of its own.
            credential_provider=provider,
        )
    except BaseError:
        # Its message quotes the configuration.
        raise NotHonouredError("a setting of this connection") from None
    return ObstoreUpload(store, attributes, tags)


def _rehearse(client: Any, bucket: str, options: Mapping[str, Any]) -> Any:
    """Return the signed request that boto3 would put an object with, which isn't sent.

    A presigned URL would not do: for those botocore takes other endpoints and older signatures.
    A handler that answers ``before-send`` stands for the network.
    https://github.com/boto/botocore/blob/develop/botocore/endpoint.py

    :raises NotHonouredError: if boto3 can't make the request, or sends a header that obstore can't.
    """
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import BotoCoreError, ClientError

    requests: list[Any] = []
    me = threading.get_ident()

    def answer(request: Any, **_: Any) -> Any:
        if threading.get_ident() != me:
            return None
        requests.append(request)
        return AWSResponse(request.url, 200, {}, _NoBody())

    event, unique_id = "before-send.s3.PutObject", f"dpone-rehearsal-{uuid4().hex}"
    try:
        client.meta.events.register_first(event, answer, unique_id=unique_id)
        try:
            client.put_object(Bucket=bucket, Key=_KEY, Body=b"", **options)
        finally:
            client.meta.events.unregister(event, unique_id=unique_id)
        request = requests[-1]
    except (BotoCoreError, ClientError, AttributeError, IndexError, OSError, RuntimeError, ValueError) as error:
        raise NotHonouredError(f"a request that boto3 doesn't make ({type(error).__name__})") from None
    expected = {_OPTION_HEADERS[name] for name in options}
    for name in request.headers:
        if name.lower() not in expected and not _OWN_HEADERS.fullmatch(name.lower()):
            raise NotHonouredError(f"the header {name}")
    return request


class _NoBody:
    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        return iter(())


def _endpoint(url: str, bucket: str) -> tuple[str, bool]:
    """Return what obstore calls the endpoint, and whether the bucket is in its host.

    :raises NotHonouredError: for any other form.
    """
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme in ("http", "https") and "@" not in parts.netloc:
        if url == f"{root}/{bucket}/{_KEY}":
            return root, False
        if url == f"{root}/{_KEY}" and parts.netloc.startswith(f"{bucket}."):
            return root, True
    raise NotHonouredError("an endpoint_url of this form")


def _region(request: Any, provider: BotocoreCredentialProvider) -> str:
    """Return the region that boto3 signs for.

    :raises NotHonouredError: for other signatures than obstore's, or other keys than its provider's.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        key = provider()["access_key_id"]
    except (BotoCoreError, ClientError, OSError, RuntimeError, ValueError) as error:
        raise NotHonouredError(f"these credentials ({type(error).__name__})") from None
    signature = request.headers.get("Authorization", "")
    signed = _SIGNED.match(signature.decode() if isinstance(signature, bytes) else signature)
    if not signed:
        raise NotHonouredError("signature_version")
    # A second session of one connection has other temporary keys, but the same lasting ones.
    if provider.lasting and key != signed["key"]:
        raise NotHonouredError("credentials that aren't the client's own")
    return signed["region"]


def _http(client: Any, url: str) -> dict[str, Any]:
    """Return obstore's HTTP options for what botocore's session was made with.

    :raises NotHonouredError: if obstore has no such option.
    """
    config = client.meta.config
    try:
        # Botocore keeps them nowhere else, and it has looked into the environment for each.
        session = client._endpoint.http_session
        verify = session._verify
        certificate = session._cert_file
        proxy = session._proxy_config.proxy_url_for(url)
        proxy_settings = session._proxy_config.settings
    except AttributeError:
        raise NotHonouredError("this version of botocore") from None
    if certificate or config.client_cert:
        raise NotHonouredError("client_cert")
    if proxy and any(value is not None for value in (proxy_settings or {}).values()):
        raise NotHonouredError("proxies_config")
    return client_options(url, verify=verify, proxy=proxy, connect_timeout=config.connect_timeout)


def _from_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], dict[str, str] | None]:
    """Return configuration, attributes and tags for storage options."""
    for name, value in options.items():
        if name not in _OPTION_HEADERS:
            raise NotHonouredError(f"the storage option {name}")
        if not is_header_text(str(value)):
            raise NotHonouredError(f"this value of the storage option {name}")
    config: dict[str, Any] = {"request_payer": False}
    encryption = options.get("ServerSideEncryption")
    if encryption is not None:
        if encryption not in ("AES256", *_KMS):
            raise NotHonouredError("the storage option ServerSideEncryption")
        config["server_side_encryption"] = encryption
    for name, setting in (("SSEKMSKeyId", "sse_kms_key_id"), ("BucketKeyEnabled", "sse_bucket_key_enabled")):
        if name in options:
            if encryption not in _KMS:
                raise NotHonouredError(f"the storage option {name} without a KMS ServerSideEncryption")
            config[setting] = options[name]
    if "RequestPayer" in options:
        if options["RequestPayer"] != "requester":
            raise NotHonouredError("the storage option RequestPayer")
        config["request_payer"] = True
    attributes = {"Storage-Class": options["StorageClass"]} if "StorageClass" in options else {}
    return config, attributes, _tags(options["Tagging"]) if "Tagging" in options else None


def _tags(tagging: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(tagging, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise NotHonouredError("this value of the storage option Tagging") from None
    tags = dict(pairs)
    # A space can be written in two ways, and not every server reads both as one.
    if len(tags) != len(pairs) or any(" " in text for pair in pairs for text in pair):
        raise NotHonouredError("this value of the storage option Tagging")
    return tags


def _understands(name: str) -> bool:
    from obstore.exceptions import BaseError, UnknownConfigurationKeyError
    from obstore.store import S3Store

    new_store: Any = S3Store
    try:
        new_store("bucket", config={name: ""})
    except UnknownConfigurationKeyError:
        return False
    except BaseError:
        return True
    return True
