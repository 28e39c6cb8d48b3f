"""What mkdocstrings is told of docstrings: they are reStructuredText, and the site's pages are Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

from tools.check_docs import ROOT

_SEE_ALSO = re.compile(r"^\.\. seealso:: ``docs/(?P<page>\S+?)\.md``$", re.M)
_LITERAL_BLOCK = re.compile(r"^::\n\n", re.M)
_LITERAL_BLOCK_AFTER_TEXT = re.compile(r"::$", re.M)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|exc|data|ref):`~?(?P<name>[^`]+)`")


class MarkdownDocstrings(griffe.Extension):
    """Rewrites the little of reStructuredText that the docstrings use."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring, before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Return a docstring as Markdown."""
    text = _SEE_ALSO.sub(lambda found: f"See [{_title(found['page'])}](../{found['page']}.md).", text)
    text = _ROLE.sub(r"`\g<name>`", text)
    return _LITERAL_BLOCK_AFTER_TEXT.sub(":", _LITERAL_BLOCK.sub("", text))


def _title(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
