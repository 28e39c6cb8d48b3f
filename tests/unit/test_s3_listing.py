"""Pages of a listing hold what boto3 would read in them, and nobody else's listing is touched."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, quote_plus, urlsplit
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, PaginationError
from botocore.parsers import ResponseParserError

from dpone_airflow.storage import ObjectStorageUri, S3ObjectStorageClient
from dpone_airflow.storage.errors import BucketNotFoundError, StorageError
from dpone_airflow.storage.s3_listing import _take_objects, listed_objects
from tests.recorder import Answer, Recorded, Recorder, recording

# One for all, since it reads botocore's models once.
SESSION = boto3.session.Session()
EVENT = "before-parse.s3.ListObjectsV2"
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
KEYS = [
    "plain.csv",
    "dt=2026-11-22/a.csv",
    "a+b=c%25.tsv",
    "with space/and  two.csv",
    " leading",
    "trailing ",
    " ",
    "%41%2F%zz%",
    "ünïcode/数据 🚀.csv",
    "e\u0301",
    "quote'\"s & <angles>;?#[]{}|^`~!*().csv",
    "a&amp;b",
]
CONTROL_KEYS = ["line\nfeed", "carriage\rreturn", "tab\tbed", "nul\0", "one\x01", "del\x7f"]


@pytest.fixture(autouse=True)
def _only_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a developer or a CI has set out of the tests."""
    for name in list(os.environ):
        if re.match(r"(?i)AWS_|BOTO_|.*_proxy$", name):
            monkeypatch.delenv(name)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
def client(recorder: Recorder) -> Any:
    return client_of(recorder)


def client_of(recorder: Recorder, attempts: int = 1) -> Any:
    return SESSION.client(
        "s3",
        endpoint_url=recorder.url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": attempts}),
    )


def entry(key: str, size: int = 3, etag: str | None = "&quot;abc&quot;") -> str:
    """Return one object of a page; ``key`` is as it stands in the XML."""
    tag = "" if etag is None else f"<ETag>{etag}</ETag>"
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-22T10:00:00.000Z</LastModified>{tag}"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def page(*entries: str, token: str | None = None, encoded: bool = True, namespace: str = NAMESPACE) -> Answer:
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    return xml(
        f"<ListBucketResult{namespace}><Name>lake</Name><Prefix>run/</Prefix><MaxKeys>1000</MaxKeys>"
        f"{'<EncodingType>url</EncodingType>' if encoded else ''}<KeyCount>{len(entries)}</KeyCount>"
        f"{more if token is not None else '<IsTruncated>false</IsTruncated>'}{''.join(entries)}</ListBucketResult>"
    )


def xml(body: str, status: int = 200) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
    return status, {"Content-Type": "application/xml"}, text.encode()


def query(request: Recorded) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query, keep_blank_values=True)


class Undated(NamedTuple):
    key: str
    size_bytes: int
    etag: str | None


def listed(client: Any, **arguments: Any) -> list[Undated]:
    return [Undated(*item[:3]) for item in listed_objects(client, {"Bucket": "lake", "Prefix": "run/"} | arguments)]


def as_boto3_lists(client: Any) -> list[Undated]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix="run/")
    return [Undated(item["Key"], item["Size"], item.get("ETag")) for one in pages for item in one.get("Contents", ())]


def handlers(client: Any) -> list[Any]:
    """Return what listens to pages that are about to be read, besides botocore's own."""
    found = client.meta.events._emitter._handlers.prefix_search(EVENT)
    return [handler for handler in found if handler.__module__.startswith("dpone_airflow")]


# What is in a page.


