"""What obstore's stores for S3 and Azure share: what they upload as, and what they can't honour."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dpone_airflow import __version__
from dpone_airflow.storage.obstore_keys import is_header_text

# obstore's own 30 seconds are for a whole request, and a large part on a slow line takes longer. Its
# read_timeout would be for a stalled connection, but it runs while a request's body is sent as well.
_REQUEST_TIMEOUT = timedelta(minutes=10)
# A request is sent again with the credentials that it was made with, so not for longer than they last.
RETRIES = {"max_retries": 5, "retry_timeout": timedelta(minutes=3)}
# Both change whom obstore trusts; neither SDK reads them.
_TRUST_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_NOBODY = "http://127.0.0.1:9"
_HOST = re.compile(r"[a-z0-9._:-]+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class NotHonouredError(Exception):
    """A setting of the connection, the options or the worker that obstore would not follow exactly.

    The SDK uploads then. It never leaves this package.

    :param setting: what it is called where it was set; never its value.
    """

    def __init__(self, setting: str) -> None:
        super().__init__(f"obstore can't honour {setting}")
        self.setting = setting


@dataclass(frozen=True, slots=True)
class ObstoreUpload:
    """A store that uploads as the SDK's client would, and what must go with every ``obstore.put``.

    :param store: an ``S3Store`` or ``AzureStore``.
    :param attributes: for ``put(attributes=...)``.
    :param tags: for ``put(tags=...)``.
    """

    store: Any
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] | None = None


def client_options(url: str, *, verify: Any, proxy: str | None, connect_timeout: Any) -> dict[str, Any]:
    """Return obstore's HTTP options for requests to ``url``.

    Every one is given, since variables of the worker fill what isn't.

    :param verify: as the SDK has it: True, False or the path of a CA bundle.
    :param proxy: the one that the SDK uses for this URL, or None if it uses none.
    :param connect_timeout: in seconds, or None for no limit.
    :raises NotHonouredError: if obstore can't do it.
    """
    parts = urlsplit(url)
    host = _host(parts.hostname or "")
    options: dict[str, Any] = {
        "allow_http": parts.scheme == "http",
        "allow_invalid_certificates": False,
        "timeout": _REQUEST_TIMEOUT,
        "user_agent": f"dpone-airflow/{__version__}",
    }
    if parts.scheme == "https":
        options["allow_invalid_certificates"] = _accepts_any_certificate(verify)
    if connect_timeout is not None:
        options["connect_timeout"] = timedelta(seconds=_seconds(connect_timeout))
    return options | _proxy_options(proxy, host)


def refuse_variables(prefix: str, overridden: Collection[str], understands: Callable[[str], bool]) -> None:
    """Refuse a variable of the worker that would change what obstore sends.

    obstore reads its whole configuration from the environment and has no switch for that. What is
    given explicitly wins, so only what can't be given matters here.

    :param prefix: of the variables that this kind of store reads, in upper case.
    :param overridden: names, in lower case, of those that are given explicitly or change no upload.
    :param understands: whether a store takes a name for one of its settings.
    :raises NotHonouredError: naming the variable.
    """
    for name in os.environ:
        if name.upper().startswith(prefix) and name.lower() not in overridden and understands(name.lower()):
            raise NotHonouredError(f"the variable {name}")


def _accepts_any_certificate(verify: Any) -> bool:
    if verify is False:
        return True
    if verify is not True:
        # obstore's root_certificate is trusted besides the system's, where an SDK trusts it alone.
        raise NotHonouredError("a CA bundle")
    for name in _TRUST_VARIABLES:
        if os.environ.get(name):
            raise NotHonouredError(f"the variable {name}")
    return False


def _host(host: str) -> str:
    """Return ``host`` if obstore and the SDK mean the same by it.

    :raises NotHonouredError: for other alphabets, and for numbers that one of them takes for an address.
    """
    last = host.rstrip(".").rpartition(".")[2]
    if _HOST.fullmatch(host) and (":" in host or not _NUMBER.fullmatch(last) or _is_address(host)):
        return host
    raise NotHonouredError("a host of this form")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _proxy_options(proxy: str | None, host: str) -> dict[str, Any]:
    if not proxy:
        # Without a proxy_url obstore looks for one in the environment; the SDK has done that already,
        # and by its own rules. This address is never asked, since the only host is excluded.
        return {"proxy_url": _NOBODY, "proxy_excludes": host}
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not is_header_text(proxy) or " " in proxy:
        raise NotHonouredError("a proxy that isn't http://host:port")
    return {"proxy_url": proxy, "proxy_excludes": ""}


def _seconds(timeout: Any) -> float:
    try:
        return float(timeout)
    except (TypeError, ValueError):
        raise NotHonouredError("the connect timeout") from None
