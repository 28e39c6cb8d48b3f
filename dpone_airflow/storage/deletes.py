"""Deleting many objects: batches, several at once, and only those again that were refused.

Where a store keeps real folders (Azure with a hierarchical namespace) it lists them as objects and
deletes none that isn't empty, so a key that is the folder of others goes after them, the deepest first.

A store answers 200 to a batch of which it refused every key, so each key's result is read. A store
that is busy is left alone for a while, longer each time. One that takes no batch gets one request
for each key. A batch has 1,000 keys on S3, 100 on GCS and 256 on Azure.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
https://cloud.google.com/storage/docs/batch#overview
https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from dpone_airflow.storage.answers import key_reason, may_pass
from dpone_airflow.storage.errors import (
    BucketNotFoundError,
    DeleteIncompleteError,
    InvalidUriError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageError,
    redact,
)
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)

# Seconds before a busy store is asked again; a little more than a minute in all.
_WAITS = (1, 2, 4, 8, 16, 32)
_NAMED_IN_MESSAGES = 5


class Refusal(NamedTuple):
    """Why an object wasn't deleted."""

    reason: str
    may_pass: bool


class Deleter:
    """Deletes the objects of one client.

    :param delete_batch: deletes keys of one bucket in one request; returns those refused, each with
        the store's reason, its code first, as in ``SlowDown: Please reduce your request rate``.
    :param delete_one: deletes one object, for stores that take no batch.
    :param batch_size: how many keys one request takes.
    :param threads: how many requests go at once.
    :param sleep: waits a number of seconds.
    """

    def __init__(
        self,
        delete_batch: Callable[[ObjectStorageUri, list[str]], Mapping[str, str]],
        delete_one: Callable[[ObjectStorageUri], None],
        *,
        batch_size: int,
        threads: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._delete_batch = delete_batch
        self._delete_one = delete_one
        self._batch_size = batch_size
        self._threads = threads
        self._sleep = sleep
        self._takes_batches = True
        #: The store's answer to the last batch that it didn't take as one.
        self.one_by_one_because = ""

    def delete(self, uris: Sequence[ObjectStorageUri]) -> None:
        """Delete objects of one bucket.

        A refusal that may pass is asked about again until the waits are over, any other one once more.

        :raises DeleteIncompleteError: naming what is left.
        :raises BucketNotFoundError: if there is no such bucket.
        """
        by_key = {uri.key: uri for uri in uris}
        refused: dict[str, Refusal] = {}
        for keys in inner_first(by_key):
            refused |= self._delete_keys(uris[0], keys)
        if refused:
            raise delete_incomplete({str(by_key[key]): refusal.reason for key, refusal in refused.items()})

    def _delete_keys(self, anywhere: ObjectStorageUri, keys: Sequence[str]) -> dict[str, Refusal]:
        """Delete keys in any order; return those that are left."""
        left = dict.fromkeys(keys, Refusal("not asked yet", may_pass=True))
        final: dict[str, Refusal] = {}
        threads = self._threads
        for wait in (*_WAITS, 0):
            refused = self._round(anywhere, list(left), threads)
            final |= {key: new for key, new in refused.items() if not (new.may_pass or left[key].may_pass)}
            left = {key: new for key, new in refused.items() if key not in final}
            if not left:
                break
            if wait and any(refusal.may_pass for refusal in left.values()):
                log.info("%d objects are still to be deleted from a store that is busy.", len(left))
                self._sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - no secret: it spreads the workers
                threads = max(1, threads // 2)
        return final | left

    def _round(self, anywhere: ObjectStorageUri, keys: list[str], threads: int) -> dict[str, Refusal]:
        """Ask once for each key; return those refused."""
        batches = [keys[start : start + self._batch_size] for start in range(0, len(keys), self._batch_size)]
        refused: dict[str, Refusal] = {}
        no_batch: list[str] = []
        with ThreadPoolExecutor(threads, thread_name_prefix="dpone-delete") as pool:
            answers = pool.map(lambda batch: self._ask_for_batch(anywhere, batch), batches)
            for batch, answer in zip(batches, answers, strict=True):
                if answer is None:
                    no_batch += batch
                else:
                    refused |= answer
            for answer in pool.map(lambda key: self._ask_for_one(anywhere, key), no_batch):
                refused |= answer
        return refused

    def _ask_for_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> dict[str, Refusal] | None:
        """Return the keys refused, or None if this batch wasn't taken as one."""
        if not self._takes_batches:
            return None
        try:
            answers = self._delete_batch(anywhere, keys)
        except BucketNotFoundError:
            raise
        except StorageError as error:
            refusal = _refusal(error)
            # A 500 may come from a store that can't do batches, or from one that failed this once.
            if isinstance(error, StorageAccessDeniedError) or (refusal.may_pass and error.status != 500):
                return dict.fromkeys(keys, refusal)
            self.one_by_one_because = error.code or f"status {error.status}"
            log.info("Deleting one by one, since the store didn't take a batch: %s", error)
            if error.status != 500:
                self._takes_batches = False
            return None
        refused = {
            key: Refusal(key_reason(reason, anywhere.provider), _code_may_pass(reason))
            for key, reason in answers.items()
        }
        if refused.keys() <= set(keys):
            return refused
        # It doesn't say of which key of ours: any of them may still be there.
        return dict.fromkeys(keys, next(iter(refused.values()))) | {key: refused[key] for key in keys if key in refused}

    def _ask_for_one(self, anywhere: ObjectStorageUri, key: str) -> dict[str, Refusal]:
        try:
            self._delete_one(replace(anywhere, key=key))
        except ObjectNotFoundError:
            return {}
        except StorageError as error:
            return {key: _refusal(error)}
        return {}


def _refusal(error: StorageError) -> Refusal:
    return Refusal(str(error), may_pass(error.status, error.code))


def _code_may_pass(reason: str) -> bool:
    code = reason.partition(":")[0]
    return may_pass(int(code) if code.isdecimal() else None, code)


def inner_first(keys: Collection[str]) -> list[list[str]]:
    """Return the keys in groups: first those that are no other key's folder, then the folders, the deepest first."""
    folders = folders_of(keys).intersection(keys)
    if not folders:
        return [list(keys)]
    groups: dict[int, list[str]] = {}
    for folder in folders:
        groups.setdefault(folder.count("/"), []).append(folder)
    return [[key for key in keys if key not in folders], *(groups[depth] for depth in sorted(groups, reverse=True))]


def folders_of(keys: Iterable[str]) -> set[str]:
    """Return every folder that one of the keys lies in, without its slash."""
    return {folder for key in keys for folder in _folders_above(key)}


def _folders_above(key: str) -> Iterator[str]:
    end = key.rfind("/")
    while end > 0:
        yield key[:end]
        end = key.rfind("/", 0, end)


def narrow_prefix(prefix: ObjectStorageUri) -> ObjectStorageUri:
    """Return ``prefix`` if it may be deleted.

    :raises InvalidUriError: for a whole bucket.
    """
    if not prefix.key.strip("/"):
        raise InvalidUriError(f"{prefix} is a whole bucket, and only a prefix in one is ever deleted.")
    return prefix


def delete_incomplete(left: Mapping[str, str]) -> DeleteIncompleteError:
    """Return the error for a delete that left objects behind; all are in ``left``, some in the text."""
    left = {uri: redact(reason) for uri, reason in left.items()}
    named = [f"{uri} ({reason})" for uri, reason in list(left.items())[:_NAMED_IN_MESSAGES]]
    more = f" and {len(left) - len(named)} more" if len(left) > len(named) else ""
    return DeleteIncompleteError(
        f"{len(left)} objects could not be deleted: {', '.join(named)}{more}. "
        "Remove what holds them (a right that is missing, a lease, a retention rule; a busy store only needs time) "
        "and run the cleanup again.",
        uri=next(iter(left)),
        left=left,
    )
