"""Where a cloud's own console shows a prefix: a pure function of its URI and of the endpoint that serves it.

None of these forms is an API. They are those that the consoles themselves write into the address bar:

- S3: ``/s3/buckets/<bucket>?prefix=<prefix>/``, which leads to the bucket's region by itself
- Google Cloud Storage: ``/storage/browser/<bucket>/<prefix>``
- Azure: the blade of a container, which takes the resource id of its storage account; without one,
  the list of all storage accounts
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

# Of each partition, the end of its endpoints' host names and its console. The first that fits is taken.
_AWS = (
    (".amazonaws.com.cn", "console.amazonaws.cn"),
    (".amazonaws.com", "console.aws.amazon.com"),
)
_AWS_GOVERNMENT = "console.amazonaws-us-gov.com"
_AZURE = (
    (".core.windows.net", "portal.azure.com"),
    (".storage.azure.net", "portal.azure.com"),
    (".core.usgovcloudapi.net", "portal.azure.us"),
    (".core.chinacloudapi.cn", "portal.azure.cn"),
)
_GOOGLE = ((".googleapis.com", "console.cloud.google.com"),)


def console_url(
    prefix: ObjectStorageUri, endpoint_url: str | None, *, storage_account_id: str | None = None
) -> str | None:
    """Return the address at which a console shows ``prefix``, or None if the endpoint isn't the cloud's own.

    A server that merely speaks a cloud's protocol has its own console, or none.

    :param endpoint_url: what serves the URI, as a client's ``endpoint_url`` says.
    :param storage_account_id: ``/subscriptions/.../storageAccounts/<account>``; for Azure only.
    """
    host = urlsplit(endpoint_url or "").hostname or ""
    if prefix.provider is ObjectStorageProvider.S3:
        return _s3(prefix, host)
    if prefix.provider is ObjectStorageProvider.GCS:
        console = _console(host, _GOOGLE)
        return console and f"https://{console}/storage/browser/{quote(prefix.bucket)}/{quote(prefix.prefix)}"
    return _azure(prefix, _console(host, _AZURE), storage_account_id)


def _s3(prefix: ObjectStorageUri, host: str) -> str | None:
    console = _AWS_GOVERNMENT if _is_government(host) else _console(host, _AWS)
    if console is None:
        return None
    return f"https://{console}/s3/buckets/{quote(prefix.bucket)}?prefix={quote(prefix.prefix)}&showversions=false"


def _is_government(host: str) -> bool:
    return host.endswith(".amazonaws.com") and any(label.startswith("us-gov-") for label in host.split("."))


def _azure(prefix: ObjectStorageUri, portal: str | None, storage_account_id: str | None) -> str | None:
    if portal is None:
        return None
    if not storage_account_id:
        accounts = quote("Microsoft.Storage/StorageAccounts", safe="")
        return f"https://{portal}/#view/HubsExtension/BrowseResource/resourceType/{accounts}"
    return (
        f"https://{portal}/#view/Microsoft_Azure_Storage/ContainerMenuBlade/~/overview"
        f"/storageAccountId/{quote(storage_account_id, safe='')}/path/{quote(prefix.bucket)}"
    )


def _console(host: str, consoles: tuple[tuple[str, str], ...]) -> str | None:
    return next((console for ending, console in consoles if host.endswith(ending)), None)
