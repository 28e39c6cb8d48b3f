"""A store's refusal becomes one of our errors: the same words for every SDK and for obstore.

The codes are those of the stores' own lists:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://cloud.google.com/storage/docs/json_api/v1/status-codes
https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import re
from typing import TypeVar

from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    ObjectAlreadyExistsError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageError,
    redact,
)
from dpone_airflow.storage.permissions import missing_permission
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

Told = TypeVar("Told")

#: The checksum in an answer isn't that of the bytes that were sent, or that came.
OTHER_CHECKSUM = "OtherChecksum"
#: The code of a write that the emulator's disk had no room for.
NO_SPACE = "NoSpaceLeft"
#: The upload in parts has ended: somebody has aborted it, or it was completed.
NO_SUCH_UPLOAD = "NoSuchUpload"
_CHECKSUM_CODES = {
    OTHER_CHECKSUM,
    "BadDigest",
    "InvalidDigest",
    "Md5Mismatch",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_NO_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound"}
_NO_OBJECT_CODES = {"NoSuchKey", "BlobNotFound"}
_TAKEN_CODES = {"BlobAlreadyExists", "ConditionalRequestConflict", "PreconditionFailed"}
_CONDITION_FAILED = 412
_CREATING = ("write", "commit the blocks of")
_LEASED = re.compile("Lease")
# Who asks isn't known, or isn't believed: what the identity may do has no part in it.
_CREDENTIAL_CODES = {
    "AzureSigningError",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidToken",
    "NoCredentials",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthenticatedError",
}
_CLOCK_CODES = {"RequestTimeTooSkewed", "RequestExpired"}
# What the operating system says to the local emulator.
_FILE_CODES = {"PermissionError"}
_DENIED_CODES = (
    _CREDENTIAL_CODES
    | _CLOCK_CODES
    | {
        # A key of a batch that is refused has a code and no status.
        "AccessDenied",
        "AuthorizationPermissionMismatch",
        "AuthorizationResourceTypeMismatch",
        "InsufficientAccountPermissions",
        "PermissionDeniedError",
    }
)
# A store that may not delete says it with the same status as one that is told it must not.
_HELD = re.compile(r"retention|\b(?:temporary|event-based|legal) hold|object lock|\bWORM\b|immutab", re.IGNORECASE)
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
# Not those that end a request before its answer begins: the SDKs have sent that again, for minutes.
_BROKEN_OFF_CODES = {"ChunkedEncodingError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError"}
_ADVICE: dict[type[StorageError], str] = {
    BucketNotFoundError: "Create the bucket or container, or correct the URI.",
    ChecksumMismatchError: "The bytes changed on their way and nothing was stored; run it again.",
    ObjectAlreadyExistsError: "Somebody else wrote it first.",
    ObjectNotFoundError: "Check the URI, and whether a cleanup has deleted it.",
    StorageError: "If the store is up and reachable from this host, run it again.",
}
_ADVICE_BY_CODE = {
    "NotADirectoryError": "A file lies where the emulator needs a folder: write another root_dir or URI.",
    OTHER_CHECKSUM: "The bytes changed on their way, or in the store; run it again.",
    NO_SUCH_UPLOAD: (
        "Somebody has aborted this upload in parts: another try of the same stage, a cleanup, a sweep or a lifecycle "
        "rule. Run it again when that has ended."
    ),
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
    kind = _classify(action, status, code, on_404)
    detail = ": ".join(part for part in (code, redact(message.strip())) if part).rstrip(".")
    if kind is StorageAccessDeniedError:
        permission = _permission(action, uri.provider, code, status, message)
        advice = _advice_on_refusal(permission, code, message)
        return StorageAccessDeniedError(
            f"Could not {action} {uri}: {detail}. {advice}",
            uri=str(uri),
            status=status,
            code=code,
            permission=permission,
        )
    advice = _advice(kind, action, status, code)
    return kind(f"Could not {action} {uri}: {detail}. {advice}", uri=str(uri), status=status, code=code)


def _advice(kind: type[StorageError], action: str, status: int | None, code: str) -> str:
    if _LEASED.match(code):
        return "Somebody has a lease on it: break the lease, or wait until it ends."
    if status == _CONDITION_FAILED and action == "read":
        return "It changed while it was read: run it again."
    return _ADVICE_BY_CODE.get(code, _ADVICE[kind])


def key_reason(reason: str, provider: ObjectStorageProvider) -> str:
    """Return why one key of a batch wasn't deleted, with the right that is missing, if that is why.

    :param reason: the store's, its code or status first, as in ``AccessDenied: Access Denied``.
    """
    code, _, message = reason.partition(":")
    status = int(code) if code.isdecimal() else None
    if _classify("delete", status, code, StorageError) is not StorageAccessDeniedError:
        return reason
    permission = _permission("delete", provider, code, status, message)
    return f"{reason.rstrip('. ')}; it needs {permission}" if permission else reason


def _permission(action: str, provider: ObjectStorageProvider, code: str, status: int | None, message: str) -> str:
    """Return the right that is missing, or nothing if something else is wrong."""
    is_something_else = code in _CREDENTIAL_CODES | _CLOCK_CODES | _FILE_CODES or status == 401 or _HELD.search(message)
    return "" if is_something_else else missing_permission(action, provider, message)


def _advice_on_refusal(permission: str, code: str, message: str) -> str:
    if permission == "s3:GetObject":
        return (
            "The connection's identity needs s3:GetObject on it, and s3:ListBucket on the bucket, or S3 says the same "
            "of what isn't there: grant them, or take away what denies them."
        )
    if permission:
        return f"The connection's identity needs {permission} on it: grant that, or take away what denies it."
    if code in _CLOCK_CODES:
        return "Set this host's clock: the store takes no request from so far off its own time."
    if code in _FILE_CODES:
        return "Give the user that this process runs as the right to do so in the emulator's directory."
    if _HELD.search(message):
        return "Take away the hold, the lock or the retention rule, or wait until it ends."
    return "Check the credentials of the Airflow connection and the rights they have on this prefix."


def check_answer(action: str, uri: ObjectStorageUri, sent: str, answered: str | None) -> None:
    """Refuse an answer that has another checksum than what was sent; one that has none is as good.

    :raises ChecksumMismatchError: naming both.
    """
    if answered not in (None, sent):
        message = f"the store answers that it has the checksum {answered}, and {sent} was sent"
        raise store_error(action, uri, None, OTHER_CHECKSUM, message)


def may_pass(status: int | None, code: str) -> bool:
    """Return whether an answer may be another one a little later: a store that is busy, a connection that broke."""
    return status in _BUSY_STATUSES or code in _BUSY_CODES


def told(value: Told | None, name: str, action: str, uri: ObjectStorageUri) -> Told:
    """Return what an answer says.

    Python's HTTP client takes headers that break off for all that there are.

    :raises StorageError: if it doesn't say it.
    """
    if value is None:
        raise store_error(action, uri, None, "ConnectionClosedError", f"the answer broke off before its {name}")
    return value


def broke_off(status: int | None, code: str) -> bool:
    """Return whether an answer had begun and the rest of it didn't come."""
    return status in (None, 200, 206) and code in _BROKEN_OFF_CODES


def _classify(action: str, status: int | None, code: str, on_404: type[StorageError]) -> type[StorageError]:
    """Return our error type for a store's answer.

    A condition that doesn't hold is that of a write: the key was to be free. SDKs set others of their own, as for the
    parts of a download to be of one object.
    """
    if code in _CHECKSUM_CODES:
        return ChecksumMismatchError
    if code in _NO_BUCKET_CODES:
        return BucketNotFoundError
    if code in _NO_OBJECT_CODES:
        return ObjectNotFoundError
    if code == NO_SUCH_UPLOAD:
        return StorageError
    if status == 404:
        return on_404
    if status in (401, 403) or code in _DENIED_CODES:
        return StorageAccessDeniedError
    is_taken = status == _CONDITION_FAILED or code in _TAKEN_CODES
    if is_taken and action in _CREATING and not _LEASED.match(code):
        return ObjectAlreadyExistsError
    return StorageError
