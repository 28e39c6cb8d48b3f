"""Check the docs against the code: ``python tools/check_docs.py``; ``--write`` refreshes the examples.

An example in a page is a comment and the block below it::

    <!-- example: example_dags/example_s3.py howto_s3 -->
    ```python
    ...what stands between # [START howto_s3] and # [END howto_s3] in that file...
    ```

Checked besides: each marked part of an example DAG is in some page, blocks of Python compile and blocks of JSON
parse, relative links and anchors lead somewhere, each operator's page names every argument and template field,
and no page has a path that only one machine knows. One line a problem, and exit code 1.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_dags"
OPERATOR_PAGES = {
    ROOT / "docs/operators/stage.md": (ROOT / "dpone_airflow/operators/stage.py", "ObjectStorageStageOperator"),
    ROOT / "docs/operators/cleanup.md": (ROOT / "dpone_airflow/operators/cleanup.py", "StagingCleanupOperator"),
    ROOT / "docs/operators/sweep.md": (ROOT / "dpone_airflow/operators/sweep.py", "StagingSweepOperator"),
    ROOT / "docs/operators/verify.md": (ROOT / "dpone_airflow/operators/verify.py", "StagingVerifyOperator"),
}

_EXAMPLE = re.compile(
    r"^<!-- example: (?P<file>\S+) (?P<name>\S+) -->\n(?:\n*```python\n(?P<code>.*?)^```\n)?", re.M | re.S
)
_COMMENT = re.compile(r"<!--\s*example", re.I)
_START = re.compile(r"# \[START (\S+)\]")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_LINK_BY_REFERENCE = re.compile(r"\[[^\]]*\] ?\[(?P<label>[^\]]*)\]")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\S\n]*$", re.M | re.S)
_BLOCK = re.compile(r"^(?P<fence>```|~~~)(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^(?P=fence)[^\S\n]*$", re.M | re.S)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*#*\s*$", re.M)
_PATH_OF_ONE_MACHINE = re.compile(r"(?<![\w./:])/(?:home|root|tmp|Users|work)/[\w.-]+")
_PATH_UPWARDS = re.compile(r"(?<![\w./])(?:\.\./)+[\w./-]*\w")


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if the docs say what the code says."""
    parser = argparse.ArgumentParser(prog="check_docs", description="Check the docs against the code.")
    parser.add_argument("--write", action="store_true", help="copy the examples into the pages first")
    if parser.parse_args(arguments).write:
        for page in pages():
            write_examples(page)
    problems = [problem for page in pages() for problem in page_problems(page)]
    problems += unshown_examples()
    for page, (module, name) in OPERATOR_PAGES.items():
        problems += unnamed_arguments(page, module, name)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"OK: {len(pages())} pages agree with the code and the example DAGs.")
    return 1 if problems else 0


def pages() -> list[Path]:
    """Return every page that is checked."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def page_problems(page: Path) -> Iterator[str]:
    """Yield what is wrong in one page."""
    text = page.read_text(encoding="utf-8")
    yield from wrong_examples(page, text)
    yield from broken_blocks(page, text)
    yield from dead_links(page, text)
    yield from foreign_paths(page, text)


def snippet(file: str, name: str) -> str:
    """Return the marked part of an example DAG.

    :raises LookupError: if the file or the marker isn't there.
    """
    path = ROOT / file
    if not path.is_file():
        raise LookupError(f"there is no file {file}")
    marked = re.search(
        rf"^[^\n]*# \[START {re.escape(name)}\]\n(.*?)^[^\n]*# \[END {re.escape(name)}\]",
        path.read_text(encoding="utf-8"),
        re.M | re.S,
    )
    if marked is None:
        raise LookupError(f"{file} has no part from # [START {name}] to # [END {name}]")
    return dedent(marked.group(1))


def examples_in(text: str) -> list[re.Match[str]]:
    """Return the examples of a page; one that is itself shown as code is none."""
    prose = blanked(_FENCE, text)
    return [example for example in _EXAMPLE.finditer(text) if prose.startswith("<!--", example.start())]


def write_examples(page: Path) -> None:
    """Put the code of today into each example of a page; what can't be found stays as it is."""

    def fresh(found: re.Match[str]) -> str:
        file, name = found["file"], found["name"]
        try:
            return f"<!-- example: {file} {name} -->\n```python\n{snippet(file, name)}```\n"
        except LookupError:
            return found.group()

    text = page.read_text(encoding="utf-8")
    written = text
    for example in reversed(examples_in(text)):
        written = written[: example.start()] + fresh(example) + written[example.end() :]
    if written != text:
        page.write_text(written, encoding="utf-8")
        print(f"{shown(page)}: examples refreshed")


