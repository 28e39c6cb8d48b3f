"""Whatever text comes: a URI that writes itself back the same and leaves no prefix, or our error."""

from __future__ import annotations

from dpone_airflow.staging.plan import EVIDENCE_FOLDER, base_of, checked_child
from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import InvalidInputError, InvalidUriError
from dpone_airflow.storage.uri import MAX_KEY_BYTES
from tests.fuzz.choices import Choices
from tests.fuzz.fuzzed import fuzzed, told

VALID = (
    "s3://landing/orders/dt=2026-11-22/part-0.parquet",
    "S3://my.bucket-1/a",
    "gs://bucket_2/a+b=c%25 ü 🚀.tsv",
    "az://$web/index.html",
    "az://container/a/b/",
    "azure://account1/container/a/b",
    "azure://account1/container",
    "",
)
NAMES = ("a.csv", "dt=2026-11-22/part-0.parquet", "a/b/c/d", f"{EVIDENCE_FOLDER}/x", "")


def check_key(key: str) -> None:
    segments = key.removesuffix("/").split("/")
    assert not {".", ".."} & set(segments)
    assert key == "" or "" not in segments
    assert not any(ord(character) < 0x20 or character in "\x7f?#\\" for character in key)
    assert len(key.encode()) <= MAX_KEY_BYTES


@fuzzed(lambda choices: choices.changed_text(choices.of(VALID), 4))
def test_any_text_is_a_uri_that_writes_itself_back_or_an_invalid_uri_error(text: str) -> None:
    try:
        uri = ObjectStorageUri.parse(text)
    except InvalidUriError as error:
        told(error)
        return
    scheme, separator, rest = text.partition("://")
    written = f"{scheme.lower()}{separator}{rest}"
    # Only the scheme's case isn't kept, and a slash after a bucket without a key.
    assert str(uri) == (written if uri.key else written.removesuffix("/"))
    assert ObjectStorageUri.parse(str(uri)) == uri
    assert uri.bucket
    assert not set(uri.bucket + (uri.account or "")) & set("/@:?#\\ ")
    check_key(uri.key)
    assert uri.prefix == "" or (uri.prefix.endswith("/") and not uri.prefix.endswith("//"))


def _base_and_name(choices: Choices) -> tuple[str, str]:
    return choices.changed_text(choices.of(VALID), 1), choices.changed_text(choices.of(NAMES))


@fuzzed(_base_and_name)
def test_any_file_name_lies_below_its_prefix_or_is_refused(base_and_name: tuple[str, str]) -> None:
    text, name = base_and_name
    try:
        base = base_of(text)
        place = checked_child(base, name)
    except InvalidInputError:
        return
    assert place.key == base.prefix + name
    assert (place.provider, place.account, place.bucket) == (base.provider, base.account, base.bucket)
    assert EVIDENCE_FOLDER not in place.key.split("/")
    check_key(place.key)
    assert ObjectStorageUri.parse(str(place)) == place
