"""Pages of an S3 listing, read for what is asked for here: key, size, ETag and, unparsed, time.

Botocore reads every field of a listing, and spends most of that time on dates. A page of 1,000 keys
takes it about twenty times as long as this does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

_EVENT = "before-parse.s3.ListObjectsV2"
# Handlers of this pattern come before those of "before-parse.s3.*". Botocore has one there that reads
# the whole page to see whether it is an error, for twelve times as long as it takes to read it here.
_EVENTS = "*.s3.ListObjectsV2"
_EVENT_ID = "dpone-listing"
_this_thread = threading.local()


class Listed(NamedTuple):
    """One object of a listing."""

    key: str
    size_bytes: int
    etag: str | None
    modified: datetime | str | None


def listed_objects(client: Any, arguments: dict[str, Any]) -> Iterator[Listed]:
    """Yield what ``client.list_objects_v2`` lists, page by page.

    :param arguments: of ``list_objects_v2``.
    :raises botocore.exceptions.ClientError: what boto3 raises.
    """
    from botocore.exceptions import PaginationError

    token: str | None = None
    while True:
        objects, answer = _page(client, arguments | ({"ContinuationToken": token} if token else {}))
        yield from objects
        if not answer.get("IsTruncated"):
            return
        if answer.get("NextContinuationToken") in (None, "", token):
            raise PaginationError(message="the listing goes on, and the store doesn't say where")
        token = answer["NextContinuationToken"]


def _page(client: Any, arguments: dict[str, Any]) -> tuple[list[Listed], Any]:
    # The handler stays: botocore's cache of handlers has no lock, and may remember one that was taken away.
    client.meta.events.register_first(_EVENTS, _take, unique_id=_EVENT_ID)
    taken = _this_thread.taken = []
    try:
        answer = client.list_objects_v2(**arguments)
    finally:
        _this_thread.taken = None
    # A botocore without that event, and a stand-in for a client, give them as the API says.
    rest = [
        Listed(item["Key"], item["Size"], item.get("ETag"), item.get("LastModified"))
        for item in answer.get("Contents", ())
    ]
    return taken + rest, answer


def _take(event_name: str, response_dict: dict[str, Any] | None = None, **_: Any) -> None:
    """Take the objects out of a page of ours; those of others who use the client stay as they are."""
    taken = getattr(_this_thread, "taken", None)
    if event_name == _EVENT and taken is not None and response_dict and response_dict["status_code"] == 200:
        objects, response_dict["body"] = _take_objects(response_dict["body"])
        if objects:  # a second call, by whatever way, finds none left
            taken[:] = objects


def _take_objects(body: bytes) -> tuple[list[Listed], bytes]:
    """Return the objects of a page, and the page without them for botocore to read.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """
    try:
        page = ElementTree.fromstring(body)  # noqa: S314 - botocore would read it with the same parser
    except ElementTree.ParseError:
        return [], body  # botocore says what is wrong with it
    namespace = page.tag.removesuffix("ListBucketResult")
    encoded = page.findtext(f"{namespace}EncodingType") == "url"
    names = ("Contents", "Key", "Size", "ETag", "LastModified")
    contents, key_tag, size_tag, etag_tag, modified_tag = (f"{namespace}{name}" for name in names)
    objects = []
    rest = ElementTree.Element(page.tag)
    for child in page:
        if child.tag != contents:
            rest.append(child)
            continue
        key = child.findtext(key_tag) or ""
        objects.append(
            Listed(
                unquote_plus(key) if encoded else key,
                int(child.findtext(size_tag) or 0),
                child.findtext(etag_tag),
                child.findtext(modified_tag),
            )
        )
    return objects, ElementTree.tostring(rest)