def wrong_examples(page: Path, text: str) -> Iterator[str]:
    """Yield each example that isn't what its file says."""
    found = {example.start(): example for example in examples_in(text)}
    for comment in _COMMENT.finditer(blanked(_FENCE, text)):
        example = found.get(comment.start())
        if example is None:
            yield f"{place(page, text, comment.start())}: write <!-- example: <file> <name> --> on a line of its own"
            continue
        try:
            expected = snippet(example["file"], example["name"])
        except LookupError as error:
            yield f"{place(page, text, comment.start())}: {error}"
            continue
        if example["code"] != expected:
            yield (
                f"{place(page, text, comment.start())}: the block isn't {example['name']} of {example['file']}; "
                "run python tools/check_docs.py --write"
            )


def broken_blocks(page: Path, text: str) -> Iterator[str]:
    """Yield each block of Python that doesn't compile, and each of JSON that doesn't parse."""
    for block in _BLOCK.finditer(text):
        try:
            if block["language"] == "python":
                compile(block["code"], shown(page), "exec")
            elif block["language"] == "json":
                json.loads(block["code"])
        except (SyntaxError, ValueError) as error:
            yield f"{place(page, text, block.start())}: this block is no {block['language']}: {error}"


def unshown_examples() -> Iterator[str]:
    """Yield each marked part of an example DAG that no page shows."""
    shown_parts = {
        (example["file"], example["name"])
        for page in pages()
        for example in examples_in(page.read_text(encoding="utf-8"))
    }
    for path in sorted(EXAMPLES.rglob("*.py")):
        for name in _START.findall(path.read_text(encoding="utf-8")):
            if (shown(path), name) not in shown_parts:
                yield f"{shown(path)}: no page shows {name}"


def dead_links(page: Path, text: str) -> Iterator[str]:
    """Yield each relative link that leads nowhere."""
    prose = without_code(text)
    for link in _LINK_BY_REFERENCE.finditer(prose):
        if f"\n[{link['label']}]: " not in text:
            where = place(page, prose, link.start())
            yield f"{where}: no line says where [{link['label']}] leads, or a comma is missing"
    for link in links_in(text):
        where, _, anchor = link["target"].partition("#")
        target = (page.parent / where).resolve() if where else page
        if not target.exists() or not target.is_relative_to(ROOT):
            yield f"{place(page, prose, link.start())}: {link['target']} leads to no file of this repository"
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            yield f"{place(page, prose, link.start())}: {shown(target)} has no heading for #{anchor}"


def links_in(text: str) -> Iterator[re.Match[str]]:
    """Yield the links of a page that lead into this repository."""
    for link in _LINK.finditer(without_code(text)):
        if not _ELSEWHERE.match(link["target"]):
            yield link


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    found: set[str] = set()
    # A heading may hold inline code, but a # line inside a block is none.
    for heading in _HEADING.finditer(blanked(_FENCE, page.read_text(encoding="utf-8"))):
        text = _LINK.sub(lambda link: link.group().split("](")[0].lstrip("!["), heading["text"])
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(unique)
    return found


def foreign_paths(page: Path, text: str) -> Iterator[str]:
    """Yield each path that isn't there for a reader of this repository."""
    for path in _PATH_OF_ONE_MACHINE.finditer(text):
        yield f"{place(page, text, path.start())}: {path.group()} is a path of one machine"
    for path in _PATH_UPWARDS.finditer(blanked(_LINK, text)):  # what links lead to is looked at elsewhere
        target = (page.parent / path.group()).resolve()
        if not (target.exists() and target.is_relative_to(ROOT)):
            yield f"{place(page, text, path.start())}: {path.group()} isn't there"


def unnamed_arguments(page: Path, module: Path, name: str) -> Iterator[str]:
    """Yield each argument and template field of an operator that its page doesn't name in backticks."""
    if not page.is_file():
        yield f"{shown(page)}: there is no such page"
        return
    text = page.read_text(encoding="utf-8")
    for argument in dict.fromkeys(arguments_of(module, name)):
        if f"`{argument}`" not in text:
            yield f"{shown(page)}: `{argument}` of {name} isn't described"


def arguments_of(module: Path, name: str) -> Iterator[str]:
    """Yield constructor arguments and template fields of a class, without importing Airflow."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    operator = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in operator.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            yield from (argument.arg for argument in (*node.args.args[1:], *node.args.kwonlyargs))
        if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == "template_fields":
            yield from ast.literal_eval(node.value)


def without_code(text: str) -> str:
    """Return the text with code blanked out, each character in its place."""
    return blanked(_INLINE_CODE, blanked(_FENCE, text))


def blanked(pattern: re.Pattern[str], text: str) -> str:
    """Return the text with what the pattern matches turned into spaces; lines stay lines."""
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def place(page: Path, text: str, position: int) -> str:
    """Return the page and line of a position in its text."""
    line = text.count("\n", 0, position) + 1
    return f"{shown(page)}:{line}"


def shown(path: Path) -> str:
    """Return a path as it is written in this repository."""
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    sys.exit(main())
