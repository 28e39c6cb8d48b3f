"""One measurement: a fresh server, a fresh process, what it took, and whether the objects are there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers import PEERS, ROOT, SHA256, US, Command, Job, Peer, count_objects, fill
from benchmarks.runners.timing import UNAVAILABLE
from benchmarks.servers import BUCKET, Server

_LAUNCH = Path(__file__).with_name("launch.py")
_TIMEOUT_SECONDS = 1800
_SUMMARY = re.compile(r"^(\d+) bytes in (\d+) objects", re.M)


class MeasurementError(RuntimeError):
    """A peer ended with an error, or didn't do what it should; the message has the end of its output."""


class UnavailableError(RuntimeError):
    """This version of a peer can't do what is to be measured."""


@dataclass(frozen=True)
class Measurement:
    """What one peer took once.

    :param seconds: the operation; of a program, all of it.
    :param process_seconds: the process from beginning to end, imports and all.
    :param cpu_seconds: what the operation used, user and system, in all threads.
    :param process_cpu_seconds: the same of the whole process.
    :param peak: bytes resident at most.
    :param peak_before: the same when the operation began; of a program, nothing.
    :param server_cpu_seconds: what the server used meanwhile.
    :param load: the machine's load average over a minute when the measurement ended.
    """

    seconds: float
    process_seconds: float
    cpu_seconds: float
    process_cpu_seconds: float
    peak: int
    peak_before: int = 0
    server_cpu_seconds: float | None = None
    load: float = 0

    @property
    def peak_above(self) -> int:
        """The memory that the operation took beyond what the process had before."""
        return max(0, self.peak - self.peak_before)


def measure(peer: Peer, job: Job, server: Server, scratch: Path) -> Measurement:
    """Let a peer do a job on a server.

    :raises UnavailableError: if it can't in this version.
    :raises MeasurementError: if it fails, or the server then doesn't hold what it should.
    """
    done = peer.sampled(job)
    if done.action == "cleanup":
        done = _make_ready(peer, done, server, scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    reported = scratch / "operation.json"
    reported.unlink(missing_ok=True)
    command = peer.command(done, server, reported)
    before = server.cpu_seconds()
    cost = _launch(command, scratch, peer.label)
    after = server.cpu_seconds()
    measurement = Measurement(
        cost["seconds"], cost["seconds"], cost["cpu_seconds"], cost["cpu_seconds"], int(cost["peak"])
    )
    if command.reports:
        operation = json.loads(reported.read_text(encoding="utf-8"))
        measurement = replace(
            measurement,
            seconds=operation["seconds"],
            cpu_seconds=operation["cpu_seconds"],
            peak_before=int(operation["peak_before"]),
        )
    if peer is not SHA256:
        _check(done, server, scratch, peer.label)
    if done.sample:
        measurement = _scaled(measurement, job.count / done.sample)
    used = None if before is None or after is None else after - before
    return replace(measurement, server_cpu_seconds=used, load=os.getloadavg()[0])


def _scaled(measurement: Measurement, factor: float) -> Measurement:
    """Return what the whole would have taken: the operation again and again, the rest once."""
    more_seconds = (factor - 1) * measurement.seconds
    more_cpu = (factor - 1) * measurement.cpu_seconds
    return replace(
        measurement,
        seconds=measurement.seconds + more_seconds,
        process_seconds=measurement.process_seconds + more_seconds,
        cpu_seconds=measurement.cpu_seconds + more_cpu,
        process_cpu_seconds=measurement.process_cpu_seconds + more_cpu,
    )


def _make_ready(peer: Peer, job: Job, server: Server, scratch: Path) -> Job:
    """Put there what a cleanup is to find: for us a claimed run first, which a bare prefix isn't."""
    scratch.mkdir(parents=True, exist_ok=True)
    if peer is US:
        one = scratch / "one"
        one.mkdir(exist_ok=True)
        (one / "staged.csv").write_bytes(bytes(200))
        job = replace(job, manifest=scratch / "manifest.json")
        ready = replace(job, action="stage", source=one)
        _run(US.command(ready, server, scratch / "ready.json"), scratch, "the stage before the cleanup")
    if server.fill is not None:
        place = f"bucket={BUCKET}&prefix={job.prefix}/run/&count={job.count}"
        urllib.request.urlopen(f"{server.fill}?{place}", data=b"", timeout=60).close()  # noqa: S310 - our own
    elif server.provider == "azure":
        _run(fill(server, job.prefix, job.count), scratch, "the filling of the server")
    else:
        _run(PEERS["s5cmd"].command(replace(job, action="stage"), server, Path()), scratch, "the filling of the server")
    return job


def _check(job: Job, server: Server, scratch: Path, who: str) -> None:
    """Count what is there afterwards; SDK peers on other stores count it themselves."""
    if server.provider != "s3":
        return
    text = _run(count_objects(server, job.prefix), scratch, "the count", may_fail=job.action == "cleanup")
    found = _SUMMARY.search(text)
    objects, size = (int(found[2]), int(found[1])) if found else (0, 0)
    wanted, wanted_size = 0, 0
    if job.action == "stage":
        files = sorted(job.source.iterdir())[: job.sample]
        wanted, wanted_size = len(files), sum(file.stat().st_size for file in files)
    if (objects, size) != (wanted, wanted_size):
        raise MeasurementError(
            f"{who}: {objects} objects of {size} bytes are there, and it should be {wanted} of {wanted_size}."
        )


def _launch(command: Command, scratch: Path, who: str) -> dict[str, float]:
    """Run a command under the launcher and return its cost."""
    cost = scratch / "process.json"
    launcher = [sys.executable, "-I", "-S", str(_LAUNCH), str(cost)]
    _run(replace(command, words=[*launcher, *command.words]), scratch, who)
    found: dict[str, float] = json.loads(cost.read_text(encoding="utf-8"))
    return found


def _run(command: Command, scratch: Path, who: str, *, may_fail: bool = False) -> str:
    """Run a command to its end and return its output; its process group ends with it."""
    log_path = scratch / "output.log"
    home = scratch / "home"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AWS_EC2_METADATA_DISABLED": "true",
        **command.environment,
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command.words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(_TIMEOUT_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    output = log_path.read_text(encoding="utf-8", errors="replace")
    if status == UNAVAILABLE:
        raise UnavailableError(who)
    if status and not may_fail:
        raise MeasurementError(f"{who} ended with exit code {status}:\n{output[-3000:]}")
    return output
