"""Programs that come from Debian's packages: installed where that is allowed, and named where it isn't."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# What the scripts of Debian's packages ask before they start a service; 101 forbids it.
_POLICY = Path("/usr/sbin/policy-rc.d")
_START_NOTHING = "#!/bin/sh\nexit 101\n"


class PackageMissingError(RuntimeError):
    """A program isn't here and can't be installed; the message says what to do."""


def installed(package: str, find: Callable[[], Path | None], *, otherwise: str) -> Path:
    """Return a program, installed with ``apt-get`` if it wasn't there and this is root.

    A service that the package brings isn't started.

    :param package: Debian's package.
    :param find: returns the program, or None where it isn't.
    :param otherwise: a sentence for where it can't be installed: what needs it, and how to get it.
    :raises PackageMissingError: if it isn't there and can't be installed.
    """
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {package} with apt-get ...", flush=True)
        run(["apt-get", "update", "-qq"])
        with _no_service_is_started():
            run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", package])
        found = find()
    if found is None:
        raise PackageMissingError(otherwise)
    return found


def run(command: Sequence[str]) -> None:
    """Run a command that asks nothing.

    :raises PackageMissingError: if it fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # What apt-get tells goes to nobody; what it complains of goes to stderr.
    ended = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise PackageMissingError(f"`{' '.join(command)}` ended with status {ended.returncode}: run it by hand.")


@contextmanager
def _no_service_is_started() -> Iterator[None]:
    """Forbid it to the packages' scripts, unless this machine has a policy of its own."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_START_NOTHING)
    try:
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink()
