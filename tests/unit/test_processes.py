"""What the commands of ``tools`` start ends with them, however they end.

What has a session of its own is found on Linux alone: see :mod:`local_servers.leftovers`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tools.processes import ROOT, run

WAIT_SECONDS = 30
ENDS_SESSIONS = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows environments")

# The child has a session of its own, as a server has.
LEAVES_ONE = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""
# What is started in the background of a shell ignores SIGINT, until somebody says otherwise.
RUNS_IT = """
import signal, sys
from pathlib import Path
from tools.processes import run, stopped_by_sigterm
signal.signal(signal.SIGINT, signal.default_int_handler)
with stopped_by_sigterm():
    run([sys.executable, "-c", sys.argv[1], sys.argv[2]], Path(sys.argv[2] + ".log"))
"""
# As tools.package does it, with what runs in threads in the place of installers and probes.
CHECKS_EXTRAS = """
import signal, sys
from pathlib import Path
from tools import package, wheel_extras
signal.signal(signal.SIGINT, signal.default_int_handler)
package.build = lambda: (Path("a.whl"), Path("a.tar.gz"))
package.check_sdist = package.check_wheel = lambda path: None
package.WORK = Path(sys.argv[2] + ".work")
package.run = lambda command: ""
wheel_extras.check_extra = lambda extra, *_: wheel_extras.run([sys.executable, "-c", sys.argv[1], sys.argv[2]])
sys.exit(package.main())
"""


@ENDS_SESSIONS
@pytest.mark.parametrize("script", [RUNS_IT, CHECKS_EXTRAS], ids=["one", "in threads"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_that_was_started_outlives_the_command(number: signal.Signals, script: str, tmp_path: Path) -> None:
    told = tmp_path / "started"
    command = subprocess.Popen(
        [sys.executable, "-c", script, LEAVES_ONE, told],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true(told.exists)
        started = {*map(int, told.read_text().split()), *(child.pid for child in of(command))}
        assert all(is_running(process) for process in started)
        command.send_signal(number)
        assert command.wait(WAIT_SECONDS) != 0
        if number == signal.SIGKILL:  # the guard sees it a moment later
            await_true(lambda: not any(is_running(process) for process in started))
        assert [process for process in started if is_running(process)] == []
    finally:
        command.kill()
        command.wait()


def test_a_command_that_ends_tells_its_status_and_output(tmp_path: Path) -> None:
    output, errors = tmp_path / "output", tmp_path / "errors"
    assert run([sys.executable, "-c", "print('said'); raise SystemExit(3)"], output) == 3
    assert run([sys.executable, "-c", "raise SystemExit('wrong')"], output) == 1
    assert output.read_text().split() == ["said", "wrong"]
    assert run([sys.executable, "-c", "raise SystemExit('apart')"], output, errors=errors) == 1
    assert errors.read_text().split() == ["apart"]


def test_a_command_gets_just_the_environment_and_folder_that_it_is_given(tmp_path: Path) -> None:
    output = tmp_path / "output"
    shows = "import os; print(os.environ.get('GIVEN'), os.environ.get('HOME'), os.getcwd())"
    assert run([sys.executable, "-c", shows], output, cwd=tmp_path, environment={"GIVEN": "seen"}) == 0
    assert run([sys.executable, "-c", shows], output) == 0
    first, second = output.read_text().splitlines()
    assert first == f"seen None {tmp_path}"
    assert second == f"None {os.environ.get('HOME')} {ROOT}"


def of(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(command.pid).children(recursive=True)


def is_running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # an orphan that nobody has asked for
    except psutil.NoSuchProcess:
        return False


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
