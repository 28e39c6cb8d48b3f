"""From a few bytes to one input: what Hypothesis draws decides what is made of a valid value.

One draw makes many inputs. Drawing each choice on its own would take Hypothesis longer than the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: How many bytes an input has. What they don't decide is the first of its choices.
BYTES = 48

#: What means something to a URI, a path, JSON, a header, a shell or a regular expression.
HOSTILE = (
    *("/..", "/../", "/../a", "/.", "/./", "//", "/_manifests/"),
    *("", "/", ".", "..", "../", "\\", "?", "#", "%", "%2F", "%2e%2e", "%%", "%00", ":", "@", "&sig=a"),
    *("\0", "\n", "\r\n", "\t", "\x7f", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "\ud800", "\udcff", "\U0010ffff"),
    *("~", "*", "[", "{", "}", '"', "'", "$", "$web", "|", ";", " ", "_", "_manifests", "_run", ".dpone", ".json"),
    *("é", "e\u0301", "ſ", "K", "İ", "٣", "²", "Ⅷ", "s3://", "azure://a/b", "a" * 60, "é" * 130, "x" * 1100),
)
#: Numbers at the edges of what JSON, SQL and Python's own text of a number take.
_NUMBERS = (
    *(0, 1, -1, 2, 2**31, 2**53, 2**63 - 1, 2**63, 10**4300 - 1, -(10**4301)),
    *(0.0, -0.5, 1.0, 1e308, float("inf"), float("nan")),
)
_DEPTHS = (3, 60, 120, 300, 450, 900, 990)
_KEYS = ("", "manifest", "objects", "plan", "version", "\ud800")
_MARKS = (
    b"",
    b"\xff",
    b"\0",
    b"{",
    b"[" * 1500,
    b'{"a":' * 1500,
    b"\n",
    b"]}}",
    b"1e999",
    b"9" * 4300,
    b"\xef\xbb\xbf",
)


class Choices:
    """Reads choices out of bytes; when they are used up, each is the first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, below: int) -> int:
        """Return a number from 0."""
        size = 1 if below <= 256 else 3
        taken = self._content[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "big") % below

    def of(self, options: Sequence[T]) -> T:
        """Return one of several."""
        return options[self.number(len(options))]

    def text(self, most: int = 8) -> str:
        """Return any text."""
        return "".join(self._character() for _ in range(self.number(most + 1)))

    def _character(self) -> str:
        kind = self.number(4)
        if kind == 0:
            return chr(0x20 + self.number(0x5F))
        return chr(self.number(0x110000)) if kind == 1 else self.of(HOSTILE)[:3] if kind == 2 else self.of("ab/.%_-=")

    def piece(self) -> str:
        """Return a short text that means something to somebody, or any text."""
        return self.of(HOSTILE) if self.number(4) else self.text(3)

    def changed_text(self, valid: str, most: int = 3) -> str:
        """Return a text after up to ``most`` small changes."""
        text = valid
        for _ in range(self.number(most + 1)):
            at = self.number(len(text) + 1)
            until = min(len(text), at + self.number(9))
            kind = self.number(7)
            if kind == 0:
                text = text[:at] + text[until:]
            elif kind == 1:
                text = text[:until] + text[at:]
            elif kind == 2:
                text = text[:at] + text[at:until].swapcase() + text[until:]
            elif kind == 3:
                text = text[:at]
            elif kind == 4:
                text = text[:at] + self.piece() + text[until:]
            else:
                text = text[:at] + self.piece() + text[at:]
        return text

    def changed_bytes(self, valid: bytes, most: int = 3) -> bytes:
        """Return a content after up to ``most`` small changes."""
        content = valid
        for _ in range(self.number(most + 1)):
            at = self.number(len(content) + 1)
            until = min(len(content), at + self.number(17))
            if self.number(5) == 4:
                content = content[:at]
            else:
                mark = bytes([self.number(256)]) if self.number(2) else self.of(_MARKS)
                content = content[:at] + mark + content[until:]
        return content

    def scalar(self) -> Any:
        """Return null, a truth value, a number or a text."""
        kind = self.number(6)
        return self.piece() if kind > 2 else self.of(_NUMBERS) if kind else self.of((None, False, True))

    def value(self, depth: int = 2) -> Any:
        """Return any JSON value; some are nested deeper than a program expects."""
        kind = self.number(8)
        if kind == 7:
            return _nested(self.of(_DEPTHS), self.of(_KEYS), self.number(2))
        if kind == 6 and depth:
            return [self.value(depth - 1) for _ in range(self.number(3))]
        if kind == 5 and depth:
            return {self.piece(): self.value(depth - 1) for _ in range(self.number(3))}
        return self.scalar()

    def changed_json(self, valid: Any, most: int = 3) -> Any:
        """Return a copy of a JSON value after up to ``most`` changes somewhere in it."""
        value = json.loads(json.dumps(valid))
        for _ in range(self.number(most + 1)):
            value = self._changed_within(value)
        return value

    def _changed_within(self, value: Any) -> Any:
        """Change one place: this one, or one further in."""
        if isinstance(value, dict) and value and self.number(16) != 15:
            return self._changed_object(value)
        if isinstance(value, list) and value and self.number(16) != 15:
            at = self.number(len(value))
            kind = self.number(10)
            if kind == 0:
                del value[at]
            elif kind == 1:
                value.append(value[at])
            elif kind == 2:
                value.insert(at, self.value())
            else:
                value[at] = self._changed_within(value[at])
            return value
        if isinstance(value, str) and self.number(2):
            return self.changed_text(value, 2)
        if isinstance(value, int) and self.number(4):
            return value + self.of((1, -1, 2**63)) if self.number(2) else self.of(_NUMBERS)
        return self.value()

    def _changed_object(self, value: dict[str, Any]) -> dict[str, Any]:
        # Most of what is said is further in.
        further_in = [key for key in sorted(value) if isinstance(value[key], (dict, list)) and value[key]]
        key = self.of(further_in) if further_in and self.number(2) else self.of(sorted(value))
        kind = self.number(12)
        if kind == 0:
            del value[key]
        elif kind == 1:
            value[self.changed_text(key, 1)] = value.pop(key)
        elif kind == 2:
            value[self.piece()] = self.value()
        elif kind == 3:
            other = self.of(sorted(value))
            value[key], value[other] = value[other], value[key]
        else:
            value[key] = self._changed_within(value[key])
        return value


def _nested(depth: int, key: str, in_objects: int) -> Any:
    value: Any = {} if in_objects else []
    for _ in range(depth):
        value = {key: value} if in_objects else [value]
    return value


def written(value: Any, write: Callable[[Any], str] = json.dumps) -> str:
    """Return a value as text, or that of another one where it can't be written."""
    try:
        return write(value)
    except (ValueError, RecursionError):
        return "[" * 1200


def inputs_of(make: Callable[[Choices], T], content: bytes) -> list[T]:
    """Return the inputs that some bytes stand for."""
    return [make(Choices(content[start : start + BYTES])) for start in range(0, len(content), BYTES)]
