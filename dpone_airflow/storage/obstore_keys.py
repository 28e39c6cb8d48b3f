"""Which keys obstore writes to as they are, and which texts it sends as headers."""

from __future__ import annotations

import re

# Control characters are refused; surrogates are no text that could be sent.
_NEVER = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
# obstore strips a slash at either end, which makes another key, and refuses the rest of these.
_NEVER_A_SEGMENT = frozenset({"", ".", ".."})

_PRINTABLE = re.compile(r"[\x20-\x7e]*")


def obstore_keeps_key(key: str) -> bool:
    """Return whether obstore would write to just this key.

    Compared on the wire with what boto3 and azure-storage-blob send for the same key.
    https://docs.rs/object_store/latest/object_store/path/struct.Path.html
    """
    return not _NEVER.search(key) and _NEVER_A_SEGMENT.isdisjoint(key.split("/"))


def is_header_text(text: str) -> bool:
    """Return whether every reader of a header takes ``text`` as it is.

    obstore doesn't raise an ``Exception`` for a control character: it panics, with a ``BaseException``.
    """
    return _PRINTABLE.fullmatch(text) is not None
