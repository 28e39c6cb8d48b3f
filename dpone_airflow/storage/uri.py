"""Object storage URIs: ``s3://``, ``gs://``, ``az://container/..``, ``azure://account/container/..``.

A URI holds its key literally: nothing in it is percent-encoded or decoded, so a file named
``a+b=c%25.tsv`` keeps its name byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from dpone_airflow.storage.errors import InvalidUriError, redact

# S3 and Azure allow 1,024 characters, GCS and S3 count bytes; the strictest reading fits all.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
# https://cloud.google.com/storage/docs/objects#naming
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
MAX_KEY_BYTES = 1024

_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
# Azure has containers such as $root and $web.
_AZURE_CONTAINER = re.compile(r"\$?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
# An empty segment, a . or .. as one, or a character that key_problem names; most keys have none.
_SUSPICIOUS = re.compile(r"[\x00-\x1f\x7f?#\\]|(?:^|/)\.{0,2}(?:/|$)")
_FORMS = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or azure://account/container/prefix"


class ObjectStorageProvider(StrEnum):
    """Which store a URI names; the values are those of a manifest's ``provider``: ``s3``, ``gcs``, ``azure_blob``."""

    S3 = "s3"
    GCS = "gcs"
    AZURE_BLOB = "azure_blob"


_PROVIDERS = {
    "s3": ObjectStorageProvider.S3,
    "gs": ObjectStorageProvider.GCS,
    "az": ObjectStorageProvider.AZURE_BLOB,
    "azure": ObjectStorageProvider.AZURE_BLOB,
}
_SCHEMES = {
    ObjectStorageProvider.S3: "s3",
    ObjectStorageProvider.GCS: "gs",
    ObjectStorageProvider.AZURE_BLOB: "az",
}


@dataclass(frozen=True, order=True, slots=True)
class ObjectStorageUri:
    """One place in a store.

    ``parse`` and ``child`` refuse what could be read in two ways. The constructor takes any key,
    because a listing returns whatever others have put into a bucket. As text it is what ``parse`` reads.

    :param provider: the store.
    :param bucket: the bucket, or Azure's container.
    :param key: the object's key, or a prefix, with nothing percent-encoded; empty for the bucket itself.
    :param account: Azure's storage account when the URI names it; None when the connection is to say it.
    """

    provider: ObjectStorageProvider
    bucket: str
    key: str = ""
    account: str | None = None

    @classmethod
    def parse(cls, text: str) -> ObjectStorageUri:
        """Read a URI.

        What a key may be is the strictest of three rules:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
        https://cloud.google.com/storage/docs/objects#naming
        https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata

        :param text: ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key`` or
            ``azure://account/container/key``; the key may be a prefix, with or without a slash at its end, or absent.
        :returns: its parts; a slash at the key's end stays.
        :raises InvalidUriError: for what isn't text, an unknown scheme, no bucket, credentials, a port, a query, a
            fragment, a backslash, ``.`` or ``..`` or ``//`` in the path, control characters, or a key over
            1,024 bytes.
        """
        if not isinstance(text, str):
            raise InvalidUriError(f"A URI is text such as {_FORMS}; got {type(text).__name__}.")
        scheme_match = _SCHEME.match(text)
        scheme = scheme_match.group(1).lower() if scheme_match else ""
        if scheme not in _PROVIDERS:
            raise InvalidUriError(f"{_shown(text)} has no scheme that is known here: write {_FORMS}.")
        assert scheme_match is not None
        rest = text[scheme_match.end() :]
        authority, _, path = rest.partition("/")
        account: str | None = None
        if scheme == "azure":
            account = authority
            if not _ACCOUNT.fullmatch(account):
                raise InvalidUriError(
                    f"{_shown(text)} names no storage account: write azure://account/container/prefix."
                )
            authority, _, path = path.partition("/")
        if not authority:
            raise InvalidUriError(f"{_shown(text)} names no bucket or container: write {_FORMS}.")
        names = _AZURE_CONTAINER if _PROVIDERS[scheme] is ObjectStorageProvider.AZURE_BLOB else _BUCKET
        if not names.fullmatch(authority):
            raise InvalidUriError(
                f"{_shown(text)} has a bucket or container name with characters that no store takes "
                "(credentials, ports, queries and fragments don't belong into a URI here; put them "
                "into the connection)."
            )
        problem = key_problem(path if path == "/" else path.removesuffix("/"))
        if problem:
            raise InvalidUriError(f"{_shown(text)} can't be used: its path {problem}.")
        return cls(_PROVIDERS[scheme], authority, path, account)

    def child(self, name: str) -> ObjectStorageUri:
        """Return the URI of ``name`` below this one.

        :param name: one or more segments with ``/`` between, e.g. ``part-0.csv`` or ``dt=2026-11-22/part-0.csv``.
        :raises InvalidUriError: if ``name`` is empty, leaves this prefix or makes no safe key.
        """
        key = self.prefix + name
        problem = key_problem(key) if name else "is empty"
        if problem:
            raise InvalidUriError(f"{name!r} can't be a key below {self}: it {problem}.")
        return ObjectStorageUri(self.provider, self.bucket, key, self.account)

    @property
    def prefix(self) -> str:
        """The key with one trailing slash, as listings and deletes take it; empty for a bucket."""
        return f"{self.key.removesuffix('/')}/" if self.key else ""

    @property
    def scheme(self) -> str:
        """The scheme that ``str`` writes: ``s3``, ``gs``, ``az`` or ``azure``."""
        return "azure" if self.account else _SCHEMES[self.provider]

    def __str__(self) -> str:
        account = f"{self.account}/" if self.account else ""
        key = f"/{self.key}" if self.key else ""
        return f"{self.scheme}://{account}{self.bucket}{key}"


def key_problem(key: str) -> str | None:
    """Return what makes ``key`` unsafe as an object's key, as the end of a sentence, or None.

    ``?`` and ``#`` are legal in a key but start a query or fragment for half of the programs that
    read URIs; Azure turns a backslash into a slash.
    """
    if key.isascii() and len(key) <= MAX_KEY_BYTES and not _SUSPICIOUS.search(key):
        return None
    for segment in key.split("/") if key else ():
        if segment == "":
            return "has an empty segment (//, or a slash at its start)"
        if segment in (".", ".."):
            return f"has {segment!r} as a segment"
    for character in key:
        if ord(character) < 0x20 or ord(character) == 0x7F:
            return f"has the control character {character!r}"
        if character in "?#\\":
            return f"has {character!r}, which loaders read as something else than a part of a name"
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "isn't valid Unicode, so no store can hold it"
    if length > MAX_KEY_BYTES:
        return f"has {length} bytes, and stores take {MAX_KEY_BYTES} at most"
    return None


def _shown(text: str) -> str:
    """Quote a refused URI without what may be a password or a token in it."""
    before, at, after = text.rpartition("@")
    if at:  # what stands before it may be a password, whatever characters it has
        scheme, separator, _ = before.partition("://")
        text = f"{scheme if separator else ''}{separator}***@{after}"
    return repr(redact(re.split(r"[?#]", text, maxsplit=1)[0]))
