"""A URI is read in one way only, keeps its key byte for byte, and gives no secret away."""

from __future__ import annotations

import re
import string
from itertools import product
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage import ObjectStorageProvider, ObjectStorageUri
from dpone_airflow.storage.errors import InvalidUriError
from dpone_airflow.storage.uri import MAX_KEY_BYTES, key_problem

BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9.-]{2,20}[a-z0-9]", fullmatch=True)
# What may stand in one segment of a key: any text but control characters, / ? # and the backslash.
SEGMENTS = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/?#\\"), min_size=1, max_size=20
).filter(lambda segment: segment not in (".", ".."))
KEYS = st.lists(SEGMENTS, max_size=4).map("/".join)
STARTS = st.one_of(
    st.builds("{}://{}".format, st.sampled_from(["s3", "gs", "az"]), BUCKETS),
    st.builds("azure://{}/{}".format, st.from_regex(r"[a-z0-9]{3,12}", fullmatch=True), BUCKETS),
)


@pytest.mark.parametrize(
    ("text", "provider", "account", "bucket", "key"),
    [
        ("s3://bucket/a/b.csv", ObjectStorageProvider.S3, None, "bucket", "a/b.csv"),
        ("gs://bucket/a", ObjectStorageProvider.GCS, None, "bucket", "a"),
        ("az://container/a", ObjectStorageProvider.AZURE_BLOB, None, "container", "a"),
        ("azure://account/container/a", ObjectStorageProvider.AZURE_BLOB, "account", "container", "a"),
        ("s3://bucket", ObjectStorageProvider.S3, None, "bucket", ""),
        ("az://$web/index.html", ObjectStorageProvider.AZURE_BLOB, None, "$web", "index.html"),
        ("s3://bucket/a+b=c%25 ü 🚀.tsv", ObjectStorageProvider.S3, None, "bucket", "a+b=c%25 ü 🚀.tsv"),
    ],
)
def test_the_four_forms_say_store_account_bucket_and_key(
    text: str, provider: ObjectStorageProvider, account: str | None, bucket: str, key: str
) -> None:
    uri = ObjectStorageUri.parse(text)
    assert (uri.provider, uri.account, uri.bucket, uri.key) == (provider, account, bucket, key)
    assert str(uri) == text


def test_providers_are_spelt_as_in_a_manifest() -> None:
    assert [str(provider) for provider in ObjectStorageProvider] == ["s3", "gcs", "azure_blob"]


def test_a_scheme_may_be_written_in_capitals() -> None:
    assert str(ObjectStorageUri.parse("S3://bucket/a")) == "s3://bucket/a"


@given(STARTS, KEYS)
def test_what_is_parsed_is_written_back_the_same(start: str, key: str) -> None:
    text = f"{start}/{key}" if key else start
    assert str(ObjectStorageUri.parse(text)) == text
    assert ObjectStorageUri.parse(text).key == key


@given(STARTS, KEYS, SEGMENTS)
def test_a_child_lies_below_its_parent_and_is_a_uri_again(start: str, key: str, name: str) -> None:
    parent = ObjectStorageUri.parse(f"{start}/{key}" if key else start)
    child = parent.child(name)
    assert child.key == f"{key}/{name}".removeprefix("/")
    assert child.key.startswith(parent.prefix)
    assert ObjectStorageUri.parse(str(child)) == child


