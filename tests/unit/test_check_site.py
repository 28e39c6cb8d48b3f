"""What ``make docs`` complains about in the pages that it has built."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_docs, check_site, site_hooks


def page(folder: Path, name: str, html: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html)


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example.org/a.css">',
        '<link rel="preconnect" href="//fonts.example.org">',
        '<img src="http://example.org/a.png">',
        '<img src="" srcset="https://example.org/a.png 2x">',
        '<iframe src="https://example.org/"></iframe>',
        '<object data="https://example.org/a.svg"></object>',
        '<p style="background: url(https://example.org/a.png)">a</p>',
        '<pre class="mermaid">graph</pre>',
    ],
)
def test_what_is_asked_of_another_host_is_found(tmp_path: Path, html: str) -> None:
    page(tmp_path, "a/b.html", html)
    (problem,) = check_site.of_other_hosts(tmp_path, check_site.read_pages(tmp_path))
    assert problem.startswith("a/b.html: ")
    assert "another host" in problem


def test_a_style_that_asks_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text(
        '@import "https://fonts.example.org/a.css"; p { background: url(data:image/png,x) }'
    )
    (problem,) = check_site.of_other_hosts(tmp_path, {})
    assert problem == "a.css: https://fonts.example.org/a.css is asked of another host"


def test_a_link_for_readers_and_a_file_of_the_site_are_no_problem(tmp_path: Path) -> None:
    page(
        tmp_path,
        "a.html",
        '<a href="https://example.org">a</a><script src="a.js"></script><img src="data:image/png,x">',
    )
    assert list(check_site.of_other_hosts(tmp_path, check_site.read_pages(tmp_path))) == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("nowhere.html", "leads to nothing"),
        ("b.html#nowhere", "leads to no place in that page"),
        ("#nowhere", "leads to no place in that page"),
        ("folder/", "leads to a folder, which only a server turns into a page"),
        ("/b.html", "leads to nothing"),
    ],
)
def test_a_dead_link_is_found(tmp_path: Path, link: str, problem: str) -> None:
    page(tmp_path, "a.html", f'<a href="{link}">a</a>')
    page(tmp_path, "b.html", '<h2 id="here">b</h2>')
    page(tmp_path, "folder/c.html", "")
    assert list(check_site.dead_links(tmp_path, check_site.read_pages(tmp_path))) == [f"a.html: {link} {problem}"]


def test_links_that_lead_somewhere_are_no_problem(tmp_path: Path) -> None:
    links = ["b.html", "b.html#h%C3%ABre", "#top", "b.html?q=1", "https://example.org/x", "mailto:a@example.org", ""]
    page(tmp_path, "a.html", '<a name="top"></a>' + "".join(f'<a href="{link}">a</a>' for link in links))
    page(tmp_path, "b.html", '<h2 id="hëre">b</h2>')
    assert list(check_site.dead_links(tmp_path, check_site.read_pages(tmp_path))) == []


@pytest.mark.parametrize("html", ['<input name="q">', '<meta name="q">', '<a name="r" id="s">a</a>'])
def test_a_name_is_a_place_in_a_page_only_where_it_is_that_of_an_anchor(tmp_path: Path, html: str) -> None:
    page(tmp_path, "a.html", f'{html}<a href="#q">a</a>')
    assert list(check_site.dead_links(tmp_path, check_site.read_pages(tmp_path))) == [
        "a.html: #q leads to no place in that page"
    ]


def test_a_script_that_is_not_there_is_found(tmp_path: Path) -> None:
    page(tmp_path, "a.html", '<script src="a.js"></script>')
    assert list(check_site.dead_links(tmp_path, check_site.read_pages(tmp_path))) == ["a.html: a.js leads to nothing"]


def test_a_folder_without_pages_says_how_to_build_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_site.main([str(tmp_path)]) == 1
    assert "make docs" in capsys.readouterr().out


def test_a_public_name_that_the_reference_lacks_is_found(tmp_path: Path) -> None:
    for module in (check_docs.ROOT / name for name in site_hooks.REFERENCE):
        names = [name for name in site_hooks.public_paths(module) if not name.endswith(".resolve_manifest")]
        html = "".join(f'<h2 id="{site_hooks._module(module)}{name}">a</h2>' for name in names)
        page(tmp_path, str(Path(site_hooks.page_of(module)).with_suffix(".html")), html)
    (problem,) = check_site.undocumented_names(tmp_path, check_site.read_pages(tmp_path))
    assert problem.endswith(": .resolve_manifest isn't there")
