"""What the wheel tells an index: its long description, and its extras."""

from __future__ import annotations

import importlib.util
import sys
from email.message import Message
from types import ModuleType

import pytest

from tools import package
from tools.wheel_extras import WrongPackageError


@pytest.fixture
def long_description(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that hatchling reads, and which needs no hatchling for its text."""
    if importlib.util.find_spec("hatchling") is None:
        interface = ModuleType("hatchling.metadata.plugin.interface")
        interface.MetadataHookInterface = object  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, interface.__name__, interface)
    from tools import long_description

    return long_description


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a](b.md)", "a (`b.md`)"),
        ("[b.md](b.md)", "`b.md`"),
        ("[a](b.md#c)", "a (`b.md`)"),
        ('[a](b.md "title")', "a (`b.md`)"),
        ("[a](b.md 'title')", "a (`b.md`)"),
        ("[a](#c)", "a"),
        ('[a](#c "title")', "a"),
        ("![a](b.png)", "a (`b.png`)"),
        ("![](b.png)", "`b.png`"),
        ("[![a](b.png)](c.md)", "a (`b.png`) (`c.md`)"),
        ("[two\nlines](b.md) [c](d.md)", "two\nlines (`b.md`) c (`d.md`)"),
        ("[a](https://example.org) ![a](https://example.org/a.png)", None),
        ("[a](mailto:a@example.org)", None),
        ("`[a](b.md)`", None),
        ("``[`a`](b.md)``", None),
        ("```\n[a](b.md)\n```", None),
        ("~~~md\n![a](b.md)\n~~~", None),
        ("a ` and [b](c.md)\n\nand ` again", "a ` and b (`c.md`)\n\nand ` again"),
        ("`a` [b](c.md) `d`", "`a` b (`c.md`) `d`"),
    ],
)
def test_a_link_to_a_file_becomes_its_path_and_code_stays(
    long_description: ModuleType, written: str, shown: str | None
) -> None:
    assert long_description.without_relative_links(written) == (written if shown is None else shown)


def test_nothing_in_the_readme_leads_nowhere_on_an_index(long_description: ModuleType) -> None:
    readme = (package.ROOT / "README.md").read_text()
    package.check_metadata(metadata(text=long_description.without_relative_links(readme)))
    with pytest.raises(WrongPackageError, match="links that are dead there.*docs/distributed.md"):
        package.check_metadata(metadata(text=readme))


def test_the_extras_are_those_of_the_stores_and_no_other() -> None:
    package.check_metadata(metadata())
    for extras in (("s3", "gcp", "azure"), ("s3", "gcp", "azure", "object-storage", "dev")):
        with pytest.raises(WrongPackageError, match="The wheel's extras are .* and not "):
            package.check_metadata(metadata(extras=extras))


def metadata(
    *, extras: tuple[str, ...] = ("s3", "gcp", "azure", "object-storage"), text: str = "# dpone-airflow\n"
) -> Message:
    told = Message()
    told["License-Expression"], told["Requires-Python"] = "Apache-2.0", ">=3.11"
    for extra in extras:
        told["Provides-Extra"] = extra
    told.set_payload(text)
    return told
