"""An ETag reads the same whichever call and store it comes from."""

from __future__ import annotations

import pytest

from dpone_airflow.storage.etag import normalise_etag


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ('"0x8DE29"', "0x8DE29"),  # Azure, the answer to a put
        ("0x8DE29", "0x8DE29"),  # Azure, a listing
        ('"9bb58f26192e4ba00f01e2e7b136bbd8-3"', "9bb58f26192e4ba00f01e2e7b136bbd8-3"),  # S3, a multipart upload
        ('W/"abc"', "abc"),
        (1763800000000000, "1763800000000000"),  # a generation of GCS
        (0, "0"),
        (None, None),
        ("", None),
        ('""', None),
    ],
)
def test_an_etag_has_no_quotes_and_no_mark_of_weakness(given: object, normal: str | None) -> None:
    assert normalise_etag(given) == normal
