"""Take the picture of the report in the docs: ``python -m tools.report_picture``. Needs Chromium."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from dpone_airflow.cli.report_page import runs_page
from dpone_airflow.staging.runs import read_runs
from dpone_airflow.storage import LocalObjectStorageClient
from local_servers import chromium
from tests.ui.sample import BASE, NOW, Sample

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "report.png"


def main() -> int:
    """Write the picture of a month of runs."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        client = LocalObjectStorageClient(root_dir=Path(folder) / "store")
        Sample(client).month()
        page_path = Path(folder) / "report.html"
        page_path.write_text("".join(runs_page(read_runs(client, BASE, now=NOW))), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=str(chromium.install()), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1010}, device_scale_factor=1.5)
        page.goto(page_path.as_uri())
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
