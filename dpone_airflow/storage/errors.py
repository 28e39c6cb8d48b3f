"""Every error this package raises on its own account.

One tree, so that ``except DponeAirflowError`` catches them all:

    DponeAirflowError
    ├── InvalidInputError (also ValueError)     what was asked for can't be right; nothing was sent
    │   ├── InvalidUriError
    │   ├── InvalidPlanError                    run id, part, policy, dataset, table, ...
    │   ├── InvalidManifestError
    │   ├── NotLoadableError                    a manifest that a warehouse can't load exactly
    │   ├── InvalidOptionError                  storage_options, concurrency, ...
    │   ├── ConnectionMismatchError             a URI and a connection that don't fit each other
    │   └── EngineNotUsableError                engine="obstore" with what obstore can't honour
    ├── SourceFileError                         the files to stage
    │   ├── NoFilesMatchedError
    │   ├── SourceFileNotFoundError
    │   ├── SourceFileChangedError
    │   └── DuplicateFileNameError
    ├── StorageError                            the store refused or failed; ``uri`` says where
    │   ├── ObjectNotFoundError
    │   ├── BucketNotFoundError
    │   ├── StorageAccessDeniedError
    │   ├── ObjectAlreadyExistsError            a conditional create lost
    │   ├── ChecksumMismatchError
    │   ├── PrefixMismatchError                 the prefix isn't what was uploaded
    │   ├── StagingVerifyError                  ``missing``, ``extra``, ``changed``: not what the manifest says
    │   ├── DeleteIncompleteError               ``left`` names what is still there, and why
    │   └── SweepIncompleteError                ``failures`` names the runs that a sweep couldn't do, and why
    ├── ClaimError                              whose run prefix is it?
    │   ├── UnclaimedPrefixError
    │   ├── ClaimedByAnotherWriterError
    │   ├── ClaimNotFoundError
    │   ├── AlreadyStagedError                  if_exists="fail", and something is staged there
    │   ├── OvertakenError                      somebody else began there meanwhile
    │   └── RetainedRunError                    its claim says that it is to be kept
    ├── DeletionLimitError                      more would be deleted than was allowed; nothing was
    ├── StagingStoppedError                     somebody asked the stage to stop
    ├── StagingGraphError                       a DAG in which a cleanup could hurt
    └── MissingExtraError (also ImportError)    an extra of this package isn't installed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dpone_airflow.storage.redaction import printable_cause as printable_cause
from dpone_airflow.storage.redaction import redact as redact

__all__ = [
    "AlreadyStagedError",
    "BucketNotFoundError",
    "ChecksumMismatchError",
    "ClaimError",
    "ClaimNotFoundError",
    "ClaimedByAnotherWriterError",
    "ConnectionMismatchError",
    "DeleteIncompleteError",
    "DeletionLimitError",
    "DponeAirflowError",
    "DuplicateFileNameError",
    "EngineNotUsableError",
    "InvalidInputError",
    "InvalidManifestError",
    "InvalidOptionError",
    "InvalidPlanError",
    "InvalidUriError",
    "MissingExtraError",
    "NoFilesMatchedError",
    "NotLoadableError",
    "ObjectAlreadyExistsError",
    "ObjectNotFoundError",
    "OvertakenError",
    "PrefixMismatchError",
    "RetainedRunError",
    "SourceFileChangedError",
    "SourceFileError",
    "SourceFileNotFoundError",
    "StagingGraphError",
    "StagingStoppedError",
    "StagingVerifyError",
    "StorageAccessDeniedError",
    "StorageError",
    "SweepIncompleteError",
    "UnclaimedPrefixError",
]


class DponeAirflowError(Exception):
    """Base of all errors of this package; none has a secret in its text."""


class InvalidInputError(DponeAirflowError, ValueError):
    """What was asked for can't be right; nothing was sent and nothing was deleted."""


class InvalidUriError(InvalidInputError):
    """A URI that isn't one of the four forms, could be read in two ways, or is of another store than the client's."""


class InvalidPlanError(InvalidInputError):
    """A staging plan with a run id, part, policy or name that can't be used."""


class InvalidManifestError(InvalidInputError):
    """A manifest whose keys, types, counts or URIs don't hold; the message names the key."""


class NotLoadableError(InvalidInputError):
    """A manifest that a warehouse can't load, or not exactly: its store, its format, a name, none or too many files."""


class InvalidOptionError(InvalidInputError):
    """An option outside its allow-list or range."""


class ConnectionMismatchError(InvalidInputError):
    """A URI and an Airflow connection that don't belong together, or a connection that makes no client."""


class EngineNotUsableError(InvalidInputError):
    """obstore was asked for by name and can't upload exactly as the connection says."""


class SourceFileError(DponeAirflowError):
    """A file, of this host or read from elsewhere, that can't be staged; no object was made of it."""


class NoFilesMatchedError(SourceFileError):
    """Nothing to stage: an empty list, an empty directory, a glob without a match."""


class SourceFileNotFoundError(SourceFileError):
    """A path that isn't there on this host, or a remote file that isn't there any more."""


class SourceFileChangedError(SourceFileError):
    """A file that was written to while it was read, or isn't of the length that it was listed with."""


