"""What is secret in a connection never shows: in no message of ours, nor in one of the hook that makes its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dpone_airflow.storage.errors import ConnectionMismatchError, DponeAirflowError, printable_cause, redact
from dpone_airflow.storage.redaction import never_show, secrets_in


def keep_secret(connection: Any) -> None:
    """Mask the secrets of an Airflow connection from now on, in whatever this package says."""
    extra = connection.extra_dejson
    texts = [connection.host, connection.login, connection.schema]
    never_show([text for text in (connection.password,) if text])
    never_show(secrets_in([extra, *(text for text in texts if text)]))


@contextmanager
def masked_errors(conn_id: str) -> Iterator[None]:
    """Let errors pass, but for those that quote a secret: one of ours, without it, takes their place.

    :raises ConnectionMismatchError: with the words of such an error.
    """
    try:
        yield
    except DponeAirflowError:
        raise
    except Exception as error:
        if printable_cause(error) is error:
            raise
        raise ConnectionMismatchError(
            f"Connection {redact(conn_id)!r} makes no client ({type(error).__name__}: {redact(str(error))}): correct "
            "the connection."
        ) from None  # a traceback prints the cause as it is, and it quotes a secret
