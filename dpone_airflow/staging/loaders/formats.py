"""The names of file formats and compressions in manifests: the author's own words, read leniently."""

from __future__ import annotations

from dpone_airflow.staging.manifest import ObjectStorageStagingManifest

_FORMATS = {
    "tab": "tsv",
    "ndjson": "jsonl",
    "json_lines": "jsonl",
    "jsonlines": "jsonl",
    "json": "jsonl",
}
_COMPRESSIONS = {
    "": "none",
    "uncompressed": "none",
    "gz": "gzip",
    "zst": "zstd",
    "zstandard": "zstd",
    "bz2": "bzip2",
    "br": "brotli",
    "lzma": "xz",
}
#: Formats that are compressed inside: what the manifest says of compression is nothing to a loader.
COMPRESSED_INSIDE = frozenset({"parquet", "avro", "orc"})
#: Formats whose first line may be a header.
WITH_HEADER = frozenset({"csv", "tsv"})


def format_of(manifest: ObjectStorageStagingManifest) -> str:
    """Return the manifest's file format as the loaders here call it: ``csv``, ``tsv``, ``jsonl``, ``parquet``, ..."""
    name = manifest.file_format.strip().lower().lstrip(".").replace("-", "_")
    return _FORMATS.get(name, name)


def compression_of(manifest: ObjectStorageStagingManifest) -> str:
    """Return how the files are compressed as a whole: ``none``, ``gzip``, ``zstd``, ..."""
    if format_of(manifest) in COMPRESSED_INSIDE:
        return "none"
    name = manifest.compression.strip().lower().lstrip(".")
    return _COMPRESSIONS.get(name, name)
