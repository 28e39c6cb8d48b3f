"""The REST API of an Airflow 3 that asks for no password: start a DAG run, and see what became of it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

PAGE = 100


class AirflowApiError(RuntimeError):
    """Airflow answered with an error; the message has what it said, ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class AirflowApi:
    """The API at an address such as ``http://127.0.0.1:8080``."""

    url: str
    _token: str | None = field(default=None, repr=False)

    def health(self) -> dict[str, str]:
        """Return the status of each component that has ever run; nothing while there is no API."""
        try:
            found = self._ask("GET", "/api/v2/monitor/health", authorized=False)
        except (OSError, http.client.HTTPException, AirflowApiError):
            return {}
        return {name: (about or {}).get("status") or "unknown" for name, about in found.items()}

    def dags(self) -> set[str]:
        """Return the ids of the DAGs that have been parsed."""
        return {dag["dag_id"] for dag in self._all("/dags", "dags")}

    def import_errors(self) -> list[str]:
        """Return what was wrong with DAG files."""
        return [error["stack_trace"] for error in self._all("/importErrors", "import_errors")]

    def add_connection(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        """Store a connection in Airflow's database, where workers have it from as well."""
        extra = json.dumps(connection.get("extra") or {})
        self._ask("POST", "/api/v2/connections", {**connection, "connection_id": conn_id, "extra": extra})

    def trigger(self, dag_id: str, params: Mapping[str, Any]) -> str:
        """Start a run of a DAG, unpaused for it; return the run's id."""
        self._ask("PATCH", f"/api/v2/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
        run = self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"conf": dict(params), "logical_date": None})
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return a run's state, e.g. ``success``."""
        return str(self._ask("GET", f"/api/v2{_run(dag_id, run_id)}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return a run's task instances, each as its last try left it."""
        return self._all(f"{_run(dag_id, run_id)}/taskInstances", "task_instances")

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[dict[str, Any]]:
        """Return every try of a task instance, the first one first."""
        path = f"/api/v2{_run(dag_id, run_id)}/taskInstances/{task_id}/{map_index}/tries"
        return sorted(self._ask("GET", path)["task_instances"], key=lambda one: int(one["try_number"]))

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, key: str = "return_value") -> Any:
        """Return what a task pushed, or None if it pushed nothing."""
        path = f"/api/v2{_run(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            found = self._ask("GET", f"{path}?map_index={map_index}&deserialize=true")["value"]
        except AirflowApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    def _all(self, path: str, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self._ask("GET", f"/api/v2{path}?{urlencode({'limit': PAGE, 'offset': len(found)})}")
            found.extend(page[name])
            if not page[name] or len(found) >= page["total_entries"]:
                return found

    def _ask(self, method: str, path: str, body: Any = None, *, authorized: bool = True) -> Any:
        headers = {"Content-Type": "application/json"}
        if authorized:
            self._token = self._token or str(self._ask("GET", "/auth/token", authorized=False)["access_token"])
            headers["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            text = said.decode(errors="replace")[:500]
            message = f"{method} {path} of Airflow's API was answered with {answer.status} {text}"
            raise AirflowApiError(message, answer.status)
        return json.loads(said) if said else None


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
