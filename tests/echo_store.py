"""A store that refuses, and quotes in its refusal all that it was sent: URL, headers, signature and token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.recorder import Answer, Recorded, Recorder, recording

#: What is refused: every request, or only what would write an object that isn't evidence.
Refuses = Literal["all", "data"]

_SENT = re.compile(r"(?:Signature=|SharedKey \w+:|[?&]sig=|Bearer |assertion=)([^&\s,]{16,})")
_EMPTY = {
    "s3": b"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>",
    "az": b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>",
}


@contextmanager
def echoing(scheme: str, refuses: Refuses = "all") -> Iterator[Recorder]:
    """Run such a store for ``s3``, ``az`` or ``gs``, with its token server, for a ``with`` block."""

    def answer(request: Recorded) -> Answer:
        if request.path.startswith("/token") and refuses == "data":
            return 200, {"Content-Type": "application/json"}, json.dumps(GRANT).encode()
        if refuses == "data" and scheme in _EMPTY:
            if request.method == "GET":
                return 200, {"Content-Type": "application/xml"}, _EMPTY[scheme]
            if request.method == "DELETE" or "_manifests/" in request.path:
                return (201 if request.method == "PUT" else 202 if scheme == "az" else 204), {"ETag": '"etag"'}, b""
        return _refusal(scheme, request)

    with recording() as recorder:
        recorder.answer = answer
        yield recorder


#: What the token server gives.
GRANT = {"access_token": "ya29.hunter2-hunter2-hunter2", "expires_in": 3600, "token_type": "Bearer"}


def sent_secrets(recorder: Recorder) -> set[str]:
    """Return the signatures and tokens that the store has seen: none of them is the connection's own text."""
    texts = [
        f"{request.path} {' '.join(request.headers.values())} {request.body[:4096]!r}" for request in recorder.seen
    ]
    found = {match for text in texts for match in _SENT.findall(text)}
    return found | {unquote(secret) for secret in found}


def _refusal(scheme: str, request: Recorded) -> Answer:
    lines = " ".join(f"{name}: {value}" for name, value in request.headers.items())
    echo = (
        f"{request.method} http://store{request.path} refused. {lines}. As JSON: {json.dumps(dict(request.headers))}. "
        f"As pairs: {list(request.headers.items())}. Sent: {request.body[:2048].decode(errors='replace')}."
    )
    if request.path.startswith("/token"):
        body = json.dumps({"error": "invalid_grant", "error_description": echo})
        return 400, {"Content-Type": "application/json"}, body.encode()
    if scheme == "gs":
        body = json.dumps({"error": {"code": 403, "message": echo, "errors": [{"message": echo, "reason": "denied"}]}})
        return 403, {"Content-Type": "application/json"}, body.encode()
    code = "AccessDenied" if scheme == "s3" else "AuthenticationFailed"
    authorization = escape(request.headers.get("authorization", ""))
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{escape(echo)}</Message>'
        f"<SignatureProvided>{authorization}</SignatureProvided>"
        f"<AuthenticationErrorDetail>{escape(echo)}</AuthenticationErrorDetail></Error>"
    )
    # A header's value is one line, and Azure's SDK reads the code from one.
    headers = {"Content-Type": "application/xml", "x-ms-error-code": code, "x-amz-request-id": "1"}
    return 403, headers, b"" if request.method == "HEAD" else body.encode()
