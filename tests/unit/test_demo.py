"""The demo's verdict: everything has to be right for its exit code to be 0."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import __main__ as demo
from demo.__main__ import ROOT, _emptied, _report


def good_run() -> tuple[dict[str, Any], dict[str, Any]]:
    prefix = "s3://flights/exports/run-1/"
    item = {"uri": f"{prefix}a.tsv", "file_name": "a.tsv", "size_bytes": 3, "sha256": "0" * 64}
    stage = {
        "provider": "s3",
        "base_uri": "s3://flights/exports",
        "run_id": "run-1",
        "dataset": "nycflights13",
        "table": "flights",
        "cleanup_policy": "delete_on_success",
        "object_count": 1,
        "total_size_bytes": 3,
        "objects": [item],
    }
    load = {"rows": 2, "expected_rows": 2, "distance": 9, "expected_distance": 9}
    cleanup = {"cleanup_policy": "delete_on_success", "prefix": prefix, "deleted_objects": 1, "deleted_bytes": 3}
    xcoms = {"stage": stage, "load": load, "cleanup": cleanup}
    result = {"run_id": "r", "state": "success", "tasks": dict.fromkeys(xcoms, "success"), "xcoms": xcoms}
    return result, {"records": ["s3://flights/exports/_manifests/run-1/_run.json"], "left": []}


def verdict(result: dict[str, Any], evidence: dict[str, Any]) -> tuple[int, str]:
    console = Console(record=True, width=120, quiet=False, file=io.StringIO())
    code = _report(console, ROOT / ".demo" / "local", result, evidence)
    return code, console.export_text()


def test_a_good_run_passes_and_shows_everything() -> None:
    code, text = verdict(*good_run())
    assert code == 0
    for shown in (
        "a.tsv",
        "0" * 64,
        "2 rows loaded, 2 exported: equal",
        "deleted 1 objects",
        "_manifests/run-1/_run.json",
    ):
        assert shown in text


@pytest.mark.parametrize("wrong", ["rows", "distance", "nothing loaded", "no cleanup", "left", "state"])
def test_anything_wrong_fails(wrong: str) -> None:
    result, evidence = good_run()
    if wrong in ("rows", "distance"):
        result["xcoms"]["load"][wrong] += 1
    elif wrong == "nothing loaded":
        del result["xcoms"]["load"]
    elif wrong == "no cleanup":
        del result["xcoms"]["cleanup"]
    elif wrong == "left":
        evidence["left"] = ["s3://flights/exports/run-1/a.tsv"]
    else:
        result["state"] = "failed"
    code, text = verdict(result, evidence)
    assert code == 1
    assert "The demo failed." in text


def test_a_second_run_is_refused_while_the_first_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo", "local"])
    home = tmp_path / ".demo" / "local"
    with _emptied(home):
        home.mkdir()
        assert demo.main() == 1
        assert home.exists()
    assert f"Another run of this demo is at work in {home}: wait for its end." in capsys.readouterr().out
    with _emptied(home):
        assert not home.exists()