@given(st.one_of(st.text(), st.builds("{}://{}".format, st.sampled_from(["s3", "gs", "az", "azure"]), st.text())))
def test_any_text_is_a_uri_or_an_invalid_uri_error(text: str) -> None:
    try:
        uri = ObjectStorageUri.parse(text)
    except InvalidUriError:
        return
    assert ObjectStorageUri.parse(str(uri)) == uri
    segments = uri.key.removesuffix("/").split("/")
    assert uri.bucket
    assert ".." not in segments
    assert uri.key == "" or "" not in segments
    assert not set(uri.key) & set("?#\\\n\r\0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no scheme"),
        ("bucket/key", "no scheme"),
        ("/local/path", "no scheme"),
        ("file:///local/path", "no scheme"),
        ("https://bucket.s3.amazonaws.com/key", "no scheme"),
        ("ftp://host/key", "write s3://bucket/prefix"),
        ("s3:/bucket/key", "no scheme"),
        (" s3://bucket/key", "no scheme"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("azure://account", "names no bucket"),
        ("azure://account/", "names no bucket"),
        ("azure:///container/key", "names no storage account"),
        ("azure://my_account/container", "names no storage account"),
        ("s3://user:password@bucket/key", "no store takes"),
        ("s3://bucket:9000/key", "no store takes"),
        ("s3://buck et/key", "no store takes"),
        ("s3://bücket/key", "no store takes"),
        ("s3://../key", "no store takes"),
        ("s3://bucket./key", "no store takes"),
        ("s3://-bucket/key", "no store takes"),
        ("s3://$web/key", "no store takes"),
        ("s3://bucket?versionId=1", "no store takes"),
        ("s3://bucket/key?versionId=1", "'?'"),
        ("s3://bucket/key#part", "'#'"),
        ("s3://bucket/a\\b", "loaders read as something else"),
        ("s3://bucket/../key", "'..' as a segment"),
        ("s3://bucket/a/./b", "'.' as a segment"),
        ("s3://bucket/a/..", "'..' as a segment"),
        ("s3://bucket//key", "empty segment"),
        ("s3://bucket/a//b", "empty segment"),
        ("s3://bucket//", "empty segment"),
        ("s3://bucket/a//", "empty segment"),
        ("s3://bucket/a\nb", "control character"),
        ("s3://bucket/a\x7fb", "control character"),
        ("s3://bucket/\ud800", "Unicode"),
        ("s3://bucket/" + "ü" * 513, "1026 bytes"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidUriError) as refused:
        ObjectStorageUri.parse(text)
    assert said in str(refused.value)


@pytest.mark.parametrize("value", [None, 7, b"s3://bucket", ["s3://bucket"]])
def test_what_is_no_text_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(InvalidUriError, match=f"got {type(value).__name__}"):
        ObjectStorageUri.parse(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "s3://key-id:hunter2@bucket/prefix",
        "s3://key-id:has/slash/hunter2@bucket/prefix",  # AWS makes secret keys with slashes in them
        "s3://bucket/prefix?sig=hunter2",
        "az://container/prefix#hunter2",
        "s3://bucket/prefix?t=hunter2&next=http://host/x",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==",
        "https://user:hunter2@host/container",
        "https://account.blob.core.windows.net/container?sv=2025&sig=hunter2",
    ],
)
def test_a_refusal_does_not_repeat_a_password_or_a_token(text: str) -> None:
    with pytest.raises(InvalidUriError) as refused:
        ObjectStorageUri.parse(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("..", "'..' as a segment"),
        ("a/../../b", "'..' as a segment"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a//b", "empty segment"),
        ("a\\b", "loaders read"),
        ("a\0b", "control character"),
        ("x" * MAX_KEY_BYTES, "bytes"),
    ],
)
def test_a_child_never_leaves_its_parent(name: str, said: str) -> None:
    with pytest.raises(InvalidUriError, match="can't be a key below s3://bucket/base") as refused:
        ObjectStorageUri.parse("s3://bucket/base").child(name)
    assert said in str(refused.value)


def test_a_key_may_have_exactly_as_many_bytes_as_stores_take() -> None:
    longest = "x" * MAX_KEY_BYTES
    assert ObjectStorageUri.parse(f"s3://bucket/{longest}").key == longest
    with pytest.raises(InvalidUriError, match=f"{MAX_KEY_BYTES + 1} bytes"):
        ObjectStorageUri.parse(f"s3://bucket/{longest}x")


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("s3://bucket", ""), ("s3://bucket/", ""), ("s3://bucket/run-1", "run-1/"), ("s3://bucket/run-1/", "run-1/")],
)
def test_a_prefix_ends_with_one_slash_so_that_it_never_reaches_run_10(text: str, prefix: str) -> None:
    assert ObjectStorageUri.parse(text).prefix == prefix


def test_uris_can_be_sorted_and_be_keys_of_a_dict() -> None:
    backwards = [ObjectStorageUri.parse(f"s3://bucket/{letter}") for letter in reversed(string.ascii_lowercase)]
    assert [uri.key for uri in sorted(backwards)] == list(string.ascii_lowercase)
    assert len(set(backwards + backwards)) == 26


# Most keys are looked at in one go, and only those that could be unsafe one character at a time.

