"""What the stage, verify and cleanup tasks of one DAG run do, each in a process of its own, all defaults.

Jobs come by stdin, a line of JSON each. Each is done in a fork, since importing Airflow takes longer than most
of them; its exit code goes to stdout, and nothing else does. A mapped stage's instances come one after the other
here, through one client. What the tasks hand on is written to a file, as Airflow would keep it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from benchmarks.runners.timing import cpu_seconds, peak_bytes
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.operators.manifest_xcom import manifest_xcom
from dpone_airflow.operators.verify import StagingVerifyOperator
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence, StagingWriter
from dpone_airflow.staging.plan import EVIDENCE_FOLDER
from dpone_airflow.staging.sweep import sweep_base
from dpone_airflow.staging.verify import verify_staged
from dpone_airflow.storage import ObjectStorageUri

XCOM_MAX_OBJECTS = 1000
_IMPORTED_BY_HOOKS = (
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.google.cloud.hooks.gcs",
    "airflow.providers.microsoft.azure.hooks.wasb",
    "obstore.store",
)
_RUN_ID = "run"
_LOOK_EVERY_SECONDS = 0.05
_Job = Mapping[str, Any]
_Told = dict[str, int]


class Task:
    """One task: what it needs is made first, then it is timed, and then asked what it has handed on."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(job["connection"])
        self.uri: str = job["uri"]

    def get_client(self, base_uri: str, engine: str = "sdk") -> Any:
        """Return the client of the connection; verifies and cleanups use the SDK's, as the operators do."""
        return ObjectStorageHook("bench", engine=engine).get_client(base_uri)

    def pushed(self) -> list[Any]:
        """Return what the stage pushed."""
        found: list[Any] = json.loads(Path(self.job["xcoms"]).read_text(encoding="utf-8"))
        return found

    def writer(self, map_index: int = -1, run_id: str = _RUN_ID) -> StagingWriter:
        """Return who stages."""
        return StagingWriter("", "bench", run_id, "stage", map_index)

    def plan(self, part: str | None = None, run_id: str = _RUN_ID) -> ObjectStorageStagingPlan:
        """Return what is staged."""
        return ObjectStorageStagingPlan(
            base_uri=self.uri,
            run_id=run_id,
            dataset="bench",
            table="files",
            file_format="csv",
            cleanup_policy="delete_always",
            part=part,
        )

    def do(self) -> None:
        """Do it; this is timed."""

    def tell(self) -> _Told:
        """Return what else there is to say."""
        return {}