class DuplicateFileNameError(SourceFileError):
    """Two files that would land on one key; nothing was sent, or of a generator's files none that came after."""


class StorageError(DponeAirflowError):
    """The store refused or failed.

    :param message: a sentence: what was wrong, with what, and what to do.
    :param uri: the object or prefix that it was about, as text; empty if it was about none.
    :param status: the HTTP status, if there was an answer; else None.
    :param code: the store's or the SDK's name for the failure, e.g. ``SlowDown``; empty if it has none.
    """

    def __init__(self, message: str, *, uri: str = "", status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.uri = uri
        self.status = status
        self.code = code


class ObjectNotFoundError(StorageError):
    """No object has this key."""


class BucketNotFoundError(StorageError):
    """The bucket or container isn't there."""


class StorageAccessDeniedError(StorageError):
    """The store didn't accept the credentials, or they lack a right.

    :param message: a sentence, as of every ``StorageError``.
    :param uri: the object or prefix, as text.
    :param status: the HTTP status, or None.
    :param code: the store's or the SDK's name for the failure.
    :param permission: the right that is missing, by the provider's name for it; empty if that isn't known, or it is
        something else that the store didn't accept.
    """

    def __init__(
        self, message: str, *, uri: str = "", status: int | None = None, code: str = "", permission: str = ""
    ) -> None:
        super().__init__(message, uri=uri, status=status, code=code)
        self.permission = permission


class ObjectAlreadyExistsError(StorageError):
    """A create that was to happen only if the key is free found it taken; what is there stays as it is."""


class ChecksumMismatchError(StorageError):
    """Bytes changed on their way to the store, or back from it; no manifest has such an object."""


class PrefixMismatchError(StorageError):
    """The run prefix doesn't hold what was uploaded, or more than that where it may not; no manifest was recorded."""


class StagingVerifyError(StorageError):
    """A run prefix that doesn't hold what its manifest says.

    :param message: a sentence that names the first five of each kind.
    :param uri: the run prefix, as text, with its trailing slash.
    :param missing: the URIs of objects that aren't there.
    :param extra: the URIs of objects that the manifest doesn't name.
    :param changed: the URI of each object that is another one now, with what is different; None for none.
    """

    def __init__(
        self,
        message: str,
        *,
        uri: str = "",
        missing: Sequence[str] = (),
        extra: Sequence[str] = (),
        changed: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, uri=uri)
        self.missing = tuple(missing)
        self.extra = tuple(extra)
        self.changed = dict(changed or {})


class DeleteIncompleteError(StorageError):
    """A delete that left objects behind; all others that it was given are gone.

    :param message: a sentence that names the first five.
    :param uri: the first object that is left, as text.
    :param left: the URI of each object that is still there, with the store's reason; None for none.
    """

    def __init__(self, message: str, *, uri: str = "", left: Mapping[str, str] | None = None) -> None:
        super().__init__(message, uri=uri)
        self.left = dict(left or {})


class SweepIncompleteError(StorageError):
    """A sweep that couldn't look at, or delete, some of the runs; it did the others.

    :param message: a sentence that names the first five.
    :param uri: the base that was swept, as text.
    :param failures: the id of each such run, with what went wrong; None for none.
    """

    def __init__(self, message: str, *, uri: str = "", failures: Mapping[str, str] | None = None) -> None:
        super().__init__(message, uri=uri)
        self.failures = dict(failures or {})


class ClaimError(DponeAirflowError):
    """A run prefix that isn't this writer's; nothing of its owner's was written or deleted."""


class UnclaimedPrefixError(ClaimError):
    """A run prefix that holds objects which no stage has claimed."""


class ClaimedByAnotherWriterError(ClaimError):
    """A run prefix that another stage task has claimed."""


class ClaimNotFoundError(ClaimError):
    """A run that no stage has claimed, so nothing under it may be deleted."""


class AlreadyStagedError(ClaimError):
    """This writer has staged here before, and was told to fail if so."""


class OvertakenError(ClaimError):
    """Somebody else began on the prefix meanwhile: a later try of the stage, or a deletion; or a stage during one.

    What this one has sent or deleted until then stays so.
    """


class RetainedRunError(ClaimError):
    """A run that is to be kept, by the policy that its stage had."""


class DeletionLimitError(DponeAirflowError):
    """More objects or bytes than a deletion was allowed; nothing was deleted."""


class StagingStoppedError(DponeAirflowError):
    """The stage was asked to stop before it had all files; what it has sent is recorded."""


class StagingGraphError(DponeAirflowError):
    """A DAG in which a cleanup could delete files that are still needed, or hide a failure; the text says what to do.

    It is raised while the DAG is parsed, or before the first byte is sent or deleted.
    """


class MissingExtraError(DponeAirflowError, ImportError):
    """A cloud's SDK or provider isn't installed.

    :param extra: the extra of this package that brings it: ``s3``, ``gcp`` or ``azure``.
    :param needed_for: what asked for it, e.g. ``"gs:// URIs"``.
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f'{needed_for} need an extra that isn\'t installed here: run pip install "dpone-airflow[{extra}]".'
        )
        self.extra = extra
