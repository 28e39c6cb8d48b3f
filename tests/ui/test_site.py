"""The documentation site in Chromium: it asks nobody for anything, and its search works, also from a folder."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tools import check_site

ROOT = Path(__file__).parent.parent.parent


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    return folder


@pytest.fixture(params=["a folder", "a server"])
def address(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    if request.param == "a folder":
        yield site.as_uri()
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page() as page:
        yield page


def test_the_site_is_whole(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_site.main([str(site)]) == 0, capsys.readouterr().out


def test_a_reader_searches_and_follows_without_asking_another_host(page: Page, address: str) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}/index.html")
    page.keyboard.press("/")
    page.keyboard.type("unfinished uploads")
    page.locator(".md-search-result__item a").first.wait_for()
    page.locator(".md-search-result__item a").first.click()
    page.wait_for_url(lambda url: "index.html" not in url)
    assert "uploads" in page.locator("article").inner_text()
    assert [url for url in asked if not url.startswith((address, "data:", "about:"))] == []
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "name", ["index", "getting-started", "permissions", "reference/operators", "examples/example_s3", "migration"]
)
def test_no_page_is_wider_than_its_window(page: Page, site: Path, name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
