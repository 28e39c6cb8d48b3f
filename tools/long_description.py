"""The README as a package index shows it: hatchling calls this when it builds.

The files that the README links to lie beside it here, and not on an index's page: there a relative link is dead. So
each becomes the path of the file in the source distribution. No address of this project is known that it
could lead to instead.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?![a-z][a-z0-9+.-]*:)(?P<target>[^)\s#]*)[^)\s]*\)", re.I)
_NOTE = "\nPaths such as `docs/index.md` are those of files in the source distribution.\n"


class LongDescription(MetadataHookInterface):
    """Sets ``readme`` of the project's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the README without its relative links into the metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": without_relative_links(text) + _NOTE}


def without_relative_links(text: str) -> str:
    """Return Markdown whose links to files beside it are those files' paths."""
    return _RELATIVE_LINK.sub(_path, text)


def _path(link: re.Match[str]) -> str:
    text, target = link["text"], link["target"]
    return f"`{target}`" if text == target else f"{text} (`{target}`)"
