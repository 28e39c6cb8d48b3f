"""What an Airflow connection can't hold: an allow-list of storage options for each provider.

An option is named as the provider's own SDK names it and goes with every call that knows it,
evidence and deletes included. No secret belongs here: options are template fields and are logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.uri import ObjectStorageProvider

ALLOWED_OPTIONS: dict[ObjectStorageProvider, frozenset[str]] = {
    # https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/s3/client/put_object.html
    ObjectStorageProvider.S3: frozenset(
        {
            "ACL",
            "BucketKeyEnabled",
            "ExpectedBucketOwner",
            "RequestPayer",
            "SSEKMSEncryptionContext",
            "SSEKMSKeyId",
            "ServerSideEncryption",
            "StorageClass",
            "Tagging",
        }
    ),
    # https://cloud.google.com/python/docs/reference/storage/latest/google.cloud.storage.blob.Blob
    ObjectStorageProvider.GCS: frozenset({"kms_key_name", "predefined_acl", "storage_class", "user_project"}),
    # https://learn.microsoft.com/python/api/azure-storage-blob/azure.storage.blob.blobclient
    ObjectStorageProvider.AZURE_BLOB: frozenset({"encryption_scope", "standard_blob_tier", "tags"}),
}


def checked_options(provider: ObjectStorageProvider, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``options`` as a dict.

    :param options: values by the names in ``ALLOWED_OPTIONS``: texts, but for ``BucketKeyEnabled``, a bool, and
        Azure's ``tags``, a dict of texts; None for none.
    :raises InvalidOptionError: if it is no mapping, or one isn't on the provider's list or of its type.
    """
    if options is not None and not isinstance(options, Mapping):
        raise InvalidOptionError(f"storage_options is {type(options).__name__}: give a dict of options by name.")
    allowed = ALLOWED_OPTIONS[provider]
    unknown = sorted(set(options or ()) - allowed)
    if unknown:
        raise InvalidOptionError(
            f"storage_options {', '.join(map(repr, unknown))} can't be given for {provider}: "
            f"it takes {', '.join(sorted(allowed))}."
        )
    for name, value in (options or {}).items():
        if not _KINDS.get(name, _is_text)(value):
            raise InvalidOptionError(
                f"storage_options {name!r} is {type(value).__name__}: {_TAKES.get(name, 'it takes text')}."
            )
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in (options or {}).items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_text(key) and _is_text(text) for key, text in value.items())


_KINDS: dict[str, Callable[[Any], bool]] = {
    "BucketKeyEnabled": lambda value: isinstance(value, bool),
    "tags": _is_texts,
}
_TAKES = {"BucketKeyEnabled": "it takes true or false", "tags": "it takes a dict of texts"}
