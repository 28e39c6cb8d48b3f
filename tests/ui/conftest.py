"""A browser for the tests that look at pages, and pictures of them for the docs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, sync_playwright

from local_servers import chromium

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
WRITES = os.environ.get("DPONE_WRITE_DOCS") == "1"
FLAGS = [
    "--no-sandbox",  # root, as in a container, has none to give
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # What it would ask of its maker's servers at every start:
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Picture = Callable[..., None]


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Airflow, its web server, Chromium and what drives it: all that was started for these tests ends with them."""
    before = set(psutil.Process().children(recursive=True))
    yield
    started = [process for process in psutil.Process().children(recursive=True) if process not in before]
    assert psutil.wait_procs(started, timeout=10)[1] == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window; it is installed where it may be, and else an error says how."""
    program = chromium.install()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(program), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def picture() -> Picture:
    """Write a picture of what is seen into the docs, with DPONE_WRITE_DOCS=1; else do nothing."""

    def take(what: Page | Locator, name: str, clip: FloatRect | None = None) -> None:
        if not WRITES:
            return
        path = IMAGES / f"{name}.png"
        if isinstance(what, Page):
            what.screenshot(path=path, animations="disabled", clip=clip)
        else:
            what.screenshot(path=path, animations="disabled")

    return take
