"""The content type of a file by its name, the same on every worker."""

from __future__ import annotations

from mimetypes import MimeTypes

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


def guess_content_type(file_name: str) -> str | None:
    """Return the MIME type that the name's ending stands for, or None."""
    lowered = file_name.lower()
    for ending, content_type in _COMPRESSED.items():
        if lowered.endswith(ending):
            return content_type
    guessed, encoding = _TYPES.guess_type(f"x/{lowered}")
    return _ENCODED.get(encoding) if encoding else guessed
