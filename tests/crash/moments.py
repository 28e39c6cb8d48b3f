"""Moments in the work of a client, at which a test lets somebody else do something. Each comes once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dpone_airflow.storage import ObjectStorageUri

Deed = Callable[[], object]


def before_call(client: Any, method: str, ending: str, do: Deed) -> None:
    """Let ``do`` happen before ``method`` is asked for a URI with that ending."""
    _hook(client, method, ending, before=do)


def after_call(client: Any, method: str, ending: str, do: Deed) -> None:
    """Let ``do`` happen when ``method`` has been asked for a URI with that ending; a listing is read to its end."""
    _hook(client, method, ending, after=do)


def before_sending(client: Any, name: str, do: Deed) -> None:
    """Let ``do`` happen before the request that sends a small file of that name."""
    _hook_sending(client, name, before=do)


def after_sending(client: Any, name: str, do: Deed) -> None:
    """Let ``do`` happen after it."""
    _hook_sending(client, name, after=do)


def after_listing(client: Any, name: str, do: Deed) -> None:
    """Let ``do`` happen when a listing has told of an object with that name."""
    list_objects = client.list_objects
    once = _once(do)

    def listed(prefix: ObjectStorageUri) -> Iterator[Any]:
        found = list(list_objects(prefix))
        if any(item.uri.key.endswith(name) for item in found):
            once()
        return iter(found)

    client.list_objects = listed


def _nothing() -> None:
    pass


def _once(do: Deed) -> Deed:
    to_do = [do]
    return lambda: to_do.pop()() if to_do else None


def _hook(client: Any, method: str, ending: str, before: Deed = _nothing, after: Deed = _nothing) -> None:
    call = getattr(client, method)
    first, then = _once(before), _once(after)

    def asked(*args: Any, **options: Any) -> Any:
        about = [uri for arg in args for uri in (arg if isinstance(arg, list) else [arg])]
        is_it = any(isinstance(uri, ObjectStorageUri) and uri.key.endswith(ending) for uri in about)
        if is_it:
            first()
        answer = call(*args, **options)
        if is_it:
            answer = iter(list(answer)) if method == "list_objects" else answer
            then()
        return answer

    setattr(client, method, asked)


def _hook_sending(client: Any, name: str, before: Deed = _nothing, after: Deed = _nothing) -> None:
    prepare_bytes = client.prepare_bytes
    first, then = _once(before), _once(after)

    def prepare(data: bytes, uri: ObjectStorageUri, *args: Any, **options: Any) -> Any:
        send = prepare_bytes(data, uri, *args, **options)
        if not uri.key.endswith(f"/{name}"):
            return send

        def sending() -> Any:
            first()
            sent = send()
            then()
            return sent

        return sending

    client.prepare_bytes = prepare
