"""The right to delete, asked for before the first upload where something will be deleted later."""

from __future__ import annotations

from uuid import uuid4

from dpone_airflow.staging.choices import ExactPrefix
from dpone_airflow.staging.plan import ObjectStorageStagingPlan
from dpone_airflow.staging.policy import CleanupPolicy
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import DeleteIncompleteError, StorageAccessDeniedError
from dpone_airflow.storage.permissions import missing_permission


def deletes_later(plan: ObjectStorageStagingPlan, exact_prefix: ExactPrefix, cleans_up: bool | None) -> bool:
    """Return whether a stage with these arguments, or its cleanup, may have to delete with this same client.

    :param cleans_up: whether the cleanup deletes with it; None if only the policy says so.
    """
    if cleans_up is None:
        cleans_up = plan.cleanup_policy != CleanupPolicy.RETAIN
    return exact_prefix == "enforce" or cleans_up


def check_may_delete(client: ObjectStorageClient, plan: ObjectStorageStagingPlan) -> None:
    """Refuse to stage what can't be deleted: delete an object that isn't there, by one request.

    Stores that know who may delete look at that first. GCS and Azure answer 404 to who may and 403
    to who may not. S3 answers 204; a bucket that keeps versions then has one delete marker more.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html

    :raises StorageAccessDeniedError: naming the right that is missing.
    :raises DeleteIncompleteError: if the store refuses it for another reason.
    :raises StorageError: if the store fails.
    """
    absent = plan.prefix.child(f"dpone-may-it-be-deleted-{uuid4().hex}")
    try:
        client.delete_objects([absent])
    except DeleteIncompleteError as error:
        reason = next(iter(error.left.values()))
        permission = missing_permission("delete", absent.provider, reason)
        if not permission or permission not in reason:
            raise
        raise StorageAccessDeniedError(
            f"No file was sent to {plan.prefix}/, because what is staged there couldn't be deleted later: {reason}. "
            f"Grant {permission} to the connection's identity, or write cleanup_policy='retain' and "
            "exact_prefix='check', which delete nothing.",
            uri=str(absent),
            permission=permission,
        ) from error
