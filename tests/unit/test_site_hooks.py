"""How a file of the repository becomes a page of the site, and a link to it a link to that page."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import check_docs, site_hooks

ROOT = check_docs.ROOT
PICTURE = next((ROOT / "docs/images").glob("*.png"))


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("docs/operators/stage.md", "operators/stage.md"),
        ("SECURITY.md", "security.md"),
        ("README.md", "readme.md"),
        ("example_dags/example_s3.py", "examples/example_s3.md"),
        ("dpone_airflow/operators/__init__.py", "reference/operators.md"),
        ("dpone_airflow/staging/loaders/__init__.py", "reference/staging.loaders.md"),
        ("dpone_airflow/storage/errors.py", "reference/storage.errors.md"),
        ("tests/dags/test_states.py", "source/tests/dags/test_states.py.md"),
        ("constraints/README.md", "source/constraints/README.md"),
    ],
)
def test_every_file_has_its_page(path: str, page: str) -> None:
    assert site_hooks.page_of(ROOT / path) == page


@pytest.mark.parametrize(
    ("page", "written", "built"),
    [
        ("index.md", "[a](../SECURITY.md)", "[a](security.md)"),
        ("operators/stage.md", "[a](../../SECURITY.md#a)", "[a](../security.md#a)"),
        ("operators/stage.md", "[a](../../example_dags/example_s3.py)", "[a](../examples/example_s3.md)"),
        (
            "index.md",
            "[a](cleanup.md#limits) [b](https://example.org)",
            "[a](cleanup.md#limits) [b](https://example.org)",
        ),
        ("index.md", "`[a](../SECURITY.md)` [b](../SECURITY.md)", "`[a](../SECURITY.md)` [b](security.md)"),
        ("index.md", "```\n[a](../SECURITY.md)\n```", "```\n[a](../SECURITY.md)\n```"),
        ("index.md", "[a](../nowhere.md)", "[a](../nowhere.md)"),
    ],
)
def test_a_link_out_of_the_docs_is_turned_to_the_page_and_any_other_stays(page: str, written: str, built: str) -> None:
    given: Any = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    nothing: Any = None
    assert site_hooks.on_page_markdown(written, given, nothing, nothing) == built


def test_what_a_page_outside_of_the_docs_shows_of_them_is_not_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("".join(f"![a]({os.path.relpath(path, tmp_path)})\n" for path in (PICTURE, ROOT / "LICENSE")))
    added: list[Path] = []
    monkeypatch.setattr(site_hooks, "AT_THE_ROOT", {str(page): "page.md"})
    monkeypatch.setattr(site_hooks, "_add", lambda path, files, config: added.append(path))
    nothing: Any = None
    site_hooks.on_files(nothing, nothing)
    assert page in added
    assert ROOT / "LICENSE" in added
    assert [path for path in added if path.is_relative_to(ROOT / "docs")] == []


@pytest.mark.parametrize("path", site_hooks.REFERENCE)
def test_the_reference_has_every_public_name_that_there_is(path: str) -> None:
    names = site_hooks.public_paths(ROOT / path)
    assert names
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for name in names:
        inner, _, attribute = f"{module}{name}".rpartition(".")
        assert hasattr(importlib.import_module(inner), attribute), name
    for offered in importlib.import_module(module).__all__:
        assert any(name.startswith(f".{offered}") for name in names), offered


def test_the_navigation_has_a_page_for_each_example() -> None:
    config: Any = SimpleNamespace(nav=[{"Home": "index.md"}, {"Examples": ["examples/*"]}])
    home, examples = site_hooks.on_config(config).nav
    assert home == {"Home": "index.md"}
    assert {"example_s3": "examples/example_s3.md"} in examples["Examples"]
    assert len(examples["Examples"]) == len(list(check_docs.EXAMPLES.glob("*.py")))
