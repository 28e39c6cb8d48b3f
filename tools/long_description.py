"""The README as a package index shows it: hatchling calls this when it builds.

The files that the README links to lie beside it here, and not on an index's page: there a relative link is dead. So
each becomes the path of the file in the source distribution, and each picture its text with that path. A link within
the page becomes its text. What is code stays as it is. No address of this project is known that links could lead to.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_CODE_OR_LINK = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)[^\S\n]*$"
    r"|(?P<ticks>(?<!`)`+(?!`))(?:(?!\n\n).)+?(?<!`)(?P=ticks)(?!`)"
    r"|!?\[(?P<text>[^\[\]]*)\]\((?![a-z][a-z0-9+.-]*:)(?P<target>[^)\s#]*)[^)\s]*(?:\s+(?:\"[^\"]*\"|'[^']*'))?\)",
    re.I | re.M | re.S,
)
_NOTE = "\nPaths such as `docs/index.md` are those of files in the source distribution.\n"


class LongDescription(MetadataHookInterface):
    """Sets ``readme`` of the project's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the README without its relative links into the metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": without_relative_links(text) + _NOTE}


def without_relative_links(text: str) -> str:
    """Return Markdown whose links to files beside it are those files' paths."""
    pictures_in_links_are_text = _CODE_OR_LINK.sub(_path, text)
    return _CODE_OR_LINK.sub(_path, pictures_in_links_are_text)


def _path(found: re.Match[str]) -> str:
    text, target = found["text"], found["target"]
    if text is None:
        return found.group()  # code
    if not target:
        return text
    return f"`{target}`" if text in ("", target) else f"{text} (`{target}`)"
