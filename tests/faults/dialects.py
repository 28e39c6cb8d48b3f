"""How each protocol names a request, words an error, and answers a batch of which it refuses a part."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from urllib.parse import unquote
from xml.sax.saxutils import escape, unescape

from tests.faults.proxy import Answer, Request

# The store's own words for: it failed, it is busy, it doesn't do that, this key may not be deleted.
Failure = tuple[int, str, str]


class Dialect(ABC):
    """One protocol."""

    internal: Failure
    busy: Failure
    denied: Failure
    no_batches: Failure

    @abstractmethod
    def kind(self, request: Request) -> str:
        """Return what a request asks for, by the names that the matrix has."""

    @abstractmethod
    def error(self, failure: Failure) -> Answer:
        """Return an error as the store answers it."""

    @abstractmethod
    def keys(self, batch: Request) -> list[str]:
        """Return the keys that a batch is to delete, in its order."""

    @abstractmethod
    def batch_answer(self, keys: list[str], refused: dict[str, Failure]) -> Answer:
        """Return the answer to a batch of which ``refused`` stays."""


class S3(Dialect):
    internal = (500, "InternalError", "We encountered an internal error. Please try again.")
    busy = (503, "SlowDown", "Please reduce your request rate.")
    denied = (403, "AccessDenied", "Access Denied")
    no_batches = (501, "NotImplemented", "A header you provided implies functionality that is not implemented.")

    def kind(self, request: Request) -> str:
        method, query = request.method, request.query
        if method == "GET":
            if "list-type" in query:
                return "next page" if "continuation-token" in query else "list"
            return "list uploads" if "uploads" in query else "get"
        if method == "PUT":
            return "part" if "partNumber" in query else "put"
        if method == "POST":
            return "begin" if "uploads" in query else "complete" if "uploadId" in query else "batch"
        if method == "DELETE":
            return "abort" if "uploadId" in query else "delete"
        return "stat"

    def error(self, failure: Failure) -> Answer:
        status, code, message = failure
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, body.encode(), (("Content-Type", "application/xml"),))

    def keys(self, batch: Request) -> list[str]:
        return [unescape(key) for key in re.findall(r"<Key>([^<]*)</Key>", batch.body.decode())]

    def batch_answer(self, keys: list[str], refused: dict[str, Failure]) -> Answer:
        errors = "".join(
            f"<Error><Key>{escape(key)}</Key><Code>{code}</Code><Message>{message}</Message></Error>"
            for key, (_, code, message) in refused.items()
        )
        return Answer(200, f"<DeleteResult>{errors}</DeleteResult>".encode(), (("Content-Type", "application/xml"),))


class GCS(Dialect):
    internal = (500, "backendError", "Backend Error")
    busy = (503, "backendError", "The service is busy. Please reduce your request rate.")
    denied = (403, "forbidden", "The caller does not have storage.objects.delete access.")
    no_batches = (501, "notImplemented", "Batches are not implemented.")

    def kind(self, request: Request) -> str:
        method, path, query = request.method, request.path, request.query
        if path.startswith("/batch/"):
            return "batch"
        if "upload_id" in query:
            _, _, last, total = re.split(r"[ /-]", request.headers["Content-Range"].replace("*/", "0-0/"))
            return "complete" if total != "*" and int(last) + 1 == int(total) else "part"
        if method in ("POST", "PUT"):
            return "begin" if query.get("uploadType") == "resumable" else "put"
        if method == "DELETE":
            return "delete"
        if path.endswith("/o"):
            return "next page" if "pageToken" in query else "list"
        return "get" if query.get("alt") == "media" else "stat"

    def error(self, failure: Failure) -> Answer:
        status, reason, message = failure
        error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
        return Answer(status, json.dumps({"error": error}).encode(), (("Content-Type", "application/json"),))

    def keys(self, batch: Request) -> list[str]:
        return [unquote(key) for key in re.findall(r"DELETE \S*?/b/[^/]+/o/([^\s?]+)", batch.body.decode())]

    def batch_answer(self, keys: list[str], refused: dict[str, Failure]) -> Answer:
        answers = []
        for key in keys:
            one = self.error(refused[key]) if key in refused else Answer(204)
            answers.append(b"Content-Type: application/http\r\n\r\n" + b"".join(one.on_the_wire()))
        return _mixed(200, answers)


class Azure(Dialect):
    internal = (500, "InternalError", "The server encountered an internal error. Please retry the request.")
    busy = (503, "ServerBusy", "The server is currently unable to receive requests. Please retry your request.")
    denied = (403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation.")
    no_batches = (400, "FeatureNotSupported", "Batches are not supported for this account.")

    def kind(self, request: Request) -> str:
        method, query = request.method, request.query
        what = query.get("comp", "")
        if what == "list":
            return "next page" if query.get("marker") else "list"
        if method == "PUT":
            return {"block": "part", "blocklist": "complete"}.get(what, "put")
        return {"POST": "batch", "DELETE": "delete", "HEAD": "stat", "GET": "get"}[method]

    def error(self, failure: Failure) -> Answer:
        status, code, message = failure
        body = f"<?xml version='1.0' encoding='utf-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, body.encode(), (("Content-Type", "application/xml"), ("x-ms-error-code", code)))

    def keys(self, batch: Request) -> list[str]:
        targets = re.findall(r"DELETE (/[^\s?]+)", batch.body.decode())
        return [unquote(target).split("/", 3)[3] for target in targets]

    def batch_answer(self, keys: list[str], refused: dict[str, Failure]) -> Answer:
        answers = []
        for number, key in enumerate(keys):
            one = self.error(refused[key]) if key in refused else Answer(202, headers=(("x-ms-version", "2021-12-02"),))
            head = f"Content-Type: application/http\r\nContent-ID: {number}\r\n\r\n".encode()
            answers.append(head + b"".join(one.on_the_wire()))
        return _mixed(202, answers)


def _mixed(status: int, parts: list[bytes]) -> Answer:
    boundary = "answers-of-the-batch"
    body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    return Answer(status, body, (("Content-Type", f"multipart/mixed; boundary={boundary}"),))
