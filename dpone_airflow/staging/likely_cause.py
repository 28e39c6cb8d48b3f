"""From an error to what is behind it, most likely, and what the runbook says to do."""

from __future__ import annotations

from dpone_airflow.staging.check import Check, Outcome
from dpone_airflow.storage.answers import may_pass
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    ChecksumMismatchError,
    ConnectionMismatchError,
    DeleteIncompleteError,
    DponeAirflowError,
    EngineNotUsableError,
    InvalidInputError,
    MissingExtraError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageError,
    redact,
)

RUNBOOK = "docs/runbook.md#"
_REFUSED = f"{RUNBOOK}the-store-refuses-the-credentials"
_NO_CONNECTION = f"{RUNBOOK}the-connection-cant-be-made"
_NO_ANSWER = f"{RUNBOOK}the-store-doesnt-answer"
# That Azure allows a clock 15 minutes:
# https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key#specifying-the-date-header
_BY_CODE = {
    "InvalidAccessKeyId": "There is no such access key: it is misspelt, was deleted, or is of another store.",
    "SignatureDoesNotMatch": "The secret key doesn't belong to the access key: it is misspelt, or was rotated.",
    "AuthenticationFailed": "The account key or the token isn't the account's: it is misspelt, was rotated, or has "
    "run out; or this host's clock is more than 15 minutes off.",
    "AzureSigningError": "The account key isn't one: it is cut off, or holds a sign that no key has.",
    "AuthorizationFailure": "The account key or the token isn't the account's, or the account's firewall keeps this "
    "host out.",
    "InvalidAuthenticationInfo": "The token is of another form, tenant or audience than the account takes.",
    "ExpiredToken": "The session or its token has run out.",
    "InvalidToken": "The session token isn't of these keys, or has run out.",
    "NoCredentials": "The connection holds no credentials, and this host has none of its own that the SDK finds.",
}
_CLOCK_CODES = {"RequestTimeTooSkewed", "RequestExpired"}


def finding(name: str, error: Exception) -> Check:
    """Return the check that ended with an error."""
    cause, action = cause_and_action(error)
    text = redact(" ".join(str(error).split()))
    if not isinstance(error, DponeAirflowError):  # what another package's error says may be no more than a name
        text = f"{type(error).__name__}: {text}"
    return Check(name, Outcome.FAILED, text, cause, action)


def cause_and_action(error: Exception) -> tuple[str, str]:
    """Return what is behind an error, most likely, and what to do, with a section of the runbook."""
    if isinstance(error, StorageAccessDeniedError):
        return _refused(error)
    if isinstance(error, StorageError):
        return _failed(error)
    if isinstance(error, MissingExtraError):
        return "An extra of this package isn't installed here.", _do("Install it", "an-extra-is-missing")
    if isinstance(error, ConnectionMismatchError) and "root_dir" in str(error):
        return "The connection doesn't say where the buckets are.", _do("Write root_dir", "the-connection-cant-be-made")
    if isinstance(error, ConnectionMismatchError):
        return "URI and connection are of two stores.", _do("Correct one of the two", "uri-and-connection-dont-fit")
    if isinstance(error, EngineNotUsableError):
        return "obstore can't upload just as the connection says.", _do(
            "Take the setting away, or let the SDK upload", "obstore-cant-upload-here"
        )
    if isinstance(error, InvalidInputError):
        return "What was given can't be meant.", _do("Correct it", "a-name-or-file-cant-be-staged")
    return (
        "The connection isn't defined here, or its hook can't make a client of it.",
        f"Define or correct it where tasks run: {_NO_CONNECTION}",
    )


def is_final(error: Exception) -> bool:
    """Return whether every other request would end in the same way: no credentials, no bucket, no store, no folder."""
    if isinstance(error, StorageAccessDeniedError):
        return error.code in _BY_CODE or error.code in _CLOCK_CODES or error.status == 401
    if isinstance(error, BucketNotFoundError):
        return True
    if isinstance(error, StorageError) and error.code == "NotADirectoryError":
        return True
    return isinstance(error, StorageError) and error.status is None and _no_answer(error)


def runbook(sentence: str, section: str = "the-doctor-finds-something") -> str:
    """Return an action: a sentence without its full stop, and where the runbook says more."""
    return _do(sentence, section)


def _refused(error: StorageAccessDeniedError) -> tuple[str, str]:
    if error.code in _CLOCK_CODES:
        return (
            "This host's clock is wrong: the store refuses requests that are more than 15 minutes off its own.",
            _do("Set the clock, and keep it right by NTP", "the-doctor-finds-something"),
        )
    if error.permission:
        return f"The identity lacks the right {error.permission}.", f"Grant it: {_REFUSED}"
    if error.code == "PermissionError":
        return (
            "The user that this process runs as may not do that in the emulator's directory.",
            _do("Give it the directory", "the-doctor-finds-something"),
        )
    cause = _BY_CODE.get(error.code, "The credentials aren't accepted, or lack a right that the store doesn't name.")
    return cause, f"Correct the connection's credentials: {_REFUSED}"


def _failed(error: StorageError) -> tuple[str, str]:
    if isinstance(error, BucketNotFoundError):
        return (
            "There is no such bucket or container at this endpoint.",
            _do("Create it, or correct URI or endpoint", "the-bucket-is-missing"),
        )
    if isinstance(error, ChecksumMismatchError):
        return (
            "The bytes change on their way, or the store doesn't speak the checksum.",
            _do("Look at proxies and at the store's version", "the-checksum-is-wrong"),
        )
    if isinstance(error, DeleteIncompleteError):
        return (
            "The right to delete is missing, or a lease, a hold or a retention rule keeps the object.",
            _do("Grant the right, or remove what holds it", "something-is-left"),
        )
    if isinstance(error, ObjectNotFoundError):
        return (
            "What was just written isn't there: something else deletes below the base, or it shows late.",
            _do("Find what deletes there", "the-prefix-isnt-what-was-uploaded"),
        )
    if error.code in ("OSError", "FileNotFoundError", "FileExistsError", "NotADirectoryError"):
        return (
            "The emulator's directory can't be written: it is read-only, full, or a file lies where a folder must be.",
            _do("Make room or choose another root_dir", "the-doctor-finds-something"),
        )
    if _no_answer(error):
        return (
            "The store is away, busy, or not to be reached from this host.",
            f"Reach the endpoint from this host: {_NO_ANSWER}",
        )
    return "The store doesn't take the request.", f"Read its answer: {_NO_ANSWER}"


def _no_answer(error: StorageError) -> bool:
    """Return whether the store is away or busy."""
    # obstore says no more of a request that met nobody.
    unsent = error.status is None and error.code == "GenericError"
    return unsent or may_pass(error.status, error.code)


def _do(sentence: str, section: str) -> str:
    return f"{sentence}: {RUNBOOK}{section}"
