"""What ``.airflow-registry.yaml`` says of this package is so, and it leaves nothing out."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpone_airflow.get_provider_info import get_provider_info
from tests.unit.test_public_names import PUBLIC

ROOT = Path(__file__).parents[2]
REGISTRY: dict[str, Any] = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAD = ["package-name", "display-name", "description"]
MODULES = {kind: [entry["module"] for entry in entries] for kind, entries in REGISTRY.items() if kind not in HEAD}


def test_the_head_is_that_of_the_project_and_of_the_provider() -> None:
    assert REGISTRY["package-name"] == PROJECT["name"] == get_provider_info()["package-name"]
    assert REGISTRY["display-name"] == get_provider_info()["name"]
    assert REGISTRY["description"] == PROJECT["description"]
    assert "urls" not in PROJECT  # with an address, the file gets docs-url and source-url


@pytest.mark.parametrize("path", [path for paths in MODULES.values() for path in paths])
def test_what_is_named_can_be_imported(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name).__doc__


def test_everything_of_its_kind_is_named_and_described() -> None:
    assert sorted(MODULES["operators"]) == [
        f"dpone_airflow.operators.{name}" for name in PUBLIC["dpone_airflow.operators"]
    ]
    assert sorted(MODULES["hooks"]) == [f"dpone_airflow.hooks.{name}" for name in PUBLIC["dpone_airflow.hooks"]]
    assert MODULES["extra-links"] == get_provider_info()["extra-links"]
    [decorator] = get_provider_info()["task-decorators"]
    found = import_module(decorator["class-name"].rpartition(".")[0])
    assert getattr(found, decorator["class-name"].rpartition(".")[2]) is _named(MODULES["task-decorators"][0])
    assert all(entry["description"] for kind in MODULES for entry in REGISTRY[kind])


def test_there_is_no_other_kind_that_nothing_here_looks_at() -> None:
    assert list(MODULES) == ["operators", "hooks", "task-decorators", "extra-links"]


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
