"""Chromium for the tests that look at a page: ``python -m local_servers.chromium`` installs it where it may."""

import shutil
import sys
from pathlib import Path

from local_servers import debian

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_VARIABLE = "CHROMIUM"


def find() -> Path | None:
    """Return the program: ``$CHROMIUM``, one on the PATH, or the one that Playwright has downloaded.

    :raises PackageMissingError: if the variable names none.
    """
    named = debian.named_by(_VARIABLE)
    if named:
        return named
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return _of_playwright()


def install() -> Path:
    """Return the program, installed if it wasn't there.

    :raises PackageMissingError: if it isn't and can't be.
    """
    return debian.installed(
        "chromium",
        find,
        otherwise="The tests that look at pages need Chromium, and there is none: install it with the system's package "
        f"manager or with `{sys.executable} -m playwright install chromium`, or name the program in ${_VARIABLE}.",
    )


def _of_playwright() -> Path | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = Path(playwright.chromium.executable_path)
    return program if program.exists() else None


def main() -> int:
    """Install it, and say where it is."""
    return debian.main("Chromium", install)


if __name__ == "__main__":
    sys.exit(main())
