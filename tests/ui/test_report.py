"""The report's page in a browser: it is seen, it asks for nothing, it does without its script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dpone_airflow.cli.report_page import run_page, runs_page
from dpone_airflow.staging.run_records import read_objects
from dpone_airflow.staging.runs import RecordedRuns, RunState, read_runs
from dpone_airflow.storage import LocalObjectStorageClient
from tests.ui.sample import BASE, DAYS, NOW, Sample

SCHEMES = ("light", "dark")


@dataclass
class Opened:
    """A page, and what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> LocalObjectStorageClient:
    client = LocalObjectStorageClient(root_dir=tmp_path_factory.mktemp("store"))
    Sample(client).month()
    return client


@pytest.fixture(scope="module")
def runs(client: LocalObjectStorageClient) -> RecordedRuns:
    return read_runs(client, BASE, now=NOW)


@pytest.fixture(scope="module")
def overview(runs: RecordedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "report.html"
    path.write_text("".join(runs_page(runs)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def of_one_run(client: LocalObjectStorageClient, runs: RecordedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = next(run.run_id for run in runs.runs if run.state is RunState.VERIFY_FAILED)
    told = read_runs(client, BASE, name, now=NOW)
    (run,) = told.runs
    objects = [(part, read_objects(client, part.manifest, part.files)) for part in run.parts]
    path = tmp_path_factory.mktemp("pages") / "run.html"
    path.write_text("".join(run_page(told, run, objects)), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    contexts = []

    def open_page(path: Path, **options: Any) -> Opened:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 1000}} | options))
        contexts.append(context)
        page = context.new_page()
        found = Opened(page)
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.goto(path.as_uri())
        return found

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", ["overview", "of_one_run"])
def test_a_page_asks_for_nothing_and_complains_of_nothing(
    opened: Open, request: pytest.FixtureRequest, tmp_path: Path, page: str, scheme: str
) -> None:
    path = request.getfixturevalue(page)
    found = opened(path, color_scheme=scheme)
    picture = found.page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert len(picture) > 20_000
    assert [url for url in found.requests if not url.startswith("data:")] == [path.as_uri()]
    assert found.complaints == []


def test_every_bar_of_the_chart_and_every_row_is_seen(opened: Open, overview: Path, runs: RecordedRuns) -> None:
    page = opened(overview).page
    bars = page.locator("svg.chart .bar")
    assert bars.count() == len(runs.days())
    for bar in bars.all():
        box = bar.bounding_box()
        assert box
        assert box["width"] > 3
        assert box["height"] >= 1
    # The highest bar is that of the day with the most bytes.
    sizes = [size for _, size in runs.days().values()]
    heights = [bar.bounding_box()["height"] for bar in bars.all()]
    assert heights.index(max(heights)) == sizes.index(max(sizes))
    rows = page.locator("#runs tbody tr")
    assert rows.count() == len(runs.runs) == DAYS - 2
    for row in rows.all():
        expect(row).to_be_visible()
    expect(page.locator(".badge.verify_failed").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_without_its_script_the_page_says_all_the_same(opened: Open, overview: Path, runs: RecordedRuns) -> None:
    page = opened(overview, java_script_enabled=False).page
    assert page.locator("#runs tbody tr").count() == len(runs.runs)
    expect(page.locator("svg.chart")).to_be_visible()
    expect(page.locator("input")).to_be_hidden()
    page.locator("summary", has_text="as a table").click()
    assert page.locator("details tbody tr").count() == len(runs.days())


def test_rows_are_sorted_and_filtered(opened: Open, overview: Path) -> None:
    page = opened(overview).page
    size = page.locator("#runs thead th", has_text="Size")
    sizes = page.locator("#runs tbody tr td:nth-child(5)")

    def values() -> list[int]:
        return [int(text) for text in sizes.evaluate_all("cells => cells.map(cell => cell.dataset.value)")]

    size.get_by_role("button").click()
    assert size.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    assert len(set(values())) > 10
    size.get_by_role("button").click()
    assert size.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    page.locator("#runs thead th", has_text="Run").get_by_role("button").click()
    assert size.get_attribute("aria-sort") is None
    names = page.locator("#runs tbody .id").all_inner_texts()
    assert names == sorted(names)
    page.get_by_label("Filter").fill("verify FAILED orders_daily")
    assert page.locator("#runs tbody tr:visible").count() == 1
    page.get_by_label("Filter").fill("")
    assert page.locator("#runs tbody tr:visible").count() == DAYS - 2


def test_one_run_shows_what_is_wrong_and_every_object(opened: Open, of_one_run: Path) -> None:
    page = opened(of_one_run).page
    expect(page.get_by_role("heading", name="The verify found differences")).to_be_visible()
    expect(page.get_by_text("missing: s3://landing/orders/")).to_be_visible()
    digests = page.locator("#objects .digest").all_inner_texts()
    assert len(digests) == int(page.locator("#objects-title .count").inner_text())
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_long_list_of_objects_is_there_from_its_first_to_its_last(
    opened: Open, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    client = LocalObjectStorageClient(root_dir=tmp_path_factory.mktemp("long"))
    Sample(client).run("long", NOW, (5_001, 5_001 * 2**20))
    told = read_runs(client, BASE, "long", now=NOW)
    (run,) = told.runs
    path = tmp_path / "long.html"
    objects = [(part, read_objects(client, part.manifest, part.files)) for part in run.parts]
    path.write_text("".join(run_page(told, run, objects)), encoding="utf-8")
    page = opened(path).page
    assert page.locator("table.objects").count() == 3
    assert page.locator("table.objects thead th[scope=col]").count() == 9
    names = page.locator("table.objects tbody .id").evaluate_all("all => all.map(each => each.textContent)")
    assert names == [f"orders-{number:04d}.parquet" for number in range(5_001)]
    expect(page.get_by_label("Filter")).to_have_count(0)
    page.locator("table.objects tbody tr").last.scroll_into_view_if_needed()
    expect(page.get_by_text("orders-5000.parquet")).to_be_in_viewport()
    left = page.locator("table.objects .digest").evaluate_all(
        "all => [...new Set([all[0], all[2500], all[5000]].map(each => Math.round(each.getBoundingClientRect().left)))]"
    )
    assert len(left) == 1, "the columns of all tables stand below each other"


@pytest.mark.parametrize("page", ["overview", "of_one_run"])
def test_on_a_telephone_nothing_but_the_tables_is_wider_than_the_screen(
    opened: Open, request: pytest.FixtureRequest, page: str
) -> None:
    found = opened(request.getfixturevalue(page), viewport={"width": 390, "height": 844}).page
    assert found.evaluate("document.documentElement.scrollWidth") <= 390


# Relative luminance and contrast as WCAG 2.1 defines them; text over a see-through background takes the one behind.
CONTRASTS = """
() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || ["SCRIPT", "STYLE", "title", "desc"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const text = parse(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [light, dark] = [luminance(text), luminance(behind(element))].sort((a, b) => b - a);
    found.push([(light + 0.05) / (dark + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return found;
}
"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", ["overview", "of_one_run"])
def test_every_text_stands_out_from_what_is_behind_it(
    opened: Open, request: pytest.FixtureRequest, page: str, scheme: str
) -> None:
    contrasts = opened(request.getfixturevalue(page), color_scheme=scheme).page.evaluate(CONTRASTS)
    assert len(contrasts) > 50
    assert [found for found in contrasts if found[0] < 4.5] == []


def test_headings_come_in_their_order(opened: Open, overview: Path) -> None:
    levels = opened(overview).page.locator("h1, h2, h3").evaluate_all("all => all.map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
