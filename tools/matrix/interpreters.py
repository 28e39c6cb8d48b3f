"""Finds the Pythons of the grid among those that this computer has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def find(version: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return a Python of that version that can make virtual environments: this one, one on the PATH, or pyenv's."""
    name = f"python{version}"
    pyenv = Path(environment.get("PYENV_ROOT") or Path(environment.get("HOME", "~")).expanduser() / ".pyenv")
    candidates = [
        Path(sys.executable),
        *(Path(folder) / name for folder in environment.get("PATH", os.defpath).split(os.pathsep) if folder),
        *sorted((pyenv / "versions").glob(f"{version}.*/bin/{name}"), reverse=True),
    ]
    return next((path for path in candidates if _is_python(path, version)), None)


def full_version(python: Path) -> str:
    """Return the version of a Python, as 3.12.1; nothing if it doesn't run."""
    return _asked(python, "import platform; print(platform.python_version())")


def none_of(version: str) -> str:
    """Return what to say where there is none: how it was looked for, and how to get it."""
    return (
        f"no Python {version} with venv: there is no python{version} that runs on the PATH or in pyenv's versions; "
        f"install it, with pyenv install {version} for one (of Debian's packages bookworm has 3.11 alone, and its venv "
        "in python3.11-venv)"
    )


def _is_python(path: Path, version: str) -> bool:
    """Whether it is what its name says: pyenv's shims are on the PATH for versions that aren't chosen, too."""
    return _asked(path, "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])") == version


def _asked(python: Path, code: str) -> str:
    if not python.is_file():
        return ""
    try:
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
