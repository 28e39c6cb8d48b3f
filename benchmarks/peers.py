"""Who is measured, and the command that each of them is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from benchmarks.servers import BUCKET, Server

ROOT = Path(__file__).parents[1]
DPONE_PYTHON = ROOT / ".venv-bench-dpone" / "bin" / "python"
RCLONE_FLAGS = ("--transfers", "8", "--s3-no-check-bucket")


@dataclass(frozen=True)
class Job:
    """One thing to be done once.

    :param action: ``stage`` or ``cleanup``.
    :param source: the directory of the files.
    :param prefix: where they go in the bucket; each peer puts them below ``<prefix>/run/``.
    :param count: how many objects a cleanup has to find.
    :param sample: take only so many of the files.
    :param manifest: where our manifest is kept between a stage and its cleanup.
    """

    action: str
    source: Path
    prefix: str
    count: int
    sample: int | None = None
    manifest: Path | None = None


@dataclass(frozen=True)
class Command:
    """What is run for a job, and whether it times the operation itself."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    reports: bool = False


@dataclass(frozen=True)
class Peer:
    """One of those that are compared.

    :param name: what it is called on the command line.
    :param label: what it is called in the tables.
    :param command: from a job, a server and the file for the outcome to the command.
    :param actions: what it can do.
    :param sample: of many small files it takes only so many, and the time is multiplied.
    """

    name: str
    label: str
    command: Callable[[Job, Server, Path], Command]
    actions: tuple[str, ...] = ("stage", "cleanup")
    providers: tuple[str, ...] = ("s3",)
    sample: int | None = None

    def sampled(self, job: Job) -> Job:
        """Return the part of a job that this peer does."""
        if self.sample is None or job.action != "stage" or job.count <= self.sample:
            return job
        return replace(job, sample=self.sample)


def _python_peer(
    module: str, *, interpreter: Path | None = None, options: Mapping[str, Any] | None = None
) -> Callable[[Job, Server, Path], Command]:
    def command(job: Job, server: Server, result: Path) -> Command:
        text = json.dumps(
            {
                **{key: value for key, value in asdict(job).items() if value is not None},
                "bucket": BUCKET,
                "uri": server.uri(job.prefix),
                "server": server.for_job(),
                "connection": server.connection,
                "options": dict(options or {}),
                "result": str(result),
            },
            default=str,
        )
        words = [str(interpreter or sys.executable), "-m", f"benchmarks.runners.{module}", text]
        return Command(words, server.environment, reports=True)

    return command


def _s5cmd(job: Job, server: Server, _: Path) -> Command:
    place = f"s3://{BUCKET}/{job.prefix}/run/"
    words = {"stage": ["cp", f"{job.source}/", place], "cleanup": ["rm", f"{place}*"]}[job.action]
    return Command([str(s5cmd_program()), "--log", "error", "--endpoint-url", server.endpoint, *words], _keys(server))


def _rclone(job: Job, server: Server, _: Path) -> Command:
    place = f"bench:{BUCKET}/{job.prefix}/run"
    words = {"stage": ["copy", str(job.source), place], "cleanup": ["purge", place]}[job.action]
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": server.endpoint,
        "ACCESS_KEY_ID": server.access_key,
        "SECRET_ACCESS_KEY": server.secret_key,
        "REGION": "us-east-1",
    }
    environment = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in settings.items()}
    program = Path(sys.executable).with_name("rclone")
    return Command([str(program), *words, *RCLONE_FLAGS], {**environment, "RCLONE_CONFIG": "/dev/null"})


def s5cmd_program() -> Path:
    """Return the program itself: what lies beside the interpreter is a Python script that starts it."""
    program = Path(str(distribution("s5cmd").locate_file("s5cmd/bin/s5cmd")))
    if not program.stat().st_mode & 0o100:
        program.chmod(0o755)
    return program


def dpone_is_there() -> bool:
    """Return whether dpone's environment has been made."""
    return DPONE_PYTHON.exists()


def count_objects(server: Server, prefix: str) -> Command:
    """Return the command that says how many bytes and objects are below ``<prefix>/run/``."""
    place = f"s3://{BUCKET}/{prefix}/run/*"
    return Command([str(s5cmd_program()), "--endpoint-url", server.endpoint, "du", place], _keys(server))


def fill(server: Server, prefix: str, count: int) -> Command:
    """Return the command that puts small objects into Azurite."""
    job = Job("fill", Path(), prefix, count)
    return _python_peer("fill")(job, server, Path())


def _keys(server: Server) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": "us-east-1",
    }


_EVERYWHERE = ("s3", "gcs", "azure", "local")
US = Peer("us", "dpone-airflow", _python_peer("us"), providers=_EVERYWHERE)
US_UNCHECKED = Peer(
    "us-unchecked", "dpone-airflow, `store_check=False`", _python_peer("us", options={"store_check": False}), ("stage",)
)
DPONE = Peer("dpone", "dpone 0.88", _python_peer("dpone", interpreter=DPONE_PYTHON), providers=("s3", "gcs", "azure"))
SHA256 = Peer("sha256", "one SHA-256 pass, nothing sent", _python_peer("sha256_pass"), ("stage",))
PEERS = {
    peer.name: peer
    for peer in (
        US,
        US_UNCHECKED,
        DPONE,
        Peer("s5cmd", "s5cmd", _s5cmd),
        Peer("rclone", "rclone", _rclone),
        Peer("boto3", "boto3, 8 threads", _python_peer("boto3_threads")),
        Peer("airflow", "Airflow's operator in a loop", _python_peer("airflow_operators"), sample=20),
        SHA256,
    )
}
