"""Secrets are taken out of texts: by the name before them, by their form, and those of a connection by what they are.

A store's answer may echo what it was sent, an SDK's error quotes the URL that it called, and a URI that
somebody wrote may hold a password. Whatever goes into a message, a log line, a record or a page passes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

_MASK = "***"
# A name and what assigns a value to it: a query parameter, a JSON key, a header, a variable, a part of a connection
# string, an XML element, a pair; also with its signs percent-encoded, or escaped in a text within a text. The value
# is looked at and not taken, for it may be a name itself. No group is possessive or atomic: before 3.11.5, Python
# takes what such a group tried in vain for taken (https://github.com/python/cpython/issues/106052).
_ASSIGNMENT = r"""
    (?<![\w-]) (?P<name>[\w-]++)
    (?: \\*+ ["']?+ \s*+ (?: [=:>] | %3D ) | \\*+ ["'] \s*+ , (?= \s*+ b?+ \\*+ ["'] ) )
    \s*+ [\[(]?+ (?: b (?= ["'] ) | (?! b ["'] ) ) \\*+ ["']?+
    (?: (?:bearer|basic|sharedkey|sharedkeylite) \s++ | (?! (?:bearer|basic|sharedkey|sharedkeylite) \s ) )
    (?= (?P<value> [^&;\s'"<>,}\])]{1,8192} ) )
    """
_SECRET_NAMES = {"assertion", "jwt", "pwd", "sig", "token"}
# Whoever has the address of a resumable upload may write that object. S3's uploadId alone opens nothing.
# https://cloud.google.com/storage/docs/resumable-uploads#session-uris
_GCS_SESSION = "upload_id"
# Error codes end otherwise: ExpiredToken, InvalidAccessKeyId, SignatureDoesNotMatch.
_SECRET_ENDINGS = (
    "accesskey",
    "accesstoken",
    "accountkey",
    "apikey",
    "authorization",
    "bearertoken",
    "customerkey",
    "encryptionkey",
    "idtoken",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "refreshtoken",
    "sastoken",
    "secret",
    "secretkey",
    "securitytoken",
    "sessiontoken",
    "signature",
    "signatureprovided",
)
# What is a secret by its form: a private key, a signed token, Google's token, what follows the name of a scheme, and
# the password of a URI, which may be written with the slashes and signs that many a key has. The port of a host is
# none, and only a host has a dot.
_FORMS = r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?: -----END\ [A-Z ]*PRIVATE\ KEY----- | \Z )
    | (?<![\w-]) eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)?
    | (?<![\w-]) ya29\.[\w.-]{10,}
    | (?<![\w-]) (?i:bearer|basic|sharedkey|sharedkeylite) \s++ (?P<token> (?= \S*[\d=] ) [\w.~+/=:-]{8,} )
    | :// (?! (?: localhost | [^\s/:@"'<>.]*+ \. [^\s/:@"'<>]*+ ) : \d{1,5} (?: / | \s | \Z ) )
      [^\s/:@"'<>]*+ : (?P<password> [^\s"'<>]{1,1024} ) @
    """
# A shorter value may be a word of any text.
_SHORTEST = 8
_MOST_KNOWN = 1000
#: The values of connections in use, in each way that they are written; the longest first.
_known: tuple[str, ...] = ()


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns. Every DAG file that is parsed imports the errors, and few mask anything."""
    return re.compile(_ASSIGNMENT, re.IGNORECASE | re.VERBOSE), re.compile(_FORMS, re.DOTALL | re.VERBOSE)


def redact(text: str) -> str:
    """Return ``text`` with passwords, keys, tokens and signatures masked."""
    assignment, form = _patterns()
    # All are looked for in the text as it is: what one has masked could be what another knows a secret by.
    return _masked(text, [*_of_form(form, text), *_assigned(assignment, text), *_of_known(text)])


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not done:
            parts += text[done:start], _MASK
        done = max(done, end)
    return "".join(parts) + text[done:]


def _of_known(text: str) -> Iterator[tuple[int, int]]:
    for secret in _known:
        start = text.find(secret)
        while start >= 0:
            yield start, start + len(secret)
            start = text.find(secret, start + len(secret))


def _of_form(form: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [found.span(found.lastgroup or 0) for found in form.finditer(text)]


def _assigned(assignment: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [
        found.span("value")
        for found in assignment.finditer(text)
        if is_secret_name(_decoded(found["name"], text, found.start()))
    ]


def _decoded(name: str, text: str, start: int) -> str:
    """Return a name without what is left of the sign before it: of ``%26sig``, ``sig``."""
    return name[2:] if start and text[start - 1] == "%" else name


def is_secret_name(name: str) -> bool:
    """Return whether what has this name is a secret."""
    if name.lower() == _GCS_SESSION:
        return True
    plain = name.lower().replace("-", "").replace("_", "")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def never_show(secrets: Iterable[str]) -> None:
    """Mask these values from now on wherever they stand, in each way that they may be written."""
    global _known
    new = {
        written
        for secret in secrets
        for written in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1])
        if len(written) >= _SHORTEST
    }
    if not new <= set(_known):
        # Who makes clients without end, with a new token each, keeps the last ones masked.
        _known = tuple(sorted(new.union(_known[:_MOST_KNOWN]), key=len, reverse=True))


def secrets_in(value: Any, name: str = "") -> Iterator[str]:
    """Yield the secrets that a setting holds: by its name or theirs, or by their form.

    :param value: plain JSON, of which a text may hold more.
    :param name: what the setting is called.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, str(key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from secrets_in(inner, name)
    elif isinstance(value, str):
        if is_secret_name(name):
            yield value
        assignment, form = _patterns()
        for start, end in _of_form(form, value) + _assigned(assignment, value):
            yield value[start:end]
            yield unquote(value[start:end])


def printable_cause(error: BaseException) -> BaseException | None:
    """Return ``error`` if a traceback may print it and all it stems from, else None.

    SDK and HTTP errors quote the URL they called, and a SAS URL is a credential.
    """
    seen: set[int] = set()
    left: list[BaseException] = [error]
    while left:
        link = left.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        if any(redact(text) != text for text in (str(link), *getattr(link, "__notes__", ()))):
            return None
        # A traceback prints the members of a group, and one of these two.
        left += getattr(link, "exceptions", None) or ()
        left += [cause for cause in (link.__cause__, link.__context__) if cause is not None]
    return error
