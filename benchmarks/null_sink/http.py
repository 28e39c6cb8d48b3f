"""As much of HTTP/1.1 as S3 clients speak, in one thread, at little cost for each request and byte.

Bodies that nobody reads again are dropped in the kernel: Linux takes ``MSG_TRUNC`` on a TCP socket to mean
that what has arrived is to be discarded without being copied. So 2 GiB cost the sink next to no time, which
on a machine with few cores would otherwise be taken from the client that is being measured.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_BUFFER_BYTES = 1 << 20
_DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
# A large body wakes the server once for so many bytes, not for each packet.
_WAKE_BYTES = 256 * 1024
_HEAD_END = b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """The head of a request, and its body if it was kept."""

    __slots__ = ("_lower", "body", "head", "length", "method", "path", "query")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self._lower = head.lower()
        end = head.find(b"\r\n")
        self.method, target, _ = head[: end if end >= 0 else None].split(b" ", 2)
        self.path, _, self.query = target.partition(b"?")
        self.length = int(self.header(b"content-length") or 0)
        self.body = b""

    def header(self, name: bytes) -> bytes:
        """Return a header's value, or nothing; ``name`` is in lower case."""
        found = self._lower.find(b"\r\n" + name + b":")
        if found < 0:
            return b""
        start = found + len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start : end if end >= 0 else None].strip()


class Application(Protocol):
    """What answers the requests."""

    def keeps_body(self, request: Request) -> bool:
        """Return whether the body is wanted; others are dropped unread."""

    def answer(self, request: Request) -> bytes:
        """Return the whole answer, head and body."""


class _Connection:
    """One client's connection and how far its current request has come."""

    __slots__ = ("discard", "kept", "low_water", "out", "request", "socket", "unread")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.request: Request | None = None
        self.unread = bytearray()  # the beginning of a head
        self.kept: bytearray | None = None  # a body that is wanted, as far as it is there
        self.discard = 0  # bytes of the body that are still to be dropped
        self.low_water = 1
        self.out = b""  # what the socket hasn't taken yet

    def wake_for(self, count: int) -> None:
        """Ask to be woken when so many bytes are there, and not for fewer."""
        if self.low_water != count:
            self.low_water = count
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class Server:
    """Serves one application on 127.0.0.1.

    :param latency: seconds that every answer is held back, whatever else is going on meanwhile.
    """

    def __init__(self, application: Application, *, port: int = 0, latency: float = 0) -> None:
        self._application = application
        self._latency = latency
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._held: deque[tuple[float, _Connection, bytes]] = deque()  # in the order they fall due
        self._running = True
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, lambda _: None)

    def stop(self) -> None:
        """End ``serve``; may be called from a signal or another thread."""
        self._running = False
        with suppress(OSError):  # something else has woken it, and it has ended meanwhile
            self._wake_write.send(b"x")

    def serve(self) -> None:
        """Answer until ``stop``."""
        select = self._selector.select
        while self._running:
            for key, events in select(self._until_next()):
                handle: Callable[[int], None] = key.data
                handle(events)
            while self._held and self._held[0][0] <= time.monotonic():
                _, connection, data = self._held.popleft()
                self._send(connection, data)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._wake_write.close()
        self._selector.close()

    def _until_next(self) -> float | None:
        return max(0.0, self._held[0][0] - time.monotonic()) if self._held else None

    def _accept(self, _: int) -> None:
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, lambda events: self._ready(connection, events))

    def _ready(self, connection: _Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(connection, b"")
        if events & selectors.EVENT_READ:
            self._read(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            if connection.discard:
                count = connection.socket.recv_into(self._view, min(connection.discard, _BUFFER_BYTES), _DISCARD)
            else:
                count = connection.socket.recv_into(self._view)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._close(connection)
        elif connection.discard:
            self._dropped(connection, count)
        else:
            self._take(connection, self._buffer, count)

    def _dropped(self, connection: _Connection, count: int) -> None:
        connection.discard -= count
        if connection.discard:
            connection.wake_for(min(connection.discard, _WAKE_BYTES))
        else:
            connection.wake_for(1)
            self._answer(connection)

    def _take(self, connection: _Connection, data: bytearray, count: int) -> None:
        """Go on with what has arrived: the first ``count`` bytes of ``data``."""
        start = 0
        while start < count:
            if connection.request is None:
                if connection.unread:
                    data, start, count = (
                        connection.unread + data[start:count],
                        0,
                        len(connection.unread) + count - start,
                    )
                    connection.unread = bytearray()
                end = data.find(_HEAD_END, start, count)
                if end < 0:
                    connection.unread = data[start:count]
                    return
                self._begin(connection, Request(bytes(data[start:end])))
                start = end + len(_HEAD_END)
            start += self._body(connection, data, start, count)

    def _begin(self, connection: _Connection, request: Request) -> None:
        connection.request = request
        if request.length and self._application.keeps_body(request):
            connection.kept = bytearray()
        else:
            connection.discard = request.length
        if request.length and request.header(b"expect"):
            self._send(connection, _CONTINUE)

    def _body(self, connection: _Connection, data: bytearray, start: int, count: int) -> int:
        """Take what is there of the body; answer if that is all of it. Return how many bytes it was."""
        request = connection.request
        assert request is not None, "a head has been read"
        if connection.kept is None:
            taken = min(connection.discard, count - start)
            connection.discard -= taken
            if not connection.discard:
                self._answer(connection)
            return taken
        taken = min(request.length - len(connection.kept), count - start)
        connection.kept += data[start : start + taken]
        if len(connection.kept) == request.length:
            request.body = bytes(connection.kept)
            self._answer(connection)
        return taken

    def _answer(self, connection: _Connection) -> None:
        request, connection.request, connection.kept = connection.request, None, None
        assert request is not None, "a request has been read"
        data = self._application.answer(request)
        if self._latency:
            self._held.append((time.monotonic() + self._latency, connection, data))
        else:
            self._send(connection, data)

    def _send(self, connection: _Connection, data: bytes) -> None:
        waiting = connection.out + data if connection.out else data
        try:
            sent = connection.socket.send(waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent == len(waiting) and not connection.out:
            return
        connection.out = waiting[sent:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.out else 0)
        key = self._selector.get_key(connection.socket)
        if key.events != wanted:
            self._selector.modify(connection.socket, wanted, key.data)

    def _close(self, connection: _Connection) -> None:
        if connection.socket.fileno() >= 0:
            self._selector.unregister(connection.socket)
            connection.socket.close()
