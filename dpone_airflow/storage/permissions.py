"""What a store calls the right that a refused call wanted.

The names are those of the providers' own lists:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
https://cloud.google.com/storage/docs/access-control/iam-permissions
https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
https://learn.microsoft.com/rest/api/storageservices/create-service-sas
"""

from __future__ import annotations

import re

from dpone_airflow.storage.uri import ObjectStorageProvider

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_READ = {
    ObjectStorageProvider.S3: "s3:GetObject",
    ObjectStorageProvider.GCS: "storage.objects.get",
    ObjectStorageProvider.AZURE_BLOB: f"{_BLOBS}/read (in a SAS: r)",
}
_WRITE = {
    ObjectStorageProvider.S3: "s3:PutObject",
    ObjectStorageProvider.GCS: "storage.objects.create",
    ObjectStorageProvider.AZURE_BLOB: f"{_BLOBS}/write (in a SAS: w)",
}
# By the first words of what could not be done; of two that fit, the one that stands first.
_BY_ACTION: dict[str, dict[ObjectStorageProvider, str]] = {
    "list the unfinished uploads": {ObjectStorageProvider.S3: "s3:ListBucketMultipartUploads"},
    "abort": {ObjectStorageProvider.S3: "s3:AbortMultipartUpload"},
    "look up the versioning": {
        ObjectStorageProvider.S3: "s3:GetBucketVersioning",
        ObjectStorageProvider.GCS: "storage.buckets.get",
    },
    # What only the doctor and the lifecycle command ask for.
    "look up the public access block": {ObjectStorageProvider.S3: "s3:GetBucketPublicAccessBlock"},
    "look up the policy status": {ObjectStorageProvider.S3: "s3:GetBucketPolicyStatus"},
    "look up the ACL": {ObjectStorageProvider.S3: "s3:GetBucketAcl"},
    "look up the lifecycle rules": {ObjectStorageProvider.S3: "s3:GetLifecycleConfiguration"},
    "look up the settings": {
        ObjectStorageProvider.GCS: "storage.buckets.get",
        ObjectStorageProvider.AZURE_BLOB: "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    },
    "look up the policy": {ObjectStorageProvider.GCS: "storage.buckets.getIamPolicy"},
    "look up the blob service": {
        ObjectStorageProvider.AZURE_BLOB: "Microsoft.Storage/storageAccounts/blobServices/read",
    },
    "list": {
        ObjectStorageProvider.S3: "s3:ListBucket",
        ObjectStorageProvider.GCS: "storage.objects.list",
        ObjectStorageProvider.AZURE_BLOB: f"{_BLOBS}/read (in a SAS: l)",
    },
    "read": _READ,
    "look up": _READ,
    "write": _WRITE,
    "begin a multipart upload": _WRITE,
    "complete the multipart upload": _WRITE,
    "commit the blocks": _WRITE,
    "delete": {
        ObjectStorageProvider.S3: "s3:DeleteObject",
        ObjectStorageProvider.GCS: "storage.objects.delete",
        ObjectStorageProvider.AZURE_BLOB: f"{_BLOBS}/delete (in a SAS: d)",
    },
}
# S3 and Google say it themselves, where they do: a tag, an ACL or a KMS key wants another right than the object,
# and on GCS whoever overwrites an object deletes it.
_SAID_BY_THE_STORE = re.compile(
    r"not authorized to perform:? (?P<aws>[a-z0-9-]+:[A-Za-z]+)|does not have (?P<gcs>[a-z]+(?:\.[A-Za-z]+)+) access"
)


def missing_permission(action: str, provider: ObjectStorageProvider, message: str) -> str:
    """Return the name of the right that a refused call wanted; empty if nothing tells it.

    :param action: what could not be done, e.g. ``write``; see ``answers.store_error``.
    :param message: the store's own words.
    """
    said = _SAID_BY_THE_STORE.search(message)
    if said:
        return said["aws"] or said["gcs"]
    return next((names.get(provider, "") for words, names in _BY_ACTION.items() if action.startswith(words)), "")