ODD = st.text(st.sampled_from("a./?#\\\n\r\t\0\x1f\x7f\x80\u2028 ü%~"), max_size=12)
LONG = st.builds(lambda start, length, end: start + "x" * length + end, ODD, st.integers(1010, 1026), ODD)


@given(st.one_of(ODD, LONG, st.text(max_size=30), st.text(st.characters(codec="ascii"), max_size=30)))
def test_a_key_has_the_same_problem_however_it_is_looked_at(key: str) -> None:
    with patch("dpone_airflow.storage.uri._SUSPICIOUS", re.compile("")):  # every key is
        in_full = key_problem(key)
    assert key_problem(key) == in_full


def test_each_character_and_segment_has_the_same_problem_however_it_is_looked_at() -> None:
    segments = ["", ".", "..", "...", ".a", "a.", "a"]
    keys = [f"a{chr(code)}b" for code in range(0x100)] + [f"a{chr(code)}" for code in range(0x100)]
    keys += ["/".join(three) for count in (1, 2, 3) for three in product(segments, repeat=count)]
    with patch("dpone_airflow.storage.uri._SUSPICIOUS", re.compile("")):
        in_full = [key_problem(key) for key in keys]
    assert [key_problem(key) for key in keys] == in_full


@given(st.text(max_size=30))
def test_a_key_is_safe_if_nothing_in_it_could_be_read_in_two_ways(key: str) -> None:
    segments = key.split("/") if key else []
    odd = any(segment in ("", ".", "..") for segment in segments)
    odd = odd or any(ord(character) < 0x20 or character in "\x7f?#\\" for character in key)
    odd = odd or any(0xD800 <= ord(character) < 0xE000 for character in key)
    assert (key_problem(key) is not None) == odd


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", None),
        ("a", None),
        ("a/b.c/d..e/...", None),
        (".hidden/..x/x..", None),
        ("~%+ &=", None),
        ("x" * MAX_KEY_BYTES, None),
        ("ü" * (MAX_KEY_BYTES // 2), None),
        ("x" * (MAX_KEY_BYTES + 1), "has 1025 bytes, and stores take 1024 at most"),
        ("ü" * (MAX_KEY_BYTES // 2) + "x", "has 1025 bytes, and stores take 1024 at most"),
        ("a//" + "x" * MAX_KEY_BYTES, "has an empty segment (//, or a slash at its start)"),
        ("/a", "has an empty segment (//, or a slash at its start)"),
        ("a/", "has an empty segment (//, or a slash at its start)"),
        ("/", "has an empty segment (//, or a slash at its start)"),
        (".", "has '.' as a segment"),
        ("a/..", "has '..' as a segment"),
        ("../ü", "has '..' as a segment"),
        ("a\n", "has the control character '\\n'"),
        ("ü\n", "has the control character '\\n'"),
        ("a/..\n", "has the control character '\\n'"),
        ("\x7f", "has the control character '\\x7f'"),
        ("a?b", "has '?', which loaders read as something else than a part of a name"),
        ("ü#", "has '#', which loaders read as something else than a part of a name"),
        ("\ud800", "isn't valid Unicode, so no store can hold it"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(key: str, problem: str | None) -> None:
    assert key_problem(key) == problem


@pytest.mark.parametrize("base", ["s3://bucket/base", "s3://bucket", "azure://account/container/ü"])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("a?b", "has '?', which loaders read as something else than a part of a name"),
        ("../a", "has '..' as a segment"),
        ("a\tb", "has the control character '\\t'"),
        ("/a", "has an empty segment (//, or a slash at its start)"),
        ("\udcff", "isn't valid Unicode, so no store can hold it"),
    ],
)
def test_a_child_that_can_not_be_is_named_with_its_parent_and_the_reason(base: str, name: str, problem: str) -> None:
    with pytest.raises(InvalidUriError) as refused:
        ObjectStorageUri.parse(base).child(name)
    assert str(refused.value) == f"{name!r} can't be a key below {base}: it {problem}."


def test_a_child_that_is_too_long_together_with_its_parent_is_refused() -> None:
    parent = ObjectStorageUri.parse("s3://bucket/base/")
    assert len(parent.child("x" * (MAX_KEY_BYTES - 5)).key) == MAX_KEY_BYTES
    with pytest.raises(InvalidUriError, match="it has 1025 bytes, and stores take 1024 at most"):
        parent.child("x" * (MAX_KEY_BYTES - 4))
