"""MkDocs calls this while it builds the site: what lies outside ``docs/`` gets its pages, and links lead to them.

The site has one source for everything. ``CHANGELOG.md`` and its like lie at the root, where people look for
them; a page of the docs names an example DAG or a module by its path, so that the link works in the
repository. Here each file that some page links to becomes a page of the site (Markdown as it is, anything else
as highlighted code), and each such link is turned to that page. A package's ``__init__.py`` becomes its page
of the API reference, with every name of its ``__all__``.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools import check_docs

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = check_docs.ROOT
DOCS = ROOT / "docs"

#: Files of the root that have a place of their own on the site.
AT_THE_ROOT = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
#: Packages of the API reference, in the order of the navigation, and what each page is called.
REFERENCE = {
    "dpone_airflow/operators/__init__.py": "Operators",
    "dpone_airflow/decorators/__init__.py": "Decorators",
    "dpone_airflow/hooks/__init__.py": "Hooks",
    "dpone_airflow/staging/__init__.py": "Staging",
    "dpone_airflow/staging/loaders/__init__.py": "Loaders",
    "dpone_airflow/plugins/macros.py": "Macros",
    "dpone_airflow/storage/__init__.py": "Storage clients",
    "dpone_airflow/storage/errors.py": "Errors",
}
# In the navigation these stand for all pages of their kind.
_ALL_EXAMPLES = "examples/*"
_WHOLE_REFERENCE = "reference/*"

_LANGUAGES = {".py": "python", ".sh": "sh", ".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
# Where a generated page comes from: its links are relative to that.
_sources: dict[str, Path] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are made here into the navigation."""
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside of ``docs/`` that a page links to."""
    _sources.clear()
    to_read = sorted(DOCS.rglob("*.md"))
    for path in (*_examples(), *(ROOT / name for name in REFERENCE), *(ROOT / name for name in AT_THE_ROOT)):
        _add(path, files, config)
        to_read.append(path)
    seen = set(to_read)
    while to_read:
        page = to_read.pop()
        if page.suffix != ".md":
            continue
        for _, target in _links_outwards(page, page.read_text(encoding="utf-8")):
            if target not in seen and not target.is_relative_to(DOCS):  # MkDocs has all of docs/, pictures too
                seen.add(target)
                to_read.append(target)
                _add(target, files, config)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to their pages."""
    source = _sources.get(page.file.src_uri, DOCS / page.file.src_uri)
    if source.suffix != ".md":
        return markdown
    here = posixpath.dirname(page.file.src_uri)
    for link, target in reversed(list(_links_outwards(source, markdown))):
        _, _, anchor = link["target"].partition("#")
        to = posixpath.relpath(page_of(target), here or ".") + (f"#{anchor}" if anchor else "")
        markdown = markdown[: link.start("target")] + to + markdown[link.end("target") :]
    return markdown


def page_of(path: Path) -> str:
    """Return where the page of a file of the repository lies in the site's sources."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = check_docs.shown(path)
    if name in AT_THE_ROOT:
        return AT_THE_ROOT[name]
    if name in REFERENCE:
        return f"reference/{_module(path).removeprefix('dpone_airflow.')}.md"
    if path.parent == check_docs.EXAMPLES:
        return f"examples/{path.stem}.md"
    return f"source/{name}" if path.suffix == ".md" else f"source/{name}.md"


def public_names(path: Path) -> list[str]:
    """Return what a module offers, without importing it: its ``__all__``, or else what it defines with a plain name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            return list(ast.literal_eval(node.value))
    defined = [node.name for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return [name for name in defined if not name.startswith("_")]


def public_paths(path: Path) -> list[str]:
    """Return the dotted paths of all names on a reference page, without that of the package."""
    own = _module(path)
    return [
        f"{_module(module).removeprefix(own)}.{name}" for module in _modules_of(path) for name in public_names(module)
    ]


def _expanded(nav: Any) -> Any:
    if isinstance(nav, dict):
        return {title: _expanded(inner) for title, inner in nav.items()}
    if not isinstance(nav, list):
        return nav
    whole: list[Any] = []
    for item in nav:
        if item == _ALL_EXAMPLES:
            whole += [{path.stem: page_of(path)} for path in _examples()]
        elif item == _WHOLE_REFERENCE:
            whole += [{title: page_of(ROOT / name)} for name, title in REFERENCE.items()]
        else:
            whole.append(_expanded(item))
    return whole


def _examples() -> list[Path]:
    return sorted(check_docs.EXAMPLES.glob("*.py"))


def _add(path: Path, files: Files, config: MkDocsConfig) -> None:
    from mkdocs.structure.files import File  # tools.check_site reads this module where MkDocs isn't installed

    uri = page_of(path)
    _sources[uri] = path
    files.append(File.generated(config, uri, content=_content(path)))


def _content(path: Path) -> str:
    name = check_docs.shown(path)
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    if name in REFERENCE:
        return _reference(path)
    text = path.read_text(encoding="utf-8")
    fence = "`" * (3 + max((len(run) - 2 for run in re.findall(r"`{3,}", text)), default=0))
    code = f'{fence}{_LANGUAGES.get(path.suffix, "text")} title="{name}"\n{text}{fence}\n'
    if path.parent == check_docs.EXAMPLES:
        return f"# {path.stem}\n\n{_explained(path)}{code}"
    return f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n{code}"


def _explained(path: Path) -> str:
    name, here = check_docs.shown(path), posixpath.dirname(page_of(path))
    pages = [
        page
        for page in sorted(DOCS.rglob("*.md"))
        if any(example["file"] == name for example in check_docs.examples_in(page.read_text(encoding="utf-8")))
    ]
    links = [f"[{_title(page)}]({posixpath.relpath(page_of(page), here)})" for page in pages]
    return f"Explained in {', '.join(links)}.\n\n" if links else ""


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").removeprefix("# ").partition("\n")[0]


def _reference(path: Path) -> str:
    lines = [f"# {REFERENCE[check_docs.shown(path)]}", "", f"`{_module(path)}`", "", *_described(path)]
    for module in _modules_of(path):
        level = 2
        if module != path:
            lines += [f"## {module.stem}", "", f"`{_module(module)}`", "", *_described(module)]
            level = 3
        for name in public_names(module):
            lines += [f"::: {_module(module)}.{name}", "    options:", f"      heading_level: {level}", ""]
    return "\n".join(lines)


def _modules_of(path: Path) -> list[Path]:
    """Return the modules that have the public names of a reference page: the package's own, or those that it names."""
    inner = [path.parent / f"{name}.py" for name in public_names(path)]
    return inner if path.name == "__init__.py" and all(module.is_file() for module in inner) else [path]


def _described(path: Path) -> list[str]:
    """Return what puts a module's own docstring onto a page."""
    options = ["members: false", "show_root_heading: false", "show_root_toc_entry: false"]
    return [f"::: {_module(path)}", "    options:", *(f"      {option}" for option in options), ""]


def _module(path: Path) -> str:
    return check_docs.shown(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _links_outwards(page: Path, text: str) -> Iterator[tuple[re.Match[str], Path]]:
    """Yield the links of a page that MkDocs can't follow by itself, and the file that each leads to."""
    for link in check_docs.links_in(text):
        where = link["target"].partition("#")[0]
        target = (page.parent / where).resolve()
        if not where or not target.is_file():
            continue  # to an anchor, or dead: MkDocs says so
        if not page.is_relative_to(DOCS) or not target.is_relative_to(DOCS):
            yield link, target
