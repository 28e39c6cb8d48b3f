"""Check the built site: ``python -m tools.check_site [folder]``, by default ``site/``. Part of ``make docs``.

MkDocs checks the links that pages write. Here it is the pages as it has built them, theme and all: no tag and no style
asks another host for anything (what a script asks for isn't seen), each file that a tag asks for is there, each ``<a>``
to a page or to a place in one leads there, those of ``404.html`` left out, and the API reference has a place for each
public name of the package. One line a problem, and exit code 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from tools import check_docs, site_hooks

SITE = check_docs.ROOT / "site"

_ASKED_FOR_BY = {"audio", "embed", "iframe", "img", "input", "script", "source", "track", "video"}
_NOT_ASKED_FOR = {"alternate", "author", "canonical", "next", "prev"}  # what the rel of a <link> may be
_IN_STYLES = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?(?P<address>[^"')\s]+)""")
_OF_ANOTHER_HOST = re.compile(r"(?:https?:)?//", re.I)
_WITH_A_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.I)


class Seen(HTMLParser):
    """What a page asks for, where it leads to, and which places it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.asked_for: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.has_mermaid = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down one tag."""
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if given.get(name) and (name == "id" or tag == "a"))
        self.asked_for += _IN_STYLES.findall(given.get("style", ""))
        self.has_mermaid |= "mermaid" in given.get("class", "").split()
        if tag in _ASKED_FOR_BY:
            sources = [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
            self.asked_for += [address for address in (given.get("src"), given.get("poster"), *sources) if address]
        elif tag == "link" and not _NOT_ASKED_FOR & set(given.get("rel", "").split()):
            self.asked_for.append(given.get("href", ""))
        elif tag == "object":
            self.asked_for.append(given.get("data", ""))
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if the site is whole."""
    given = sys.argv[1:] if arguments is None else arguments
    site = Path(given[0]) if given else SITE
    pages = read_pages(site)
    if not pages:
        print(f"There is no page in {site}: build the site with `make docs`.")
        return 1
    problems = [*of_other_hosts(site, pages), *dead_links(site, pages), *undocumented_names(site, pages)]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"OK: {len(pages)} pages, no dead link, and nothing is asked of another host.")
    return 1 if problems else 0


def read_pages(site: Path) -> dict[Path, Seen]:
    """Return what is in each page."""
    return {path: Seen(path.read_text(encoding="utf-8")) for path in sorted(site.resolve().rglob("*.html"))}


def of_other_hosts(site: Path, pages: dict[Path, Seen]) -> Iterator[str]:
    """Yield what a browser would ask another host for."""
    for path, page in pages.items():
        for address in page.asked_for:
            if _OF_ANOTHER_HOST.match(address):
                yield f"{_shown(site, path)}: {address} is asked of another host"
        if page.has_mermaid:
            yield f"{_shown(site, path)}: a Mermaid diagram, for which a script is asked of another host: draw an SVG"
    for path in sorted(site.resolve().rglob("*.css")):
        for address in _IN_STYLES.findall(path.read_text(encoding="utf-8")):
            if _OF_ANOTHER_HOST.match(address):
                yield f"{_shown(site, path)}: {address} is asked of another host"


def dead_links(site: Path, pages: dict[Path, Seen]) -> Iterator[str]:
    """Yield each link, and each file that a page asks for, that isn't there."""
    for path, page in pages.items():
        if path == site.resolve() / "404.html":
            continue  # it is shown in the place of any page, so its links are those of a site at the root
        for link in (*page.links, *page.asked_for):
            if _WITH_A_SCHEME.match(link):
                continue
            where, _, place = link.partition("#")
            target = (path.parent / unquote(where.partition("?")[0])).resolve() if where else path
            if target.is_dir():
                yield f"{_shown(site, path)}: {link} leads to a folder, which only a server turns into a page"
            elif not target.is_file():
                yield f"{_shown(site, path)}: {link} leads to nothing"
            elif place and target in pages and unquote(place) not in pages[target].ids:
                yield f"{_shown(site, path)}: {link} leads to no place in that page"


def undocumented_names(site: Path, pages: dict[Path, Seen]) -> Iterator[str]:
    """Yield each public name that the API reference doesn't have."""
    for name in site_hooks.REFERENCE:
        module = check_docs.ROOT / name
        path = site.resolve() / Path(site_hooks.page_of(module)).with_suffix(".html")
        for public in site_hooks.public_paths(module):
            if path not in pages or not any(place.endswith(public) for place in pages[path].ids):
                yield f"{_shown(site, path)}: {public} isn't there"


def _shown(site: Path, path: Path) -> str:
    return path.relative_to(site.resolve()).as_posix()


if __name__ == "__main__":
    sys.exit(main())
