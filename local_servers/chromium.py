"""Chromium for the tests that look at a page: ``python -m local_servers.chromium`` installs it where it may.

As root on Debian and what is made of it, that is ``apt-get install chromium``. Elsewhere it says what
to run.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_VARIABLE = "CHROMIUM"


class ChromiumMissingError(RuntimeError):
    """There is no Chromium here; the message says how to get one."""


def find() -> Path | None:
    """Return the program: ``$CHROMIUM``, one on the PATH, or the one that Playwright has downloaded."""
    named = os.environ.get(_VARIABLE)
    if named:
        return Path(named)
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return _of_playwright()


def install() -> Path:
    """Return the program, installed if it wasn't there.

    :raises ChromiumMissingError: if it isn't and can't be.
    """
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium with apt-get ...", flush=True)
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium"])
        found = find()
    if found is None:
        raise ChromiumMissingError(
            "The tests of the report's page need Chromium, and there is none: install it with the system's package "
            f"manager or with `{sys.executable} -m playwright install chromium`, or name the program in ${_VARIABLE}."
        )
    return found


def _of_playwright() -> Path | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = Path(playwright.chromium.executable_path)
    return program if program.exists() else None


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # What apt-get tells goes to nobody; what it complains of goes to stderr.
    ended = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise ChromiumMissingError(f"`{' '.join(command)}` ended with status {ended.returncode}: run it by hand.")


def main() -> int:
    """Install it, and say where it is."""
    try:
        print(f"Chromium: {install()}", flush=True)
    except ChromiumMissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
