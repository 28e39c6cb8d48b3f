"""Free ports that stay free until the server has bound them.

Asking the kernel for a free port and handing its number to a server leaves a moment in which
somebody else can take it: another test worker that does the same, or any outgoing connection,
whose local port comes from the same range. So ports are drawn below that range, at random, and
each is locked by a file for as long as its server runs. The kernel drops such a lock when its
process ends, however it ends.
"""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

LOWEST = 10_000
HIGHEST = 22_767  # with the offset below: the last port under Linux's range for clients
GRPC_OFFSET = 10_000
ATTEMPTS = 1_000

_random = SystemRandom()  # not the seedable one: test runs like to seed it alike in every worker


@contextmanager
def reserved_ports(count: int, *, with_grpc: bool = False) -> Iterator[list[int]]:
    """Yield that many free ports of 127.0.0.1, kept from other users of this module meanwhile.

    ``with_grpc`` reserves for each port also the one 10,000 above it, where SeaweedFS listens
    for gRPC.
    """
    with ExitStack() as held:
        ports: list[int] = []
        for _ in range(ATTEMPTS):
            if len(ports) == count:
                break
            port = _random.randint(LOWEST, HIGHEST)
            wanted = (port, port + GRPC_OFFSET) if with_grpc else (port,)
            if all(_lock(number, held) and _is_free(number) for number in wanted):
                ports.append(port)
        else:
            raise OSError(f"no {count} free ports on 127.0.0.1 after {ATTEMPTS} attempts")
        yield ports


def _lock(port: int, held: ExitStack) -> bool:
    directory = Path(tempfile.gettempdir()) / f"local-servers-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory / f"{port}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    held.callback(os.close, descriptor)
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
