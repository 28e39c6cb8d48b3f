"""A proxy on this host that hands requests on to a server, and spoils those that it is told to.

What it may do to a request is in ``faults``. Signatures survive: host, path, query and headers go on
as they came. A server that hands out its own address (fake-gcs-server) must be told the proxy's.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# Longer than any server of the tests takes for a request.
_ANSWER_SECONDS = 60.0
# How long a server may take to notice that a request ends too early.
_NOTICE_SECONDS = 5.0
_PER_CONNECTION = {"connection", "content-length", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    target: str
    headers: Any
    body: bytes

    @cached_property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @cached_property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in found.items()}

    def names(self, text: str) -> bool:
        """Whether ``text`` is in what the request is about: its path, its query or the beginning of its body."""
        return text in unquote(self.target) or text in self._beginning

    @cached_property
    def _beginning(self) -> str:
        return unquote(self.body[:16384].decode("latin-1"))


@dataclass(frozen=True)
class Answer:
    """What a server answers, or what the proxy does in its place."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    #: What a HEAD says of a body that doesn't come.
    length: int | None = None

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def with_header(self, name: str, value: str) -> Answer:
        others = tuple((key, old) for key, old in self.headers if key.lower() != name.lower())
        return replace(self, headers=(*others, (name, value)))

    def on_the_wire(self) -> tuple[bytes, bytes]:
        """Return head and body."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status >= 200 and self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), self.body


class Exchange:
    """One request, and what may be done with it. After any method but ``forward`` it is over."""

    def __init__(self, handler: BaseHTTPRequestHandler, request: Request, upstream: str) -> None:
        self.request = request
        self._handler = handler
        self._upstream = upstream

    def forward(self, body: bytes | None = None) -> Answer:
        """Hand the request on, if told so with another body of the same length; return the answer."""
        onward = self._send_head(_ANSWER_SECONDS)
        try:
            onward.send(self.request.body if body is None else body)
            answer = onward.getresponse()
            content = answer.read()
        finally:
            onward.close()
        length = answer.getheader("Content-Length")
        return Answer(
            answer.status,
            content,
            tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _PER_CONNECTION),
            int(length) if self.request.method == "HEAD" and length else None,
        )

    def forward_half(self) -> None:
        """Hand half of the request's body on, and wait until the server has noticed that no more comes."""
        onward = self._send_head(_NOTICE_SECONDS)
        with suppress(OSError, http.client.HTTPException):
            onward.send(self.request.body[: len(self.request.body) // 2])
            onward.sock.shutdown(socket.SHUT_WR)
            while onward.sock.recv(65536):
                pass
        onward.close()

    def send(self, answer: Answer) -> None:
        """Give the client an answer."""
        head, body = answer.on_the_wire()
        self._handler.wfile.write(head + body)

    def send_half(self, answer: Answer) -> None:
        """Give the client half of an answer's body; if it has none, its head up to the ETag.

        Python's own HTTP client takes what came of such a head for all of it.
        """
        head, body = answer.on_the_wire()
        etag = head.lower().find(b"\r\netag:")
        self._handler.wfile.write(
            head + body[: len(body) // 2] if body else head[: etag + 2 if etag >= 0 else len(head) // 2]
        )

    def send_in_pieces(self, answer: Answer, pause: Callable[[], None]) -> None:
        """Give the client an answer in four pieces."""
        wire = b"".join(answer.on_the_wire())
        step = max(1, len(wire) // 4)
        for start in range(0, len(wire), step):
            pause()
            self._handler.wfile.write(wire[start : start + step])

    def close(self) -> None:
        """End the connection in good order."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """End the connection as a host does that has gone away."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True

    def wait_until_given_up(self) -> None:
        """Send nothing more until the client closes the connection."""
        self._handler.connection.settimeout(_ANSWER_SECONDS)
        with suppress(OSError):
            while self._handler.connection.recv(65536):
                pass
        self._handler.close_connection = True

    def _send_head(self, timeout: float) -> http.client.HTTPConnection:
        onward = http.client.HTTPConnection(self._upstream, timeout=timeout)
        onward.putrequest(self.request.method, self.request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.request.headers.items():
            if name.lower() not in ("expect", "connection"):
                onward.putheader(name, value)
        onward.endheaders()
        return onward


Fault = Callable[[Exchange], None]


@dataclass
class Rule:
    """Which requests get a fault, and how often."""

    fault: Fault
    when: Callable[[Request], bool]
    times: int | None = 1
    #: The requests that got it.
    met: list[Request] = field(default_factory=list)

    def takes(self, request: Request) -> bool:
        return (self.times is None or len(self.met) < self.times) and self.when(request)


class FaultProxy:
    """The running proxy.

    :param upstream: ``host:port`` of the server; it may be set when the server has begun.
    """

    def __init__(self, upstream: str = "") -> None:
        self.upstream = upstream
        self._rules: list[Rule] = []
        self._choosing = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.netloc = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.netloc}"

    @classmethod
    @contextmanager
    def start(cls, upstream: str = "") -> Iterator[FaultProxy]:
        proxy = cls(upstream)
        thread = threading.Thread(target=proxy._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy._server.shutdown()
            proxy._server.server_close()
            thread.join()

    @contextmanager
    def injecting(self, *rules: Rule) -> Iterator[None]:
        """Follow rules for a ``with`` block; of several that take a request the first one has it."""
        with self._choosing:
            self._rules = [*rules, *self._rules]
        try:
            yield
        finally:
            with self._choosing:
                self._rules = [rule for rule in self._rules if not any(rule is ours for ours in rules)]

    def choose(self, request: Request) -> Fault | None:
        with self._choosing:
            for rule in self._rules:
                if rule.takes(request):
                    rule.met.append(request)
                    return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request: Any) -> None:
        # Without the usual shutdown, which would be an orderly end and come before a reset.
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what the tests are about."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are written in one piece; nothing is to wait for more.
        disable_nagle_algorithm = True

        def take(self) -> None:
            assert "chunked" not in self.headers.get("Transfer-Encoding", ""), "no client here sends chunks"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers, body)
            exchange = Exchange(self, request, proxy.upstream)
            fault = proxy.choose(request)
            if fault:
                fault(exchange)
            else:
                exchange.send(exchange.forward())

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = take  # noqa: N815 - the names are Python's

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
