"""Sending one large file in parts, several at a time, each byte read and hashed once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dpone_airflow.storage.readers import Reader

MIB = 1024 * 1024
DEFAULT_PART_BYTES = 8 * MIB
# S3 takes 10,000 parts an object, Azure 50,000 blocks; the margin is for rounding.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
# https://learn.microsoft.com/azure/storage/blobs/scalability-targets
MOST_PARTS = 9_000

Sent = TypeVar("Sent")


def part_bytes_for(size: int, at_least: int = DEFAULT_PART_BYTES) -> int:
    """Return the part size in bytes for a file of ``size`` bytes."""
    return max(at_least, math.ceil(size / MOST_PARTS))


def send_parts(
    reader: Reader,
    send: Callable[[int, bytes], Sent],
    *,
    part_bytes: int,
    threads: int,
) -> list[Sent]:
    """Read ``reader`` in parts and call ``send(number, data)`` for each, numbers from 1.

    While ``threads`` parts are sent, one more is read; no others are in memory. Returns what
    ``send`` returned, in order, once the whole file is read and every part is sent. The first error
    stops the reading and what is queued, waits for the parts under way and is raised.
    """
    sent: dict[int, Sent] = {}
    failures: list[BaseException] = []
    in_memory = threading.BoundedSemaphore(threads + 1)

    def send_one(number: int, data: bytes) -> None:
        try:
            if not failures:
                sent[number] = send(number, data)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            failures.append(error)
        finally:
            in_memory.release()

    with ThreadPoolExecutor(threads, thread_name_prefix="dpone-part") as pool:
        number = 0
        while not failures:
            in_memory.acquire()
            try:
                data = reader.read(part_bytes)
            except BaseException as error:  # noqa: BLE001 - raised below, after the parts under way
                failures.append(error)
                break
            if not data:
                break
            number += 1
            pool.submit(send_one, number, data)
            del data  # only the parts under way keep their bytes
    if failures:
        raise failures[0]
    return [sent[number] for number in sorted(sent)]
