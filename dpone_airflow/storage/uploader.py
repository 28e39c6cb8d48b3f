"""What sends bytes to a store: a client's own SDK, or obstore in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dpone_airflow.storage.readers import Reader
from dpone_airflow.storage.uri import ObjectStorageUri


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """Where an object goes and what is stored with it.

    :param uri: its place.
    :param content_type: MIME type, if one is known.
    :param metadata: names and values, as the store takes them.
    """

    uri: ObjectStorageUri
    content_type: str | None
    metadata: Mapping[str, str]


class NotThisUploaderError(Exception):
    """The store wants this written in a way that only its SDK knows; it never leaves this package."""


class Uploader(Protocol):
    """Writes objects and returns their ETags; every error is one of ``storage.errors``.

    Only :class:`NotThisUploaderError` isn't: nothing was written then, and the SDK is to do it.
    """

    #: The package that sends.
    engine: str

    def takes(self, target: UploadTarget) -> bool:
        """Return whether this uploader would write just that, and just there."""

    def put_small(self, target: UploadTarget, data: bytes) -> str | None:
        """Write one object in one request."""

    def put_large(self, target: UploadTarget, reader: Reader, part_bytes: int, lanes: int) -> str | None:
        """Write one object in parts, ``lanes`` at a time; on an error nothing is left open."""
