"""Programs that come from Debian's packages: installed where that is allowed, and named where it isn't."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from local_servers import lock

# What the scripts of Debian's packages ask before they start a service; 101 forbids it.
_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path("/run/dpone-airflow-installs.lock")
_OURS = "# dpone-airflow installs a package; to be removed when this process has ended:"


class PackageMissingError(RuntimeError):
    """A program isn't here and can't be installed; the message says what to do."""


def main(what: str, install: Callable[[], Path]) -> int:
    """Install a program and say where it is, or why it can't be: the command of each program's module."""
    try:
        print(f"{what}: {install()}", flush=True)
    except PackageMissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


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
        try:
            with (
                _sigterm_is_an_exception(),
                lock.exclusive(_LOCK, wait=True),  # or who ends first would take the policy from who still installs
                _no_service_is_started(),
            ):
                _install(package)
        except PackageMissingError as error:
            raise PackageMissingError(f"{error} {otherwise}") from None
        found = find()
    if found is None:
        raise PackageMissingError(otherwise)
    return found


def named_by(variable: str) -> Path | None:
    """Return the program that a variable of the environment names, or None where it isn't set.

    :raises PackageMissingError: if there is no such file.
    """
    named = os.environ.get(variable)
    if not named:
        return None
    if not os.access(named, os.X_OK) or Path(named).is_dir():
        raise PackageMissingError(f"${variable} names {named}, and there is no such program: correct or unset it.")
    return Path(named)


def run(command: Sequence[str]) -> None:
    """Run a command that asks nothing, and wait for its end, also after an interrupt.

    :raises PackageMissingError: if it fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # What apt-get tells goes to nobody; what it complains of goes to stderr.
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        status = process.wait()
    except BaseException:
        process.wait()  # dpkg in the middle of a package is no thing to kill
        raise
    if status:
        raise PackageMissingError(f"`{' '.join(command)}` ended with status {status}: run it by hand.")


def _install(package: str) -> None:
    try:
        run(["apt-get", "update", "-qq"])
    except PackageMissingError as error:
        # One source of several that doesn't answer: the lists that are there may do.
        print(f"{error} Going on with the lists of packages that are there.", file=sys.stderr)
    run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", package])


@contextmanager
def _no_service_is_started() -> Iterator[None]:
    """Forbid it to the packages' scripts, unless this machine has a policy of its own.

    One that was left by a process like this, ended by SIGKILL, is no policy of the machine.
    """
    if _POLICY.exists() and _OURS not in _POLICY.read_text(errors="replace"):
        yield
        return
    try:
        _POLICY.write_text(f"#!/bin/sh\n{_OURS} {os.getpid()}\nexit 101\n")
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


@contextmanager
def _sigterm_is_an_exception() -> Iterator[None]:
    """Let a SIGTERM, which would end this process at once, go the way of an exit; an own handler stays."""
    is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)
