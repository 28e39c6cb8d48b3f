"""A process that has imported everything and forks one child after the other, each to be killed at its work.

Imports take seconds, a fork milliseconds. Requests and answers are lines of JSON on stdin and stdout:

    -> {"work": "stage", "base": "s3://...", ...}      <- {"pid": 123}
    -> "go", once the caller is ready to kill it       <- {"status": -9, "outcome": null}
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageClient
from dpone_airflow.storage.hashing import HashingReader
from dpone_airflow.storage.s3 import S3ObjectStorageClient
from tests.crash.local_points import seen_by_audit
from tests.crash.work import WORK, in_small_parts, often, told

_clients: dict[str, ObjectStorageClient] = {}


def client_of(request: dict[str, Any]) -> ObjectStorageClient:
    """Return a client that has made no request yet: what it would hold then doesn't survive a fork."""
    if "root" in request:
        return LocalObjectStorageClient(request["root"], max_concurrency=4)
    key = json.dumps([request["connection"], request["options"], request["base"].rpartition("/")[0]])
    if key not in _clients:
        os.environ["AIRFLOW_CONN_VICTIM"] = json.dumps(request["connection"])
        _clients[key] = ObjectStorageHook("victim", max_concurrency=4, **request["options"]).get_client(request["base"])
    return _clients[key]


def live(request: dict[str, Any], client: ObjectStorageClient) -> dict[str, Any]:
    """Do the work, unless it is killed."""
    often(request.get("checkpoint_seconds", 0.02))
    if "max_file_bytes" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["max_file_bytes"],) * 2)
    if "user" in request:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    labels: list[str] = []
    if "root" in request:
        labels = seen_by_audit(request["root"], request.get("point"), HashingReader)
    try:
        WORK[request["work"]](in_small_parts(client), request["base"], request["tree"])
    except BaseException as error:
        with suppress(OSError):  # on a disk that is full
            traceback.print_exc()
        return {"error": told(error), "labels": labels}
    return {"error": None, "labels": labels}


def serve() -> None:
    S3ObjectStorageClient.delete_batch_size = 25  # so that a cleanup has a middle
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        client = client_of(request)
        outcome_in, outcome_out = os.pipe()
        gate_in, gate_out = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(outcome_in)
            os.read(gate_in, 1)
            with os.fdopen(outcome_out, "w") as outcome:
                outcome.write(json.dumps(live(request, client)))
            os._exit(0)
        os.close(outcome_out)
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        assert sys.stdin.readline().strip() == "go"
        os.write(gate_out, b"!")
        with os.fdopen(outcome_in) as outcome:
            text = outcome.read()
        _, status = os.waitpid(pid, 0)
        os.close(gate_in)
        os.close(gate_out)
        ended = {"status": os.waitstatus_to_exitcode(status), "outcome": json.loads(text) if text else None}
        print(json.dumps(ended), file=answers, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve()
