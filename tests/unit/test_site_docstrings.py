"""How a docstring comes to the site. griffe, which reads it there, needn't be installed for these."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def site_docstrings(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "griffe", SimpleNamespace(Extension=object, Object=object))
    monkeypatch.delitem(sys.modules, "tools.site_docstrings", raising=False)
    from tools import site_docstrings

    return site_docstrings


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (
            "Do.\n\n.. seealso:: ``docs/operators/stage.md``\n",
            "Do.\n\nSee [ObjectStorageStageOperator](../operators/stage.md).\n",
        ),
        ("The tree.\n\n::\n\n    a\n", "The tree.\n\n    a\n"),
        ("An example::\n\n    a\n", "An example:\n\n    a\n"),
        ("Raises :class:`~a.b.Error`.", "Raises `a.b.Error`."),
        (":param a: ``b``", ":param a: ``b``"),
    ],
)
def test_restructured_text_becomes_markdown(site_docstrings: Any, written: str, shown: str) -> None:
    assert site_docstrings.markdown(written) == shown
