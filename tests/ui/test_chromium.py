"""Where the browser comes from, and what is said where it can't be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from local_servers import chromium, debian


def test_a_named_program_is_taken_before_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert chromium.find() == Path(sys.executable)


def test_a_named_program_that_is_not_there_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHROMIUM", "/opt/own/chrome")
    assert chromium.main() == 1
    assert capsys.readouterr().err.splitlines() == [
        "$CHROMIUM names /opt/own/chrome, and there is no such program: correct or unset it."
    ]


@pytest.mark.parametrize(("user", "tools"), [(1000, "/usr/bin/apt-get"), (0, None)])
def test_where_it_can_not_be_installed_it_is_said_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], user: int, tools: str | None
) -> None:
    monkeypatch.setattr(chromium, "find", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda name: tools)
    assert chromium.main() == 1
    assert f"{sys.executable} -m playwright install chromium" in capsys.readouterr().err


def test_an_installation_that_fails_says_which_command_did(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(debian.PackageMissingError, match="`false` ended with status 1"):
        debian.run(["false"])
