"""Pages of an S3 listing, read for what is asked for here: key, size and ETag.

Botocore reads every field of a listing, and spends most of that time on dates. A page of 1,000 keys
takes it about twenty times as long as this does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote
from uuid import uuid4
from xml.etree import ElementTree

_EVENT = "before-parse.s3.ListObjectsV2"


class Listed(NamedTuple):
    """One object of a listing."""

    key: str
    size_bytes: int
    etag: str | None


def listed_objects(client: Any, arguments: dict[str, Any]) -> Iterator[Listed]:
    """Yield what ``client.list_objects_v2`` lists, page by page.

    :param arguments: of ``list_objects_v2``.
    :raises: what boto3 raises.
    """
    token: dict[str, Any] = {}
    while True:
        objects, answer = _page(client, arguments | token)
        yield from objects
        if not answer.get("IsTruncated"):
            return
        token = {"ContinuationToken": answer["NextContinuationToken"]}


def _page(client: Any, arguments: dict[str, Any]) -> tuple[list[Listed], Any]:
    taken: list[Listed] = []
    me = threading.get_ident()

    def take(response_dict: dict[str, Any], **_: Any) -> None:
        # The client may be shared: other threads' listings are none of ours.
        if threading.get_ident() == me and response_dict["status_code"] == 200:
            objects, response_dict["body"] = _take_objects(response_dict["body"])
            taken.extend(objects)

    unique_id = f"dpone-listing-{uuid4().hex}"
    client.meta.events.register(_EVENT, take, unique_id=unique_id)
    try:
        answer = client.list_objects_v2(**arguments)
    finally:
        client.meta.events.unregister(_EVENT, unique_id=unique_id)
    # A botocore without that event, and a stand-in for a client, give them as the API says.
    rest = [Listed(item["Key"], item["Size"], item.get("ETag")) for item in answer.get("Contents", ())]
    return taken + rest, answer


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
    contents, key_tag, size_tag, etag_tag = (f"{namespace}{name}" for name in ("Contents", "Key", "Size", "ETag"))
    objects = []
    rest = ElementTree.Element(page.tag)
    for child in page:
        if child.tag != contents:
            rest.append(child)
            continue
        key = child.findtext(key_tag) or ""
        objects.append(
            Listed(unquote(key) if encoded else key, int(child.findtext(size_tag) or 0), child.findtext(etag_tag))
        )
    return objects, ElementTree.tostring(rest)
