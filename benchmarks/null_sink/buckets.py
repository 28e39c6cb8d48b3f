"""What every protocol of the sink keeps: buckets whose keys can be listed in order, page by page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import count
from typing import NamedTuple
from urllib.parse import parse_qsl

#: Objects below a folder of this name keep their content.
KEPT_FOLDER = b"_manifests/"
#: A path that is none of the protocol's: it puts many small objects there at once, for cleanups to find.
FILL = b"/__fill"


class Item(NamedTuple):
    """What is known of an object."""

    size: int
    etag: str
    content: bytes | None = None
    metadata: bytes = b""


class Bucket:
    """Keys and what is known of them.

    The order is made when somebody lists, not at each put. Keys that have gone stay in it until then and are
    passed over, so that a client that lists and deletes by turns doesn't have the bucket sorted for each page.
    """

    def __init__(self) -> None:
        self._items: dict[bytes, Item] = {}
        self._order: list[bytes] = []
        self._has_new_keys = False

    def __contains__(self, key: bytes) -> bool:
        return key in self._items

    def get(self, key: bytes) -> Item | None:
        """Return what is known of a key, if it is there."""
        return self._items.get(key)

    def put(self, key: bytes, item: Item) -> None:
        """Add an object, or replace it."""
        if key not in self._items:
            self._has_new_keys = True
        self._items[key] = item

    def remove(self, key: bytes) -> None:
        """Take an object away if it is there."""
        self._items.pop(key, None)

    def below(
        self, prefix: bytes, after: bytes, limit: int, delimiter: bytes = b""
    ) -> tuple[list[tuple[bytes, Item]], list[bytes], bytes | None]:
        """Return the objects and the common prefixes of one page, and where the next one begins, if there is one."""
        if self._has_new_keys:
            self._order = sorted(self._items)
            self._has_new_keys = False
        order, items = self._order, self._items
        position = max(bisect_left(order, prefix), bisect_right(order, after) if after else 0)
        found: list[tuple[bytes, Item]] = []
        folders: list[bytes] = []
        last = b""
        while position < len(order) and order[position].startswith(prefix):
            key = order[position]
            position += 1
            if key not in items or (folders and last == folders[-1] and key.startswith(last)):
                continue
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end >= 0 and after.startswith(key[: end + len(delimiter)]):
                continue  # a common prefix that the page before has named
            if len(found) + len(folders) == limit:
                return found, folders, last
            if end >= 0:
                last = key[: end + len(delimiter)]
                folders.append(last)
            else:
                last = key
                found.append((key, items[key]))
        return found, folders, None


class Buckets:
    """Buckets that come to be when they are first named, and the numbers that ETags are made of."""

    def __init__(self) -> None:
        self._buckets: defaultdict[str, Bucket] = defaultdict(Bucket)
        self._numbers = count(1)

    def __getitem__(self, name: str) -> Bucket:
        return self._buckets[name]

    def names(self) -> list[str]:
        """Return the names in order."""
        return sorted(self._buckets)

    def number(self) -> int:
        """Return a number that was never given out."""
        return next(self._numbers)

    def etag(self) -> str:
        """Return a new ETag; not 32 digits, which clients would take for an MD5 and compare with one."""
        return f"{self.number():016x}"

    def fill(self, query: bytes) -> None:
        """Do what the path ``FILL`` is for."""
        asked = dict(parse_qsl(query.decode()))
        bucket = self[asked["bucket"]]
        for number in range(int(asked["count"])):
            bucket.put(f"{asked['prefix']}{number:06}.csv".encode(), Item(200, str(self.number())))
