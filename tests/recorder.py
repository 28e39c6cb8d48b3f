"""An HTTP server that writes down what it is sent and answers as an object store would."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True)
class Recorded:
    """One request.

    :param path: raw, with its query; behind a proxy of plain HTTP the whole URL.
    :param headers: by name in lower case.
    :param tunnel: the host and port of the CONNECT that it came through.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    tunnel: str | None = None


@dataclass
class Recorder:
    """What came in, and where.

    :param answer: decides what is sent back to a request; None for the default.
    """

    url: str
    seen: list[Recorded] = field(default_factory=list)
    connects: list[Recorded] = field(default_factory=list)
    answer: Callable[[Recorded], Answer | None] = lambda _: None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def only(self) -> Recorded:
        assert len(self.seen) == 1, self.seen
        return self.seen[0]

    def multipart(self) -> tuple[Recorded, list[Recorded], Recorded]:
        """Return what began an upload in parts, the parts, and what completed it."""
        begin, *parts, complete = self.seen
        assert (begin.method, complete.method) == ("POST", "POST")
        assert {part.method for part in parts} == {"PUT"}
        return begin, parts, complete


def _default(request: Recorded) -> Answer:
    if request.method == "POST" and "uploads" in request.path:
        body = b"<InitiateMultipartUploadResult><UploadId>an-upload</UploadId></InitiateMultipartUploadResult>"
    elif request.method == "POST":
        body = b'<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>'
    else:
        body = b""
    # Azure's SDK takes nothing but a 201; S3's clients take any success.
    return 201 if request.method == "PUT" else 200, {"ETag": '"etag"'}, body


@contextmanager
def recording(tls: ssl.SSLContext | None = None, tunnel_tls: ssl.SSLContext | None = None) -> Iterator[Recorder]:
    """Run a recorder on 127.0.0.1 for a ``with`` block.

    :param tls: makes it speak HTTPS.
    :param tunnel_tls: makes it a proxy that ends tunnels itself, as any host that is asked for.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        tunnel: str | None = None

        def log_message(self, *args: Any) -> None:
            pass

        def _record(self, body: bytes = b"") -> Recorded:
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Recorded(self.command, self.path, headers, body, self.tunnel)

        def _answer(self) -> None:
            length = self.headers.get("content-length")
            request = self._record(self.rfile.read(int(length)) if length else b"")
            recorder.seen.append(request)
            status, headers, body = recorder.answer(request) or _default(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

        def do_CONNECT(self) -> None:
            assert tunnel_tls
            recorder.connects.append(self._record())
            self.tunnel = self.path
            self.close_connection = False  # whatever version of HTTP asked for it
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self.connection = tunnel_tls.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]

    server = _Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    recorder = Recorder(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a refused certificate ends a connection."""


def self_signed(directory: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """Return a server's TLS context and the file with its certificate, which no system trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a recorder")])
    alternatives = [x509.IPAddress(ip_address("127.0.0.1")), *(x509.DNSName(name) for name in names)]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, key_path = directory / "certificate.pem", directory / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context, path
