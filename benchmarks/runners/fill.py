"""Put many small objects into Azurite, by plain HTTP because the SDK takes minutes."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

_THREADS = 4
_BODY = bytes(200)
#: From a key to method, target and headers.
Request: TypeAlias = "Callable[[str], tuple[str, str, dict[str, str]]]"


def main() -> None:
    """Fill the prefix of the job that the command line holds as JSON."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    server = job["server"]
    request = _put(job)
    keys = [f"{job['prefix']}/run/{number:06}.csv" for number in range(job["count"])]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(
            pool.map(
                lambda part: _send(server["endpoint"], request, part), (keys[n::_THREADS] for n in range(_THREADS))
            )
        )


def _send(endpoint: str, request: Request, keys: list[str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    for key in keys:
        method, target, headers = request(key)
        connection.request(method, target, _BODY, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{key}: {response.status} {text[:300]!r}")
    connection.close()


def _put(job: dict[str, Any]) -> Request:
    server = job["server"]
    signature = generate_account_sas(
        server["access_key"],
        server["secret_key"],
        ResourceTypes(object=True),
        AccountSasPermissions(write=True, create=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    path = urlsplit(server["endpoint"]).path
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
    return lambda key: ("PUT", f"{path}/{job['bucket']}/{quote(key)}?{signature}", headers)


if __name__ == "__main__":
    main()