class Stage(Task):
    """The stage, or the instances of a mapped one."""

    def __init__(self, job: _Job) -> None:
        super().__init__(job)
        self._client = self.get_client(self.uri, "auto")
        self._staged: list[Any] = []

    def do(self) -> None:
        parts: int = self.job["parts"]
        if not parts:
            service = ObjectStorageStagingService(client=self._client, writer=self.writer())
            self._staged = [service.stage(self.plan(), self.job["source"])]
            return
        files = sorted(Path(self.job["source"]).iterdir())
        live = {_part(index) for index in range(parts)}
        for index in range(parts):
            service = ObjectStorageStagingService(client=self._client, writer=self.writer(index))
            own = files[index * len(files) // parts : (index + 1) * len(files) // parts]
            self._staged.append(service.stage(self.plan(_part(index)), own, live_parts=None if index else live))

    def tell(self) -> _Told:
        pushed = [manifest_xcom(one.manifest, one.record, XCOM_MAX_OBJECTS) for one in self._staged]
        Path(self.job["xcoms"]).write_text(json.dumps(pushed), encoding="utf-8")
        return {
            "staged_objects": sum(one.manifest.object_count for one in self._staged),
            "xcom_bytes": sum(len(json.dumps(one)) for one in pushed),
            "xcom_bytes_whole": sum(len(json.dumps(one.manifest.to_dict())) for one in self._staged),
        }


class Verify(Task):
    """The verify operator's work: manifests resolved and merged, one listing, the merged one recorded."""

    def __init__(self, job: _Job) -> None:
        super().__init__(job)
        self._client = super().get_client(self.uri)
        self._operator = StagingVerifyOperator(task_id="verify", manifest=[])
        self._handed_on: dict[str, Any] = {}

    def get_client(self, base_uri: str, engine: str = "sdk") -> Any:
        return self._client

    def do(self) -> None:
        pushed = self.pushed()  # which costs time and memory, as Airflow's reading of XComs does
        self._operator.manifest = pushed if self.job["parts"] else pushed[0]
        # All that the operator asks of Airflow's context there: whether it is itself one of a mapped task's instances.
        context: Any = {"ti": SimpleNamespace(map_index=-1)}
        hook: Any = self
        manifest, is_merged = self._operator._resolved(context, hook)
        # What the operator's `_check_whose_run` does with the stage's task, which isn't here.
        evidence = StagingEvidence(self._client, manifest.base_uri, manifest.run_id, by={})
        claim = evidence.read_claim()
        assert claim is not None, "it is staged"
        evidence.check_owner(claim.writer, self.writer())
        verify_staged(self._client, manifest, by={})
        self._handed_on = self._operator._handed_on(hook, manifest, is_merged, by={})

    def tell(self) -> _Told:
        return {"xcom_bytes": len(json.dumps(self._handed_on))}


class Cleanup(Task):
    """The cleanup of the whole run, and then a look at what evidence it leaves."""

    def __init__(self, job: _Job) -> None:
        super().__init__(job)
        self._client = self.get_client(self.uri)
        self._deleted = 0

    def do(self) -> None:
        report = clean_up_run(
            self._client,
            self.uri,
            _RUN_ID,
            policy="delete_always",
            staged_by=self.writer(),
            must_be_claimed=True,
            by={},
        )
        self._deleted = report.deleted_objects

    def tell(self) -> _Told:
        evidence = list(self._client.list_objects(ObjectStorageUri.parse(f"{self.uri}/{EVIDENCE_FOLDER}")))
        return {
            "deleted_objects": self._deleted,
            "evidence_objects": len(evidence),
            "evidence_bytes": sum(item.size_bytes for item in evidence),
        }


class Sweep(Task):
    """A sweep of a base whose runs are cleaned up: it only looks, or deletes their evidence as well."""

    def __init__(self, job: _Job) -> None:
        super().__init__(job)
        self._client = self.get_client(self.uri)
        self._swept = 0
        fast = self.get_client(self.uri, "auto")
        # The sweep that only looks comes first, and leaves what the other one finds.
        for number in range(job["count"] if job["action"] == "sweep" else 0):
            run_id = f"run-{number:06}"
            service = ObjectStorageStagingService(client=fast, writer=self.writer(run_id=run_id))
            service.cleanup(service.stage_files(self.plan(run_id=run_id), job["source"]))

    def do(self) -> None:
        # What the null sink holds was written long ago, so it says.
        age = timedelta(days=7)
        is_real = self.job["action"] == "sweep evidence"
        report = sweep_base(
            self._client,
            self.uri,
            older_than=age,
            evidence_older_than=age if is_real else None,
            dry_run=not is_real,
            by={},
        )
        report.check()
        self._swept = report.to_dict()["counts"]["evidence"]

    def tell(self) -> _Told:
        return {"swept_evidence": self._swept}


TASKS: Mapping[str, Callable[[_Job], Task]] = {
    "stage": Stage,
    "verify": Verify,
    "cleanup": Cleanup,
    "sweep": Sweep,
    "sweep evidence": Sweep,
}


def main() -> None:
    """Do one job after the other."""
    # Airflow logs to stdout: what it says goes where errors go, and never between the exit codes.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    for name in _IMPORTED_BY_HOOKS:
        import_module(name)
    parent = os.getppid()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _do(json.loads(line))
        answers.write(f"{_exit_code(child, parent)}\n")
        answers.flush()


def _exit_code(child: int, parent: int) -> int:
    """Return a job's exit code; end it and this process if who wants to know is gone."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != parent:
            os.kill(child, signal.SIGKILL)
            sys.exit(1)
        time.sleep(_LOOK_EVERY_SECONDS)


def _do(job: dict[str, Any]) -> NoReturn:
    """Do one job, and end this process."""
    code = 1
    try:
        os.environ.update(job["environment"])
        outcome = _timed(job)
        Path(job["result"]).write_text(json.dumps(outcome), encoding="utf-8")
        code = 0
    except BaseException:  # noqa: BLE001 - it goes into the log, and the exit code says that it failed
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _timed(job: _Job) -> dict[str, Any]:
    task = TASKS[job["action"]](job)
    counts = dict(_counts(job))
    _forget_peak()
    peak_before = _peak()
    cpu_before = cpu_seconds()
    began = time.perf_counter()
    task.do()
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - cpu_before,
        "peak_before": peak_before,
        "peak": _peak(),
        "requests": {
            kind: number - counts.get(kind, 0) for kind, number in _counts(job) if number > counts.get(kind, 0)
        },
        "told": task.tell(),
    }


def _counts(job: _Job) -> Iterator[tuple[str, int]]:
    if job["counts"]:
        with urllib.request.urlopen(job["counts"], timeout=60) as answer:  # noqa: S310 - our own
            yield from json.load(answer).items()


def _part(index: int) -> str:
    return f"map-{index:05d}"


def _forget_peak() -> None:
    """Let the peak of memory begin anew with what is resident now, where the system can do that."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """Return the most memory resident since ``_forget_peak``; on other systems since the process began."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return peak_bytes()


if __name__ == "__main__":
    main()