def test_key_size_and_etag_are_read(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page(entry("run/a.csv", 0), entry("run/b.csv", 5 * 1024**4, etag='"def-2"'))
    assert listed(client) == [("run/a.csv", 0, '"abc"'), ("run/b.csv", 5 * 1024**4, '"def-2"')]
    assert query(recorder.only) == {
        "list-type": ["2"],
        "prefix": ["run/"],
        "encoding-type": ["url"],
    }


def test_the_time_is_that_of_boto3_when_it_is_asked_for(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page(entry("run/a.csv"))
    (found,) = S3ObjectStorageClient(client).list_objects(ObjectStorageUri.parse("s3://lake/run"))
    assert found.modified_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert found.modified_at == client.list_objects_v2(Bucket="lake")["Contents"][0]["LastModified"]


@pytest.mark.parametrize(
    ("etag", "read"),
    [
        ("&quot;abc&quot;", '"abc"'),
        ("&#34;abc&#34;", '"abc"'),
        ("&#x22;a&amp;b&lt;&gt;&apos;&#x22;", '"a&b<>\'"'),
        ('<![CDATA["a&b"]]>', '"a&b"'),
        ("abc", "abc"),
        (None, None),
    ],
)
def test_an_etag_may_be_written_in_many_ways(
    recorder: Recorder, client: Any, etag: str | None, read: str | None
) -> None:
    recorder.answer = lambda _: page(entry("run/a.csv", etag=etag))
    assert listed(client) == as_boto3_lists(client) == [("run/a.csv", 3, read)]


def in_lower_case(encoded: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), encoded)


@pytest.mark.parametrize(
    "encode",
    [
        # S3 itself writes a space as a plus.
        pytest.param(lambda key: quote_plus(key, safe="/"), id="plus"),
        pytest.param(lambda key: quote_plus(key), id="plus, and slashes too"),
        pytest.param(lambda key: quote(key), id="percent"),
        pytest.param(lambda key: in_lower_case(quote(key)), id="percent in lower case"),
    ],
)
def test_keys_that_are_encoded_are_read_as_boto3_reads_them(
    recorder: Recorder, client: Any, encode: Callable[[str], str]
) -> None:
    keys = [f"{folder}{key}" for folder in ("", "run/") for key in (*KEYS, *CONTROL_KEYS)]
    recorder.answer = lambda _: page(*(entry(encode(key)) for key in keys))
    found = [item.key for item in listed(client)]
    assert found == [item.key for item in as_boto3_lists(client)]
    assert found == keys


def test_a_space_that_s3_writes_as_a_plus_is_a_space(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page(entry("run/a+b%2Bc.csv"), entry("+lead"), entry("trail+"))
    assert [item.key for item in listed(client)] == ["run/a b+c.csv", " lead", "trail "]


def test_keys_that_are_not_encoded_are_read_as_they_stand(recorder: Recorder, client: Any) -> None:
    """Not every server knows how to encode them."""
    recorder.answer = lambda _: page(*(entry(escape(key)) for key in KEYS), encoded=False)
    assert [item.key for item in listed(client)] == KEYS
    assert listed(client) == as_boto3_lists(client)


@pytest.mark.parametrize("namespace", [NAMESPACE, "", ' xmlns="http://doc.s3.amazonaws.com/2006-03-01"'])
def test_a_page_may_be_of_any_namespace(recorder: Recorder, client: Any, namespace: str) -> None:
    recorder.answer = lambda _: page(entry("run/a.csv"), namespace=namespace)
    assert listed(client) == as_boto3_lists(client) == [("run/a.csv", 3, '"abc"')]


@pytest.mark.parametrize("namespace", [NAMESPACE, "", ' xmlns="http://doc.s3.amazonaws.com/2006-03-01"'])
def test_what_is_not_asked_for_is_not_read(recorder: Recorder, client: Any, namespace: str) -> None:
    """Dates are what botocore takes longest for, and this one it couldn't read."""
    undated = entry("run/a.csv").replace("2026-11-22T10:00:00.000Z", "no date")
    recorder.answer = lambda _: page(undated, namespace=namespace)
    assert listed(client) == [("run/a.csv", 3, '"abc"')]
    with pytest.raises(ValueError, match="no date"):
        as_boto3_lists(client)


def test_what_else_is_in_a_page_is_no_object(recorder: Recorder, client: Any) -> None:
    """Owner and checksum of an object, folders that were asked for, and whatever a server adds."""
    recorder.answer = lambda _: page(
        "<CommonPrefixes><Prefix>run/folder/</Prefix></CommonPrefixes>",
        "<Contents><Owner><ID>1</ID><Key>no key</Key><Size>no size</Size></Owner><Extra><ETag>x</ETag></Extra>"
        "<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><Size>7</Size><ETag>e</ETag><Key>run/a.csv</Key></Contents>",
        "<DeleteMarker><Key>run/gone.csv</Key></DeleteMarker>",
    )
    assert listed(client) == [("run/a.csv", 7, "e")]


def test_nothing_is_listed(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page()
    assert listed(client) == []
    assert len(recorder.seen) == 1


# Pages.


def test_pages_follow_each_other_by_their_tokens(recorder: Recorder, client: Any) -> None:
    tokens = ["first+/=&%", "second"]
    pages = {
        None: page(entry("run/a"), entry("run/b"), token=escape(tokens[0])),
        tokens[0]: page(token=tokens[1]),  # a page may be empty and not the last
        tokens[1]: page(entry("run/c")),
    }
    recorder.answer = lambda request: pages[query(request).get("continuation-token", [None])[0]]
    assert [item.key for item in listed(client, ExpectedBucketOwner="123456789012")] == ["run/a", "run/b", "run/c"]
    asked = [query(request) for request in recorder.seen]
    assert [one.pop("continuation-token", None) for one in asked] == [None, [tokens[0]], [tokens[1]]]
    assert asked == [{"list-type": ["2"], "prefix": ["run/"], "encoding-type": ["url"]}] * 3
    assert {request.headers["x-amz-expected-bucket-owner"] for request in recorder.seen} == {"123456789012"}
    assert len(handlers(client)) <= 1


def test_the_next_page_is_asked_for_when_it_is_wanted(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page(entry("run/a"), entry("run/b"), token="more")
    objects = listed_objects(client, {"Bucket": "lake", "Prefix": "run/"})
    assert recorder.seen == []
    assert [next(objects).key, next(objects).key] == ["run/a", "run/b"]
    assert len(recorder.seen) == 1
    objects.close()  # type: ignore[attr-defined]
    assert len(handlers(client)) <= 1


def test_a_page_of_a_thousand_is_whole(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page(*(entry(f"run/{number}", number) for number in range(1000)))
    assert listed(client) == [(f"run/{number}", number, '"abc"') for number in range(1000)]


def test_botocore_reads_a_page_without_its_objects(
    recorder: Recorder, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks into every page for an error, which takes longer than all the rest."""
    from botocore import handlers

    looked_at = []
    looks_like_an_error = handlers._looks_like_special_case_error  # type: ignore[attr-defined]

    def look(status: int, body: bytes) -> Any:
        looked_at.append(body)
        return looks_like_an_error(status, body)

    monkeypatch.setattr(handlers, "_looks_like_special_case_error", look)
    recorder.answer = lambda _: page(*(entry(f"run/{number}", number) for number in range(1000)))
    assert len(listed(client)) == 1000
    assert [b"Contents" in body for body in looked_at] == [False]


# Errors.


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchBucket"), (403, "AccessDenied"), (500, "InternalError")])
def test_a_refusal_is_boto3s_own_error(recorder: Recorder, client: Any, status: int, code: str) -> None:
    recorder.answer = lambda _: xml(f"<Error><Code>{code}</Code><Message>No.</Message></Error>", status)
    with pytest.raises(ClientError) as refused:
        listed(client)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert len(handlers(client)) <= 1


def test_an_error_in_a_successful_answer_is_an_error(recorder: Recorder, client: Any) -> None:
    """https://repost.aws/knowledge-center/s3-resolve-200-internalerror."""
    recorder.answer = lambda _: xml("<Error><Code>InternalError</Code><Message>Again.</Message></Error>")
    with pytest.raises(ClientError, match="InternalError"):
        listed(client)


@pytest.mark.parametrize(
    "body",
    ["no xml", "<ListBucketResult", "<ListBucketResult><Contents><Key>run/a</Key>", "<a></b>", "{}"],
)
def test_a_body_that_can_not_be_read_is_botocores_own_error(recorder: Recorder, client: Any, body: str) -> None:
    recorder.answer = lambda _: xml(body)
    with pytest.raises((ClientError, ResponseParserError)) as read:
        listed(client)
    with pytest.raises(type(read.value)) as read_by_boto3:
        client.list_objects_v2(Bucket="lake", Prefix="run/")
    assert str(read.value) == str(read_by_boto3.value)
    assert len(handlers(client)) <= 1


@pytest.mark.parametrize("body", [b"", b"no xml", b"<ListBucketResult", b"\xff"])
def test_a_page_that_is_none_is_left_to_botocore(body: bytes) -> None:
    assert _take_objects(body) == ([], body)


def test_what_breaks_on_a_later_page_is_no_end_of_the_listing(recorder: Recorder, client: Any) -> None:
    def answer(request: Recorded) -> Answer:
        return xml("<Error><Code>SlowDown</Code></Error>", 503) if "token" in request.path else page(token="more")

    recorder.answer = answer
    with pytest.raises(ClientError, match="SlowDown"):
        listed(client)


def test_a_page_that_had_to_be_asked_for_twice_is_listed_once(recorder: Recorder) -> None:
    answers = [
        xml("<Error><Code>SlowDown</Code></Error>", 503),
        xml("<Error><Code>InternalError</Code></Error>"),
        (503, *page(entry("run/a"))[1:]),
        page(entry("run/a"), entry("run/b")),
    ]
    recorder.answer = lambda _: answers[min(len(recorder.seen), 4) - 1]
    assert [item.key for item in listed(client_of(recorder, attempts=4))] == ["run/a", "run/b"]
    assert len(recorder.seen) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (xml("<Error><Code>NoSuchBucket</Code><Message>No.</Message></Error>", 404), BucketNotFoundError),
        (xml("<ListBucketResult"), StorageError),
    ],
)
def test_a_client_of_ours_turns_it_into_an_error_of_ours(
    recorder: Recorder, client: Any, answer: Answer, error: type[StorageError]
) -> None:
    recorder.answer = lambda _: answer
    with pytest.raises(error, match="Could not list s3://lake/run"):
        list(S3ObjectStorageClient(client).list_objects(ObjectStorageUri.parse("s3://lake/run")))


# The client's other listings.


def test_another_listing_of_the_same_client_has_all_its_fields_afterwards(recorder: Recorder, client: Any) -> None:
    recorder.answer = lambda _: page(entry("run/a"))
    before = client.list_objects_v2(Bucket="lake")["Contents"]
    assert len(listed(client)) == 1
    assert client.list_objects_v2(Bucket="lake")["Contents"] == before
    assert before[0]["LastModified"].year == 2026
    assert len(handlers(client)) <= 1


def test_another_thread_that_lists_at_the_same_time_has_all_its_fields(recorder: Recorder, client: Any) -> None:
    seen: list[Any] = []

    def list_all() -> None:
        seen.extend(client.list_objects_v2(Bucket="other")["Contents"])

    def answer(request: Recorded) -> Answer:
        if request.path.startswith("/other"):
            return page(entry("theirs"))
        other = threading.Thread(target=list_all)
        other.start()
        other.join(10)
        return page(entry("run/ours"))

    recorder.answer = answer
    assert listed(client) == [("run/ours", 3, '"abc"')]
    (theirs,) = seen
    assert (theirs["Key"], theirs["Size"], theirs["StorageClass"]) == ("theirs", 3, "STANDARD")
    assert theirs["LastModified"].year == 2026


def test_threads_that_list_with_one_client_each_get_their_own(recorder: Recorder, client: Any) -> None:
    both = threading.Barrier(4, timeout=10)

    def answer(request: Recorded) -> Answer:
        both.wait()  # four requests under way at once
        return page(entry(query(request)["prefix"][0]))

    recorder.answer = answer
    found: dict[str, list[str]] = {}

    def list_one(prefix: str) -> None:
        found[prefix] = [item.key for _ in range(5) for item in listed(client, Prefix=prefix)]

    threads = [threading.Thread(target=list_one, args=(f"{number}/",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {f"{number}/": [f"{number}/"] * 5 for number in range(4)}
    assert len(handlers(client)) <= 1


def test_no_page_is_lost_to_a_handler_that_botocore_still_remembers(
    recorder: Recorder, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore's cache of handlers has no lock: a slow thread may put those of the page before into it."""
    looked_up, next_page = threading.Event(), threading.Event()
    trie = client.meta.events._emitter._handlers
    prefix_search = trie.prefix_search

    def search(event: str) -> Any:
        found = prefix_search(event)
        if event == EVENT and threading.current_thread() is other:
            looked_up.set()
            assert next_page.wait(10)
        return found

    def answer(request: Recorded) -> Answer:
        if request.path.startswith("/other"):
            return page()
        if "continuation-token" not in request.path:
            other.start()
            assert looked_up.wait(10)
            return page(entry("run/a"), token="more")
        next_page.set()
        other.join(10)
        return page(entry("run/b"))

    other = threading.Thread(target=lambda: client.list_objects_v2(Bucket="other"))
    monkeypatch.setattr(trie, "prefix_search", search)
    recorder.answer = answer
    assert [item.key for item in listed(client)] == ["run/a", "run/b"]


def test_no_page_is_lost_to_two_threads_that_begin_at_the_same_moment(
    recorder: Recorder, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore looks whether a handler is there and then adds it, without a lock: it may come to be there twice."""
    both = threading.Barrier(2)
    trie = client.meta.events._emitter._handlers
    append_item = trie.append_item

    def append(*arguments: Any, **options: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)
        append_item(*arguments, **options)

    monkeypatch.setattr(trie, "append_item", append)
    recorder.answer = lambda _: page(entry("run/a"))
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append([item.key for item in listed(client)])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [["run/a"]] * 2
    assert [item.key for item in listed(client)] == ["run/a"]


def test_a_client_that_reads_its_pages_itself_is_taken_at_its_word() -> None:
    """As botocore did before it had the event, and as stand-ins for a client do."""

    class Events:
        def register_first(self, *_arguments: Any, **_options: Any) -> None: ...

        def unregister(self, *_arguments: Any, **_options: Any) -> None: ...

    class StandIn:
        class meta:  # noqa: N801
            events = Events()

        def list_objects_v2(self, **arguments: Any) -> dict[str, Any]:
            if "ContinuationToken" in arguments:
                return {"Contents": [{"Key": "c", "Size": 1}]}
            return {
                "Contents": [{"Key": "a b", "Size": 3, "ETag": '"abc"'}],
                "IsTruncated": True,
                "NextContinuationToken": "more",
            }

    assert listed(StandIn()) == [("a b", 3, '"abc"'), ("c", 1, None)]


@pytest.mark.parametrize("tokens", [["", ""], ["again", "again"]], ids=["none", "the same"])
def test_a_listing_that_goes_nowhere_is_an_error(recorder: Recorder, client: Any, tokens: list[str]) -> None:
    answers = iter(tokens)
    recorder.answer = lambda _: page(entry("run/a"), token=next(answers))
    with pytest.raises(PaginationError, match="doesn't say where"):
        listed(client)
