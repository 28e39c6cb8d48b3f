"""An obstore ``AzureStore`` that uploads as a ``BlobServiceClient`` would.

The SDK's client is what is followed, not the Airflow connection: whatever the connection was (a key,
a SAS, a connection string, a managed identity), the client holds what became of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from dpone_airflow.hooks.obstore_settings import (
    RETRIES,
    NotHonouredError,
    ObstoreUpload,
    client_options,
    refuse_variables,
)
from dpone_airflow.storage.obstore_keys import is_header_text

# What the SDK may send that needs no setting in obstore: obstore has its own of these, or needs none.
_OWN_HEADERS = frozenset(
    {"accept", "user-agent", "x-ms-client-request-id", "x-ms-date", "x-ms-return-client-request-id", "x-ms-version"}
)
# $root and $web are addressed otherwise.
_ORDINARY_CONTAINER = re.compile(r"[a-z0-9-]+")
# The name of the blob that is never asked for.
_KEY = "k"
# The names that AzureStore takes from the environment and that are always given, or that name
# credentials and their sources, which it doesn't look at when it has a provider.
_OVERRIDDEN = frozenset(
    {
        *("azure_storage_account_name", "azure_container_name", "azure_storage_endpoint", "azure_endpoint"),
        *("azure_skip_signature", "azure_disable_tagging", "azure_storage_use_emulator", "azure_credential_type"),
        "azure_use_fabric_endpoint",
        *("azure_storage_account_key", "azure_storage_access_key", "azure_storage_master_key"),
        *("azure_storage_sas_key", "azure_storage_sas_token", "azure_storage_token", "azure_use_azure_cli"),
        *("azure_storage_client_id", "azure_client_id", "azure_storage_client_secret", "azure_client_secret"),
        *("azure_storage_tenant_id", "azure_storage_authority_id", "azure_tenant_id", "azure_authority_id"),
        *("azure_storage_authority_host", "azure_authority_host", "azure_federated_token_file"),
        *("azure_msi_endpoint", "azure_identity_endpoint", "azure_object_id", "azure_msi_resource_id"),
        *("azure_fabric_token_service_url", "azure_fabric_workload_host", "azure_fabric_session_token"),
        "azure_fabric_cluster_identifier",
    }
)


class TokenCredentialProvider:
    """Gives obstore bearer tokens of an Azure credential with their real expiry.

    obstore asks again when one is about to expire; the credential renews it by its own rules.

    :param credential: what the SDK's client was made with.
    :param scopes: what it asks tokens for.
    """

    def __init__(self, credential: Any, scopes: tuple[str, ...]) -> None:
        self._credential = credential
        self._scopes = scopes

    def __call__(self) -> dict[str, Any]:
        """Return an ``obstore.store.AzureBearerToken``.

        :raises ValueError: for a token that can't go into a header.
        """
        token = self._credential.get_token(*self._scopes)
        if not is_header_text(token.token):
            raise ValueError("the token has a character that no header takes")
        return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, UTC)}


class LastingCredentialProvider:
    """Gives obstore an account key, a SAS or nothing at all.

    Handed over so, and not as configuration, it comes before every credential in the environment.
    """

    def __init__(self, **credential: str) -> None:
        self._credential = credential

    def __call__(self) -> dict[str, Any]:
        """Return an ``obstore.store.AzureAccessKey`` or ``AzureSASToken``."""
        return {**self._credential, "expires_at": None}


def azure_store(service_client: Any, container: str, options: Mapping[str, Any]) -> ObstoreUpload:
    """Return what uploads to ``container`` as this client would, without a checksum that Azure checks.

    Sends nothing. https://developmentseed.org/obstore/latest/api/store/azure/

    :param service_client: an ``azure.storage.blob.BlobServiceClient``.
    :param container: its name.
    :param options: storage options, checked.
    :raises NotHonouredError: naming the setting that obstore wouldn't follow exactly.
    """
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore

    if not _ORDINARY_CONTAINER.fullmatch(container):
        raise NotHonouredError("a container of this name")
    attributes, tags = _from_options(options)
    request = _rehearse(service_client, container)
    parts = urlsplit(request.http_request.url)
    endpoint = _endpoint(parts, container)
    provider = _provider(service_client, parts.query)
    refuse_variables("AZURE_", _OVERRIDDEN, _understands)
    new_store: Any = AzureStore
    try:
        store = new_store(
            config={
                "container_name": container,
                # Only a signature with the key has it in it, and the key comes with its account's name.
                "account_name": service_client.account_name or "account",
                "endpoint": endpoint,
                "credential_type": "auto",
                "disable_tagging": False,
                "skip_signature": provider is None,
                "use_emulator": False,
                "use_fabric_endpoint": False,
            },
            client_options=_http(service_client, endpoint, request),
            retry_config=RETRIES,
            credential_provider=provider or LastingCredentialProvider(sas_token=""),
        )
    except BaseError:
        # Its message quotes the configuration.
        raise NotHonouredError("a setting of this connection") from None
    return ObstoreUpload(store, attributes, tags)


class _NotSentError(Exception):
    """Ends a rehearsal."""


def _rehearse(service_client: Any, container: str) -> Any:
    """Return the ``PipelineRequest`` of a lookup with this client, which isn't sent.

    :raises NotHonouredError: if the client can't make one, or sends a header that obstore can't.
    """
    requests: list[Any] = []

    def keep(request: Any) -> None:
        requests.append(request)
        raise _NotSentError

    try:
        service_client.get_blob_client(container, _KEY).get_blob_properties(raw_request_hook=keep)
        request = requests[-1]
    except _NotSentError:
        request = requests[-1]
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise NotHonouredError(f"a request that the SDK doesn't make ({type(error).__name__})") from None
    for name in request.http_request.headers:
        if name.lower() not in _OWN_HEADERS:
            raise NotHonouredError(f"the header {name}")
    return request


def _endpoint(parts: SplitResult, container: str) -> str:
    """Return the URL of the account.

    :raises NotHonouredError: for a URL of another form than the container's and the blob's below it.
    """
    account, found, rest = parts.path.rpartition(f"/{container}/{_KEY}")
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not found or rest:
        raise NotHonouredError("an account URL of this form")
    return f"{parts.scheme}://{parts.netloc}{account}"


def _provider(service_client: Any, query: str) -> Any:
    """Return a provider of the client's credential, or None if it has none.

    :raises NotHonouredError: for a credential of another kind.
    """
    credential = service_client.credential
    if hasattr(credential, "account_key"):
        if query:
            raise NotHonouredError("an account URL with a query and an account key")
        return LastingCredentialProvider(access_key=credential.account_key)
    if hasattr(credential, "get_token"):
        scopes = getattr(service_client._credential_policy, "_scopes", None)
        if query or not scopes:
            raise NotHonouredError("an audience or an account URL with a query")
        return TokenCredentialProvider(credential, tuple(scopes))
    if hasattr(credential, "signature"):
        query = f"{query}&{credential.signature.lstrip('?')}".lstrip("&")
    elif credential is not None:
        raise NotHonouredError(f"a {type(credential).__name__}")
    # obstore takes a SAS apart and puts it together again.
    pairs = parse_qsl(query, keep_blank_values=True)
    if "+" in query or not is_header_text(query) or len(dict(pairs)) != len(pairs):
        raise NotHonouredError("a SAS of this form")
    return LastingCredentialProvider(sas_token=query) if query else None


def _http(service_client: Any, endpoint: str, request: Any) -> dict[str, Any]:
    """Return obstore's HTTP options for what the SDK's transport was made with.

    :raises NotHonouredError: if obstore has no such option.
    """
    import requests
    from azure.core.pipeline.transport import RequestsTransport

    try:
        # The SDK keeps them nowhere else.
        pipeline = service_client._pipeline
        transport = pipeline._transport
        transport_owned = type(transport) is RequestsTransport and (not transport.session or transport._has_been_opened)
        connection = transport.connection_config
        use_environment = transport._use_env_settings
        policies = [getattr(policy, "_policy", policy) for policy in pipeline._impl_policies]
    except AttributeError:
        raise NotHonouredError("this version of azure-storage-blob, or its transport") from None
    if not transport_owned:
        raise NotHonouredError("a transport of its own")
    for policy in policies:
        if not type(policy).__module__.startswith("azure."):
            raise NotHonouredError(f"the policy {type(policy).__name__}")
    if connection.cert:
        raise NotHonouredError("connection_cert")
    # Ask requests, on which the SDK is built, what it would make of these and of the environment.
    session = requests.Session()
    session.trust_env = use_environment
    proxies = dict(request.context.options.get("proxies") or {})
    merged = session.merge_environment_settings(endpoint, proxies, None, connection.verify, None)
    proxy = requests.utils.select_proxy(endpoint, merged["proxies"])
    timeout = connection.timeout[0] if isinstance(connection.timeout, tuple) else connection.timeout
    return client_options(endpoint, verify=merged["verify"], proxy=proxy, connect_timeout=timeout)


def _from_options(options: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str] | None]:
    """Return attributes and tags for storage options."""
    for name in options:
        if name not in ("standard_blob_tier", "tags"):
            raise NotHonouredError(f"the storage option {name}")
    tags = options.get("tags")
    # obstore writes a space as a plus, which is a tag's own character to Azure.
    if tags and any(" " in text for pair in tags.items() for text in pair):
        raise NotHonouredError("a space in the storage option tags")
    return _tier(options), dict(tags) if tags else None


def _tier(options: Mapping[str, Any]) -> dict[str, str]:
    from azure.storage.blob import StandardBlobTier

    if "standard_blob_tier" not in options:
        return {}
    try:
        return {"Storage-Class": StandardBlobTier(options["standard_blob_tier"]).value}
    except ValueError:
        raise NotHonouredError("this value of the storage option standard_blob_tier") from None


def _understands(name: str) -> bool:
    from obstore.exceptions import BaseError, UnknownConfigurationKeyError
    from obstore.store import AzureStore

    new_store: Any = AzureStore
    try:
        new_store("container", config={name: ""})
    except UnknownConfigurationKeyError:
        return False
    except BaseError:
        return True
    return True
