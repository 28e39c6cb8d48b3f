"""A store's refusal becomes one of our errors: the same words for every SDK and for obstore."""

from __future__ import annotations

from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageError,
    redact,
)
from dpone_airflow.storage.uri import ObjectStorageUri

_CHECKSUM_CODES = {
    "BadDigest",
    "InvalidDigest",
    "Md5Mismatch",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_NO_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound"}
_NO_OBJECT_CODES = {"NoSuchKey", "BlobNotFound"}
_TAKEN_CODES = {"BlobAlreadyExists", "ConditionalRequestConflict", "PreconditionFailed"}
_DENIED_CODES = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NoCredentials",
    "PermissionDeniedError",
    "SignatureDoesNotMatch",
    "UnauthenticatedError",
}
_BUSY_STATUSES = {408, 429, 500, 502, 503, 504}
_BUSY_CODES = {
    # S3 and what speaks its protocol. A key of a batch has a code and no status.
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottlingException",
    "TooManyRequests",
    # Azure
    "OperationTimedOut",
    "ServerBusy",
    # Connections that broke, in the names of botocore, azure-core, google-auth and requests.
    "ChunkedEncodingError",
    "ConnectTimeout",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "IncompleteReadError",
    "ReadTimeout",
    "ReadTimeoutError",
    "ResponseStreamingError",
    "ServiceRequestError",
    "ServiceRequestTimeoutError",
    "ServiceResponseError",
    "ServiceResponseTimeoutError",
    "TransportError",
}
_ADVICE: dict[type[StorageError], str] = {
    BucketNotFoundError: "Create the bucket or container, or correct the URI.",
    ChecksumMismatchError: "The bytes changed on their way and nothing was stored; run it again.",
    ObjectAlreadyExistsError: "Somebody else wrote it first.",
    ObjectNotFoundError: "Check the URI, and whether a cleanup has deleted it.",
    StorageAccessDeniedError: (
        "Check the credentials of the Airflow connection and the rights they have on this prefix."
    ),
    StorageError: "If the store is up and reachable from this host, run it again.",
}


def store_error(
    action: str,
    uri: ObjectStorageUri,
    status: int | None,
    code: str,
    message: str,
    *,
    on_404: type[StorageError] = BucketNotFoundError,
) -> StorageError:
    """Return the error for an answer that refuses: what was done with which object, why not, what to do.

    :param action: what could not be done, e.g. ``write``.
    :param status: the HTTP status, if there was an answer.
    :param code: the store's or the SDK's name for the failure.
    :param message: its words; secrets are taken out of them.
    :param on_404: what a 404 without a known code means: only a read can miss its object.
    """
    kind = _classify(status, code, on_404)
    detail = ": ".join(part for part in (code, redact(message.strip())) if part).rstrip(".")
    return kind(f"Could not {action} {uri}: {detail}. {_ADVICE[kind]}", uri=str(uri), status=status, code=code)


def may_pass(status: int | None, code: str) -> bool:
    """Return whether an answer may be another one a little later: a store that is busy, a connection that broke."""
    return status in _BUSY_STATUSES or code in _BUSY_CODES


def _classify(status: int | None, code: str, on_404: type[StorageError]) -> type[StorageError]:
    """Return our error type for a store's answer."""
    if code in _CHECKSUM_CODES:
        return ChecksumMismatchError
    if code in _NO_BUCKET_CODES:
        return BucketNotFoundError
    if code in _NO_OBJECT_CODES:
        return ObjectNotFoundError
    if status == 404:
        return on_404
    if status in (401, 403) or code in _DENIED_CODES:
        return StorageAccessDeniedError
    if status == 412 or code in _TAKEN_CODES:
        return ObjectAlreadyExistsError
    return StorageError
