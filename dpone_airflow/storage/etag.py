"""One form for entity tags, whichever call and store they come from."""

from __future__ import annotations


def normalise_etag(etag: object) -> str | None:
    """Return an ETag without quotes and without ``W/``; None stays None.

    Azure quotes ETags in the answer to a put and not in a listing; S3 quotes both. On GCS the
    object's generation, a number, takes the ETag's place.
    https://cloud.google.com/storage/docs/metadata#generation-number

    :param etag: what an answer says, text or a number.
    """
    if etag is None:
        return None
    return str(etag).removeprefix("W/").strip('"') or None
