"""Run the sink until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from benchmarks.null_sink.azure import Azure
from benchmarks.null_sink.counts import Counted, azure_kind, gcs_kind, s3_kind
from benchmarks.null_sink.gcs import Gcs
from benchmarks.null_sink.http import Application, Request, Server
from benchmarks.null_sink.s3 import S3

_PROTOCOLS: dict[str, tuple[Callable[[], Application], Callable[[Request], tuple[str, int]]]] = {
    "s3": (S3, s3_kind),
    "gcs": (Gcs, gcs_kind),
    "azure": (Azure, azure_kind),
}


def main() -> int:
    """Serve, and end politely at SIGTERM and at Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null_sink", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=sorted(_PROTOCOLS), default="s3")
    parser.add_argument("--latency-ms", type=float, default=0, help="how long each answer is held back")
    parser.add_argument("--count", action="store_true", help="count requests, for GET /__counts to tell")
    arguments = parser.parse_args()
    make, kind_of = _PROTOCOLS[arguments.protocol]
    application = Counted(make(), kind_of) if arguments.count else make()
    server = Server(application, port=arguments.port, latency=arguments.latency_ms / 1000)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: server.stop())
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
