"""The content type of a file by its name, the same on every worker."""

from __future__ import annotations

import re
from functools import lru_cache
from mimetypes import MimeTypes

from dpone_airflow.storage.errors import InvalidPlanError

# Python's own table only: what a worker's /etc/mime.types adds would make workers differ.
_TYPES = MimeTypes()
for _ending, _type in {
    ".avro": "application/vnd.apache.avro",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".orc": "application/vnd.apache.orc",
    ".parquet": "application/vnd.apache.parquet",
}.items():
    _TYPES.add_type(_type, _ending)

# A compressed file is what its bytes are: a Content-Encoding would have some readers unpack it
# in passing, and its checksum would no longer be that of what they see.
_COMPRESSED = {".lz4": "application/x-lz4", ".snappy": "application/x-snappy", ".zst": "application/zstd"}
_ENCODED = {"bzip2": "application/x-bzip2", "gzip": "application/gzip", "xz": "application/x-xz"}


# What an HTTP header takes.
_HEADER_TEXT = re.compile(r"[\x21-\x7e][\x20-\x7e]*", re.ASCII)


def checked_content_type(content_type: str | None) -> str | None:
    """Return ``content_type`` if it can be sent; None stays None.

    :raises InvalidPlanError: if it is blank, no text, or has characters that no header takes.
    """
    if content_type is not None and not (isinstance(content_type, str) and _HEADER_TEXT.fullmatch(content_type)):
        raise InvalidPlanError(f"content_type is {content_type!r}: write one such as 'text/csv', or leave it out.")
    return content_type


def guess_content_type(file_name: str) -> str | None:
    """Return the MIME type that the name's ending stands for, or None."""
    _, *endings = file_name.lower().rpartition("/")[2].split(".")
    return _of_endings(tuple(endings[-2:]))


@lru_cache(maxsize=1024)
def _of_endings(endings: tuple[str, ...]) -> str | None:
    """Return the type of names that end so (.csv.gz); the files of a stage mostly end alike."""
    lowered = ".".join(("file", *endings))
    for ending, content_type in _COMPRESSED.items():
        if lowered.endswith(ending):
            return content_type
    guessed, encoding = _TYPES.guess_type(f"x/{lowered}")
    return _ENCODED.get(encoding) if encoding else guessed
