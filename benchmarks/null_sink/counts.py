"""Counts what a sink is asked for, by kind, and answers with the counts itself.

A request's kind is what stores bill and limit by: its verb, and what the verb is about.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qsl

from benchmarks.null_sink.buckets import FILL
from benchmarks.null_sink.http import Application, Request

#: A path that is none of any protocol's: its answer is the counts so far.
COUNTS = b"/__counts"
#: What a batch deletes, counted by key beside the batch itself.
KEYS = "keys in batches"
_GCS_OBJECT = re.compile(rb"/o/[^/]+$")
_GCS_LIST = re.compile(rb"/o$")
_S3_KEY = re.compile(rb"<Key>")
_SUBREQUEST = re.compile(rb"^DELETE \S+", re.M)


class Counted:
    """An application that another one is behind, which answers all but the question for the counts.

    :param kind_of: from a request to its kind and the number of keys it deletes as a batch.
    """

    def __init__(self, application: Application, kind_of: Callable[[Request], tuple[str, int]]) -> None:
        self._application = application
        self._kind_of = kind_of
        self._counts: Counter[str] = Counter()

    def keeps_body(self, request: Request) -> bool:
        """Return what the application behind returns."""
        return self._application.keeps_body(request)

    def answer(self, request: Request) -> bytes:
        """Count a request and have it answered."""
        if request.path == COUNTS:
            body = json.dumps(self._counts).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        if request.path not in (FILL, b"/"):  # what fills the sink, and asks whether it is up
            kind, keys = self._kind_of(request)
            self._counts[kind] += 1
            if keys:
                self._counts[KEYS] += keys
        return self._application.answer(request)


def s3_kind(request: Request) -> tuple[str, int]:
    """Return the kind of a request to S3."""
    _, _, key = request.path[1:].partition(b"/")
    asked = dict(parse_qsl(request.query.decode(), keep_blank_values=True))
    match request.method:
        case b"PUT" if key:
            return ("put part" if "uploadId" in asked else "put"), 0
        case b"POST" if "delete" in asked:
            return "delete batch", len(_S3_KEY.findall(request.body))
        case b"POST":
            return ("begin upload" if "uploads" in asked else "complete upload"), 0
        case b"DELETE":
            return ("abort upload" if "uploadId" in asked else "delete"), 0
        case b"HEAD":
            return "head", 0
        case b"GET" if key:
            return "get", 0
        case b"GET" if "uploads" in asked:
            return "list uploads", 0
        case b"GET" if "list-type" in asked or "prefix" in asked:
            return "list", 0
    return "bucket settings", 0


def gcs_kind(request: Request) -> tuple[str, int]:
    """Return the kind of a request to Google's JSON API."""
    asked = dict(parse_qsl(request.query.decode()))
    if request.path.startswith(b"/batch/"):
        return "delete batch", len(_SUBREQUEST.findall(request.body))
    match request.method:
        case b"POST":
            return "put", 0
        case b"DELETE":
            return "delete", 0
        case b"GET" if _GCS_OBJECT.search(request.path):
            return ("get" if asked.get("alt") == "media" else "head"), 0
        case b"GET" if _GCS_LIST.search(request.path):
            return "list", 0
    return "bucket settings", 0


def azure_kind(request: Request) -> tuple[str, int]:
    """Return the kind of a request to Azure's Blob service."""
    asked = dict(parse_qsl(request.query.decode()))
    match request.method:
        case b"POST" if asked.get("comp") == "batch":
            return "delete batch", len(_SUBREQUEST.findall(request.body))
        case b"PUT":
            return {"block": "put part", "blocklist": "complete upload"}.get(asked.get("comp", ""), "put"), 0
        case b"DELETE":
            return "delete", 0
        case b"HEAD":
            return "head", 0
        case b"GET" if asked.get("comp") == "list":
            return "list", 0
        case b"GET" if "comp" not in asked and request.path.count(b"/") > 2:
            return "get", 0
    return "bucket settings", 0
